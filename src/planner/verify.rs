//! Backups whose files are to be read again: those that a person names, and those of a storage whose
//! last reading is too long ago, the oldest first.
//!
//! Each file is read once, whatever continues it. A plan takes up what an hour of reading does; the next
//! one goes on with the rest.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::SignedDuration;
use jiff::Timestamp;

use crate::model::backup::Backup;
use crate::model::bytes::Bytes;
use crate::model::id::BackupId;
use crate::model::id::VmId;
use crate::model::op::Group;
use crate::model::op::Op;
use crate::model::op::Verify;
use crate::model::plan::Plan;
use crate::model::policy::Policy;
use crate::model::reason::Reason;
use crate::model::record::Record;
use crate::model::seconds::Seconds;
use crate::model::seconds::later;
use crate::model::world::Guest;
use crate::model::world::StorageSeen;
use crate::model::world::World;
use crate::planner::Options;
use crate::planner::backups;
use crate::planner::damage;
use crate::planner::draft::Draft;
use crate::planner::draft::Key;
use crate::planner::draft::Wish;
use crate::planner::removal;

/// Bytes a second that are reckoned with where there is no limit.
const RATE: u64 = 500_000_000;
/// So long the reading that one plan takes up lasts.
const SPAN: u64 = 3600;
/// One that could not be read is tried again after so long at the latest.
const AGAIN: Seconds = Seconds(24 * 3600);
/// So many backups are read at once where there is no limit.
const AT_ONCE: u32 = 2;

/// What reading is due on storages that want it.
pub(super) fn plan(draft: &mut Draft<'_>, policy: &Policy) {
    for (name, storage) in &policy.storages {
        let Some(wanted) = &storage.verify else {
            continue;
        };
        let rate = wanted.rate_limit;
        let mut left = rate.map_or(RATE, |rate| rate.0).saturating_mul(SPAN);
        for (_, vm, id) in due(draft, name, wanted.interval) {
            let Some(guest) = draft.ahead.guests.get(&vm) else {
                continue;
            };
            let since = guest.record.verified.get(&id).and_then(|known| known.at);
            let mut wish = wish(draft, guest, &id, rate, Reason::Unread { since });
            wish.needs = vec![Key::Backup(vm.clone(), id.clone())];
            let size = size(&guest.record, &id).0;
            draft.add(wish);
            left = left.saturating_sub(size);
            if left == 0 {
                break;
            }
        }
    }
}

/// The backups on a storage that are to be read, since when, the longest first.
fn due(
    draft: &Draft<'_>,
    storage: &str,
    interval: Seconds,
) -> BTreeSet<(Timestamp, VmId, BackupId)> {
    let mut due = BTreeSet::new();
    let seen = draft.ahead.storages.get(storage);
    let Some(storage_id) = seen.and_then(StorageSeen::usable) else {
        return due;
    };
    for (vm, guest) in &draft.ahead.guests {
        if !draft.admits(Group::Jobs, Some(&guest.vm.name)) {
            continue;
        }
        let record = &guest.record;
        let here = record.backups.values();
        let mut of_it = here
            .filter(|backup| backup.storage.id == *storage_id)
            .map(|backup| (when(record, backup, interval), backup))
            .filter(|(at, backup)| *at <= draft.now.now && is_still(draft, vm, backup))
            .peekable();
        // What another state may rewrite is not judged by what is on record here.
        if of_it.peek().is_none() || backups::owned_elsewhere(draft, guest, storage).is_some() {
            continue;
        }
        due.extend(of_it.map(|(at, backup)| (at, vm.clone(), backup.id.clone())));
    }
    due
}

/// When a backup is to be read. Its digests were taken when it was made.
fn when(record: &Record, backup: &Backup, interval: Seconds) -> Timestamp {
    let after = |at: Timestamp, wait: Seconds| {
        let wait = i64::try_from(wait.0).unwrap_or(i64::MAX);
        later(at, SignedDuration::from_secs(wait))
    };
    match record.verified.get(&backup.id) {
        None => after(backup.created, interval),
        Some(known) if known.at == Some(known.tried) => after(known.tried, interval),
        Some(known) => after(known.tried, interval.min(AGAIN)),
    }
}

/// Nothing of this plan is about it, and nobody reads it right now.
fn is_still(draft: &Draft<'_>, vm: &VmId, backup: &Arc<Backup>) -> bool {
    let Some(now) = draft.now.guests.get(vm) else {
        return false;
    };
    let read = |op: &Op| matches!(op, Op::Verify(op) if op.of.backup == backup.id);
    now.record.backups.get(&backup.id) == Some(backup)
        && !now.open.iter().any(|open| read(&open.op))
}

/// Reads these backups, and all that they continue, unless they alone are meant.
#[must_use]
pub fn ask(asked: &[(VmId, BackupId)], alone: bool, world: &World, options: &Options) -> Plan {
    let mut draft = Draft::new(world, options, "UTC");
    // What they continue is older than they are.
    let mut all = BTreeMap::new();
    for (vm, id) in asked {
        let Some(guest) = world.guests.get(vm) else {
            continue;
        };
        let record = &guest.record;
        let above = if alone {
            Vec::new()
        } else {
            record.ancestors(id)
        };
        for id in above.iter().chain([id]) {
            if let Some(backup) = record.backups.get(id) {
                all.insert((vm, backup.created, id.clone()), guest);
            }
        }
    }
    for ((_, _, id), guest) in all {
        let mut wish = wish(&draft, guest, &id, None, Reason::Asked);
        if let Some(backup) = guest.record.backups.get(&id) {
            wish.blocks.extend(backups::owned_elsewhere(
                &draft,
                guest,
                &backup.storage.name,
            ));
        }
        draft.add(wish);
    }
    draft.findings.clear();
    draft.finish(None, Vec::new(), Vec::new())
}

/// Lets the records of backups on their storages say what reading them showed.
#[must_use]
pub fn tell(vms: &BTreeSet<VmId>, world: &World, options: &Options) -> Plan {
    let mut draft = Draft::new(world, options, "UTC");
    for vm in vms {
        damage::note(&mut draft, vm);
    }
    draft.findings.clear();
    draft.finish(None, Vec::new(), Vec::new())
}

/// The backups whose files were read longest ago, or written where they never were.
pub fn oldest<'a>(
    guests: impl IntoIterator<Item = &'a Guest>,
    number: usize,
) -> Vec<(&'a VmId, &'a BackupId)> {
    let mut all = Vec::new();
    for guest in guests {
        let backups = guest.record.backups.values();
        all.extend(backups.map(|backup| {
            let read = when(&guest.record, backup, Seconds(0));
            (read, &guest.vm.uuid, &backup.id)
        }));
    }
    all.sort();
    all.truncate(number);
    all.into_iter().map(|(_, vm, id)| (vm, id)).collect()
}

fn wish(
    draft: &Draft<'_>,
    guest: &Guest,
    id: &BackupId,
    rate: Option<Bytes>,
    reason: Reason,
) -> Wish {
    let op = |of| {
        Op::Verify(Verify {
            of,
            rate,
            at_once: if rate.is_some() { 1 } else { AT_ONCE },
        })
    };
    let mut wish = removal::wish(draft, guest, id, op, reason);
    let rate = rate.map_or(RATE, |rate| rate.0.max(1));
    wish.estimate.seconds = size(&guest.record, id).0.div_ceil(rate);
    wish
}

fn size(record: &Record, id: &BackupId) -> Bytes {
    let backup = record.backups.get(id);
    backup.map_or(Bytes(0), |backup| backup.size())
}
