//! What retention lets go, judged on the backups as they will be after those of this plan.
//!
//! Two rules are asked of each backup: what the policy says, and what is in force. One that both let
//! go is rotation. One that only the policy lets go is destructive, whatever changed, and stays until
//! somebody says so; the retention in force moves when there is none left (design, section 3).

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use serde_json::json;

use crate::model::bytes::Bytes;
use crate::model::finding::Origin;
use crate::model::id::BackupId;
use crate::model::id::VmId;
use crate::model::op::Group;
use crate::model::op::Op;
use crate::model::op::Retain;
use crate::model::plan::Class;
use crate::model::plan::Plan;
use crate::model::policy::Policy;
use crate::model::reason::Block;
use crate::model::reason::Field;
use crate::model::reason::Reason;
use crate::model::record::Record;
use crate::model::retention::Rules;
use crate::model::retention::Verdict;
use crate::model::world::Guest;
use crate::planner::draft::Draft;
use crate::planner::draft::Key;
use crate::planner::draft::Wish;
use crate::planner::draft::blocked;
use crate::planner::fields::differences;
use crate::planner::removal;
use crate::planner::removal::Going;

/// Lets go, and moves the retention in force of each VM to what its policy says.
pub(super) fn plan(draft: &mut Draft<'_>, policy: &Policy) {
    for id in draft.now.guests.keys() {
        let Some(guest) = draft.ahead.guests.get(id).cloned() else {
            continue;
        };
        if !draft.admits(Group::Backup, Some(&guest.vm.name)) {
            continue;
        }
        let assigned = guest.record.assigned.as_ref();
        let spec = assigned.and_then(|held| policy.policies.get_key_value(&held.policy));
        let Some((name, spec)) = spec.filter(|(_, spec)| !spec.paused) else {
            continue;
        };
        let rules = Rules::of(name, spec, &policy.timezone);
        let change = Changing::of(&guest, &rules, policy);
        let_go(draft, &guest, &rules, &change);
        if guest.record.retention.as_deref() != Some(&rules) && !draft.blocks(id) {
            retain(draft, &guest, rules, change);
        }
    }
}

/// The backups that a plan leaves alone until somebody allows them to go.
#[must_use]
pub fn spared(plan: &Plan) -> BTreeSet<(VmId, BackupId)> {
    let destructive = plan
        .actions
        .iter()
        .filter(|action| action.class == Class::Destructive);
    let of = destructive.filter_map(|action| match &action.op {
        Op::Expire(of) | Op::Delete(of) => Some((of.vm.uuid.clone(), of.backup.clone())),
        _ => None,
    });
    of.collect()
}

/// What differs between the retention in force and the policy, and where the policy says so.
struct Changing {
    fields: Vec<Field>,
    source: Option<Origin>,
}

impl Changing {
    fn of(guest: &Guest, rules: &Rules, policy: &Policy) -> Self {
        let before = guest.record.retention.as_deref();
        let fields = before.map_or_else(Vec::new, |before| differences(before, rules));
        let of_policy = format!("policies.{}", rules.policy);
        let places = fields.iter().map(|field| place(&of_policy, &field.key));
        let fallbacks = [format!("{of_policy}.retention"), of_policy.clone()];
        let mut places = places.chain(fallbacks);
        let source = places.find_map(|path| policy.origins.get(&path)).cloned();
        Self { fields, source }
    }
}

/// Where a policy says what the rules call so.
fn place(of_policy: &str, key: &str) -> String {
    match key.split('.').collect::<Vec<_>>()[..] {
        ["timezone"] => "timezone".to_owned(),
        ["policy"] => format!("{of_policy}.select"),
        ["minBackups"] => format!("{of_policy}.protect.minBackups"),
        ["schedules", name, ref key @ ..] => {
            let key = key.join(".");
            format!("{of_policy}.schedules.{name}.retention.{key}")
        }
        _ => format!("{of_policy}.{key}"),
    }
}

fn let_go(draft: &mut Draft<'_>, guest: &Guest, rules: &Rules, change: &Changing) {
    let (vm, record) = (&guest.vm.uuid, &guest.record);
    let now = draft.now.now;
    let verdicts = rules.judge(record, now);
    for (id, verdict) in verdicts.iter().filter(|(_, verdict)| verdict.stays()) {
        if let Some(backup) = record.backups.get(id) {
            draft.tell_kept(guest, backup, verdict);
        }
    }
    let going = verdicts.iter().filter(|(_, verdict)| !verdict.stays());
    let going: BTreeSet<BackupId> = going.map(|(id, _)| id.clone()).collect();
    if going.is_empty() {
        return;
    }
    let in_force = record.retention.as_deref();
    let in_force = in_force.map(|rules| rules.judge(record, now));
    let before = kept_before(draft, vm);
    let spared = |id: &BackupId| match &in_force {
        Some(all) => all.get(id).is_some_and(Verdict::stays),
        None => true,
    };
    let held = going
        .iter()
        .filter(|id| spared(id) && !draft.allows(vm, id));
    let held: BTreeSet<BackupId> = held.cloned().collect();
    let frees = would_free(record, &going, &held);
    // None before one that it continues: all are let go before any file goes.
    let mut order: Vec<&BackupId> = going.iter().collect();
    order.sort_by_cached_key(|id| (record.ancestors(id).len(), *id));
    for id in order {
        let kept_by_before = before.get(id).map(Verdict::reasons).unwrap_or_default();
        let passed = verdicts[id]
            .passed
            .iter()
            .map(ToString::to_string)
            .collect();
        let (class, reason) = if spared(id) {
            let reason = Reason::PolicyChange {
                kept_by_before,
                passed,
                fields: change.fields.clone(),
                source: change.source.clone(),
            };
            (Class::Destructive, reason)
        } else {
            let reason = Reason::Rotation {
                kept_by_before,
                passed,
            };
            (Class::Routine, reason)
        };
        let held = held.contains(id);
        let going = Going {
            reason,
            class,
            blocks: held.then(|| destructive(guest)).into_iter().collect(),
            beside: &going,
            frees: held.then(|| frees.get(id).copied().unwrap_or_default()),
        };
        removal::let_go(draft, vm, id, going);
    }
    removal::sweep(draft, vm);
}

/// What the held ones give back if they go with all the others: each its own files, and one of them those
/// that are kept for nothing else.
fn would_free(
    record: &Record,
    going: &BTreeSet<BackupId>,
    held: &BTreeSet<BackupId>,
) -> BTreeMap<BackupId, Bytes> {
    let mut frees: BTreeMap<BackupId, Bytes> = BTreeMap::new();
    let Some(newest) = held.last() else {
        return frees;
    };
    let without: BTreeSet<BackupId> = going.difference(held).cloned().collect();
    let without = record.goes_with(&without);
    for id in record.goes_with(going) {
        if let Some(backup) = record.backups.get(&id).filter(|_| !without.contains(&id)) {
            let by = if held.contains(&id) {
                id
            } else {
                newest.clone()
            };
            let sum = frees.entry(by).or_default();
            *sum = *sum + backup.size();
        }
    }
    frees
}

/// What keeps each backup by the retention in force, on what is there now.
fn kept_before(draft: &Draft<'_>, vm: &VmId) -> BTreeMap<BackupId, Verdict> {
    let record = draft.now.guests.get(vm).map(|guest| &guest.record);
    let in_force = record.and_then(|record| Some((record, record.retention.as_deref()?)));
    in_force
        .map(|(record, rules)| rules.judge(record, draft.now.now))
        .unwrap_or_default()
}

fn destructive(guest: &Guest) -> Block {
    let text = match &guest.record.retention {
        Some(_) => "the retention in force keeps it",
        None => "no retention was in force yet, and nothing went before",
    };
    blocked(
        "destructive",
        text,
        "to let such backups go: knib apply --allow-destructive with their number",
    )
}

fn retain(draft: &mut Draft<'_>, guest: &Guest, rules: Rules, change: Changing) {
    let reason = match guest.record.retention {
        Some(_) => Reason::Retention {
            fields: change.fields,
        },
        None => Reason::New,
    };
    let before = guest.record.retention.as_deref().map(ToString::to_string);
    let after = rules.to_string();
    let mut wish = Wish::new(
        format!("retention.{}", guest.vm.name),
        Op::Retain(Retain {
            vm: guest.vm.clone(),
            rules,
            at: draft.now.now,
        }),
        Class::Config,
        reason,
    );
    wish.change.before = json!(before);
    wish.change.after = json!(after);
    let uuid = &guest.vm.uuid;
    wish.needs = vec![Key::Vm(uuid.clone())];
    let backups = guest.record.backups.keys();
    wish.needs
        .extend(backups.map(|id| Key::Backup(uuid.clone(), id.clone())));
    draft.add(wish);
}
