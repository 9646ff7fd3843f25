//! Backups whose files are not what they were: marked, so that nothing continues them or counts on
//! them. Nothing is deleted for it. What was read and found whole again loses its mark.

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
    for vm in world.guests.keys() {
        note(draft, vm);
    }
}

/// Lets the records on storages say what reading the backups of a VM showed.
pub(super) fn note(draft: &mut Draft<'_>, vm: &VmId) {
    let Some(guest) = draft.ahead.guests.get(vm) else {
        return;
    };
    if !draft.admits(Group::Backup, Some(&guest.vm.name)) {
        return;
    }
    let record = &guest.record;
    let untold = record.verified.iter().filter(|(_, one)| one.untold);
    let mut wishes = Vec::new();
    for (id, _) in untold {
        let Some(known) = record.backups.get(id) else {
            continue;
        };
        let why = known.marks.unusable.clone();
        let reason = match &why {
            None => Reason::Whole,
            Some(why) => Reason::Damaged {
                file: why.file.clone(),
                missing: why.code == "missing",
                read: true,
                continued_by: record.needed_by(id),
            },
        };
        let status = if why.is_some() {
            "unusable"
        } else {
            "backed_up"
        };
        let op = |of| Op::MarkUnusable(MarkUnusable { of, why });
        let mut wish = removal::wish(draft, guest, id, op, reason);
        wish.change.after = serde_json::json!({ "status": status });
        wishes.push(wish);
    }
    for wish in wishes {
        draft.add(wish);
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
        read: false,
        continued_by: guest.record.needed_by(id),
    };
    let why = Some(why.clone());
    let op = |of| Op::MarkUnusable(MarkUnusable { of, why });
    let mut wish = removal::wish(draft, guest, id, op, reason);
    wish.change.after = serde_json::json!({ "status": "unusable" });
    draft.add(wish);
}
