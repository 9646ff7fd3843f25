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
    /// The file of that.
    #[serde(default)]
    pub below: Option<Image>,
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
    /// What the backup holds besides, and where it goes.
    pub beside: Beside,
    /// What it keeps of the one that was backed up, and what it gets instead.
    pub manner: Manner,
    /// It is started.
    pub start: bool,
}

/// Where files besides disks go, when the backup holds them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beside {
    /// UEFI variables.
    pub nvram: Option<Utf8PathBuf>,
    /// The directory in which an emulated TPM keeps its state.
    pub tpm: Option<Utf8PathBuf>,
}

/// How a VM comes of a stored definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Manner {
    /// As it was, in all but its files.
    Again,
    /// As another VM, that can run beside it.
    Anew {
        /// Its network cards keep their addresses all the same.
        keep_mac: bool,
        /// Its network cards are in this network of libvirt's.
        network: Option<String>,
    },
}

impl Default for Manner {
    fn default() -> Self {
        Self::Anew {
            keep_mac: false,
            network: None,
        }
    }
}

/// A disk of a backup comes to a VM, on or off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RestoreDisk {
    /// From what.
    pub origin: Origin,
    /// Which VM gets it.
    pub vm: VmRef,
    /// What it was called.
    pub disk: Target,
    /// What it will be called.
    pub target: Target,
    /// The file it will have.
    pub image: Image,
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
    /// What comes with a VM that is not defined here.
    pub beside: Beside,
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
