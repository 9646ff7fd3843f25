//! Everything that was seen at one instant, beside what is on record: what a plan is made from.
//!
//! It can be saved and replayed. Partitioned by guest, so that an action's start looks at one guest
//! again and a VM's plan depends on no other VM.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use camino::Utf8PathBuf;
use jiff::Timestamp;
use serde::Deserialize;
use serde::Serialize;

use crate::model::backup::Backup;
use crate::model::backup::Owner;
use crate::model::backup::Unusable;
use crate::model::backup::VmRef;
use crate::model::bytes::Bytes;
use crate::model::change::Change;
use crate::model::finding::Finding;
use crate::model::id::ActionId;
use crate::model::id::BackupId;
use crate::model::id::HostId;
use crate::model::id::StateId;
use crate::model::id::StorageId;
use crate::model::id::VmId;
use crate::model::machine::Machine;
use crate::model::op::Op;
use crate::model::policy::Offering;
use crate::model::policy::VmPolicy;
use crate::model::program::Direction;
use crate::model::program::Mark;
use crate::model::program::Program;
use crate::model::program::StepError;
use crate::model::receipt::Receipt;
use crate::model::record::Record;
use crate::model::snapshot::Snapshots;
use crate::model::step::Step;

/// The version of a saved world.
pub const FORMAT: u32 = 1;

/// Who this hypervisor is and what it can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// libvirt's host uuid.
    pub id: HostId,
    /// Its name.
    pub hostname: String,
    /// libvirt's version, `9.0.0`.
    pub libvirt: String,
    /// QEMU's version.
    pub qemu: String,
    /// How libvirt calls itself: `qemu:///system`
    #[serde(default)]
    pub uri: String,
}

/// Room on a file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    /// Free for us.
    pub free: Bytes,
    /// In all.
    pub total: Bytes,
    /// `ext4`, `nfs`.
    pub kind: String,
    /// Tells file systems apart on this host.
    pub device: u64,
}

/// Everything that was seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct World {
    /// The version of this form.
    pub format: u32,
    /// The instant all decisions are taken at.
    pub now: Timestamp,
    /// This hypervisor.
    pub host: Identity,
    /// The state file; none when there is none yet.
    pub state: Option<StateId>,
    /// VMs that are here or on record.
    pub guests: BTreeMap<VmId, Guest>,
    /// What was begun about no VM and is not closed.
    #[serde(default)]
    pub open: Vec<Open>,
    /// Storages that the policy names or the record knows, by name.
    pub storages: BTreeMap<String, StorageSeen>,
    /// What the policy said when it was last applied.
    pub applied: Applied,
    /// Room for deltas, by directory of a disk.
    pub primaries: BTreeMap<Utf8PathBuf, Space>,
    /// What could not be seen.
    pub findings: Vec<Finding>,
}

/// One VM: as it is, as it is on record, and what is going on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Guest {
    /// By both its names.
    pub vm: VmRef,
    /// As it is; none when it is not defined here.
    pub machine: Option<Machine>,
    /// As it is on record.
    pub record: Record,
    /// What was begun and is not closed.
    pub open: Vec<Open>,
}

/// An action that was begun and is not closed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Open {
    /// Which.
    pub action: ActionId,
    /// What it is to do.
    pub op: Op,
    /// How.
    pub program: Program,
    /// Where each step stands, in the shape of the stages.
    pub marks: Vec<Vec<Option<Mark>>>,
    /// What each done step learned, in the same shape.
    pub receipts: Vec<Vec<Option<Receipt>>>,
    /// When each step was first intended, in the same shape.
    pub intended: Vec<Vec<Option<Timestamp>>>,
    /// Which way it goes.
    pub direction: Direction,
    /// What turned it back, or what left it open.
    pub error: Option<StepError>,
    /// When it was begun.
    pub since: Timestamp,
    /// The command that began it, or took it up last.
    pub command: String,
    /// Its process.
    pub pid: u32,
    /// Whether that process still runs.
    pub alive: bool,
}

impl Open {
    /// All that is left of it is to give a VM what it reads from a backup.
    #[must_use]
    pub fn consolidates(&self) -> bool {
        let pulls = |stage: &Vec<Step>| stage.iter().any(|step| matches!(step, Step::Pull { .. }));
        let Some(first) = self.program.stages.iter().position(pulls) else {
            return false;
        };
        let before = self.marks.iter().take(first).flatten();
        let done = before.into_iter().all(|mark| *mark == Some(Mark::Done));
        self.direction == Direction::Forward && done
    }
}

/// A storage as it was seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StorageSeen {
    /// Where it is said to be.
    pub path: Utf8PathBuf,
    /// The id on record.
    pub known: Option<StorageId>,
    /// What is there.
    pub found: StorageFound,
    /// Room on it.
    pub space: Option<Space>,
    /// VMs with a directory there.
    pub vms: BTreeMap<VmId, VmFound>,
}

/// What is where a storage is said to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StorageFound {
    /// No directory, or one that cannot be read: why.
    Unreachable(String),
    /// A directory without a marker.
    Unmarked {
        /// Nothing is in it.
        empty: bool,
    },
    /// A storage.
    Marked(StorageId),
    /// A marker that cannot be understood: why.
    Strange(String),
}

/// A VM's directory on a storage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct VmFound {
    /// Whose it is.
    pub owner: Option<Owner>,
    /// Backups in it.
    pub backups: BTreeSet<BackupId>,
    /// Stages in it.
    pub stages: BTreeSet<BackupId>,
    /// Backups on record with a file that is missing or has another length, and which.
    #[serde(default)]
    pub damage: BTreeMap<BackupId, Unusable>,
    /// What its backups say, where another state owns them and the VM is defined here.
    #[serde(default)]
    pub foreign: Vec<Arc<Backup>>,
}

/// What the policy said when it was last applied.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Applied {
    /// Storages by name.
    pub storages: BTreeMap<String, AppliedStorage>,
    /// Offerings by name, removed ones included.
    pub offerings: BTreeMap<String, AppliedOffering>,
    /// Policies by name.
    pub policies: BTreeMap<String, AppliedPolicy>,
}

/// A storage on record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedStorage {
    /// Its id.
    pub id: StorageId,
    /// Where it was.
    pub path: Utf8PathBuf,
}

/// An offering on record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppliedOffering {
    /// What it said.
    pub spec: Offering,
    /// It is no longer in the policy.
    pub removed: bool,
}

/// A policy on record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AppliedPolicy {
    /// What it said.
    pub spec: VmPolicy,
    /// Since when each schedule counts.
    pub since: BTreeMap<String, Timestamp>,
}

impl StorageSeen {
    /// Its id, when it is there and is the one on record.
    #[must_use]
    pub fn usable(&self) -> Option<&StorageId> {
        match &self.found {
            StorageFound::Marked(id) if self.known.as_ref().is_none_or(|known| known == id) => {
                Some(id)
            }
            _ => None,
        }
    }
}

impl World {
    /// Learns what an action changed. A change about a VM that was never seen makes its guest.
    pub fn learn(&mut self, change: &Change) {
        match change {
            Change::Storage { storage, path } => {
                let known = AppliedStorage {
                    id: storage.id.clone(),
                    path: path.clone(),
                };
                self.applied.storages.insert(storage.name.clone(), known);
                if let Some(seen) = self.storages.get_mut(&storage.name) {
                    seen.known = Some(storage.id.clone());
                    seen.found = StorageFound::Marked(storage.id.clone());
                }
            }
            Change::Offering { name, spec } => {
                let applied = AppliedOffering {
                    spec: spec.clone(),
                    removed: false,
                };
                self.applied.offerings.insert(name.clone(), applied);
            }
            Change::OfferingRemoved { name } => {
                if let Some(offering) = self.applied.offerings.get_mut(name) {
                    offering.removed = true;
                }
            }
            Change::Policy { name, spec, since } => {
                let applied = AppliedPolicy {
                    spec: spec.as_ref().clone(),
                    since: since.clone(),
                };
                self.applied.policies.insert(name.clone(), applied);
            }
            Change::PolicyRemoved { name } => {
                self.applied.policies.remove(name);
            }
            Change::Assigned { vm, .. }
            | Change::Unassigned { vm }
            | Change::Retained { vm, .. }
            | Change::Remarked { vm, .. }
            | Change::Verified { vm, .. }
            | Change::Deleted { vm, .. }
            | Change::Touched { vm, .. }
            | Change::Snapshots { vm, .. }
            | Change::Wished { vm, .. }
            | Change::Job { vm, .. }
            | Change::Served { vm, .. } => self.guest_mut(vm).record.learn(change),
            Change::Published(backup) => self.guest_mut(&backup.vm).record.learn(change),
        }
    }

    /// Everything that was begun and is not closed.
    pub fn opens(&self) -> impl Iterator<Item = &Open> {
        let of_guests = self.guests.values().flat_map(|guest| &guest.open);
        self.open.iter().chain(of_guests)
    }

    /// The latest instant on record: of a backup, of a failure, or since when something counts.
    #[must_use]
    pub fn latest(&self) -> Option<Timestamp> {
        let of_record = |record: &Record| {
            let backups = record.backups.values().map(|backup| backup.created);
            let failures = record.failures.iter().map(|failed| failed.at);
            let assigned = record.assigned.iter().map(|assigned| assigned.since);
            backups.chain(failures).chain(assigned).max()
        };
        let of_guests = self
            .guests
            .values()
            .filter_map(|guest| of_record(&guest.record));
        let policies = self.applied.policies.values();
        let since = policies.flat_map(|policy| policy.since.values().copied());
        of_guests.chain(since).max()
    }

    fn guest_mut(&mut self, vm: &VmRef) -> &mut Guest {
        self.guests
            .entry(vm.uuid.clone())
            .or_insert_with(|| Guest::new(vm.clone()))
    }
}

impl Guest {
    /// A VM that nothing is known of.
    #[must_use]
    pub fn new(vm: VmRef) -> Self {
        Self {
            vm,
            machine: None,
            record: Record::default(),
            open: Vec::new(),
        }
    }

    /// Its snapshots, as the newer of note and record has them: a note outlives the state, a record
    /// the definition of an older XML.
    #[must_use]
    pub fn snapshots(&self) -> &Snapshots {
        let note = self.machine.as_ref().and_then(|here| here.note.as_ref());
        match note {
            Some(note) if note.serial > self.record.serial => &note.snapshots,
            _ => &self.record.snapshots,
        }
    }
}
