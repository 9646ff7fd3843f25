//! The last lines of a plan: how much of what.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use jiff::tz::TimeZone;

use crate::cli::render::plan::retention;
use crate::cli::render::text;
use crate::model::bytes::Bytes;
use crate::model::op::Op;
use crate::model::plan::Action;
use crate::model::plan::Plan;
use crate::model::reason::Reason;

/// Verbs in the order they are summed up, with their object and what happens to it.
const VERBS: [(&str, &str, &str); 28] = [
    ("recover", "action", "to recover"),
    ("backup", "", "to back up"),
    ("merge", "", "to merge"),
    ("expire", "", "to let go"),
    ("delete", "", "to delete"),
    ("discard", "restore's leftover", "to delete"),
    ("pin", "", "to pin"),
    ("unpin", "", "to unpin"),
    ("clear", "leftover", "to remove"),
    ("mark_unusable", "", "to mark unusable"),
    ("compress", "step", "to compress"),
    ("validate", "backup", "to boot"),
    ("verify", "", "to verify"),
    ("job_retry", "job", "to try again"),
    ("job_cancel", "job", "to cancel"),
    ("restore_vm", "VM", "to restore"),
    ("restore_disk", "disk", "to restore"),
    ("restore_new", "VM", "to make"),
    ("storage_create", "storage", "to add"),
    ("offering_create", "offering", "to add"),
    ("policy_create", "policy", "to add"),
    ("offering_update", "offering", "to change"),
    ("policy_update", "policy", "to change"),
    ("assign", "VM", "to assign"),
    ("unassign", "VM", "to leave"),
    ("retain", "retention", "to set"),
    ("offering_delete", "offering", "to remove"),
    ("policy_delete", "policy", "to remove"),
];
/// Those that only add: whatever was there before is there afterwards.
const ADD: [&str; 11] = [
    "backup",
    "compress",
    "validate",
    "verify",
    "storage_create",
    "offering_create",
    "policy_create",
    "offering_update",
    "policy_update",
    "assign",
    "retain",
];
/// So many slots are told.
const TOLD: usize = 3;

/// `2 to back up, 1 offering and 2 policies to add, 5 VMs to assign, 1 blocked`; nothing for nothing.
pub(super) fn counts(plan: &Plan) -> String {
    let summary = &plan.summary;
    let mut groups: Vec<(&str, Vec<String>)> = Vec::new();
    for (verb, one, what) in VERBS {
        let Some(n) = summary.verbs.get(verb).filter(|n| **n > 0) else {
            continue;
        };
        let n = match verb {
            "expire" => retention::only_let_go(plan),
            _ => usize::try_from(*n).unwrap_or(usize::MAX),
        };
        if n == 0 {
            continue;
        }
        let counted = if one.is_empty() {
            n.to_string()
        } else {
            text::count(n, one)
        };
        match groups.last_mut() {
            Some((last, counted_before)) if *last == what => counted_before.push(counted),
            _ => groups.push((what, vec![counted])),
        }
    }
    let mut parts: Vec<_> = groups
        .into_iter()
        .map(|(what, counted)| format!("{} {what}", text::and(&counted)))
        .collect();
    if summary.held > 0 {
        parts.push(format!("{} waiting", summary.held));
    }
    if summary.blocked > 0 {
        parts.push(format!("{} blocked", summary.blocked));
    }
    parts.join(", ")
}

/// What is written and freed; nothing where nothing is.
pub(super) fn bytes(plan: &Plan) -> Option<String> {
    let (written, freed) = (plan.summary.bytes_written, plan.summary.bytes_freed);
    let mut verbs = plan.summary.verbs.iter().filter(|(_, n)| **n > 0);
    let adds = verbs.all(|(verb, _)| ADD.contains(&verb.as_str()));
    let mut said = Vec::new();
    if written.0 > 0 && adds && freed.0 == 0 {
        said.push(format!("Writes about {written}, deletes nothing."));
    } else if written.0 > 0 {
        said.push(format!("Writes about {written}."));
    }
    if freed.0 > 0 {
        said.push(format!("Frees about {freed}."));
    }
    (!said.is_empty()).then(|| said.join(" "))
}

/// First backups are many and great at once: how much, and the line that lets them wait.
pub(super) fn first_backups(plan: &Plan) -> Option<String> {
    let firsts: Vec<&Action> = plan
        .actions
        .iter()
        .filter(|action| action.is_free() && action.reason == Reason::FirstBackup)
        .collect();
    if firsts.is_empty() {
        return None;
    }
    let bytes: Bytes = firsts.iter().map(|action| action.estimate.bytes).sum();
    let seconds = firsts.iter().map(|action| action.estimate.seconds).sum();
    let policies: BTreeSet<_> = firsts
        .iter()
        .filter_map(|action| match &action.op {
            Op::Backup(op) => op.policy.clone(),
            _ => None,
        })
        .collect();
    let keys: Vec<_> = policies
        .iter()
        .map(|name| format!("policies.{name}"))
        .collect();
    Some(format!(
        "First backups: {}, as soon as this is applied, about {bytes}, about {}. To let them wait \
         for a slot of their schedules: `first: nextSlot` in {}.",
        firsts.len(),
        text::length(seconds),
        text::and(&keys)
    ))
}

/// What comes next, each VM once.
pub(super) fn next(plan: &Plan, zone: &TimeZone) -> Option<String> {
    let mut soonest = BTreeMap::new();
    for upcoming in &plan.upcoming {
        soonest.entry(&upcoming.vm).or_insert(upcoming);
    }
    let mut soonest: Vec<_> = soonest.into_values().collect();
    soonest.sort();
    // One more takes no more room than to say so.
    let told = if soonest.len() > TOLD + 1 {
        TOLD
    } else {
        soonest.len()
    };
    let told: Vec<_> = soonest
        .iter()
        .take(told)
        .map(|next| {
            let at = text::day(next.due_at, zone);
            format!("{} {at} ({})", next.vm, next.schedule)
        })
        .collect();
    if told.is_empty() {
        return None;
    }
    let more = soonest.len() - told.len();
    let more = if more > 0 {
        format!(" and {}", text::count(more, "more VM"))
    } else {
        String::new()
    };
    Some(format!("{}{more}", told.join(", ")))
}
