//! VMs get the disks of backups: in place.

use std::collections::BTreeMap;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use serde_json::json;

use crate::model::backup::Backup;
use crate::model::backup::VmRef;
use crate::model::ground::Ground;
use crate::model::id::BackupId;
use crate::model::id::Target;
use crate::model::id::VmId;
use crate::model::layout;
use crate::model::machine::Disk;
use crate::model::machine::Firmware;
use crate::model::machine::Format;
use crate::model::machine::Machine;
use crate::model::op::Beside;
use crate::model::op::Op;
use crate::model::op::RestoreVm;
use crate::model::op::Stopping;
use crate::model::plan::Class;
use crate::model::plan::Plan;
use crate::model::reason::Block;
use crate::model::reason::Reason;
use crate::model::step::Image;
use crate::model::world::Guest;
use crate::model::world::World;
use crate::planner::Options;
use crate::planner::draft::Draft;
use crate::planner::draft::Key;
use crate::planner::draft::Wish;
use crate::planner::draft::blocked;
use crate::planner::recover;
use crate::planner::restore;
use crate::planner::restore::How;
use crate::planner::restore::Writing;

/// What `knib restore vm` asks for.
#[derive(Clone, Debug)]
pub struct InPlace {
    /// Which backups, each of its VM.
    pub backups: Vec<(VmId, BackupId)>,
    /// What becomes of VMs that are on.
    pub stop: Option<Stopping>,
    /// What is replaced goes at once.
    pub discard: bool,
    /// Where the disks go; none: beside those that they replace.
    pub dir: Option<Utf8PathBuf>,
    /// How the backups are read.
    pub how: How,
}

/// Gives VMs the disks of backups.
#[must_use]
pub fn vms(asked: &InPlace, ground: &Ground, world: &World, options: &Options) -> Plan {
    let mut draft = Draft::new(world, options, "UTC");
    let concerned: Vec<_> = asked
        .backups
        .iter()
        .filter_map(|(vm, id)| {
            let guest = world.guests.get(vm)?;
            Some((guest, guest.record.backups.get(id)?))
        })
        .collect();
    draft.findings.retain(|finding| {
        let about = |(guest, _): &(&Guest, _)| Some(&guest.vm.name) == finding.vm.as_ref();
        finding.vm.is_none() || concerned.iter().any(about)
    });
    recover::plan(&mut draft);
    let mut writing = Writing::default();
    for (guest, backup) in concerned {
        let wish = wish(&mut draft, (asked, ground, &mut writing), guest, backup);
        draft.add(wish);
    }
    draft.finish(None, Vec::new(), Vec::new())
}

fn wish(
    draft: &mut Draft<'_>,
    (asked, ground, writing): (&InPlace, &Ground, &mut Writing),
    guest: &Guest,
    backup: &Backup,
) -> Wish {
    let world = draft.now;
    let vm: VmRef = restore::named(world, backup);
    let id = draft.allot(guest);
    let machine = guest.machine.as_ref();
    let stored = ground.stored.get(&backup.id);
    let image = |target| match (machine, stored) {
        (None, Some(stored)) => former(asked, stored, target),
        _ => place(asked, machine, &vm, target, &id),
    };
    let disks: BTreeMap<_, _> = backup
        .disks
        .keys()
        .map(|target| (target.clone(), image(target)))
        .collect();
    let beside = match (machine, stored) {
        (None, Some(stored)) => firmware(backup, stored),
        _ => Beside::default(),
    };
    let record = &guest.record;
    let (origin, mut blocks) = restore::origin(world, record, backup, disks.keys(), asked.how);
    blocks.extend(shared(world, &vm, machine, &disks));
    let paths: BTreeMap<_, _> = disks
        .iter()
        .map(|(target, image)| (target, &image.path))
        .collect();
    let after = json!({ "backup": backup.id, "disks": paths });
    let written = restore::written(record, &backup.id, disks.keys());
    let estimate = restore::estimate(&written);
    let others = [&beside.nvram, &beside.tpm].into_iter().flatten();
    let files = disks.values().map(|image| &image.path).chain(others);
    blocks.extend(restore::taken(ground, files));
    let sizes = disks.values().zip(written.into_values());
    blocks.extend(writing.add(ground, sizes));
    if machine.is_none() {
        blocks.extend(undefined(world, ground, &vm, backup));
        draft
            .findings
            .extend(restore::lacking(ground, backup, &vm.name));
    }
    let op = RestoreVm {
        id,
        origin,
        vm: vm.clone(),
        disks,
        beside,
        stop: asked.stop,
        discard: asked.discard,
    };
    let mut wish = Wish::new(
        format!("restore.{}", vm.name),
        Op::RestoreVm(Box::new(op)),
        Class::Routine,
        Reason::Asked,
    );
    wish.change.before = json!({ "current": record.current });
    wish.change.after = after;
    wish.estimate = estimate;
    wish.needs = vec![Key::Vm(vm.uuid.clone())];
    wish.gives = vec![Key::Vm(vm.uuid)];
    wish.blocks = blocks;
    wish
}

/// The file that a disk will be: beside the one it replaces and of its format.
fn place(
    asked: &InPlace,
    machine: Option<&Machine>,
    vm: &VmRef,
    target: &Target,
    id: &BackupId,
) -> Image {
    let replaced = machine.and_then(|machine| machine.disk(target));
    let lowest = replaced.and_then(|disk| disk.own_layers().last());
    let (beside, format) = lowest.map_or_else(
        || {
            let path = layout::restored_disk(&dir_of(machine), &vm.name, target, "qcow2");
            (path, Format::Qcow2)
        },
        |layer| (layer.path.clone(), layer.format.clone()),
    );
    let format = if asked.how.quick {
        Format::Qcow2
    } else {
        format
    };
    let path = layout::restored(&beside, id);
    let name = path.file_name().unwrap_or_default();
    let path = asked
        .dir
        .as_ref()
        .map_or(path.clone(), |dir| dir.join(name));
    Image::new(path, format)
}

/// The file that a disk was when it was backed up, below all that knib had laid on it.
fn former(asked: &InPlace, stored: &Machine, target: &Target) -> Image {
    let disk = stored.disk(target);
    let lowest = disk.and_then(|disk| disk.own_layers().last());
    let head = disk.and_then(Disk::head).unwrap_or(Utf8Path::new(""));
    // What is below a layer of knib's is told by its name where the definition does not say it.
    let path = layout::covered(&layout::unreplaced(
        lowest.map_or(head, |layer| &layer.path),
    ));
    let format = lowest
        .filter(|layer| layer.path == path)
        .map(|layer| layer.format.clone());
    let name = path.file_name().unwrap_or_default();
    let path = asked
        .dir
        .as_ref()
        .map_or(path.clone(), |dir| dir.join(name));
    Image::new(path, format.unwrap_or(Format::Qcow2))
}

/// Where firmware variables and a TPM's state were, of a backup that holds them.
fn firmware(backup: &Backup, stored: &Machine) -> Beside {
    let holds = |name: &str| backup.files.iter().any(|file| file == name);
    let Firmware { nvram, tpm, .. } = &stored.firmware;
    Beside {
        nvram: nvram.clone().filter(|_| holds(layout::NVRAM)),
        tpm: tpm.clone().filter(|_| holds(layout::TPM)),
    }
}

/// What stands in the way of defining a VM again.
fn undefined(world: &World, ground: &Ground, vm: &VmRef, backup: &Backup) -> Vec<Block> {
    let mut blocks = Vec::new();
    if !ground.stored.contains_key(&backup.id) {
        blocks.push(blocked(
            "no_definition",
            format!(
                "{} is not defined here, and the definition in {} cannot be read",
                vm.name, backup.id
            ),
            "choose another backup, or mount its storage",
        ));
    }
    let mut defined = world
        .guests
        .values()
        .filter(|guest| guest.machine.is_some());
    if defined.any(|guest| guest.vm.name == vm.name) {
        blocks.push(blocked(
            "name_taken",
            format!("another VM named {} is defined here", vm.name),
            "rename it (virsh domrename), or restore under another name: knib restore new",
        ));
    }
    blocks
}

/// Where the disks of a VM are.
pub(super) fn dir_of(machine: Option<&Machine>) -> Utf8PathBuf {
    let disks = machine.into_iter().flat_map(|machine| &machine.disks);
    let heads = disks
        .filter(|disk| disk.holds_data())
        .filter_map(Disk::head);
    let mut dirs = heads.filter_map(Utf8Path::parent);
    dirs.next()
        .map_or_else(|| restore::LIBVIRT_IMAGES.into(), ToOwned::to_owned)
}

/// What is replaced gets other names, so no other VM may lie on it.
fn shared(
    world: &World,
    vm: &VmRef,
    machine: Option<&Machine>,
    disks: &BTreeMap<Target, Image>,
) -> Vec<Block> {
    let replaced = disks
        .keys()
        .filter_map(|target| machine?.disk(target))
        .flat_map(Disk::own_layers);
    let user = |path: &Utf8Path| {
        let others = world
            .guests
            .values()
            .filter(|guest| guest.vm.uuid != vm.uuid);
        let mut machines = others.filter_map(|guest| guest.machine.as_ref());
        machines.find(|machine| machine.disks.iter().any(|disk| disk.uses(path)))
    };
    let shared = replaced.filter_map(|layer| Some((layer, user(&layer.path)?)));
    shared
        .map(|(layer, user)| {
            blocked(
                "shared_disk",
                format!(
                    "{} uses a file of {} as well: {}",
                    user.name, vm.name, layer.path
                ),
                "knib restore new makes a VM of its own",
            )
        })
        .collect()
}
