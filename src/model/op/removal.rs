//! What is done to backups that are there, and to what carries their marks.

use camino::Utf8PathBuf;
use jiff::Timestamp;
use serde::Deserialize;
use serde::Serialize;

use crate::model::backup::Unusable;
use crate::model::backup::VmRef;
use crate::model::id::BackupId;
use crate::model::op::StorageAt;
use crate::model::orphan::OrphanKind;
use crate::model::step::BackupAt;

/// One backup that something is done to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OneBackup {
    /// Of which VM.
    pub vm: VmRef,
    /// Which backup.
    pub backup: BackupId,
    /// Where its files are; none of one that failed, which has none.
    pub storage: Option<StorageAt>,
    /// When it was decided.
    pub at: Timestamp,
}

impl OneBackup {
    /// Where its files are, if it has any.
    #[must_use]
    pub fn place(&self) -> Option<BackupAt> {
        let storage = self.storage.as_ref()?;
        Some(BackupAt {
            storage: storage.path.clone(),
            id: storage.is.id.clone(),
            vm: self.vm.uuid.clone(),
            backup: self.backup.clone(),
        })
    }
}

/// Remove what nothing refers to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clear {
    /// Where.
    pub path: Utf8PathBuf,
    /// What it is.
    pub kind: OrphanKind,
    /// Of which VM, as far as is known.
    pub vm: Option<VmRef>,
}

/// Count on a backup no longer, or again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkUnusable {
    /// Which.
    pub of: OneBackup,
    /// Why; none: it is whole.
    pub why: Option<Unusable>,
}
