//! Merge the deltas of a VM and end its chain: the next backup is full.

use crate::action::deltas;
use crate::action::vm;
use crate::model::op::Merge;
use crate::model::program::Program;
use crate::model::program::Refusal;
use crate::model::world::Guest;

/// Claim, merge, and say in the domain that nothing is left.
pub(super) fn program(op: &Merge, guest: &Guest) -> Result<Program, Refusal> {
    let machine = vm::touchable(guest)?;
    let (claim, claims) = vm::claims(guest, machine);
    let mut snapshots = guest.snapshots().clone();
    let mut stages = vec![claims];
    let mut disks = Vec::new();
    for disk in machine.disks.iter().filter(|disk| disk.holds_data()) {
        let steps = deltas::merges(machine, &guest.record, &snapshots, disk, claim, None)?;
        if !steps.is_empty() {
            vm::steady(machine, disk)?;
        }
        disks.push(steps);
    }
    snapshots.bases.clear();
    for step in disks.iter().flatten() {
        snapshots.follow(step);
    }
    stages.extend(deltas::side_by_side(disks));
    stages.push(vec![
        if op.leave && snapshots.is_empty() && machine.replaced().is_empty() {
            vm::no_note(machine, claim)
        } else {
            vm::note(machine, claim, false, None, &snapshots)
        },
    ]);
    Ok(Program {
        stages,
        no_return: 1,
    })
}
