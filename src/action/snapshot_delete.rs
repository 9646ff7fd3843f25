//! Let go of a snapshot: the layer on it is merged into its files, unless several branches go on from
//! them. Then it is only marked, and goes with the last but one of them.

use crate::action::branches;
use crate::action::branches::Ahead;
use crate::action::vm;
use crate::model::op::SnapshotNamed;
use crate::model::program::Program;
use crate::model::program::Refusal;
use crate::model::snapshot::Snapshots;
use crate::model::world::Guest;

/// Claim, mark, merge what can be merged, and say what is left.
pub(super) fn program(op: &SnapshotNamed, guest: &Guest) -> Result<Program, Refusal> {
    let machine = vm::without_foreign_snapshots(guest)?;
    let before = guest.snapshots();
    branches::expect_off_snapshots(machine, before)?;
    branches::named(machine, before, &op.name)?;
    let claim = vm::claim(machine, &guest.record);
    let current = || guest.record.current.clone();
    let note =
        |claims, snapshots: &Snapshots| vm::note(machine, claim, claims, current(), snapshots);
    let mut ahead = Ahead {
        machine: machine.clone(),
        snapshots: before.clone(),
        record: &guest.record,
        claim,
    };
    if let Some(one) = ahead.snapshots.all.get_mut(&op.name) {
        one.removed = true;
    }
    // From here on nobody goes back to it, whatever becomes of the rest.
    let marked = note(false, &ahead.snapshots);
    let mut stages = vec![vec![note(true, before)], vec![marked.clone()]];
    stages.extend(ahead.sweep()?);
    let record = &guest.record;
    let last =
        if ahead.snapshots.is_empty() && record.assigned.is_none() && record.current.is_none() {
            // Nothing else holds the VM.
            vm::no_note(machine, claim)
        } else {
            note(false, &ahead.snapshots)
        };
    if last != marked {
        stages.push(vec![last]);
    }
    Ok(Program {
        stages,
        no_return: 1,
    })
}
