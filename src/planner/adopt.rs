//! VMs whose backups another state owns: taken over where the VM runs here now, else told.
//!
//! A VM that is off may run elsewhere, and a second state of this very libvirt may be in use: a person
//! decides about those.

use std::sync::Arc;

use serde_json::json;

use crate::action;
use crate::model::backup::Backup;
use crate::model::backup::Owner;
use crate::model::backup::StorageRef;
use crate::model::backup::VmRef;
use crate::model::finding::Finding;
use crate::model::finding::Severity;
use crate::model::id::BackupId;
use crate::model::id::StorageId;
use crate::model::id::VmId;
use crate::model::machine::Machine;
use crate::model::machine::Note;
use crate::model::op::Adopt;
use crate::model::op::Estate;
use crate::model::op::Op;
use crate::model::op::StorageAt;
use crate::model::plan::Class;
use crate::model::plan::Plan;
use crate::model::reason::Reason;
use crate::model::world::Guest;
use crate::model::world::World;
use crate::planner::Options;
use crate::planner::draft::Draft;
use crate::planner::draft::Key;
use crate::planner::draft::Wish;
use crate::planner::draft::blocked;
use crate::planner::recover;

/// A VM's directory on a storage that is another state's.
struct Theirs<'a> {
    storage: StorageAt,
    owner: &'a Owner,
    foreign: &'a [Arc<Backup>],
    /// Also those that cannot be read.
    backups: usize,
}

/// Takes over what moved here, and tells what moved away.
pub(super) fn plan(draft: &mut Draft<'_>) {
    for guest in draft.now.guests.values() {
        let ahead = draft.ahead.guests.get(&guest.vm.uuid);
        let selected = ahead.is_some_and(|guest| guest.record.assigned.is_some());
        for estate in estates(draft.now, &guest.vm.uuid) {
            match moved_here(draft.now, guest, estate.owner) {
                true if selected => {
                    let storage = estate.storage.is.name.clone();
                    if draft.add(wish(draft.now, guest, &estate, None)) {
                        draft.owns(&guest.vm.uuid, &storage);
                    }
                }
                true => {}
                // What is to be backed up is blocked then, and says so.
                false if is_of_this_libvirt(draft.now, estate.owner) => {}
                false => draft.findings.extend(moved_away(guest, &estate)),
            }
        }
    }
}

/// Takes a VM over because a person says so.
#[must_use]
pub fn adopt(vm: &VmId, world: &World, options: &Options) -> Plan {
    let mut draft = Draft::new(world, options, "UTC");
    recover::plan(&mut draft);
    if let Some(guest) = world.guests.get(vm) {
        for estate in estates(world, vm) {
            let wish = wish(world, guest, &estate, Some(Reason::Asked));
            draft.add(wish);
        }
        if action::is_outdated(guest) {
            draft.add(as_it_is(guest));
        }
    }
    draft.finish(None, Vec::new(), Vec::new())
}

/// Its definition is older than the record, and it is right all the same: nothing is current, so the
/// next backup is full.
fn as_it_is(guest: &Guest) -> Wish {
    let Guest { vm, record, .. } = guest;
    let machine = guest.machine.as_ref();
    let op = Adopt {
        vm: vm.clone(),
        estate: None,
        note: Some(Note {
            serial: record.serial,
            current: None,
            snapshots: record.snapshots.clone(),
            replaced: machine.map(Machine::replaced).unwrap_or_default(),
        }),
    };
    let mut wish = Wish::new(
        format!("adopt.{}", vm.name),
        Op::Adopt(Box::new(op)),
        Class::Config,
        Reason::Asked,
    );
    wish.change.before = json!({ "current": record.current });
    wish.change.after = json!({ "current": null });
    wish.needs = vec![Key::Vm(vm.uuid.clone())];
    wish.gives = vec![Key::Vm(vm.uuid.clone())];
    wish
}

fn estates<'a>(world: &'a World, vm: &VmId) -> Vec<Theirs<'a>> {
    let usable = world
        .storages
        .iter()
        .filter_map(|(name, seen)| Some((name, seen, seen.usable()?)));
    let theirs = usable.filter_map(|(name, seen, id)| {
        let found = seen.vms.get(vm)?;
        let owner = found.owner.as_ref()?;
        (Some(&owner.state_id) != world.state.as_ref()).then(|| Theirs {
            storage: at(name, id, seen.path.clone()),
            owner,
            foreign: &found.foreign,
            backups: found.backups.len(),
        })
    });
    theirs.collect()
}

fn at(name: &str, id: &StorageId, path: camino::Utf8PathBuf) -> StorageAt {
    let is = StorageRef {
        name: name.to_owned(),
        id: id.clone(),
    };
    StorageAt { is, path }
}

/// It runs here, bears the mark of the one who owned it, and that is no other state of this libvirt.
fn moved_here(world: &World, guest: &Guest, owner: &Owner) -> bool {
    let runs = guest
        .machine
        .as_ref()
        .is_some_and(|machine| machine.power.is_on() && machine.note.is_some());
    runs && !is_of_this_libvirt(world, owner)
}

/// Another state of the very libvirt that is looked at.
pub(super) fn is_of_this_libvirt(world: &World, owner: &Owner) -> bool {
    let same_uri = owner.uri.as_ref().is_none_or(|uri| *uri == world.host.uri);
    owner.host_uuid == world.host.id && same_uri
}

fn moved_away(guest: &Guest, estate: &Theirs<'_>) -> Option<Finding> {
    // Backups of VMs that this state has nothing to do with are nobody's business here.
    guest.record.assigned.as_ref()?;
    let VmRef { name, .. } = &guest.vm;
    let Owner {
        hostname, since, ..
    } = estate.owner;
    let text = format!(
        "the backups of {name} on {} belong to {hostname} since {since:.0}; nothing of them is changed from here",
        estate.storage.is.name
    );
    let hint = format!("if it is to be backed up here again: knib vm adopt {name}");
    Some(
        Finding::new(Severity::Warning, "owned_elsewhere", text)
            .vm(name.clone())
            .hint(hint),
    )
}

fn wish(world: &World, guest: &Guest, estate: &Theirs<'_>, asked: Option<Reason>) -> Wish {
    let Guest { vm, record, .. } = guest;
    let there = |id: &BackupId| estate.foreign.iter().any(|backup| backup.id == *id);
    let of_storage = record
        .backups
        .values()
        .filter(|backup| backup.storage.id == estate.storage.is.id);
    let gone = of_storage.map(|backup| &backup.id);
    let note = guest
        .machine
        .as_ref()
        .and_then(|machine| machine.note.clone());
    let op = Adopt {
        vm: vm.clone(),
        estate: Some(Estate {
            storage: estate.storage.clone(),
            from: estate.owner.clone(),
            backups: estate.foreign.to_vec(),
            gone: gone.filter(|id| !there(id)).cloned().collect(),
        }),
        note: note.filter(|note: &Note| note.current.as_ref().is_some_and(there)),
    };
    let reason = asked.unwrap_or_else(|| Reason::MovedHere {
        owner: estate.owner.hostname.clone(),
        since: estate.owner.since,
    });
    let mut wish = Wish::new(
        format!("adopt.{}/{}", vm.name, estate.storage.is.name),
        Op::Adopt(Box::new(op)),
        Class::Config,
        reason,
    );
    wish.change.before = json!({ "owner": estate.owner.hostname });
    wish.change.after = json!({
        "owner": world.host.hostname,
        "storage": estate.storage.is.name,
        "backups": estate.foreign.len(),
    });
    wish.needs = vec![Key::Vm(vm.uuid.clone())];
    wish.gives = vec![Key::Vm(vm.uuid.clone())];
    if guest.machine.is_none() {
        wish.blocks.push(blocked(
            "vm_gone",
            format!("{} is not defined here", vm.name),
            "define it first: its backups hold its definition",
        ));
    } else if estate.foreign.len() != estate.backups {
        wish.blocks.push(blocked(
            "unreadable_storage",
            format!(
                "{} of the backups of {} on {} cannot be read",
                estate.backups - estate.foreign.len(),
                vm.name,
                estate.storage.is.name
            ),
            "the plan names them; nothing is taken over while they are unknown",
        ));
    }
    wish
}
