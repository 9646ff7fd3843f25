//! Backups that go: those that a person or retention lets go, and those whose files nothing needs.
//!
//! A backup that another one continues is let go and keeps its files; they go with the last one that
//! needs them. What was let go is gone from lists at once, so that comes before any file.

use std::collections::BTreeSet;

use serde_json::json;

use crate::model::backup::Backup;
use crate::model::bytes::Bytes;
use crate::model::id::BackupId;
use crate::model::id::VmId;
use crate::model::machine::Machine;
use crate::model::op::Group;
use crate::model::op::OneBackup;
use crate::model::op::Op;
use crate::model::op::Phase;
use crate::model::plan::Class;
use crate::model::plan::Plan;
use crate::model::reason::Block;
use crate::model::reason::Reason;
use crate::model::record::Record;
use crate::model::world::Guest;
use crate::model::world::World;
use crate::planner::Options;
use crate::planner::backups;
use crate::planner::draft::Draft;
use crate::planner::draft::Key;
use crate::planner::draft::Wish;
use crate::planner::draft::blocked;
use crate::planner::recover;
use crate::planner::storages;

/// What `knib backup delete` asks for.
#[derive(Clone, Debug)]
pub struct Removal {
    /// Which backups, each of its VM.
    pub backups: Vec<(VmId, BackupId)>,
    /// Also the last good one of a VM.
    pub force: bool,
}

/// Lets backups go, and removes the files that nothing needs then. While anything forbids one of
/// them, none goes.
#[must_use]
pub fn delete(asked: &Removal, world: &World, options: &Options) -> Plan {
    let mut draft = Draft::new(world, options, "UTC");
    recover::plan(&mut draft);
    let forbidden: Vec<_> = asked
        .backups
        .iter()
        .filter_map(|(vm, id)| Some((vm, id, forbidden(asked, world.guests.get(vm)?, id)?)))
        .collect();
    if forbidden.is_empty() {
        for (vm, id) in in_order(asked, world) {
            let going = Going {
                reason: Reason::Asked,
                class: Class::Destructive,
                blocks: Vec::new(),
                beside: &BTreeSet::new(),
                frees: None,
            };
            let_go(&mut draft, vm, id, going);
        }
        let vms: BTreeSet<_> = asked.backups.iter().map(|(vm, _)| vm).collect();
        for vm in vms {
            sweep(&mut draft, vm);
        }
    }
    for (vm, id, why) in forbidden {
        let Some(guest) = world.guests.get(vm) else {
            continue;
        };
        let needed = !guest.record.descendants(id).is_empty();
        let op = if needed { Op::Expire } else { Op::Delete };
        let mut wish = wish(&draft, guest, id, op, Reason::Asked);
        wish.blocks.extend(why);
        draft.add(wish);
    }
    draft.finish(None, Vec::new(), Vec::new())
}

/// The files of everything that was let go and that nothing needs any more.
pub(super) fn plan(draft: &mut Draft<'_>) {
    for vm in draft.now.guests.keys() {
        let name = &draft.now.guests[vm].vm.name;
        if draft.admits(Group::Backup, Some(name)) {
            sweep(draft, vm);
        }
    }
}

/// What stands in the way of letting a backup go, if anything does; of a pinned one its program says it.
fn forbidden(asked: &Removal, guest: &Guest, id: &BackupId) -> Option<Vec<Block>> {
    let record = &guest.record;
    let name = &guest.vm.name;
    let backup = record.backups.get(id)?;
    if backup.marks.pinned {
        return Some(Vec::new());
    }
    let good = |id: &&BackupId| {
        record.is_usable(id) && record.backups.get(*id).is_some_and(|one| one.is_good())
    };
    let goes = |id: &BackupId| {
        let mut all = asked.backups.iter();
        all.any(|(vm, other)| *vm == guest.vm.uuid && other == id)
    };
    let last = record.backups.keys().filter(good).all(goes);
    (last && good(&id) && !asked.force).then(|| {
        vec![blocked(
            "last_good",
            format!("no good backup of {name} would be left"),
            "keep one of them, or say --force",
        )]
    })
}

/// The asked backups, none before one that it continues: so all are let go before any file goes.
fn in_order<'a>(asked: &'a Removal, world: &World) -> Vec<(&'a VmId, &'a BackupId)> {
    let depth = |(vm, id): &(VmId, BackupId)| {
        let guest = world.guests.get(vm);
        guest.map_or(0, |guest| guest.record.ancestors(id).len())
    };
    let mut all: Vec<_> = asked.backups.iter().collect();
    all.sort_by_key(|one| (&one.0, depth(one), &one.1));
    all.dedup();
    all.into_iter().map(|(vm, id)| (vm, id)).collect()
}

/// How a backup goes.
pub(super) struct Going<'a> {
    pub(super) reason: Reason,
    pub(super) class: Class,
    /// What stands in the way.
    pub(super) blocks: Vec<Block>,
    /// Those that go for the same reason, so that they need nothing for long.
    pub(super) beside: &'a BTreeSet<BackupId>,
    /// What it gives back together with them, where it does not go by itself.
    pub(super) frees: Option<Bytes>,
}

/// One that others need is let go, any other one goes with its files.
pub(super) fn let_go(draft: &mut Draft<'_>, vm: &VmId, id: &BackupId, going: Going<'_>) {
    let Some(guest) = draft.ahead.guests.get(vm) else {
        return;
    };
    let record = &guest.record;
    if record.descendants(id).is_empty() {
        remove(draft, vm, id, going);
    } else if record
        .backups
        .get(id)
        .is_some_and(|backup| backup.marks.removed.is_none())
    {
        let mut needed_by = record.needed_by(id);
        needed_by.retain(|other| !going.beside.contains(other));
        let mut wish = wish(draft, guest, id, Op::Expire, going.reason);
        wish.change.after = json!({ "status": "removed", "needed_by": needed_by });
        wish.class = going.class;
        wish.blocks.extend(going.blocks);
        wish.estimate.frees = going.frees.unwrap_or_default();
        wish.needs = vec![Key::Vm(vm.clone())];
        wish.gives = vec![Key::Backup(vm.clone(), id.clone())];
        draft.add(wish);
    }
}

pub(super) fn sweep(draft: &mut Draft<'_>, vm: &VmId) {
    let unneeded = |draft: &Draft<'_>| {
        let guest = draft.ahead.guests.get(vm);
        guest
            .map(|guest| guest.record.unneeded())
            .unwrap_or_default()
    };
    for id in unneeded(draft) {
        let going = Going {
            reason: Reason::Unneeded,
            class: Class::Routine,
            blocks: Vec::new(),
            beside: &BTreeSet::new(),
            frees: None,
        };
        remove(draft, vm, &id, going);
    }
}

fn remove(draft: &mut Draft<'_>, vm: &VmId, id: &BackupId, going: Going<'_>) {
    let Some(guest) = draft.ahead.guests.get(vm) else {
        return;
    };
    let mut wish = wish(draft, guest, id, Op::Delete, going.reason);
    wish.class = going.class;
    wish.blocks.extend(going.blocks);
    let record = &guest.record;
    // What continued it has gone in an earlier action.
    let before = draft.now.guests.get(vm).map(|guest| &guest.record);
    let continued = before
        .map(|record| record.descendants(id))
        .unwrap_or_default();
    let needs = std::iter::once(id).chain(&continued);
    wish.needs = needs
        .map(|id| Key::Backup(vm.clone(), id.clone()))
        .collect();
    wish.needs.push(Key::Vm(vm.clone()));
    wish.gives = vec![Key::Backup(vm.clone(), id.clone())];
    if record.current.as_ref() == Some(id) {
        wish.gives.push(Key::Vm(vm.clone()));
        wish.estimate = draft.merge_estimate(&guest.vm);
    }
    let size = record
        .backups
        .get(id)
        .map_or(Bytes(0), |backup| backup.size());
    wish.estimate.frees = going.frees.unwrap_or(wish.estimate.frees + size);
    draft.add(wish);
}

/// Something that is done to one backup.
pub(super) fn wish(
    draft: &Draft<'_>,
    guest: &Guest,
    id: &BackupId,
    op: impl FnOnce(OneBackup) -> Op,
    reason: Reason,
) -> Wish {
    let backup = guest.record.backups.get(id).map(AsRef::as_ref);
    let (storage, elsewhere) = match backup {
        Some(backup) => {
            let (storage, block) = storages::holding(&draft.ahead, &backup.storage, id);
            (Some(storage), block)
        }
        None => (None, None),
    };
    let of = OneBackup {
        vm: guest.vm.clone(),
        backup: id.clone(),
        storage: storage.clone(),
        at: draft.now.now,
    };
    let op = op(of);
    let address = format!("{}.{}/{id}", op.verb().as_str(), guest.vm.name);
    let mut wish = Wish::new(address, op, Class::Routine, reason);
    wish.change.before = backup.map_or(json!({ "status": "failed" }), |backup| {
        described(&guest.record, backup)
    });
    wish.blocks.extend(elsewhere);
    let goes = match &wish.op {
        Op::Delete(of) | Op::Expire(of) => Some(of),
        Op::Compress(op) if op.phase == Phase::Finalize => Some(&op.of),
        _ => None,
    };
    let read = goes.and_then(|of| Some(in_use(of, draft.reader(&of.vm.uuid, &of.backup)?)));
    wish.blocks.extend(read);
    if let Some(storage) = storage {
        let owned = backups::owned_elsewhere(draft, guest, &storage.is.name);
        wish.blocks.extend(owned);
    }
    wish
}

/// What to say of a VM that reads the files of a backup.
fn in_use(of: &OneBackup, reader: &Machine) -> Block {
    let text = format!("{} of {} is read by {}", of.backup, of.vm.name, reader.name);
    if reader.persistent {
        // Until it is consolidated, which is planned of each such VM.
        return Block::Held { until: None, text };
    }
    blocked(
        "in_use",
        text,
        format!(
            "virsh domblklist {}; give it disks of its own first",
            reader.name
        ),
    )
}

fn described(record: &Record, backup: &Backup) -> serde_json::Value {
    json!({
        "status": if backup.marks.removed.is_some() { "removed" } else { "backed_up" },
        "created": backup.created,
        "kind": backup.kind(),
        "chain": backup.link.map(|link| link.chain),
        "position": backup.link.map(|link| link.position),
        "current": record.current.as_ref() == Some(&backup.id),
        "size": backup.size(),
    })
}
