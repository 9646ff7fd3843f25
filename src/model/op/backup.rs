//! Backups and what ends their chains.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use crate::model::backup::Link;
use crate::model::backup::OfferingCopy;
use crate::model::backup::Slot;
use crate::model::backup::VmRef;
use crate::model::id::BackupId;
use crate::model::id::Target;
use crate::model::op::Compression;
use crate::model::op::StorageAt;
use crate::model::policy::Quiesce;
use crate::model::seconds::Seconds;

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
    /// How it is compressed while it is copied; none: it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
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
    /// The guest of a backup of the chain failed when it was booted.
    Invalid,
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
