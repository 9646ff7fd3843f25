//! VMs out of backups.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use serde::Deserialize;
use serde::Serialize;

use crate::model::backup::VmRef;
use crate::model::id::BackupId;
use crate::model::id::Target;
use crate::model::machine::Format;
use crate::model::op::StorageAt;

/// A new, stopped VM from a backup.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RestoreNew {
    /// Which backup.
    pub backup: BackupId,
    /// Of which VM.
    pub from: VmRef,
    /// The new VM.
    pub vm: VmRef,
    /// The storage the backup is on.
    pub storage: StorageAt,
    /// The ancestors that are read as well, nearest first.
    pub ancestors: Vec<BackupId>,
    /// Each disk and the file it will have.
    pub disks: BTreeMap<Target, Utf8PathBuf>,
    /// The format they will have.
    pub format: Format,
    /// Where UEFI variables go, when the backup holds some.
    pub nvram: Option<Utf8PathBuf>,
}
