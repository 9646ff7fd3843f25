//! Remove what a restore replaced. What a VM uses again stays.

use crate::action::vm;
use crate::model::op::Discard;
use crate::model::orphan::OrphanKind;
use crate::model::program::Program;
use crate::model::program::Refusal;
use crate::model::step::Step;
use crate::model::world::Guest;

/// Claim, remove, and forget.
pub(super) fn program(op: &Discard, guest: &Guest) -> Result<Program, Refusal> {
    let machine = vm::touchable(guest)?;
    let claim = vm::claim(machine, &guest.record);
    let note = |claims| {
        let current = guest.record.current.clone();
        vm::note(machine, claim, claims, current, guest.snapshots())
    };
    let mut after = note(false);
    if let Step::Note {
        note: Some(note), ..
    } = &mut after
    {
        note.replaced.remove(&op.restore);
    }
    let files = machine.replaced().remove(&op.restore).unwrap_or_default();
    let clear = |path| Step::Clear {
        path,
        kind: OrphanKind::Replaced,
    };
    let clears: Vec<_> = files.into_iter().map(clear).collect();
    let mut stages = vec![vec![note(true)], clears, vec![after]];
    stages.retain(|stage| !stage.is_empty());
    Ok(Program {
        stages,
        no_return: 1,
    })
}
