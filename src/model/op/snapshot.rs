//! Snapshots of the disks.

use jiff::Timestamp;
use serde::Deserialize;
use serde::Serialize;

use crate::model::backup::VmRef;
use crate::model::id::Target;
use crate::model::policy::Quiesce;

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
