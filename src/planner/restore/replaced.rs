//! What restores replaced goes when its VM has a good backup since.

use serde_json::json;

use crate::model::bytes::Bytes;
use crate::model::id::BackupId;
use crate::model::id::VmId;
use crate::model::machine::Machine;
use crate::model::op::Discard;
use crate::model::op::Group;
use crate::model::op::Op;
use crate::model::plan::Class;
use crate::model::reason::Reason;
use crate::planner::draft::Draft;
use crate::planner::draft::Key;
use crate::planner::draft::Wish;

/// Of every VM.
pub(crate) fn plan(draft: &mut Draft<'_>) {
    let vms: Vec<VmId> = draft.ahead.guests.keys().cloned().collect();
    for vm in vms {
        while let Some(restore) = first_to_go(draft, &vm) {
            let guest = &draft.ahead.guests[&vm];
            let name = guest.vm.name.clone();
            let files = guest.machine.as_ref().map(Machine::replaced);
            let files = files.unwrap_or_default().remove(&restore);
            let op = Op::Discard(Discard {
                vm: guest.vm.clone(),
                restore: restore.clone(),
            });
            let address = format!("discard.{name}/{restore}");
            let mut wish = Wish::new(address, op, Class::Routine, Reason::Outlived);
            wish.change.before = json!({ "files": files });
            wish.estimate.frees = Bytes(0);
            wish.needs = vec![Key::Vm(vm.clone())];
            wish.gives = vec![Key::Vm(vm.clone())];
            if !draft.add(wish) {
                break;
            }
        }
    }
}

/// The first restore before the newest good backup of a VM.
fn first_to_go(draft: &Draft<'_>, vm: &VmId) -> Option<BackupId> {
    let guest = &draft.ahead.guests[vm];
    if !draft.admits(Group::Backup, Some(&guest.vm.name)) {
        return None;
    }
    let replaced = guest.machine.as_ref()?.replaced();
    let newest = guest.record.last_good()?;
    replaced.into_keys().find(|restore| *restore < newest.id)
}
