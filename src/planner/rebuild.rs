//! A state made anew from what storages hold and what VMs say of themselves.
//!
//! Backups, pins and removals are as their own records say. A VM's note is believed where the storage
//! has the backup it names, as the last of its chain, and the disks lie on what that backup left; else
//! its next backup is a full one. What belongs to others stays theirs.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use crate::model::backup::Backup;
use crate::model::backup::OfferingCopy;
use crate::model::backup::Owner;
use crate::model::backup::StorageRef;
use crate::model::backup::VmRef;
use crate::model::change::Change;
use crate::model::finding::Finding;
use crate::model::finding::Severity;
use crate::model::id::BackupId;
use crate::model::id::HostId;
use crate::model::id::StateId;
use crate::model::id::VmId;
use crate::model::kept::Kept;
use crate::model::machine::Disk;
use crate::model::machine::Machine;
use crate::model::policy::Policy;
use crate::model::record::Record;
use crate::model::world::World;
use crate::planner::adopt;

/// What a state that is made anew holds.
#[derive(Clone, Debug)]
pub struct Rebuilt {
    /// The id that the backups know their state by; none: there are none.
    pub id: Option<StateId>,
    /// All that it learns.
    pub changes: Vec<Change>,
    /// What it then knows of each VM, by name.
    pub vms: Vec<RebuiltVm>,
    /// What it does not take, and why. With an error among them it is not to be written.
    pub findings: Vec<Finding>,
}

/// What a state that was made anew knows of a VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RebuiltVm {
    /// Which.
    pub vm: VmRef,
    /// It is defined here.
    pub defined: bool,
    /// How many backups it has.
    pub backups: usize,
    /// The backup that its next one continues; null: that is a full one.
    pub current: Option<BackupId>,
}

/// Draws up what the record was, as far as it can be told. `world` is seen without a state.
#[must_use]
pub fn rebuild(kept: &[Kept], policy: &Policy, world: &World) -> Rebuilt {
    let mut rebuilt = Rebuilt {
        id: lost(kept, world),
        changes: Vec::new(),
        vms: Vec::new(),
        findings: Vec::new(),
    };
    let mut records: BTreeMap<VmId, Record> = BTreeMap::new();
    for kept in kept.iter().filter(|kept| !is_empty(kept)) {
        if owner(kept).map(|owner| owner.state) == rebuilt.id.as_ref() {
            let record = records.entry(kept.vm.clone()).or_default();
            take(record, kept, &mut rebuilt.findings);
        } else {
            rebuilt.findings.push(somebody_elses(kept, world));
        }
    }
    for (name, seen) in &world.storages {
        if let Some(id) = seen.usable() {
            let (name, id) = (name.clone(), id.clone());
            rebuilt.changes.push(Change::Storage {
                storage: StorageRef { name, id },
                path: seen.path.clone(),
            });
        }
    }
    rebuilt.changes.extend(offerings(&records, policy));
    for (id, mut record) in records {
        without_broken(&mut record, &mut rebuilt.findings);
        let machine = world.guests.get(&id).and_then(|one| one.machine.as_ref());
        if let Some(vm) = vm(&id, machine, &record) {
            rebuilt.learn(&vm, machine, record);
        }
    }
    rebuilt.vms.sort_by(|a, b| a.vm.cmp(&b.vm));
    rebuilt
}

impl Rebuilt {
    fn learn(&mut self, vm: &VmRef, machine: Option<&Machine>, mut record: Record) {
        let note = machine.and_then(|machine| machine.note.as_ref());
        record.serial = note.map_or(0, |note| note.serial);
        record.snapshots = note.map(|note| note.snapshots.clone()).unwrap_or_default();
        record.current = note.and_then(|note| note.current.clone());
        if !machine.is_some_and(|machine| agrees(machine, &record)) {
            record.current = None;
        }
        self.vms.push(RebuiltVm {
            vm: vm.clone(),
            defined: machine.is_some(),
            backups: record.backups.len(),
            current: record.current.clone(),
        });
        // First, for it says what the VM is called now.
        self.changes.push(Change::Touched {
            vm: vm.clone(),
            serial: record.serial,
            current: record.current,
        });
        self.changes.push(Change::Snapshots {
            vm: vm.clone(),
            snapshots: record.snapshots,
        });
        for backup in record.backups.values() {
            self.changes.push(Change::Served {
                vm: vm.clone(),
                slots: backup.slots.clone(),
            });
            let backup = Box::new(backup.as_ref().clone());
            self.changes.push(Change::Published(backup));
        }
    }
}

/// Whose state a VM's directory belongs to.
struct Whose<'a> {
    state: &'a StateId,
    host: &'a HostId,
    owner: Option<&'a Owner>,
}

/// As its owner file says; where there is none, who made the newest backup.
fn owner(kept: &Kept) -> Option<Whose<'_>> {
    if let Some(owner) = &kept.owner {
        return Some(Whose {
            state: &owner.state_id,
            host: &owner.host_uuid,
            owner: Some(owner),
        });
    }
    let made = kept.backups.last().map(|backup| backup.origin.as_ref())?;
    Some(Whose {
        state: &made.state,
        host: &made.host,
        owner: None,
    })
}

/// The state of this host that most of the directories belong to; of several the latest.
fn lost(kept: &[Kept], world: &World) -> Option<StateId> {
    let mut states: BTreeMap<&StateId, _> = BTreeMap::new();
    for whose in kept.iter().filter_map(owner) {
        let here = match whose.owner {
            Some(owner) => adopt::is_of_this_libvirt(world, owner),
            None => *whose.host == world.host.id,
        };
        if here {
            let (count, since) = states.entry(whose.state).or_default();
            *count += 1;
            *since = whose.owner.map(|owner| owner.since).max(*since);
        }
    }
    let most = states.into_iter().max_by_key(|(_, standing)| *standing);
    most.map(|(state, _): (&StateId, (usize, _))| state.clone())
}

fn is_empty(kept: &Kept) -> bool {
    kept.backups.is_empty() && kept.unread.is_empty()
}

/// The backups of one directory, as they are called and placed now.
fn take(record: &mut Record, kept: &Kept, findings: &mut Vec<Finding>) {
    for unread in &kept.unread {
        let text = format!("{} {}", unread.path, unread.why);
        let hint = "put it right from a copy, or move its directory out of the storage, where its README.txt says how to restore it";
        findings.push(Finding::new(Severity::Error, "unreadable_backup", text).hint(hint));
    }
    for backup in &kept.backups {
        if let Some(there) = record.backups.get(&backup.id) {
            let text = format!(
                "{} of {} is on {} and on {}",
                backup.id, backup.vm.name, there.storage.name, kept.storage.name
            );
            let hint = "one of them is a copy: name only the other storage in the policy";
            findings.push(Finding::new(Severity::Error, "backup_twice", text).hint(hint));
            continue;
        }
        let mut backup = backup.as_ref().clone();
        backup.storage = Arc::new(kept.storage.clone());
        record.backups.insert(backup.id.clone(), Arc::new(backup));
    }
}

/// What cannot be restored, for a file that it continues is not there, or is another one, is not taken.
fn without_broken(record: &mut Record, findings: &mut Vec<Finding>) {
    loop {
        let mut backups = record.backups.values();
        let broken = backups.find_map(|backup| Some((backup.clone(), missing(record, backup)?)));
        let Some((backup, parent)) = broken else {
            return;
        };
        let text = format!(
            "{} of {} cannot be restored and is not taken: it continues {parent}, which is not there as it was",
            backup.id, backup.vm.name
        );
        let hint = "its files stay where they are: knib state check lists them";
        let finding = Finding::new(Severity::Warning, "chain_broken", text);
        findings.push(finding.vm(backup.vm.name.clone()).hint(hint));
        record.backups.remove(&backup.id);
    }
}

/// A backup that another one continues and that is not the one it was made from.
fn missing(record: &Record, backup: &Backup) -> Option<BackupId> {
    let mut disks = backup.disks.iter();
    disks.find_map(|(target, file)| {
        let edge = file.parent.as_ref()?;
        let parent = record.backups.get(&edge.backup);
        let continued = parent
            .filter(|parent| parent.storage == backup.storage)
            .and_then(|parent| parent.disks.get(target))
            .is_some_and(|file| file.birth == edge.birth);
        (!continued).then(|| edge.backup.clone())
    })
}

/// By the name it has here; else by that of its newest backup.
fn vm(id: &VmId, machine: Option<&Machine>, record: &Record) -> Option<VmRef> {
    let newest = || record.backups.values().last().map(|one| &one.vm.name);
    let name = machine.map(|machine| &machine.name).or_else(newest)?;
    Some(VmRef {
        name: name.clone(),
        uuid: id.clone(),
    })
}

/// Whether what the note says is current is so: nothing continues it, and a disk lies on its delta.
fn agrees(machine: &Machine, record: &Record) -> bool {
    let Some(backup) = record
        .current
        .as_ref()
        .and_then(|id| record.backups.get(id))
    else {
        return false;
    };
    let lies = |disk: &Disk| {
        let delta = record.delta_left(&backup.id, &disk.target);
        delta.is_some_and(|delta| delta.depth_in(disk).is_some())
    };
    record.is_last_of_chain(backup) && machine.disks.iter().any(lies)
}

/// Offerings as the newest backup under each had them, for what the policy says now to be compared with.
fn offerings(records: &BTreeMap<VmId, Record>, policy: &Policy) -> Vec<Change> {
    let mut backups: Vec<&Backup> = records
        .values()
        .flat_map(|record| record.backups.values().map(AsRef::as_ref))
        .collect();
    backups.sort_by_key(|backup| backup.created);
    let copies = backups.iter().filter_map(|one| one.offering.as_deref());
    let newest: BTreeMap<&String, &OfferingCopy> = copies.map(|copy| (&copy.name, copy)).collect();
    let mut changes = Vec::new();
    for (name, copy) in newest {
        changes.push(Change::Offering {
            name: name.clone(),
            spec: copy.spec.clone(),
        });
        if !policy.offerings.contains_key(name) {
            changes.push(Change::OfferingRemoved { name: name.clone() });
        }
    }
    changes
}

fn somebody_elses(kept: &Kept, world: &World) -> Finding {
    let newest = kept.backups.last().map(|backup| backup.vm.name.as_str());
    let name = newest.unwrap_or(kept.vm.as_str());
    let whose = owner(kept);
    let whose = match whose.as_ref().and_then(|whose| whose.owner) {
        Some(owner) if owner.host_uuid == world.host.id => "another state of this host".to_owned(),
        Some(owner) => owner.hostname.clone(),
        None => "nobody that is known".to_owned(),
    };
    let text = format!(
        "the backups of {name} in {} are not taken: they belong to {whose}",
        kept.dir
    );
    Finding::new(Severity::Note, "owned_elsewhere", text)
        .vm(name)
        .hint(format!("knib vm adopt {name} takes them over"))
}
