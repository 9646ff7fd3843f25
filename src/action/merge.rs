//! Merge the deltas of a VM and end its chain: the next backup is full.

use crate::action::vm;
use crate::model::change::Change;
use crate::model::lease::Lease;
use crate::model::lease::Subject;
use crate::model::machine::Note;
use crate::model::op::Merge;
use crate::model::program::Direction;
use crate::model::program::Program;
use crate::model::program::Refusal;
use crate::model::step::Step;
use crate::model::world::Guest;

/// The VM alone.
pub(super) fn leases(op: &Merge) -> Vec<Lease> {
    vec![Lease::exclusive(Subject::Vm(op.vm.uuid.clone()))]
}

/// Claim, merge, and say in the domain that nothing is left.
pub(super) fn program(op: &Merge, guest: &Guest) -> Result<Program, Refusal> {
    let machine = vm::touchable(guest)?;
    let claim = vm::claim(machine, &guest.record);
    let note = |claims, note| Step::Note {
        vm: machine.id.clone(),
        claim,
        claims,
        note,
    };
    let mut disks = Vec::new();
    for disk in machine.disks.iter().filter(|disk| disk.holds_data()) {
        let steps = vm::merges(machine, &guest.record, disk, claim)?;
        if !steps.is_empty() {
            vm::steady(machine, disk)?;
        }
        disks.push(steps);
    }
    let mut stages = vec![vec![note(
        true,
        Some(Note {
            serial: claim,
            current: guest.record.current.clone(),
        }),
    )]];
    stages.extend(vm::side_by_side(disks));
    let last = if op.leave {
        None
    } else {
        Some(Note {
            serial: claim,
            current: None,
        })
    };
    stages.push(vec![note(false, last)]);
    Ok(Program {
        stages,
        no_return: 1,
    })
}

/// Nothing is current any more. Turned back, only the claim was spent.
pub(super) fn changes(op: &Merge, program: &Program, went: Direction) -> Vec<Change> {
    let claimed = program.steps().find_map(|(_, _, step)| match step {
        Step::Note { claim, note, .. } => {
            Some((*claim, note.as_ref().and_then(|note| note.current.clone())))
        }
        _ => None,
    });
    let Some((serial, before)) = claimed else {
        return Vec::new();
    };
    let current = if went == Direction::Forward {
        None
    } else {
        before
    };
    let serial = if op.leave && went == Direction::Forward {
        0
    } else {
        serial
    };
    vec![Change::Touched {
        vm: op.vm.clone(),
        serial,
        current,
    }]
}
