//! Backups whose files are not what they were: marked, so that nothing continues them or counts on
//! them. Nothing is deleted for it.

use crate::model::backup::Unusable;
use crate::model::id::BackupId;
use crate::model::id::VmId;
use crate::model::op::Group;
use crate::model::op::MarkUnusable;
use crate::model::op::Op;
use crate::model::reason::Reason;
use crate::planner::draft::Draft;
use crate::planner::removal;

/// An action for each one that was seen damaged; what continues it cannot be restored either, which
/// needs no mark.
pub(super) fn plan(draft: &mut Draft<'_>) {
    let world = draft.now;
    for seen in world.storages.values() {
        for (vm, found) in &seen.vms {
            for (backup, why) in &found.damage {
                mark(draft, vm, backup, why);
            }
        }
    }
}

fn mark(draft: &mut Draft<'_>, vm: &VmId, id: &BackupId, why: &Unusable) {
    let Some(guest) = draft.ahead.guests.get(vm) else {
        return;
    };
    let goes = |op: &Op| matches!(op, Op::Delete(of) if of.backup == *id);
    let known = guest.record.backups.get(id);
    if known.is_none_or(|known| known.marks.unusable.is_some())
        || guest.open.iter().any(|open| goes(&open.op))
        || !draft.admits(Group::Backup, Some(&guest.vm.name))
    {
        return;
    }
    let reason = Reason::Damaged {
        file: why.file.clone(),
        missing: why.code == "missing",
        continued_by: guest.record.needed_by(id),
    };
    let why = why.clone();
    let op = |of| Op::MarkUnusable(MarkUnusable { of, why });
    let mut wish = removal::wish(draft, guest, id, op, reason);
    wish.change.after = serde_json::json!({ "status": "unusable" });
    draft.add(wish);
}
