//! A disk of a backup comes to a VM, be it on or off: written beside its disks, then attached. One that
//! the VM is to run from at once is attached as an empty layer over the backup.

use std::collections::BTreeMap;

use crate::action::restore;
use crate::action::vm;
use crate::model::op::RestoreDisk;
use crate::model::program::Program;
use crate::model::program::Refusal;
use crate::model::step::Step;
use crate::model::world::Guest;

/// Claim, write, attach. Its chain goes on; the next backup takes the new disk whole.
pub(super) fn program(op: &RestoreDisk, guest: &Guest) -> Result<Program, Refusal> {
    restore::unchanged(&op.origin, Some(guest))?;
    let machine = vm::touchable(guest)?;
    if machine.disk(&op.target).is_some() {
        let name = &machine.name;
        return Err(Refusal::new(
            "target_taken",
            format!("{name} has a disk {} already", op.target),
            "say another one: --as TARGET",
        ));
    }
    let (claim, claims) = vm::claims(guest, machine);
    let mut stages = vec![claims];
    stages.extend(restore::checks(&op.origin, &op.vm));
    let [fetch, rename] = restore::fetch(&op.origin, &op.disk, &op.image);
    stages.extend([vec![fetch], vec![rename]]);
    let no_return = stages.len();
    let backing = restore::backing(&op.origin).remove(&op.disk);
    let backing = backing.unwrap_or_default();
    stages.push(vec![Step::Attach {
        vm: machine.id.clone(),
        claim,
        definition: restore::definition(&op.origin),
        disk: op.disk.clone(),
        target: op.target.clone(),
        image: op.image.clone(),
        backing: backing.clone(),
    }]);
    let heads = BTreeMap::from([(op.target.clone(), op.image.clone())]);
    if !machine.power.is_on() {
        stages.extend(restore::starts(&op.origin, &op.vm, &heads));
    }
    stages.extend(restore::consolidates(
        &op.origin,
        &op.vm,
        &heads,
        BTreeMap::from([(op.target.clone(), backing)]),
    ));
    Ok(Program { stages, no_return })
}
