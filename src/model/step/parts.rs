//! What steps are made of: files, and where a backup is.

use camino::Utf8Path;
use camino::Utf8PathBuf;
use serde::Deserialize;
use serde::Serialize;

use crate::model::bytes::Bytes;
use crate::model::digest::Digest;
use crate::model::id::BackupId;
use crate::model::id::StorageId;
use crate::model::id::VmId;
use crate::model::layout;
use crate::model::machine::Format;

/// A file with its format, never guessed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Image {
    /// Absolute.
    pub path: Utf8PathBuf,
    /// As definition or header say.
    pub format: Format,
}

impl Image {
    /// A file with its format.
    pub fn new(path: impl Into<Utf8PathBuf>, format: Format) -> Self {
        Self {
            path: path.into(),
            format,
        }
    }
}

/// Where a backup is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupAt {
    /// The storage.
    pub storage: Utf8PathBuf,
    /// What its marker says.
    pub id: StorageId,
    /// Of which VM.
    pub vm: VmId,
    /// Which backup.
    pub backup: BackupId,
}

impl BackupAt {
    /// Its directory.
    #[must_use]
    pub fn dir(&self) -> Utf8PathBuf {
        layout::backup_dir(&self.storage, &self.vm, &self.backup)
    }

    /// Whether a file is one of its own, by whatever name its storage is known.
    #[must_use]
    pub fn holds(&self, file: &Utf8Path) -> bool {
        layout::backup_of(file).is_some_and(|(vm, backup)| vm == self.vm && backup == self.backup)
    }
}

/// A file of a backup, as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// In its directory.
    pub name: String,
    /// Length, where that is on record.
    pub size: Option<Bytes>,
    /// Of its bytes; none: an older backup, of which only its presence can be seen.
    pub digest: Option<Digest>,
}

/// An overlay and what it covers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverlayAt {
    /// What the guest writes to before.
    pub base: Image,
    /// What the guest writes to afterwards.
    pub path: Utf8PathBuf,
}

/// From one file to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// What the VM used before.
    pub from: Image,
    /// What it uses afterwards.
    pub to: Image,
}

impl Turn {
    pub(super) fn back(&self) -> Self {
        Self {
            from: self.to.clone(),
            to: self.from.clone(),
        }
    }
}
