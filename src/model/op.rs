//! What an action is to do: a verb with its parameters.
//!
//! Everything that decides how it is carried out is in here, settings included, so that a plan and a
//! journal entry need no policy to be understood.

use std::collections::BTreeMap;
use std::sync::Arc;

use camino::Utf8PathBuf;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use crate::model::backup::Backup;
use crate::model::backup::Link;
use crate::model::backup::OfferingCopy;
use crate::model::backup::Owner;
use crate::model::backup::Slot;
use crate::model::backup::StorageRef;
use crate::model::backup::Unusable;
use crate::model::backup::VmRef;
use crate::model::id::ActionId;
use crate::model::id::BackupId;
use crate::model::id::Target;
use crate::model::machine::Format;
use crate::model::machine::Note;
use crate::model::orphan::OrphanKind;
use crate::model::policy::Offering;
use crate::model::policy::Quiesce;
use crate::model::policy::VmPolicy;
use crate::model::seconds::Seconds;
use crate::model::step::BackupAt;

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
    /// Take a VM for ours as it is now, with what another state made of it.
    Adopt(Box<Adopt>),
    /// Write tags into a VM's definition.
    Tag(Tag),
    /// Carry on what was interrupted.
    Recover(Recover),
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
    /// Count on a backup no longer whose files are damaged.
    MarkUnusable(MarkUnusable),
    /// A new, stopped VM from a backup.
    RestoreNew(Box<RestoreNew>),
    /// Keep all disks of a VM as they are at one instant.
    SnapshotCreate(SnapshotCreate),
    /// A VM goes on from a snapshot.
    SnapshotRevert(SnapshotNamed),
    /// Let go of a snapshot.
    SnapshotDelete(SnapshotNamed),
}

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
    Adopt,
    Tag,
    Recover,
    Backup,
    Merge,
    Expire,
    Delete,
    Pin,
    Unpin,
    MarkUnusable,
    Clear,
    RestoreNew,
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
            Self::Adopt => "adopt",
            Self::Tag => "tag",
            Self::Recover => "recover",
            Self::Backup => "backup",
            Self::Merge => "merge",
            Self::Expire => "expire",
            Self::Delete => "delete",
            Self::Pin => "pin",
            Self::Unpin => "unpin",
            Self::MarkUnusable => "mark_unusable",
            Self::Clear => "clear",
            Self::RestoreNew => "restore_new",
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
            Self::Recover
            | Self::Backup
            | Self::Merge
            | Self::Expire
            | Self::Delete
            | Self::Pin
            | Self::Unpin
            | Self::MarkUnusable
            | Self::Clear
            | Self::RestoreNew
            | Self::SnapshotCreate
            | Self::SnapshotRevert
            | Self::SnapshotDelete => Group::Backup,
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

/// A storage as a step needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageAt {
    /// What the policy calls it and what its marker says.
    pub is: StorageRef,
    /// Where it is now.
    pub path: Utf8PathBuf,
}

/// Make a directory a storage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageCreate {
    /// Name, new id and path.
    pub storage: StorageAt,
    /// The marker is there already, from another state: only the record is made.
    pub known: bool,
}

/// Something that the policy names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// Its name.
    pub name: String,
}

/// Record an offering.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OfferingSet {
    /// Its name.
    pub name: String,
    /// What it says.
    pub spec: Offering,
}

/// Record a policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PolicySet {
    /// Its name.
    pub name: String,
    /// What it says.
    pub spec: VmPolicy,
    /// Since when each of its schedules counts: slots before are not made up for.
    pub since: BTreeMap<String, Timestamp>,
}

/// A VM gets a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assign {
    /// Which VM.
    pub vm: VmRef,
    /// Which policy.
    pub policy: String,
    /// Slots before this instant are not made up for.
    pub since: Timestamp,
}

/// No policy selects a VM any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unassign {
    /// Which VM.
    pub vm: VmRef,
}

/// Take a VM for ours as it is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adopt {
    /// Which VM.
    pub vm: VmRef,
    /// What another state made of it; none: its definition alone was in doubt.
    pub estate: Option<Estate>,
    /// What is on record of the domain from then on; none: what is there already.
    pub note: Option<Note>,
}

/// The backups of a VM on one storage that another state made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estate {
    /// Where they are.
    pub storage: StorageAt,
    /// Whose they were.
    pub from: Owner,
    /// What they say.
    pub backups: Vec<Arc<Backup>>,
    /// Backups on record that are not there any more.
    pub gone: Vec<BackupId>,
}

/// Write tags into a VM's definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    /// Which VM.
    pub vm: VmRef,
    /// All it will have.
    pub tags: BTreeMap<String, String>,
}

/// Carry on what was interrupted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recover {
    /// Which action.
    pub action: ActionId,
    /// The VM it holds.
    pub vm: Option<VmRef>,
}

/// Back a VM up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackupOp {
    /// The id it will have.
    pub id: BackupId,
    /// Which VM.
    pub vm: VmRef,
    /// Where to.
    pub storage: StorageAt,
    /// The policy that asks for it.
    pub policy: Option<String>,
    /// The offering it is made under.
    pub offering: Option<OfferingCopy>,
    /// The slots it serves.
    pub slots: Vec<Slot>,
    /// The backup it continues.
    pub parent: Option<BackupId>,
    /// Its place in a chain; none: isolated.
    pub link: Option<Link>,
    /// The chain ends with it: nothing stays on primary.
    pub ends_chain: bool,
    /// Every disk, by target.
    pub disks: BTreeMap<Target, DiskPlan>,
    /// Hard disks that stay as they are.
    pub others: Vec<Target>,
    /// What the guest is asked.
    pub quiesce: Quiesce,
    /// Bounds the copy.
    pub timeout: Seconds,
}

/// Whether a disk is copied whole, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum DiskPlan {
    /// Only what changed since the parent.
    Incremental,
    /// All of it.
    Full {
        /// Why.
        because: WhyFull,
    },
}

/// Why a disk is copied whole.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum WhyFull {
    /// The VM has no chain that could go on.
    FirstOfChain,
    /// The chain has as many backups as it may.
    ChainFull,
    /// The backup stands outside of the chain.
    Isolated,
    /// Somebody asked for it.
    Asked,
    /// The chain lives on another storage.
    OtherStorage,
    /// The disk was not in the parent.
    NewDisk,
    /// The delta is not where it was left.
    DeltaGone,
    /// The domain's note and the record disagree.
    NoteDisagrees,
    /// A backup of the chain cannot be used.
    ParentUnusable,
    /// Snapshots that somebody else made forbid leaving a delta.
    ForeignSnapshots,
}

/// Merge the deltas of a VM and end its chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merge {
    /// Which VM.
    pub vm: VmRef,
    /// knib's note goes as well.
    pub leave: bool,
}

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

/// Count on a backup no longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkUnusable {
    /// Which.
    pub of: OneBackup,
    /// Why.
    pub why: Unusable,
}

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

/// Keep all disks of a VM as they are at one instant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotCreate {
    /// Which VM.
    pub vm: VmRef,
    /// What the snapshot will be called.
    pub name: String,
    /// When it was asked for.
    pub created: Timestamp,
    /// Every disk that is kept.
    pub disks: Vec<Target>,
    /// Hard disks that stay as they are.
    pub others: Vec<Target>,
    /// What the guest is asked.
    pub quiesce: Quiesce,
}

/// A snapshot that is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotNamed {
    /// Of which VM.
    pub vm: VmRef,
    /// Which.
    pub name: String,
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
            Self::Adopt(_) => Verb::Adopt,
            Self::Tag(_) => Verb::Tag,
            Self::Recover(_) => Verb::Recover,
            Self::Backup(_) => Verb::Backup,
            Self::Merge(_) => Verb::Merge,
            Self::Expire(_) => Verb::Expire,
            Self::Delete(_) => Verb::Delete,
            Self::Pin(_) => Verb::Pin,
            Self::Unpin(_) => Verb::Unpin,
            Self::MarkUnusable(_) => Verb::MarkUnusable,
            Self::Clear(_) => Verb::Clear,
            Self::RestoreNew(_) => Verb::RestoreNew,
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
            Self::Adopt(op) => Some(&op.vm),
            Self::Tag(op) => Some(&op.vm),
            Self::Recover(op) => op.vm.as_ref(),
            Self::Backup(op) => Some(&op.vm),
            Self::Merge(op) => Some(&op.vm),
            Self::Expire(op) | Self::Delete(op) | Self::Pin(op) | Self::Unpin(op) => Some(&op.vm),
            Self::MarkUnusable(op) => Some(&op.of.vm),
            Self::Clear(op) => op.vm.as_ref(),
            Self::RestoreNew(op) => Some(&op.vm),
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

    /// The VM whose record and definition it is decided on.
    #[must_use]
    pub fn guest(&self) -> Option<&VmRef> {
        match self {
            Self::RestoreNew(op) => Some(&op.from),
            _ => self.vm(),
        }
    }
}
