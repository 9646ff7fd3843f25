//! Keep all disks of a VM as they are at one instant: new layers on top, and a note of what lies below.

use std::collections::BTreeMap;

use crate::action::branches;
use crate::action::deltas;
use crate::action::vm;
use crate::model::layout;
use crate::model::op::SnapshotCreate;
use crate::model::policy::Quiesce;
use crate::model::program::Program;
use crate::model::program::Refusal;
use crate::model::step::OverlayAt;
use crate::model::step::Step;
use crate::model::world::Guest;

/// Claim, freeze, and say what is kept.
pub(super) fn program(op: &SnapshotCreate, guest: &Guest) -> Result<Program, Refusal> {
    let machine = vm::without_foreign_snapshots(guest)?;
    let mut snapshots = guest.snapshots().clone();
    branches::expect_off_snapshots(machine, &snapshots)?;
    let name = &op.vm.name;
    if let Some(known) = snapshots.all.get(&op.name) {
        let text = if known.removed {
            format!(
                "{name}: snapshot {} was deleted, and its files are still needed",
                op.name
            )
        } else {
            format!("{name} has a snapshot {} already", op.name)
        };
        return Err(Refusal::new("name_taken", text, "choose another name"));
    }
    if op.disks.is_empty() {
        let text = format!("{name} has no disk that a snapshot could keep");
        return Err(Refusal::new("no_disks", text, "see knib vm list"));
    }
    let (claim, claims) = vm::claims(guest, machine);
    let current = guest.record.current.clone();
    let mut stages = vec![claims];
    let (mut overlays, mut kept) = (BTreeMap::new(), BTreeMap::new());
    for target in &op.disks {
        let disk = machine.disk(target).ok_or_else(|| changed(op))?;
        let base = vm::steady(machine, disk)?;
        let path = deltas::overlay_path(machine, disk, |file| layout::snapshot_layer(file, claim))?;
        overlays.insert(target.clone(), OverlayAt { base, path });
        kept.extend(
            disk.layers
                .first()
                .map(|layer| (target.clone(), deltas::image(layer))),
        );
    }
    let named = |target| op.disks.contains(target) || op.others.contains(target);
    if !machine.disks.iter().all(|disk| named(&disk.target)) {
        return Err(changed(op));
    }
    stages.push(vec![Step::Overlay {
        vm: machine.id.clone(),
        claim,
        disks: overlays,
        others: op.others.clone(),
        quiesce: op.quiesce,
    }]);
    if op.quiesce != Quiesce::None {
        stages.push(vec![Step::Thaw {
            vm: machine.id.clone(),
        }]);
    }
    snapshots.add(&op.name, op.created, kept);
    let no_return = stages.len();
    stages.push(vec![vm::note(machine, claim, false, current, &snapshots)]);
    Ok(Program { stages, no_return })
}

fn changed(op: &SnapshotCreate) -> Refusal {
    Refusal::new(
        "disks_changed",
        format!(
            "{}: a disk was attached or detached a moment ago",
            op.vm.name
        ),
        "try again",
    )
}
