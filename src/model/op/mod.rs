//! What an action is to do: a verb with its parameters.
//!
//! Everything that decides how it is carried out is in here, settings included, so that a plan and a
//! journal entry need no policy to be understood.

mod backup;
mod config;
mod files;
mod job;
mod lane;
mod removal;
mod restore;
mod snapshot;
mod validate;
mod verb;
mod verify;

use camino::Utf8PathBuf;
use serde::Deserialize;
use serde::Serialize;

use crate::model::backup::StorageRef;
use crate::model::backup::VmRef;
use crate::model::id::ActionId;
use crate::model::id::JobId;
use crate::model::job::JobKind;
pub use crate::model::op::backup::BackupOp;
pub use crate::model::op::backup::DiskPlan;
pub use crate::model::op::backup::Merge;
pub use crate::model::op::backup::WhyFull;
pub use crate::model::op::config::Adopt;
pub use crate::model::op::config::Assign;
pub use crate::model::op::config::Estate;
pub use crate::model::op::config::Named;
pub use crate::model::op::config::OfferingSet;
pub use crate::model::op::config::PolicySet;
pub use crate::model::op::config::Retain;
pub use crate::model::op::config::StorageCreate;
pub use crate::model::op::config::Tag;
pub use crate::model::op::config::Unassign;
pub use crate::model::op::files::Files;
pub use crate::model::op::job::Attempt;
pub use crate::model::op::job::Compress;
pub use crate::model::op::job::Compression;
pub use crate::model::op::job::OneJob;
pub use crate::model::op::job::Phase;
pub use crate::model::op::job::Retry;
pub use crate::model::op::lane::Lane;
pub use crate::model::op::removal::Clear;
pub use crate::model::op::removal::MarkUnusable;
pub use crate::model::op::removal::OneBackup;
pub use crate::model::op::restore::Beside;
pub use crate::model::op::restore::Consolidate;
pub use crate::model::op::restore::Discard;
pub use crate::model::op::restore::Manner;
pub use crate::model::op::restore::OnBackup;
pub use crate::model::op::restore::Origin;
pub use crate::model::op::restore::OriginFile;
pub use crate::model::op::restore::RestoreDisk;
pub use crate::model::op::restore::RestoreNew;
pub use crate::model::op::restore::RestoreVm;
pub use crate::model::op::restore::Stopping;
pub use crate::model::op::snapshot::SnapshotCreate;
pub use crate::model::op::snapshot::SnapshotNamed;
pub use crate::model::op::validate::Command;
pub use crate::model::op::validate::Trial;
pub use crate::model::op::validate::Validate;
pub use crate::model::op::validate::Wait;
pub use crate::model::op::verb::Group;
pub use crate::model::op::verb::Verb;
pub use crate::model::op::verify::Verify;

/// A verb with its parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case")]
pub enum Op {
    /// Make a directory a storage.
    StorageCreate(StorageCreate),
    /// Record an offering that is new.
    OfferingCreate(OfferingSet),
    /// Record an offering that changed.
    OfferingUpdate(OfferingSet),
    /// An offering that the policy no longer has.
    OfferingDelete(Named),
    /// Record a policy that is new.
    PolicyCreate(PolicySet),
    /// Record a policy that changed.
    PolicyUpdate(PolicySet),
    /// A policy that is no longer there.
    PolicyDelete(Named),
    /// A VM gets a policy, or another one.
    Assign(Assign),
    /// No policy selects a VM any more; its backups stay.
    Unassign(Unassign),
    /// What lets backups of a VM go from now on.
    Retain(Retain),
    /// Take a VM for ours as it is now, with what another state made of it.
    Adopt(Box<Adopt>),
    /// Write tags into a VM's definition.
    Tag(Tag),
    /// Carry on what was interrupted.
    Recover(Recover),
    /// Give up what was interrupted.
    Abandon(Abandon),
    /// Back a VM up.
    Backup(Box<BackupOp>),
    /// Merge the deltas of a VM and end its chain.
    Merge(Merge),
    /// Let a backup go whose files others need.
    Expire(OneBackup),
    /// Remove a backup's files, merging the delta it left first.
    Delete(OneBackup),
    /// Keep a backup whatever lets others go.
    Pin(OneBackup),
    /// Keep it no longer.
    Unpin(OneBackup),
    /// Remove what nothing refers to.
    Clear(Clear),
    /// Count on a backup no longer whose files are damaged, or again on one that is whole.
    MarkUnusable(MarkUnusable),
    /// Read the files of a backup, and see whether they are what was written.
    Verify(Verify),
    /// Try a phase of compressing a backup.
    Compress(Box<Compress>),
    /// Try whether a backup boots.
    Validate(Box<Validate>),
    /// Try a job again that failed or was cancelled.
    JobRetry(OneJob),
    /// End a job.
    JobCancel(OneJob),
    /// A VM gets the disks of a backup.
    RestoreVm(Box<RestoreVm>),
    /// A disk of a backup comes to a VM.
    RestoreDisk(Box<RestoreDisk>),
    /// A new VM from a backup.
    RestoreNew(Box<RestoreNew>),
    /// Read files in a backup.
    Files(Files),
    /// Give a VM that runs from a backup's files all that is in them.
    Consolidate(Consolidate),
    /// Remove what a restore replaced.
    Discard(Discard),
    /// Keep all disks of a VM as they are at one instant.
    SnapshotCreate(SnapshotCreate),
    /// A VM goes on from a snapshot.
    SnapshotRevert(SnapshotNamed),
    /// Let go of a snapshot.
    SnapshotDelete(SnapshotNamed),
}

/// A storage as a step needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageAt {
    /// What the policy calls it and what its marker says.
    pub is: StorageRef,
    /// Where it is now.
    pub path: Utf8PathBuf,
}

/// Carry on what was interrupted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recover {
    /// Which action.
    pub action: ActionId,
    /// The VM it holds.
    pub vm: Option<VmRef>,
    /// What that action waits for.
    #[serde(default)]
    pub lane: Lane,
}

/// Give up what was interrupted: what it did stays, and what it held is free.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abandon {
    /// Which action.
    pub action: ActionId,
    /// The VM it holds.
    pub vm: Option<VmRef>,
    /// What it did, or began to do, in words.
    pub stays: Vec<String>,
}

impl Op {
    /// Its verb.
    #[must_use]
    pub fn verb(&self) -> Verb {
        match self {
            Self::StorageCreate(_) => Verb::StorageCreate,
            Self::OfferingCreate(_) => Verb::OfferingCreate,
            Self::OfferingUpdate(_) => Verb::OfferingUpdate,
            Self::OfferingDelete(_) => Verb::OfferingDelete,
            Self::PolicyCreate(_) => Verb::PolicyCreate,
            Self::PolicyUpdate(_) => Verb::PolicyUpdate,
            Self::PolicyDelete(_) => Verb::PolicyDelete,
            Self::Assign(_) => Verb::Assign,
            Self::Unassign(_) => Verb::Unassign,
            Self::Retain(_) => Verb::Retain,
            Self::Adopt(_) => Verb::Adopt,
            Self::Tag(_) => Verb::Tag,
            Self::Recover(_) => Verb::Recover,
            Self::Abandon(_) => Verb::Abandon,
            Self::Backup(_) => Verb::Backup,
            Self::Merge(_) => Verb::Merge,
            Self::Expire(_) => Verb::Expire,
            Self::Delete(_) => Verb::Delete,
            Self::Pin(_) => Verb::Pin,
            Self::Unpin(_) => Verb::Unpin,
            Self::MarkUnusable(_) => Verb::MarkUnusable,
            Self::Verify(_) => Verb::Verify,
            Self::Clear(_) => Verb::Clear,
            Self::Compress(_) => Verb::Compress,
            Self::Validate(_) => Verb::Validate,
            Self::JobRetry(_) => Verb::JobRetry,
            Self::JobCancel(_) => Verb::JobCancel,
            Self::RestoreVm(_) => Verb::RestoreVm,
            Self::RestoreDisk(_) => Verb::RestoreDisk,
            Self::RestoreNew(_) => Verb::RestoreNew,
            Self::Files(_) => Verb::Files,
            Self::Consolidate(_) => Verb::Consolidate,
            Self::Discard(_) => Verb::Discard,
            Self::SnapshotCreate(_) => Verb::SnapshotCreate,
            Self::SnapshotRevert(_) => Verb::SnapshotRevert,
            Self::SnapshotDelete(_) => Verb::SnapshotDelete,
        }
    }

    /// The VM it is about.
    #[must_use]
    pub fn vm(&self) -> Option<&VmRef> {
        match self {
            Self::Assign(op) => Some(&op.vm),
            Self::Unassign(op) => Some(&op.vm),
            Self::Retain(op) => Some(&op.vm),
            Self::Adopt(op) => Some(&op.vm),
            Self::Tag(op) => Some(&op.vm),
            Self::Recover(op) => op.vm.as_ref(),
            Self::Abandon(op) => op.vm.as_ref(),
            Self::Backup(op) => Some(&op.vm),
            Self::Merge(op) => Some(&op.vm),
            Self::Expire(op) | Self::Delete(op) | Self::Pin(op) | Self::Unpin(op) => Some(&op.vm),
            Self::MarkUnusable(op) => Some(&op.of.vm),
            Self::Verify(op) => Some(&op.of.vm),
            Self::Compress(op) => Some(&op.of.vm),
            Self::Validate(op) => Some(&op.of.vm),
            Self::JobRetry(op) | Self::JobCancel(op) => Some(&op.of.vm),
            Self::Clear(op) => op.vm.as_ref(),
            Self::RestoreVm(op) => Some(&op.vm),
            Self::RestoreDisk(op) => Some(&op.vm),
            Self::RestoreNew(op) => Some(&op.vm),
            Self::Files(op) => Some(&op.vm),
            Self::Consolidate(op) => Some(&op.vm),
            Self::Discard(op) => Some(&op.vm),
            Self::SnapshotCreate(op) => Some(&op.vm),
            Self::SnapshotRevert(op) | Self::SnapshotDelete(op) => Some(&op.vm),
            Self::StorageCreate(_)
            | Self::OfferingCreate(_)
            | Self::OfferingUpdate(_)
            | Self::OfferingDelete(_)
            | Self::PolicyCreate(_)
            | Self::PolicyUpdate(_)
            | Self::PolicyDelete(_) => None,
        }
    }

    /// What it restores from.
    #[must_use]
    pub fn origin(&self) -> Option<&Origin> {
        match self {
            Self::RestoreVm(op) => Some(&op.origin),
            Self::RestoreNew(op) => Some(&op.origin),
            _ => None,
        }
    }

    /// The job that it is an attempt at.
    #[must_use]
    pub fn attempt(&self) -> Option<Attempt<'_>> {
        match self {
            Self::Compress(op) => Some(Attempt {
                vm: &op.of.vm,
                job: JobId::of(&op.of.backup, op.kind().as_str()),
                retry: op.retry,
            }),
            Self::Validate(op) => Some(Attempt {
                vm: &op.of.vm,
                job: JobId::of(&op.of.backup, JobKind::Validate.as_str()),
                retry: op.retry,
            }),
            _ => None,
        }
    }

    /// What it is about, by its name.
    #[must_use]
    pub fn object(&self) -> Option<&str> {
        match self {
            Self::StorageCreate(op) => Some(&op.storage.is.name),
            Self::OfferingCreate(op) | Self::OfferingUpdate(op) => Some(&op.name),
            Self::PolicyCreate(op) | Self::PolicyUpdate(op) => Some(&op.name),
            Self::OfferingDelete(op) | Self::PolicyDelete(op) => Some(&op.name),
            _ => self.vm().map(|vm| vm.name.as_str()),
        }
    }

    /// The open action that it carries on, if it does.
    #[must_use]
    pub fn carries_on(&self) -> Option<&ActionId> {
        match self {
            Self::Recover(op) => Some(&op.action),
            Self::Consolidate(op) => op.carries_on.as_ref(),
            _ => None,
        }
    }

    /// The VM whose record and definition it is decided on.
    #[must_use]
    pub fn guest(&self) -> Option<&VmRef> {
        match self {
            Self::RestoreNew(op) => Some(&op.origin.from),
            _ => self.vm(),
        }
    }
}
