//! A VM gets the disks of a backup: written beside its own, then swapped in one redefinition.
//!
//! Until that nothing of the VM is touched but its note: an error takes all back, and the VM starts with
//! what it had. Afterwards its former files get the names they are kept under; they go with the next
//! good backup. A disk that the backup does not hold keeps its content, and the chain ends.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use camino::Utf8Path;
use camino::Utf8PathBuf;

use crate::action::deltas;
use crate::action::restore;
use crate::action::vm;
use crate::model::id::Target;
use crate::model::layout;
use crate::model::machine::Disk;
use crate::model::machine::Machine;
use crate::model::machine::Note;
use crate::model::op::Beside;
use crate::model::op::Manner;
use crate::model::op::RestoreVm;
use crate::model::program::Program;
use crate::model::program::Refusal;
use crate::model::snapshot::Snapshots;
use crate::model::step::Image;
use crate::model::step::Step;
use crate::model::step::Turn;
use crate::model::world::Guest;
use crate::sabotage;
use crate::sabotage::Sabotage;

/// In place, or defined again as it was.
pub(super) fn program(op: &RestoreVm, guest: Option<&Guest>) -> Result<Program, Refusal> {
    restore::unchanged(&op.origin, guest)?;
    match guest.filter(|guest| guest.machine.is_some()) {
        Some(guest) => in_place(op, guest),
        None => Ok(again(op, guest)),
    }
}

/// All of it is new, so an error anywhere takes all of it back, until a guest wrote to it.
fn again(op: &RestoreVm, guest: Option<&Guest>) -> Program {
    let mut stages = restore::checks(&op.origin, &op.vm);
    stages.extend(restore::files(&op.origin, &op.disks, &op.beside));
    stages.push(vec![Step::Define {
        definition: restore::definition(&op.origin),
        vm: op.vm.uuid.clone(),
        name: op.vm.name.clone(),
        disks: op.disks.clone(),
        backing: restore::backing(&op.origin),
        nvram: op.beside.nvram.clone(),
        manner: Manner::Again,
    }]);
    let claim = guest
        .map_or(0, |guest| guest.record.serial)
        .saturating_add(1);
    stages.push(vec![Step::Note {
        vm: op.vm.uuid.clone(),
        claim,
        claims: true,
        note: Some(Note {
            serial: claim,
            ..Note::default()
        }),
    }]);
    let no_return = stages.len() - usize::from(!op.origin.quick);
    stages.extend(restore::starts(&op.origin, &op.vm, &op.disks));
    stages.extend(restore::consolidates(
        &op.origin,
        &op.vm,
        &op.disks,
        restore::backing(&op.origin),
    ));
    Program { stages, no_return }
}

/// Claim, stop, write, swap, say so, keep what was replaced, and merge what other disks have.
fn in_place(op: &RestoreVm, guest: &Guest) -> Result<Program, Refusal> {
    let machine = vm::touchable(guest)?;
    without_snapshots(guest, machine)?;
    let (claim, claims) = vm::claims(guest, machine);
    let swap = Exchange::of(op, machine)?;
    let mut ahead = machine.clone();

    let mut stages = vec![claims];
    if machine.power.is_on() {
        let stop = stop(op, machine)?;
        stop.foresee(&mut ahead);
        stages.push(vec![stop]);
    }
    stages.extend(restore::checks(&op.origin, &op.vm));
    let [mut fetches, renames] = restore::files(&op.origin, &op.disks, &Beside::default());
    let way_back = swap.way_back(op, machine);
    if let Some(to) = &way_back {
        fetches.push(Step::Describe {
            vm: machine.id.clone(),
            claim,
            heads: swap.heads_before(op),
            to: to.clone(),
        });
    }
    stages.extend([fetches, renames]);
    let no_return = stages.len();
    stages.push(vec![Step::Swap {
        vm: machine.id.clone(),
        claim,
        turns: swap.turns.clone(),
        added: swap.added.clone(),
        definition: restore::definition(&op.origin),
        backing: restore::backing(&op.origin),
    }]);

    let mut replaced = machine.replaced();
    if let Some(way_back) = way_back {
        let mut files = swap.kept(op);
        files.push(way_back);
        replaced.insert(op.id.clone(), files);
    }
    stages.push(vec![Step::Note {
        vm: machine.id.clone(),
        claim,
        claims: false,
        note: Some(Note {
            serial: claim,
            current: None,
            snapshots: Snapshots::default(),
            replaced,
        }),
    }]);
    let left = swap.files.iter();
    let left: Vec<_> = left
        .flat_map(|(target, files)| leave(op, machine, claim, target, files))
        .collect();
    let place = if sabotage::is(Sabotage::OldDiskFirst) {
        no_return
    } else {
        stages.len()
    };
    stages.insert(place, left);
    stages.extend(others(op, guest, &ahead, claim)?);
    stages.extend(restore::starts(&op.origin, &op.vm, &op.disks));
    stages.extend(restore::consolidates(
        &op.origin,
        &op.vm,
        &op.disks,
        restore::backing(&op.origin),
    ));
    stages.retain(|stage| !stage.is_empty());
    Ok(Program { stages, no_return })
}

/// What a VM has instead of what.
struct Exchange {
    turns: BTreeMap<Target, Turn>,
    added: BTreeMap<Target, Image>,
    /// The files that each disk had to itself, top first.
    files: BTreeMap<Target, Vec<Image>>,
}

impl Exchange {
    fn of(op: &RestoreVm, machine: &Machine) -> Result<Self, Refusal> {
        let mut swap = Self {
            turns: BTreeMap::new(),
            added: BTreeMap::new(),
            files: BTreeMap::new(),
        };
        for (target, to) in &op.disks {
            let Some(disk) = machine.disk(target) else {
                swap.added.insert(target.clone(), to.clone());
                continue;
            };
            if !disk.holds_data() || disk.shareable {
                return Err(other_device(machine, disk));
            }
            let turn = Turn {
                from: vm::steady(machine, disk)?,
                to: to.clone(),
            };
            let files: Vec<_> = disk.own_layers().iter().map(deltas::image).collect();
            for file in &files {
                names_fit(machine, disk, &layout::before(&file.path, &op.id))?;
            }
            swap.turns.insert(target.clone(), turn);
            swap.files.insert(target.clone(), files);
        }
        Ok(swap)
    }

    /// Where the definition is written that leads back, if anything is kept.
    fn way_back(&self, op: &RestoreVm, machine: &Machine) -> Option<Utf8PathBuf> {
        let first = self.turns.values().next().filter(|_| !op.discard)?;
        let dir = first.from.path.parent().unwrap_or(Utf8Path::new("/"));
        Some(layout::way_back(dir, &machine.name, &op.id))
    }

    /// Each disk by the name that it is kept under.
    fn heads_before(&self, op: &RestoreVm) -> BTreeMap<Target, Image> {
        let heads = self.turns.iter().map(|(target, turn)| {
            let path = layout::before(&turn.from.path, &op.id);
            (target.clone(), Image::new(path, turn.from.format.clone()))
        });
        heads.collect()
    }

    fn kept(&self, op: &RestoreVm) -> Vec<Utf8PathBuf> {
        let files: BTreeSet<_> = self
            .files
            .values()
            .flatten()
            .map(|file| &file.path)
            .collect();
        let kept = files.into_iter().map(|path| layout::before(path, &op.id));
        kept.collect()
    }
}

/// What becomes of the files that a disk had.
fn leave(
    op: &RestoreVm,
    machine: &Machine,
    claim: u64,
    target: &Target,
    files: &[Image],
) -> Vec<Step> {
    let (vm, target) = (machine.id.clone(), target.clone());
    if !op.discard {
        return vec![Step::Keep {
            vm,
            claim,
            target,
            files: files.to_vec(),
            restore: op.id.clone(),
        }];
    }
    let drop = |file: &Image| Step::Drop {
        vm: vm.clone(),
        claim,
        target: target.clone(),
        path: file.path.clone(),
        blank: false,
    };
    files.iter().map(drop).collect()
}

/// The merges of disks that the backup does not hold: the chain that their deltas are of has ended.
fn others(
    op: &RestoreVm,
    guest: &Guest,
    machine: &Machine,
    claim: u64,
) -> Result<Vec<Vec<Step>>, Refusal> {
    let others = machine
        .disks
        .iter()
        .filter(|disk| disk.holds_data() && !op.disks.contains_key(&disk.target));
    let mut disks = Vec::new();
    for disk in others {
        let steps = deltas::merges(
            machine,
            &guest.record,
            &Snapshots::default(),
            disk,
            claim,
            None,
        )?;
        if !steps.is_empty() {
            vm::steady(machine, disk)?;
        }
        disks.push(steps);
    }
    Ok(deltas::side_by_side(disks))
}

fn stop(op: &RestoreVm, machine: &Machine) -> Result<Step, Refusal> {
    let name = &machine.name;
    let stop = op.stop.ok_or_else(|| {
        Refusal::new(
            "running",
            format!("{name} runs: its disks can only be replaced while it is off"),
            format!("virsh shutdown {name}, or say --stop, or --destroy to pull the plug"),
        )
    })?;
    Ok(Step::Stop {
        vm: machine.id.clone(),
        ask: stop.ask,
        pull: stop.pull,
    })
}

/// Snapshots keep files that would no longer be this VM's.
fn without_snapshots(guest: &Guest, machine: &Machine) -> Result<(), Refusal> {
    let name = &machine.name;
    let ours: Vec<_> = guest.snapshots().all.keys().cloned().collect();
    if !ours.is_empty() {
        return Err(Refusal::new(
            "snapshots",
            format!(
                "{name} has snapshots, which would be lost: {}",
                ours.join(", ")
            ),
            format!(
                "knib snapshot delete {name} NAME, or restore into a VM of its own: knib restore new"
            ),
        ));
    }
    if machine.has_foreign_snapshots() {
        let named = match &machine.snapshots[..] {
            [] => "in its images".to_owned(),
            some => some.join(", "),
        };
        return Err(Refusal::new(
            "foreign_snapshots",
            format!("{name} has snapshots that knib did not make, which would be lost: {named}"),
            format!("see virsh snapshot-list {name}; virsh snapshot-delete takes one away"),
        ));
    }
    Ok(())
}

fn other_device(machine: &Machine, disk: &Disk) -> Refusal {
    let (name, target) = (&machine.name, &disk.target);
    Refusal::new(
        "other_device",
        format!("{name} has something else at {target} now, which a disk cannot replace"),
        format!("virsh detach-disk {name} {target} --config"),
    )
}

fn names_fit(machine: &Machine, disk: &Disk, path: &Utf8Path) -> Result<(), Refusal> {
    let name = path.file_name().unwrap_or_default();
    if name.len() <= deltas::LONGEST_NAME {
        return Ok(());
    }
    Err(Refusal::new(
        "name_too_long",
        format!(
            "{}: the file name of {} leaves no room for the one it would be kept under: {name}",
            machine.name, disk.target
        ),
        "give the image a shorter name",
    ))
}
