//! VMs that run from files of a backup get all that is in them: by the restore that began it, or, where
//! none is on record, by what their disks lie on.

use std::collections::BTreeMap;

use camino::Utf8Path;

use crate::model::id::BackupId;
use crate::model::id::Target;
use crate::model::id::VmId;
use crate::model::layout;
use crate::model::machine::Disk;
use crate::model::op::Consolidate;
use crate::model::op::OnBackup;
use crate::model::op::Op;
use crate::model::plan::Class;
use crate::model::plan::Plan;
use crate::model::reason::Reason;
use crate::model::step::BackupAt;
use crate::model::step::Image;
use crate::model::world::Guest;
use crate::model::world::Open;
use crate::model::world::StorageSeen;
use crate::model::world::World;
use crate::planner::Options;
use crate::planner::draft::Draft;
use crate::planner::draft::Key;
use crate::planner::draft::Wish;
use crate::planner::draft::blocked;
use crate::planner::recover;
use crate::planner::request;

/// Of every VM. What else is planned of such a VM waits for a later plan.
pub(super) fn plan(draft: &mut Draft<'_>) {
    for guest in draft.now.guests.values() {
        of_guest(draft, guest);
    }
}

/// Of one VM, with whatever else was interrupted on it.
#[must_use]
pub fn resume(vm: &VmId, world: &World, options: &Options) -> Plan {
    let mut draft = Draft::new(world, options, "UTC");
    let guest = world.guests.get(vm);
    request::about(&mut draft, guest);
    if let Some(guest) = guest {
        for open in &guest.open {
            recover::one(&mut draft, open);
        }
        of_guest(&mut draft, guest);
    }
    draft.finish(None, Vec::new(), Vec::new())
}

/// What another run is at, of a VM.
#[must_use]
pub fn followed<'a>(vm: &VmId, world: &'a World) -> Option<&'a Open> {
    let opens = &world.guests.get(vm)?.open;
    opens.iter().find(|open| open.alive && open.consolidates())
}

fn of_guest(draft: &mut Draft<'_>, guest: &Guest) {
    let mut rests = guest.open.iter().filter(|open| open.consolidates());
    if let Some(open) = rests.find(|open| !open.alive) {
        let op = Consolidate {
            vm: guest.vm.clone(),
            carries_on: Some(open.action.clone()),
            disks: BTreeMap::new(),
        };
        add(draft, op, recover::interrupted(open));
    } else if guest.open.is_empty() {
        let disks = on_backups(draft.now, guest);
        let Some(first) = disks.values().next() else {
            return;
        };
        let backup = first.of.backup.clone();
        let op = Consolidate {
            vm: guest.vm.clone(),
            carries_on: None,
            disks,
        };
        add(draft, op, Reason::ReadsBackup { backup });
    }
}

fn add(draft: &mut Draft<'_>, op: Consolidate, reason: Reason) {
    let address = format!("consolidate.{}", op.vm.name);
    let key = Key::Vm(op.vm.uuid.clone());
    let between = between(draft.now, &op);
    let mut wish = Wish::new(address, Op::Consolidate(op), Class::Recovery, reason);
    wish.gives = vec![key];
    wish.blocks.extend(between);
    draft.add(wish);
}

/// Layers of its own that a pull would not leave alone.
fn between(world: &World, op: &Consolidate) -> Option<crate::model::reason::Block> {
    let machine = world.guests.get(&op.vm.uuid)?.machine.as_ref()?;
    let (target, _) = op.disks.iter().find(|(target, on)| {
        let below = machine.disk(target).and_then(|disk| disk.layers.get(1));
        below.is_none_or(|below| !on.of.holds(&below.path))
    })?;
    let name = &op.vm.name;
    Some(blocked(
        "layers_above",
        format!("{target} of {name} has layers of its own above a backup's files"),
        format!("virsh blockpull {name} {target} --wait brings everything into the top one"),
    ))
}

/// Disks of a VM that outlives its run, that lie on files of a backup.
fn on_backups(world: &World, guest: &Guest) -> BTreeMap<Target, OnBackup> {
    let machine = guest.machine.iter().filter(|machine| machine.persistent);
    let disks = machine.flat_map(|machine| &machine.disks);
    let found = disks
        .filter(|disk| disk.holds_data())
        .filter_map(|disk| Some((disk.target.clone(), on_backup(world, disk)?)));
    found.collect()
}

fn on_backup(world: &World, disk: &Disk) -> Option<OnBackup> {
    let head = disk.layers.first()?;
    let below = disk.layers.get(1..).unwrap_or_default();
    let mut backups = below.iter().filter_map(|layer| of_path(world, &layer.path));
    let of = backups.next()?;
    Some(OnBackup {
        head: Image::new(head.path.clone(), head.format.clone()),
        of,
        below: below
            .first()
            .map(|layer| Image::new(layer.path.clone(), layer.format.clone())),
        ancestors: backups.map(|of| of.backup).collect(),
    })
}

/// The backup that a file is of, if it is one on a storage.
fn of_path(world: &World, path: &Utf8Path) -> Option<BackupAt> {
    let dir = path.parent()?;
    let backup = dir.file_name().filter(|name| BackupId::is_one(name))?;
    let vm = VmId::new(dir.parent()?.file_name()?);
    let backup = BackupId::new(backup);
    let storages = || {
        world
            .storages
            .values()
            .filter(|seen| seen.usable().is_some())
    };
    let by_path = storages().find(|seen| layout::backup_dir(&seen.path, &vm, &backup) == dir);
    // One that the policy names by a link is known by what it holds.
    let holds = |seen: &&StorageSeen| {
        let of_vm = seen.vms.get(&vm);
        of_vm.is_some_and(|found| found.backups.contains(&backup))
    };
    let seen = by_path.or_else(|| storages().find(holds))?;
    Some(BackupAt {
        storage: seen.path.clone(),
        id: seen.usable()?.clone(),
        vm,
        backup,
    })
}
