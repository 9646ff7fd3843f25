//! What carries knib's mark and nothing refers to: in no chain, on no record, in no open action.

use camino::Utf8PathBuf;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use crate::model::backup::VmRef;
use crate::model::bytes::Bytes;

/// One file or directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Orphan {
    /// Where, absolute.
    #[schemars(with = "String")]
    pub path: Utf8PathBuf,
    /// What it is by its name.
    pub kind: OrphanKind,
    /// What it takes, as far as is known.
    pub size: Bytes,
    /// Of which VM, as far as is known.
    pub vm: Option<VmRef>,
    /// Nothing can be lost with it.
    pub removable: bool,
}

/// What an orphan is by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrphanKind {
    /// A backup that was never published.
    Stage,
    /// What is left of a deleted backup.
    Deleted,
    /// A whole backup that is not on record.
    Backup,
    /// A layer of a disk.
    Delta,
    /// A layer of a disk, laid there for a snapshot.
    Snapshot,
    /// A layer whose content is in the file it covered.
    Merged,
    /// A disk that a restore did not complete.
    Unfinished,
    /// A compressed file of a backup that no job is about.
    Compressed,
    /// A file of a VM in which a backup was booted.
    Throwaway,
    /// A note in a backup that a VM reads it, which none does here.
    Lease,
    /// What a restore replaced, or brought, and is not needed by anything knib knows.
    Replaced,
}
