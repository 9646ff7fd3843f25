//! The names of what can be done, and the groups that `--only` knows.

use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

/// The verbs, as plans name them.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "one for each kind of Op")]
pub enum Verb {
    StorageCreate,
    OfferingCreate,
    OfferingUpdate,
    OfferingDelete,
    PolicyCreate,
    PolicyUpdate,
    PolicyDelete,
    Assign,
    Unassign,
    Retain,
    Adopt,
    Tag,
    Recover,
    Abandon,
    Backup,
    Merge,
    Expire,
    Delete,
    Pin,
    Unpin,
    MarkUnusable,
    Verify,
    Clear,
    Compress,
    Validate,
    JobRetry,
    JobCancel,
    RestoreVm,
    RestoreDisk,
    RestoreNew,
    Files,
    Consolidate,
    Discard,
    SnapshotCreate,
    SnapshotRevert,
    SnapshotDelete,
}

impl Verb {
    /// As JSON spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StorageCreate => "storage_create",
            Self::OfferingCreate => "offering_create",
            Self::OfferingUpdate => "offering_update",
            Self::OfferingDelete => "offering_delete",
            Self::PolicyCreate => "policy_create",
            Self::PolicyUpdate => "policy_update",
            Self::PolicyDelete => "policy_delete",
            Self::Assign => "assign",
            Self::Unassign => "unassign",
            Self::Retain => "retain",
            Self::Adopt => "adopt",
            Self::Tag => "tag",
            Self::Recover => "recover",
            Self::Abandon => "abandon",
            Self::Backup => "backup",
            Self::Merge => "merge",
            Self::Expire => "expire",
            Self::Delete => "delete",
            Self::Pin => "pin",
            Self::Unpin => "unpin",
            Self::MarkUnusable => "mark_unusable",
            Self::Verify => "verify",
            Self::Clear => "clear",
            Self::Compress => "compress",
            Self::Validate => "validate",
            Self::JobRetry => "job_retry",
            Self::JobCancel => "job_cancel",
            Self::RestoreVm => "restore_vm",
            Self::RestoreDisk => "restore_disk",
            Self::RestoreNew => "restore_new",
            Self::Files => "files",
            Self::Consolidate => "consolidate",
            Self::Discard => "discard",
            Self::SnapshotCreate => "snapshot_create",
            Self::SnapshotRevert => "snapshot_revert",
            Self::SnapshotDelete => "snapshot_delete",
        }
    }

    /// What `--only` calls it.
    #[must_use]
    pub fn group(self) -> Group {
        match self {
            Self::StorageCreate
            | Self::OfferingCreate
            | Self::OfferingUpdate
            | Self::OfferingDelete
            | Self::PolicyCreate
            | Self::PolicyUpdate
            | Self::PolicyDelete
            | Self::Assign
            | Self::Unassign
            | Self::Adopt
            | Self::Tag => Group::Config,
            // With the removals that it must not run ahead of.
            Self::Retain
            | Self::Recover
            | Self::Abandon
            | Self::Backup
            | Self::Merge
            | Self::Expire
            | Self::Delete
            | Self::Pin
            | Self::Unpin
            | Self::MarkUnusable
            | Self::Clear
            | Self::RestoreVm
            | Self::RestoreDisk
            | Self::RestoreNew
            | Self::Files
            | Self::Consolidate
            | Self::Discard
            | Self::SnapshotCreate
            | Self::SnapshotRevert
            | Self::SnapshotDelete => Group::Backup,
            Self::Compress | Self::Validate | Self::Verify | Self::JobRetry | Self::JobCancel => {
                Group::Jobs
            }
        }
    }
}

/// What `--only` narrows to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "design's words")]
pub enum Group {
    Config,
    Backup,
    Jobs,
}
