//! Files out of backups.

use serde::Deserialize;
use serde::Serialize;

use crate::model::backup::VmRef;
use crate::model::id::BackupId;
use crate::model::op::StorageAt;

/// Read files in a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    /// Which backup.
    pub backup: BackupId,
    /// Of which VM.
    pub vm: VmRef,
    /// The storage the backup is on.
    pub storage: StorageAt,
    /// The ancestors that are read as well, nearest first.
    pub ancestors: Vec<BackupId>,
}
