//! Files out of a backup: whether they may be taken, and what is read for it.

use crate::model::id::BackupId;
use crate::model::id::VmId;
use crate::model::op::Files;
use crate::model::op::Op;
use crate::model::plan::Class;
use crate::model::plan::Plan;
use crate::model::policy::Policy;
use crate::model::reason::Block;
use crate::model::reason::Reason;
use crate::model::world::World;
use crate::planner::Options;
use crate::planner::draft::Draft;
use crate::planner::draft::Wish;
use crate::planner::draft::blocked;
use crate::planner::offerings;
use crate::planner::request;
use crate::planner::storages;

/// Reads files in a backup of a VM.
#[must_use]
pub fn plan(
    (vm, backup): (&VmId, &BackupId),
    policy: Option<&Policy>,
    world: &World,
    options: &Options,
) -> Plan {
    let mut draft = Draft::new(world, options, "UTC");
    let guest = world.guests.get(vm);
    request::about(&mut draft, guest);
    if let Some((guest, found)) =
        guest.and_then(|guest| Some((guest, guest.record.backups.get(backup)?)))
    {
        let (storage, elsewhere) = storages::holding(world, &found.storage, backup);
        let op = Files {
            backup: backup.clone(),
            vm: guest.vm.clone(),
            storage,
            ancestors: guest.record.ancestors(backup),
        };
        let address = format!("files.{}/{backup}", guest.vm.name);
        let mut wish = Wish::new(address, Op::Files(op), Class::Routine, Reason::Asked);
        let in_force = offerings::in_force(found, policy, &world.applied);
        wish.blocks = Vec::from_iter(forbidden(
            backup,
            in_force.map(|(name, offering)| (name, offering.allow_extract_file)),
        ));
        wish.blocks.extend(elsewhere);
        if !guest.record.is_usable(backup) {
            wish.blocks.push(blocked(
                "unusable",
                format!("{backup} cannot be read: a file of it, or of a backup it needs, is damaged or missing"),
                "choose another one: knib backup list",
            ));
        }
        draft.add(wish);
    }
    draft.finish(None, Vec::new(), Vec::new())
}

/// What stands in the way, unless an offering allows it.
fn forbidden(backup: &BackupId, offering: Option<(&str, bool)>) -> Option<Block> {
    let (text, hint) = match offering {
        Some((_, true)) => return None,
        Some((name, false)) => (
            format!("offering {name} of {backup} does not allow files to be taken out"),
            format!("say allowExtractFile: true under offerings.{name}, if they may be"),
        ),
        None => (
            format!("{backup} was made without an offering, so none allows files to be taken out"),
            "restore the VM beside the old one: knib restore new".to_owned(),
        ),
    };
    Some(blocked("extract_forbidden", text, hint))
}
