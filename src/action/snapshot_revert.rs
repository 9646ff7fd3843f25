//! A VM goes on from a snapshot: new layers on its files, one redefinition, and what no snapshot needs
//! of the branch that is left goes with what the guest wrote there.
//!
//! The chain of backups goes on if the current one's delta is below: what was written since it is then
//! in that delta and the new layer.

use std::collections::BTreeMap;

use crate::action::branches;
use crate::action::branches::Ahead;
use crate::action::deltas;
use crate::action::vm;
use crate::model::id::Target;
use crate::model::layout;
use crate::model::machine::Format;
use crate::model::machine::Machine;
use crate::model::op::SnapshotNamed;
use crate::model::program::Program;
use crate::model::program::Refusal;
use crate::model::record::Record;
use crate::model::snapshot::Snapshot;
use crate::model::step::Image;
use crate::model::step::Step;
use crate::model::step::Turn;
use crate::model::world::Guest;

/// Claim, lay new layers, point, say so, and drop what was left.
pub(super) fn program(op: &SnapshotNamed, guest: &Guest) -> Result<Program, Refusal> {
    let machine = vm::without_foreign_snapshots(guest)?;
    let (name, record) = (&machine.name, &guest.record);
    if machine.power.is_on() {
        return Err(Refusal::new(
            "running",
            format!("{name} runs: going back to a snapshot replaces its disks"),
            format!(
                "virsh shutdown {name}, and once it is off: knib snapshot revert {name} {}",
                op.name
            ),
        ));
    }
    let snapshots = guest.snapshots();
    branches::expect_off_snapshots(machine, snapshots)?;
    let wanted = branches::named(machine, snapshots, &op.name)?;
    let claim = vm::claim(machine, record);
    let heads = turns(op, machine, wanted, claim)?;
    let creates = heads.iter().map(|(target, turn)| Step::Create {
        vm: machine.id.clone(),
        claim,
        target: target.clone(),
        path: turn.to.path.clone(),
        on: wanted.disks[target].clone(),
    });
    let creates = creates.collect();
    let mut stages = vec![
        vec![vm::note(
            machine,
            claim,
            true,
            record.current.clone(),
            snapshots,
        )],
        creates,
        vec![Step::Point {
            vm: machine.id.clone(),
            claim,
            heads,
            back: false,
        }],
    ];

    let mut ahead = Ahead {
        machine: machine.clone(),
        snapshots: snapshots.clone(),
        record,
        claim,
    };
    for step in stages.iter().flatten() {
        step.foresee(&mut ahead.machine);
    }
    ahead.snapshots.at = Some(op.name.clone());
    let current = record
        .current
        .clone()
        .filter(|_| goes_on(&ahead.machine, record));
    if current.is_none() {
        ahead.snapshots.bases.clear();
    }
    let note =
        |ahead: &Ahead<'_>| vm::note(machine, claim, false, current.clone(), &ahead.snapshots);
    let pointed = note(&ahead);
    let no_return = stages.len();
    stages.push(vec![pointed.clone()]);
    let left = |target| Some(&machine.disk(target)?.layers.first()?.path);
    let drops = wanted
        .disks
        .keys()
        .filter_map(|target| Some(ahead.drops(ahead.machine.disk(target)?, left(target)?)));
    let drops: Vec<_> = drops.collect();
    stages.extend(ahead.play(drops));
    stages.extend(ahead.sweep()?);
    let last = note(&ahead);
    if last != pointed {
        stages.push(vec![last]);
    }
    Ok(Program { stages, no_return })
}

/// Every disk of a snapshot, from the layer in use to a new one.
fn turns(
    op: &SnapshotNamed,
    machine: &Machine,
    wanted: &Snapshot,
    claim: u64,
) -> Result<BTreeMap<Target, Turn>, Refusal> {
    let name = &machine.name;
    let mut turns = BTreeMap::new();
    for (target, file) in &wanted.disks {
        let disk = machine.disk(target).ok_or_else(|| {
            Refusal::new(
                "disk_gone",
                format!(
                    "{name} has no {target} any more, which snapshot {} keeps",
                    op.name
                ),
                format!("attach it again; its file is {}", file.path),
            )
        })?;
        deltas::all_branches_known(machine, disk)?;
        if disk.layer(&file.path).is_none() {
            return Err(Refusal::new(
                "disk_replaced",
                format!(
                    "{name}: {target} is another disk than snapshot {} keeps, or its file is gone: {}",
                    op.name, file.path
                ),
                "attach the disk that it keeps again",
            ));
        }
        let from = vm::steady(machine, disk)?;
        let path = deltas::overlay_path(machine, disk, |file| layout::snapshot_layer(file, claim))?;
        let to = Image::new(path, Format::Qcow2);
        turns.insert(target.clone(), Turn { from, to });
    }
    Ok(turns)
}

/// Whether the current backup's delta of any disk is in the chain that the VM goes on with.
fn goes_on(machine: &Machine, record: &Record) -> bool {
    let Some(current) = &record.current else {
        return false;
    };
    machine.disks.iter().any(|disk| {
        let left = record.delta_left(current, &disk.target);
        left.is_some_and(|left| left.depth_in(disk).is_some())
    })
}
