//! Plans of one action for commands that name a snapshot.

use std::collections::BTreeSet;

use camino::Utf8Path;
use serde_json::json;

use crate::model::id::Target;
use crate::model::id::VmId;
use crate::model::layout;
use crate::model::op::Op;
use crate::model::op::SnapshotCreate;
use crate::model::op::SnapshotNamed;
use crate::model::plan::Class;
use crate::model::plan::Plan;
use crate::model::policy::Policy;
use crate::model::policy::Quiesce;
use crate::model::reason::Block;
use crate::model::reason::Reason;
use crate::model::world::Guest;
use crate::model::world::World;
use crate::planner::Options;
use crate::planner::chain;
use crate::planner::draft::Draft;
use crate::planner::draft::Key;
use crate::planner::draft::Wish;
use crate::planner::draft::blocked;
use crate::planner::recover;
use crate::planner::request;

/// What `knib snapshot` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A new one, of this name or of one that says when.
    Create(Option<String>),
    /// The VM goes on from it.
    Revert(String),
    /// It goes.
    Delete(String),
}

/// What is asked of one VM, and the recovery of what was interrupted on it.
#[must_use]
pub fn plan(
    asked: &Asked,
    vm: &VmId,
    policy: Option<&Policy>,
    world: &World,
    options: &Options,
) -> Plan {
    let zone = policy.map_or("UTC", |policy| policy.timezone.as_str());
    let mut draft = Draft::new(world, options, zone);
    request::about(&mut draft, world.guests.get(vm));
    recover::plan(&mut draft);
    // As the recovery leaves it.
    if let Some(guest) = draft.ahead.guests.get(vm).cloned() {
        let named = |name: &String| SnapshotNamed {
            vm: guest.vm.clone(),
            name: name.clone(),
        };
        let (name, op) = match asked {
            Asked::Create(name) => {
                let op = create(name.as_ref(), &guest, policy, world);
                (op.name.clone(), Op::SnapshotCreate(op))
            }
            Asked::Revert(name) => (name.clone(), Op::SnapshotRevert(named(name))),
            Asked::Delete(name) => (name.clone(), Op::SnapshotDelete(named(name))),
        };
        let address = format!("snapshot.{}/{name}", guest.vm.name);
        let mut wish = Wish::new(address, op, Class::Routine, Reason::Asked);
        wish.change.after = json!({ "snapshot": name });
        if !matches!(asked, Asked::Create(_)) {
            wish.blocks.extend(used_elsewhere(&guest, world));
        }
        wish.needs = vec![Key::Vm(vm.clone())];
        wish.gives = vec![Key::Vm(vm.clone())];
        draft.add(wish);
    }
    draft.finish(None, Vec::new(), Vec::new())
}

fn create(
    name: Option<&String>,
    guest: &Guest,
    policy: Option<&Policy>,
    world: &World,
) -> SnapshotCreate {
    let held = guest.record.assigned.as_ref();
    let by = held.and_then(|held| policy?.policies.get(&held.policy));
    let exclude = by.map_or(&[][..], |policy| &policy.exclude_disks);
    let (disks, others) = match &guest.machine {
        Some(machine) => chain::captured(machine, exclude),
        None => (Vec::new(), Vec::new()),
    };
    SnapshotCreate {
        vm: guest.vm.clone(),
        name: name.cloned().unwrap_or_else(|| free_name(guest, world)),
        created: world.now,
        disks: disks.iter().map(|disk| disk.target.clone()).collect(),
        others,
        quiesce: Quiesce::Preferred,
    }
}

/// Why no layer of a VM may go or change: another VM, most likely a copy, lies on one.
fn used_elsewhere(guest: &Guest, world: &World) -> Option<Block> {
    let snapshots = guest.snapshots();
    let disks = guest.machine.iter().flat_map(|machine| &machine.disks);
    let kept = |target: &Target, path: &Utf8Path| {
        layout::is_ours(path) || snapshots.kept_in(target, path).is_some()
    };
    let files: BTreeSet<&Utf8Path> = disks
        .flat_map(|disk| {
            let off = disk.off_chain.iter().map(|off| &off.layer);
            let layers = disk.layers.iter().chain(off);
            layers.map(move |layer| (&disk.target, layer.path.as_path()))
        })
        .filter(|(target, path)| kept(target, path))
        .map(|(_, path)| path)
        .collect();
    let others = world.guests.values();
    others
        .filter(|other| other.vm.uuid != guest.vm.uuid)
        .find_map(|other| {
            let disks = other.machine.iter().flat_map(|machine| &machine.disks);
            let mut used = disks.flat_map(|disk| &disk.layers);
            let used = used.find(|layer| files.contains(layer.path.as_path()))?;
            Some(blocked(
                "used_elsewhere",
                format!("{} lies on a layer of {}: {}", other.vm.name, guest.vm.name, used.path),
                format!("give {} a disk of its own: qemu-img rebase -b \"\" on its image while it is off", other.vm.name),
            ))
        })
}

/// A name that says when, in UTC as the ids of backups.
fn free_name(guest: &Guest, world: &World) -> String {
    let at = world.now.strftime("%Y%m%d-%H%M%S").to_string();
    let known = &guest.snapshots().all;
    let numbered = (2..).map(|n| format!("{at}-{n}"));
    std::iter::once(at.clone())
        .chain(numbered)
        .find(|name| !known.contains_key(name))
        .expect("some number is free")
}
