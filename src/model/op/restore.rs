//! Disks and VMs out of backups.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use serde::Deserialize;
use serde::Serialize;

use crate::model::backup::VmRef;
use crate::model::bytes::Bytes;
use crate::model::digest::Digest;
use crate::model::id::ActionId;
use crate::model::id::BackupId;
use crate::model::id::Target;
use crate::model::op::StorageAt;
use crate::model::seconds::Seconds;
use crate::model::step::BackupAt;
use crate::model::step::Image;

/// What a restore reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// Which backup.
    pub backup: BackupId,
    /// Of which VM.
    pub from: VmRef,
    /// The storage it is on.
    pub storage: StorageAt,
    /// The ancestors that are read as well, nearest first.
    pub ancestors: Vec<BackupId>,
    /// Of each disk that is wanted the files, the backup's own first, then what it continues.
    pub disks: BTreeMap<Target, Vec<OriginFile>>,
    /// All of them are read before anything is written.
    pub verify: bool,
    /// The VM runs from them at once, and gets their content while it does.
    #[serde(default)]
    pub quick: bool,
}

/// A file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OriginFile {
    /// Absolute.
    pub path: Utf8PathBuf,
    /// Of the bytes that must be there.
    pub digest: Digest,
    /// How many there must be.
    #[serde(default)]
    pub size: Bytes,
}

/// Give a VM that runs from a backup's files all that is in them, so that nothing of it refers to them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Consolidate {
    /// Which VM.
    pub vm: VmRef,
    /// The restore that this carries on; none: there is none on record.
    pub carries_on: Option<ActionId>,
    /// Without one: each disk that lies on a backup, and the backup's directory.
    pub disks: BTreeMap<Target, OnBackup>,
}

/// A disk that lies on a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnBackup {
    /// The file that the VM writes to.
    pub head: Image,
    /// What is directly below.
    pub of: BackupAt,
    /// All that is below that, nearest first.
    pub ancestors: Vec<BackupId>,
}

/// A new VM from a backup.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RestoreNew {
    /// From what.
    pub origin: Origin,
    /// The new VM.
    pub vm: VmRef,
    /// Each disk and the file it will have.
    pub disks: BTreeMap<Target, Image>,
    /// Where UEFI variables go, when the backup holds some.
    pub nvram: Option<Utf8PathBuf>,
}

/// A VM gets the disks of a backup.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RestoreVm {
    /// Of this restore: what it replaces is named after it.
    pub id: BackupId,
    /// From what.
    pub origin: Origin,
    /// Which VM.
    pub vm: VmRef,
    /// Each disk and the file it will have.
    pub disks: BTreeMap<Target, Image>,
    /// What becomes of a VM that is on.
    pub stop: Option<Stopping>,
    /// What is replaced goes at once.
    pub discard: bool,
}

/// How a VM is brought to a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopping {
    /// Its guest is asked, and has so long.
    pub ask: Option<Seconds>,
    /// The plug is pulled, after that.
    pub pull: bool,
}

/// Remove what a restore replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discard {
    /// Which VM.
    pub vm: VmRef,
    /// Which restore.
    pub restore: BackupId,
}
