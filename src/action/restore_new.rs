//! A new VM from a backup: every disk written under an unfinished name while the chain's digests are
//! checked, renamed, and only then defined.

use std::collections::BTreeMap;

use crate::action::restore;
use crate::model::op::RestoreNew;
use crate::model::program::Program;
use crate::model::program::Refusal;
use crate::model::step::Step;
use crate::model::world::Guest;

/// File by file. Everything it makes is new, so an error takes all of it back, until a guest wrote to it.
pub(super) fn program(op: &RestoreNew, source: Option<&Guest>) -> Result<Program, Refusal> {
    let origin = &op.origin;
    restore::unchanged(origin, source)?;
    let define = Step::Define {
        definition: restore::definition(origin),
        vm: op.vm.uuid.clone(),
        name: op.vm.name.clone(),
        disks: op.disks.clone(),
        backing: restore::backing(origin),
        nvram: op.beside.nvram.clone(),
        manner: op.manner.clone(),
    };
    let mut stages = restore::checks(origin, &op.vm);
    stages.extend(restore::files(origin, &op.disks, &op.beside));
    stages.push(vec![define]);
    let no_return = stages.len();
    if op.start && !origin.quick {
        stages.push(vec![Step::Start {
            vm: op.vm.uuid.clone(),
            heads: BTreeMap::new(),
        }]);
    }
    stages.extend(restore::starts(origin, &op.vm, &op.disks));
    stages.extend(restore::consolidates(
        origin,
        &op.vm,
        &op.disks,
        restore::backing(origin),
    ));
    Ok(Program { stages, no_return })
}
