//! What storages hold of VMs, as the backups there say it themselves.

use std::sync::Arc;

use camino::Utf8PathBuf;

use crate::model::backup::Backup;
use crate::model::backup::Owner;
use crate::model::backup::StorageRef;
use crate::model::id::VmId;

/// A VM's directory on a storage.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// The storage, by the name it has now.
    pub storage: StorageRef,
    /// The directory.
    pub dir: Utf8PathBuf,
    /// Of which VM.
    pub vm: VmId,
    /// Whose it is.
    pub owner: Option<Owner>,
    /// Backups that could be read, by id.
    pub backups: Vec<Arc<Backup>>,
    /// Those that could not.
    pub unread: Vec<Unread>,
}

/// The record of a backup that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// The file.
    pub path: Utf8PathBuf,
    /// Why, in words that follow the path.
    pub why: String,
}
