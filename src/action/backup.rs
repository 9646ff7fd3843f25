//! Back a VM up: freeze all disks under new overlays at one instant, copy what lies below, publish,
//! then merge what the backup before left on primary.
//!
//! Merges begin only after every copy of every disk succeeded. Between two backups exactly one delta
//! a disk is on primary, whatever the length of the chain (reference.md 4.4).

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use jiff::Timestamp;

use crate::action::deltas;
use crate::action::receipted;
use crate::action::vm;
use crate::model::change::Change;
use crate::model::id::Target;
use crate::model::job::Job;
use crate::model::job::JobKind;
use crate::model::layout;
use crate::model::lease::Lease;
use crate::model::lease::Subject;
use crate::model::machine::Agent;
use crate::model::machine::Disk;
use crate::model::machine::Format;
use crate::model::machine::Layer;
use crate::model::machine::Machine;
use crate::model::op::BackupOp;
use crate::model::op::DiskPlan;
use crate::model::policy::CompressMode;
use crate::model::policy::Quiesce;
use crate::model::program::Direction;
use crate::model::program::Program;
use crate::model::program::Refusal;
use crate::model::receipt::Receipt;
use crate::model::record::Record;
use crate::model::step::Image;
use crate::model::step::OverlayAt;
use crate::model::step::Step;
use crate::model::world::Guest;
use crate::sabotage;
use crate::sabotage::Sabotage;

/// The VM alone; everything that the new files continue, with other readers.
pub(super) fn leases(op: &BackupOp, record: &Record) -> Vec<Lease> {
    let mut leases = vec![Lease::exclusive(Subject::Vm(op.vm.uuid.clone()))];
    if let Some(parent) = &op.parent {
        let read = std::iter::once(parent.clone()).chain(record.ancestors(parent));
        leases.extend(read.map(|id| Lease::shared(Subject::Backup(id))));
    }
    leases
}

/// File by file.
pub(super) fn program(op: &BackupOp, guest: &Guest) -> Result<Program, Refusal> {
    let machine = vm::touchable(guest)?;
    let record = &guest.record;
    if op.disks.is_empty() {
        return Err(Refusal::new(
            "no_disks",
            format!("{} has no disk to back up", op.vm.name),
            "exclude the VM, or fewer of its disks",
        ));
    }
    same_disks(op, machine)?;
    agent_answers(op, machine)?;
    let claim = vm::claim(machine, record);
    let stage = layout::stage_dir(&op.storage.path, &op.vm.uuid, &op.id);
    let snapshots = guest.snapshots();

    let mut overlays = BTreeMap::new();
    let mut copies = Vec::new();
    for (target, plan) in &op.disks {
        let disk = machine.disk(target).ok_or_else(|| disks_changed(op))?;
        let base = vm::steady(machine, disk)?;
        let path = deltas::overlay_path(machine, disk, |file| layout::delta(file, &op.id))?;
        overlays.insert(target.clone(), OverlayAt { base, path });
        let (layers, parent) = match plan {
            DiskPlan::Full { .. } => (
                disk.layers.iter().take(1).map(deltas::image).collect(),
                None,
            ),
            DiskPlan::Incremental => since_parent(op, record, disk)?,
        };
        copies.push(Step::Copy {
            target: target.clone(),
            layers,
            parent,
            to: stage.join(layout::disk_file(target)),
            limit: op.timeout,
            compression: op.compression,
        });
    }
    copies.push(Step::Capture {
        vm: machine.id.clone(),
        dir: stage.clone(),
    });
    if op.quiesce != Quiesce::None {
        copies.push(Step::Thaw {
            vm: machine.id.clone(),
        });
    }

    let overlay = Step::Overlay {
        vm: machine.id.clone(),
        claim,
        disks: overlays,
        others: op.others.clone(),
        quiesce: op.quiesce,
    };
    let stage_step = Step::Stage {
        storage: op.storage.path.clone(),
        id: op.storage.is.id.clone(),
        vm: op.vm.uuid.clone(),
        dir: stage.clone(),
    };
    let mut stages = vec![
        vec![vm::note(
            machine,
            claim,
            true,
            record.current.clone(),
            snapshots,
        )],
        vec![stage_step],
        vec![overlay.clone()],
        copies,
        vec![Step::Seal { dir: stage.clone() }],
    ];
    let no_return = stages.len();
    stages.push(vec![Step::Publish {
        from: stage,
        to: layout::backup_dir(&op.storage.path, &op.vm.uuid, &op.id),
    }]);

    let mut ahead = machine.clone();
    overlay.foresee(&mut ahead);
    if op.link.is_some() {
        let current = (!op.ends_chain).then(|| op.id.clone());
        let mut snapshots = snapshots.clone();
        snapshots.bases.clear();
        let note = vm::note(machine, claim, false, current.clone(), &snapshots);
        stages.push(vec![note.clone()]);
        let old = after_copies(deltas_of_the_chain(op, machine, guest, claim)?, &mut stages);
        for step in old.iter().flatten() {
            step.foresee(&mut ahead);
            snapshots.follow(step);
        }
        stages.extend(old);
        let moved = vm::note(machine, claim, false, current, &snapshots);
        if moved != note {
            stages.push(vec![moved]);
        }
    }
    if op.ends_chain || op.link.is_none() {
        stages.push(new_overlays(op, &ahead, claim));
    }
    Ok(Program { stages, no_return })
}

/// The merges of everything that earlier backups left.
fn deltas_of_the_chain(
    op: &BackupOp,
    machine: &Machine,
    guest: &Guest,
    claim: u64,
) -> Result<Vec<Vec<Step>>, Refusal> {
    let disks = machine
        .disks
        .iter()
        .filter(|disk| op.disks.contains_key(&disk.target))
        .take(if sabotage::is(Sabotage::OneDiskMerged) {
            1
        } else {
            usize::MAX
        });
    let merges: Result<Vec<_>, _> = disks
        .map(|disk| {
            let snapshots = guest.snapshots();
            let laid = deltas::overlay_path(machine, disk, |file| layout::delta(file, &op.id))?;
            let laid = Image::new(laid, Format::Qcow2);
            deltas::merges(machine, &guest.record, snapshots, disk, claim, Some(&laid))
        })
        .collect();
    Ok(deltas::side_by_side(merges?))
}

/// The stages of the merges: each of its own, none beside the copies.
fn after_copies(mut old: Vec<Vec<Step>>, stages: &mut [Vec<Step>]) -> Vec<Vec<Step>> {
    if sabotage::is(Sabotage::MergeBeforeCopies) {
        let copies = |stage: &&mut Vec<Step>| matches!(stage[..], [Step::Copy { .. }, ..]);
        if let Some(stage) = stages.iter_mut().find(copies) {
            stage.extend(old.drain(..).flatten());
        }
    }
    old
}

/// The merges of the overlays that this backup itself made.
fn new_overlays(op: &BackupOp, ahead: &Machine, claim: u64) -> Vec<Step> {
    let disks = ahead
        .disks
        .iter()
        .filter(|disk| op.disks.contains_key(&disk.target));
    let own = |layer: &Layer| layout::delta_of(&layer.path).as_ref() == Some(&op.id);
    let merge = |disk: &Disk| match disk.layers.as_slice() {
        [top, base, ..] if own(top) => Some(Step::Merge {
            vm: ahead.id.clone(),
            claim,
            target: disk.target.clone(),
            top: deltas::image(top),
            base: deltas::image(base),
            above: None,
            branches: Vec::new(),
        }),
        _ => None,
    };
    disks.filter_map(merge).collect()
}

/// Compression by a job, where the offering has it.
fn wished(op: &BackupOp, created: Timestamp) -> Option<Change> {
    let spec = &op.offering.as_ref()?.spec;
    let by_job = spec.compress && spec.compress_mode == CompressMode::Job;
    by_job.then(|| Change::Wished {
        vm: op.vm.clone(),
        job: Job::new(op.id.clone(), JobKind::Start, created),
    })
}

/// The layers that hold what was written since the parent, and the parent's file.
fn since_parent(
    op: &BackupOp,
    record: &Record,
    disk: &Disk,
) -> Result<(Vec<Image>, Option<Utf8PathBuf>), Refusal> {
    let target = &disk.target;
    let lost = || {
        Refusal::new(
            "delta_gone",
            format!(
                "{}: the delta of {target} is not where the last backup left it",
                op.vm.name
            ),
            "plan again: the disk will be copied whole",
        )
    };
    let parent = op.parent.as_ref().ok_or_else(lost)?;
    let delta = record.delta_left(parent, target).ok_or_else(lost)?;
    let at = delta.depth_in(disk).ok_or_else(lost)?;
    Ok((
        disk.layers[..=at].iter().map(deltas::image).collect(),
        Some(layout::backing(parent, target)),
    ))
}

/// Every disk is either captured or named as left alone, or an atomic snapshot would take more, or
/// less, than was planned.
fn same_disks(op: &BackupOp, machine: &Machine) -> Result<(), Refusal> {
    let named = |target: &Target| op.disks.contains_key(target) != op.others.contains(target);
    let all_there = op
        .disks
        .keys()
        .chain(&op.others)
        .all(|target| machine.disk(target).is_some());
    if all_there && machine.disks.iter().all(|disk| named(&disk.target)) {
        Ok(())
    } else {
        Err(disks_changed(op))
    }
}

fn disks_changed(op: &BackupOp) -> Refusal {
    Refusal::new(
        "disks_changed",
        format!(
            "{}: a disk was attached or detached since the plan",
            op.vm.name
        ),
        "plan again",
    )
}

fn agent_answers(op: &BackupOp, machine: &Machine) -> Result<(), Refusal> {
    if op.quiesce == Quiesce::Required && machine.power.is_on() && machine.agent != Agent::Connected
    {
        return Err(Refusal::new(
            "no_agent",
            format!(
                "{}: quiesce is required and no guest agent is connected",
                op.vm.name
            ),
            "start qemu-guest-agent in the guest, or say quiesce: preferred",
        ));
    }
    Ok(())
}

/// The backup exists, its slots are served, and the VM writes to its deltas; turned back, only the
/// claim was spent.
pub(super) fn changes(
    op: &BackupOp,
    program: &Program,
    receipts: &[Vec<Option<Receipt>>],
    went: Direction,
) -> Vec<Change> {
    let mut notes = program.steps().filter_map(|(_, _, step)| match step {
        Step::Note { claim, note, .. } => {
            Some((*claim, note.as_ref().and_then(|note| note.current.clone())))
        }
        _ => None,
    });
    let Some((serial, before)) = notes.next() else {
        return Vec::new();
    };
    let touched = |current| Change::Touched {
        vm: op.vm.clone(),
        serial,
        current,
    };
    if went == Direction::Back {
        return vec![touched(before)];
    }
    let after = notes.last().map_or(before, |(_, current)| current);
    let sealed = receipted(program, receipts).find_map(|(_, receipt)| match receipt {
        Receipt::Sealed(backup) => Some(backup),
        _ => None,
    });
    let mut changes = Vec::new();
    if let Some(backup) = sealed {
        changes.push(Change::Published(backup.clone()));
        changes.extend(wished(op, backup.created));
    }
    changes.push(touched(after));
    if !op.slots.is_empty() {
        changes.push(Change::Served {
            vm: op.vm.clone(),
            slots: op.slots.clone(),
        });
    }
    changes
}
