//! The calendar played forward: what the coming days write, let go and free, by storage.
//!
//! Each VM lives through its slots on its own, with the planner that plans for now, on the world that
//! each plan will leave. Sizes are reckoned from those on record. Room is not looked at while playing;
//! whether it would do is told afterwards.

mod sizes;

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::Serialize;

use crate::model::backup::VmRef;
use crate::model::bytes::Bytes;
use crate::model::finding::Finding;
use crate::model::finding::Severity;
use crate::model::id::BackupId;
use crate::model::op::Op;
use crate::model::plan::Action;
use crate::model::plan::Plan;
use crate::model::policy::Policy;
use crate::model::program::Program;
use crate::model::record::Record;
use crate::model::step::Step;
use crate::model::world::World;
use crate::planner::Options;
use crate::planner::ahead;
use crate::planner::forecast::sizes::Sizes;

/// A schedule that fires more often than anybody has patience for.
const MOST: u32 = 20_000;

/// The coming days.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Forecast {
    /// Played from here.
    pub from: Timestamp,
    /// To here.
    pub until: Timestamp,
    /// IANA zone of the days.
    pub timezone: String,
    /// So many VMs were played.
    pub vms: usize,
    /// By name.
    pub storages: Vec<StorageDays>,
    /// What stands out.
    pub findings: Vec<Finding>,
}

/// What comes to one storage.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct StorageDays {
    /// Its name.
    pub name: String,
    /// What backups take there now.
    pub used: Bytes,
    /// What is free there now; absent: it was not seen.
    pub free: Option<Bytes>,
    /// One entry a day, from the first to the last.
    pub days: Vec<Day>,
}

/// What one day does to one storage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Day {
    /// In the policy's zone.
    #[schemars(with = "String")]
    pub date: Date,
    /// Backups that stand alone.
    pub full: u32,
    /// Backups that continue others.
    pub incremental: u32,
    /// Backups let go, whose files stay for now.
    pub let_go: u32,
    /// Backups whose files go.
    pub deleted: u32,
    /// Deltas merged on primary.
    pub merged: u32,
    /// Written there.
    pub written: Bytes,
    /// Freed there.
    pub freed: Bytes,
    /// What backups take there at the end of it.
    pub used: Bytes,
}

/// By storage and day.
type Days = BTreeMap<(String, Date), Day>;

/// Plays the policy forward from the world's instant.
#[must_use]
pub fn play(policy: &Policy, world: &World, options: &Options, until: Timestamp) -> Forecast {
    let zone = TimeZone::get(&policy.timezone).unwrap_or(TimeZone::UTC);
    let mut days = Days::new();
    let roomy = roomy(world);
    let (first, after) = ahead(policy, &roomy, options);
    let mut vms = 0;
    for (id, guest) in &after.guests {
        let name = &guest.vm.name;
        if guest.record.assigned.is_none() || !options.admits_vm(name) {
            continue;
        }
        vms += 1;
        let sizes = Sizes::of(&world.guests[id]);
        let mut alone = World {
            guests: BTreeMap::from([(id.clone(), guest.clone())]),
            findings: Vec::new(),
            ..after.clone()
        };
        let mut plan = of_vm(&first, &guest.vm);
        for _ in 0..MOST {
            sizes.weigh(&mut alone, &plan);
            count(
                &plan,
                &alone,
                &sizes,
                alone.now.to_zoned(zone.clone()).date(),
                &mut days,
            );
            let next = plan.upcoming.iter().map(|next| next.due_at);
            let next = next.filter(|at| *at > alone.now).min();
            let Some(next) = next.filter(|next| *next <= until) else {
                break;
            };
            alone.now = next;
            (plan, alone) = ahead(policy, &alone, options);
        }
    }
    let storages = storages(world, &days, (world.now, until), &zone);
    Forecast {
        from: world.now,
        until,
        timezone: policy.timezone.clone(),
        vms,
        findings: findings(&storages, policy, world),
        storages,
    }
}

/// The same without limits of room.
fn roomy(world: &World) -> World {
    let mut roomy = world.clone();
    roomy.primaries.clear();
    for seen in roomy.storages.values_mut() {
        seen.space = None;
    }
    roomy
}

fn of_vm(plan: &Plan, vm: &VmRef) -> Plan {
    let mut plan = plan.clone();
    plan.actions.retain(|action| action.vm.as_ref() == Some(vm));
    plan.upcoming.retain(|next| next.vm == vm.name);
    plan
}

fn count(plan: &Plan, world: &World, sizes: &Sizes, date: Date, days: &mut Days) {
    for action in plan.actions.iter().filter(|action| action.is_free()) {
        let Some(storage) = storage_of(action) else {
            continue;
        };
        let day = days.entry((storage, date)).or_default();
        match &action.op {
            Op::Backup(op) => {
                match op.parent {
                    Some(_) => day.incremental += 1,
                    None => day.full += 1,
                }
                day.written = day.written + sizes.copied(op);
            }
            Op::Compress(op) => {
                let swap = sizes.compressed(plan, action, op);
                day.written = day.written + swap.written;
                day.freed = day.freed + swap.freed;
            }
            Op::Expire(of) if is_there(world, &of.vm, &of.backup) => day.let_go += 1,
            Op::Delete(_) => {
                day.deleted += 1;
                day.freed = day.freed + action.estimate.frees;
            }
            _ => {}
        }
        let steps = action.program.iter().flat_map(Program::steps);
        let merges = steps.filter(|(_, _, step)| matches!(step, Step::Merge { .. }));
        day.merged += u32::try_from(merges.count()).unwrap_or(u32::MAX);
    }
}

/// One that was let go and then deleted is counted once.
fn is_there(world: &World, vm: &VmRef, backup: &BackupId) -> bool {
    let record: Option<&Record> = world.guests.get(&vm.uuid).map(|guest| &guest.record);
    record.is_some_and(|record| record.backups.contains_key(backup))
}

fn storage_of(action: &Action) -> Option<String> {
    match &action.op {
        Op::Backup(op) => Some(op.storage.is.name.clone()),
        Op::Expire(of) | Op::Delete(of) => Some(of.storage.as_ref()?.is.name.clone()),
        Op::Compress(op) => Some(op.of.storage.as_ref()?.is.name.clone()),
        _ => None,
    }
}

fn storages(
    world: &World,
    days: &Days,
    (from, until): (Timestamp, Timestamp),
    zone: &TimeZone,
) -> Vec<StorageDays> {
    let date = |at: Timestamp| at.to_zoned(zone.clone()).date();
    let dates: Vec<Date> = std::iter::successors(Some(date(from)), |day| day.tomorrow().ok())
        .take_while(|day| *day <= date(until))
        .collect();
    let mut used: BTreeMap<&str, Bytes> = BTreeMap::new();
    for (name, _) in days.keys() {
        used.entry(name).or_default();
    }
    for guest in world.guests.values() {
        for backup in guest.record.backups.values() {
            let all = world.storages.iter();
            let name = all
                .filter(|(_, seen)| seen.usable() == Some(&backup.storage.id))
                .map(|(name, _)| name.as_str())
                .next();
            let sum = used
                .entry(name.unwrap_or(&backup.storage.name))
                .or_default();
            *sum = *sum + backup.size();
        }
    }
    used.into_iter()
        .map(|(name, used)| {
            let mut now = used;
            let each = dates.iter().map(|date| {
                let day = days.get(&(name.to_owned(), *date)).cloned();
                let mut day = day.unwrap_or_default();
                now = Bytes((now + day.written).0.saturating_sub(day.freed.0));
                (day.date, day.used) = (*date, now);
                day
            });
            let days = each.collect();
            let seen = world.storages.get(name);
            StorageDays {
                name: name.to_owned(),
                used,
                free: seen.and_then(|seen| Some(seen.space.as_ref()?.free)),
                days,
            }
        })
        .collect()
}

/// A night with far more than the others, and a storage that would fill up.
fn findings(storages: &[StorageDays], policy: &Policy, world: &World) -> Vec<Finding> {
    let mut findings = Vec::new();
    for storage in storages {
        let name = &storage.name;
        let mut written: Vec<u64> = storage.days.iter().map(|day| day.written.0).collect();
        written.retain(|bytes| *bytes > 0);
        written.sort_unstable();
        let median = written.get(written.len() / 2).copied().unwrap_or(0);
        let heavy = |day: &&Day| day.written.0 > median.saturating_mul(2);
        for day in storage.days.iter().filter(heavy) {
            let Day { date, full, .. } = day;
            let text = format!(
                "{date} writes {} to {name}, more than twice the median of {}: {full} full",
                day.written,
                Bytes(median)
            );
            let hint = "chains that end on one night begin anew on one night; `jitter` does not part them, another schedule does";
            findings.push(Finding::new(Severity::Warning, "heavy_night", text).hint(hint));
        }
        let seen = world
            .storages
            .get(name)
            .and_then(|seen| seen.space.as_ref());
        let wanted = policy.storages.get(name).zip(seen);
        let Some((spec, space)) = wanted else {
            continue;
        };
        let keep = spec.min_free.of(space.total);
        let room = space.free.0.saturating_sub(keep.0);
        let fills = |day: &&Day| day.used.0.saturating_sub(storage.used.0) > room;
        if let Some(day) = storage.days.iter().find(fills) {
            let text = format!(
                "{name} would be below its minFree of {keep} on {}: {} free now, {} more used",
                day.date,
                space.free,
                Bytes(day.used.0 - storage.used.0)
            );
            let hint = "keep less, back up elsewhere as well, or make the storage larger";
            findings.push(Finding::new(Severity::Warning, "storage_fills", text).hint(hint));
        }
    }
    findings
}
