//! What changes the record: storages, offerings, policies, and whose VMs are.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;
use serde::Serialize;

use crate::model::backup::Backup;
use crate::model::backup::Owner;
use crate::model::backup::VmRef;
use crate::model::id::BackupId;
use crate::model::machine::Note;
use crate::model::op::StorageAt;
use crate::model::policy::Offering;
use crate::model::policy::VmPolicy;
use crate::model::retention::Rules;

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

/// What lets backups of a VM go from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retain {
    /// Of which VM.
    pub vm: VmRef,
    /// All of it.
    pub rules: Rules,
    /// When it was decided.
    pub at: Timestamp,
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
