//! Plans in files: written whole, read with suspicion.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use camino::Utf8Path;
use jiff::SignedDuration;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::failure::Result;
use crate::cli::files;
use crate::model::backup::Slot;
use crate::model::calendar::Calendar;
use crate::model::digest::Digest;
use crate::model::id::ActionId;
use crate::model::id::HostId;
use crate::model::op::Op;
use crate::model::plan::Action;
use crate::model::plan::FORMAT;
use crate::model::plan::FORMAT_VERSION;
use crate::model::plan::Plan;
use crate::model::policy::Policy;
use crate::model::policy::Schedule;
use crate::model::program::Refusal;
use crate::model::reason::Block;
use crate::model::reason::Reason;
use crate::model::seconds::Seconds;
use crate::model::world::Open;
use crate::model::world::World;

/// A plan is refused when it is older: the world it was made on is long gone.
const KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// A plan from a file.
#[derive(Debug)]
pub struct Saved {
    /// The plan.
    pub plan: Plan,
    /// It is as it was written.
    pub whole: bool,
}

/// The plan as it is printed and saved, its integrity included.
#[must_use]
pub fn text(plan: &Plan) -> String {
    let bare = Plan {
        integrity: None,
        ..plan.clone()
    };
    let text = json(&bare);
    let sealed = Plan {
        integrity: integrity(&text),
        ..bare
    };
    json(&sealed)
}

fn json(plan: &Plan) -> String {
    serde_json::to_string_pretty(plan).expect("a plan is plain data") + "\n"
}

/// The digest of everything but itself, whatever the order and the white space.
fn integrity(text: &str) -> Option<Digest> {
    let mut value: Value = serde_json::from_str(text).ok()?;
    value.as_object_mut()?.remove("integrity");
    Some(Digest::of(value.to_string().as_bytes()))
}

pub(super) fn write(path: &Utf8Path, plan: &Plan) -> Result<()> {
    files::replace(path, text(plan).as_bytes())
}

pub(super) fn read(path: &Utf8Path) -> Result<Saved> {
    let bytes = files::read(path)?;
    let no_plan = |why: &dyn std::fmt::Display| {
        Failure::new("no_plan", format!("{path} is not a saved plan: {why}"))
            .hint("knib plan -o FILE saves one")
    };
    let text = std::str::from_utf8(&bytes).map_err(|error| no_plan(&error))?;
    let value: Value = serde_json::from_str(text).map_err(|error| no_plan(&error))?;
    let format = value["format"].as_str().unwrap_or_default();
    if format != FORMAT {
        return Err(no_plan(&format!("its format is {format:?}")));
    }
    let version = value["format_version"].as_str().unwrap_or_default();
    let major = |version: &str| version.split('.').next().map(str::to_owned);
    if major(version) != major(FORMAT_VERSION) {
        let made_by = value["knib_version"].as_str().unwrap_or("another knib");
        let text = format!("{path} has plan format {version}; this knib knows {FORMAT_VERSION}");
        return Err(refused(text, &format!("it was made by knib {made_by}")));
    }
    let plan: Plan = serde_json::from_value(value).map_err(|error| no_plan(&error))?;
    let whole = plan.integrity.is_some() && plan.integrity == integrity(text);
    Ok(Saved { plan, whole })
}

/// What can be said against applying a plan without looking at the host.
pub(super) fn check(saved: &Saved, path: &Utf8Path, now: Timestamp) -> Result<()> {
    let again = "nothing was changed; make a new one: knib plan -o FILE";
    if !saved.whole {
        return Err(refused(
            format!("{path} was altered after it was saved"),
            again,
        ));
    }
    let clock = &saved.plan.clock;
    if clock.given {
        let text = format!("{path} was made for {} with --at or --world", clock.now);
        return Err(refused(text, "such a plan is for looking only"));
    }
    if now.duration_since(clock.now) > KEPT {
        let text = format!("{path} is of {}, older than seven days", clock.now);
        return Err(refused(text, again));
    }
    Ok(())
}

/// A plan for one host is not applied on another.
pub(super) fn check_host(plan: &Plan, path: &Utf8Path, host: &HostId) -> Result<()> {
    if plan.host.uuid == *host {
        return Ok(());
    }
    let text = format!("{path} is for {} ({})", plan.host.hostname, plan.host.uuid);
    Err(refused(text, &format!("this host is {host}")))
}

pub(super) fn refused(text: impl Into<String>, hint: &str) -> Failure {
    Failure::new("plan_refused", text.into())
        .hint(hint)
        .exit(Exit::Refused)
}

/// A saved plan whose destructive actions were allowed: each takes its program from a plan made now,
/// which holds it free. Of what that plan would do besides, only what follows from them is taken: files
/// that nothing needs then, and the retention in force.
#[must_use]
pub fn freed(saved: Plan, now: &Plan) -> Plan {
    let mut plan = saved;
    let mut ids: BTreeMap<String, ActionId> = BTreeMap::new();
    let mut vms = BTreeSet::new();
    for action in &mut plan.actions {
        let same = |new: &&Action| {
            new.address == action.address && new.verb == action.verb && new.is_free()
        };
        if action.is_blocked_as("destructive")
            && let Some(new) = now.actions.iter().find(same)
        {
            action.op = new.op.clone();
            action.program.clone_from(&new.program);
            action.depends_on = known(&ids, now, new).into_iter().flatten().collect();
            action.blocked_by.clear();
            vms.extend(action.vm.clone());
        }
        ids.insert(action.address.clone(), action.id.clone());
    }
    for new in now.actions.iter().filter(|new| new.is_free()) {
        let follows = matches!(new.op, Op::Retain(_)) || new.reason == Reason::Unneeded;
        let ours = new.vm.as_ref().is_some_and(|vm| vms.contains(vm));
        if !follows || !ours || ids.contains_key(&new.address) {
            continue;
        }
        // What waits for more than this plan does is left to the next one.
        let Some(depends_on) = known(&ids, now, new).into_iter().collect() else {
            continue;
        };
        let action = Action {
            id: ActionId::of(&plan.id, plan.actions.len() + 1),
            depends_on,
            ..new.clone()
        };
        ids.insert(action.address.clone(), action.id.clone());
        plan.actions.push(action);
    }
    plan.summary = Plan::summarise(&plan.actions);
    plan
}

/// What an action of the plan made now depends on, as the saved one calls it; none for what it does not do.
fn known(ids: &BTreeMap<String, ActionId>, now: &Plan, new: &Action) -> Vec<Option<ActionId>> {
    let ids = new.depends_on.iter().map(|id| ids.get(now.name_of(id)));
    ids.map(Option::<&ActionId>::cloned).collect()
}

/// Actions of a saved plan, with why they are out of date.
type Overtaken = BTreeMap<ActionId, String>;

/// Backups of a saved plan whose slots were served since, and those whose slots have successors by now.
#[must_use]
pub fn overtaken(plan: &Plan, world: &World) -> (Overtaken, Overtaken) {
    let (mut served, mut passed) = (Overtaken::new(), Overtaken::new());
    let policy = plan.resolved.as_deref();
    for action in plan.actions.iter().filter(|action| action.is_free()) {
        let Op::Backup(op) = &action.op else { continue };
        if op.slots.is_empty() {
            continue;
        }
        let record = world.guests.get(&op.vm.uuid).map(|guest| &guest.record);
        let is_served = |slot: &Slot| {
            let latest = record.and_then(|record| record.served.get(&slot.schedule));
            latest.is_some_and(|latest| *latest >= slot.at)
        };
        let schedules = policy.zip(op.policy.as_ref());
        let schedules = schedules.and_then(|(policy, name)| policy.policies.get(name));
        let is_passed = |slot: &Slot| {
            let schedule = schedules.and_then(|policy| policy.schedules.get(&slot.schedule));
            schedule.and_then(|one| latest(one, world.now)) > Some(slot.at)
        };
        if op.slots.iter().all(is_served) {
            let text = "its slot was served since the plan was made";
            served.insert(action.id.clone(), text.to_owned());
        } else if op.slots.iter().all(is_passed) {
            let text = "a later slot has come since the plan was made";
            passed.insert(action.id.clone(), text.to_owned());
        }
    }
    (served, passed)
}

fn latest(schedule: &Schedule, now: Timestamp) -> Option<Timestamp> {
    let zone = TimeZone::get(&schedule.timezone).ok()?;
    Calendar::parse(&schedule.cron).ok()?.latest(now, &zone)
}

/// Takes actions out, and all that depend on them. Returns how people call them.
pub fn without(plan: &mut Plan, out: impl IntoIterator<Item = (ActionId, String)>) -> Vec<String> {
    let mut out: Overtaken = out.into_iter().collect();
    let mut told = Vec::new();
    // An action comes after those that it depends on.
    for action in &plan.actions {
        if let Some(first) = action.depends_on.iter().find(|id| out.contains_key(*id)) {
            let text = format!("it needs {}", plan.name_of(first));
            out.entry(action.id.clone()).or_insert(text);
        }
        if let Some(why) = out.get(&action.id) {
            told.push(format!("{}: {why}", action.address));
        }
    }
    plan.actions.retain(|action| !out.contains_key(&action.id));
    plan.summary = Plan::summarise(&plan.actions);
    told
}

/// Takes out what carries on interrupted actions that were carried on already; what waits for it need not.
pub fn carried_on(plan: &mut Plan, opens: &[Open]) {
    let done = |action: &Action| {
        let carries_on = action.op.carries_on();
        opens.iter().any(|open| Some(&open.action) == carries_on)
    };
    let gone = plan.actions.extract_if(.., |action| done(action));
    let gone: Vec<_> = gone.map(|action| action.id).collect();
    for action in &mut plan.actions {
        action.depends_on.retain(|id| !gone.contains(id));
    }
    plan.summary = Plan::summarise(&plan.actions);
}

/// Actions that are not done, for the world has moved on.
pub fn mark_stale(plan: &mut Plan, stale: impl IntoIterator<Item = (ActionId, String)>) {
    for (id, text) in stale {
        let all = plan.actions.iter_mut();
        for action in all.filter(|action| action.id == id) {
            action.blocked_by.push(Block::Stale { text: text.clone() });
        }
    }
    plan.summary = Plan::summarise(&plan.actions);
}

/// Schedules and assignments count from when they are applied: what passed between a plan and its apply
/// does not fire.
pub fn count_from(plan: &mut Plan, now: Timestamp) {
    let made = plan.clock.now;
    for action in &mut plan.actions {
        match &mut action.op {
            Op::PolicyCreate(set) | Op::PolicyUpdate(set) => {
                let new = set.since.values_mut().filter(|since| **since == made);
                new.for_each(|since| *since = now);
            }
            Op::Assign(op) if op.since == made => op.since = now,
            _ => {}
        }
    }
}

/// Blocks backups whose deadline passed since the plan was made.
pub fn expire(plan: &mut Plan, now: Timestamp) {
    let policy = plan.resolved.clone();
    for action in &mut plan.actions {
        if policy
            .as_ref()
            .is_some_and(|policy| late(action, policy, now))
        {
            action.blocked_by.push(Block::Blocked(Refusal::new(
                "deadline_over",
                "its deadline is over",
                "make a new plan: knib plan",
            )));
        }
    }
}

fn late(action: &Action, policy: &Policy, now: Timestamp) -> bool {
    let (Op::Backup(op), Reason::SlotDue { due_at, .. }) = (&action.op, &action.reason) else {
        return false;
    };
    let schedules = op
        .policy
        .as_ref()
        .and_then(|name| policy.policies.get(name))
        .map(|policy| &policy.schedules);
    let over = |deadline: Seconds| {
        let passed = now.duration_since(*due_at).as_secs();
        u64::try_from(passed).is_ok_and(|passed| passed > deadline.0)
    };
    !op.slots.is_empty()
        && schedules.is_some_and(|schedules| {
            op.slots.iter().all(|slot| {
                let deadline = schedules
                    .get(&slot.schedule)
                    .and_then(|schedule| schedule.deadline);
                deadline.is_some_and(over)
            })
        })
}
