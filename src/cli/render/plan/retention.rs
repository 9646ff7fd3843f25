//! What retention does, a line for each VM and kind rather than one for each backup.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use serde_json::Value;

use crate::cli::render::plan::lines::Line;
use crate::cli::render::plan::lines::Sign;
use crate::cli::render::text;
use crate::model::bytes::Bytes;
use crate::model::id::ActionId;
use crate::model::id::BackupId;
use crate::model::id::VmId;
use crate::model::op::OneBackup;
use crate::model::op::Op;
use crate::model::plan::Action;
use crate::model::plan::Class;
use crate::model::plan::Plan;
use crate::model::reason::Field;
use crate::model::reason::Reason;

/// So many backups of a line are named.
const NAMED: usize = 5;

/// Actions that are drawn together, and their lines.
pub(super) struct Grouped {
    drawn: BTreeSet<ActionId>,
    lines: Vec<(&'static str, Line)>,
}

/// What becomes of a backup, in the order that it is told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    LetGo,
    Deleted,
    Blocked,
}

impl Grouped {
    pub(super) fn of(plan: &Plan, whole: bool) -> Self {
        let mut groups: BTreeMap<(&str, Fate), Vec<&Action>> = BTreeMap::new();
        let mut retained: BTreeMap<String, Vec<&Action>> = BTreeMap::new();
        for action in &plan.actions {
            match (&action.op, &action.vm) {
                (Op::Retain(op), _) if action.is_free() => {
                    let rules = format!("{}{}", op.rules, changed(&action.reason));
                    retained.entry(rules).or_default().push(action);
                }
                (Op::Expire(_) | Op::Delete(_), Some(vm)) => {
                    if let Some(fate) = fate(action) {
                        groups.entry((&vm.name, fate)).or_default().push(action);
                    }
                }
                _ => {}
            }
        }
        let drawn = groups.values().chain(retained.values()).flatten();
        let mut grouped = Self {
            drawn: drawn.map(|action| action.id.clone()).collect(),
            lines: Vec::new(),
        };
        let of_fate = |wanted: Fate| {
            let groups = groups.iter().filter(move |((_, fate), _)| *fate == wanted);
            let all = groups.flat_map(|(_, all)| all.iter().copied());
            all.filter_map(|action| Some((key(action)?, action)))
                .collect::<BTreeMap<_, _>>()
        };
        let (let_go, deleted) = (of_fate(Fate::LetGo), of_fate(Fate::Deleted));
        for ((vm, fate), mut all) in groups.clone() {
            // What is let go and deleted in one plan is told once, with why it was let go.
            if fate == Fate::LetGo {
                all.retain(|action| key(action).is_none_or(|of| !deleted.contains_key(&of)));
            }
            let why = |action: &Action| {
                let before = key(action).and_then(|of| let_go.get(&of).copied());
                told(before.filter(|_| fate == Fate::Deleted).unwrap_or(action))
            };
            if !all.is_empty() {
                let title = if fate == Fate::Blocked {
                    "Blocked"
                } else {
                    "Retention"
                };
                grouped
                    .lines
                    .push((title, line(vm, fate, &all, whole, why)));
            }
        }
        for (rules, all) in retained {
            grouped.lines.push(("Retention", retention(&rules, &all)));
        }
        grouped
    }

    pub(super) fn holds(&self, action: &Action) -> bool {
        self.drawn.contains(&action.id)
    }

    pub(super) fn lines(&self, title: &str) -> impl Iterator<Item = Line> {
        let of_it = self.lines.iter().filter(move |(at, _)| *at == title);
        of_it.map(|(_, line)| line.clone())
    }
}

fn fate(action: &Action) -> Option<Fate> {
    let by_retention = matches!(
        action.reason,
        Reason::Rotation { .. } | Reason::PolicyChange { .. } | Reason::Unneeded
    );
    if !by_retention {
        return None;
    }
    if action.is_free() {
        let expires = matches!(action.op, Op::Expire(_));
        return Some(if expires { Fate::LetGo } else { Fate::Deleted });
    }
    action.is_blocked_as("destructive").then_some(Fate::Blocked)
}

/// Of which VM, and which.
fn key(action: &Action) -> Option<(&VmId, &BackupId)> {
    backup(action).map(|of| (&of.vm.uuid, &of.backup))
}

fn backup(action: &Action) -> Option<&OneBackup> {
    match &action.op {
        Op::Expire(of) | Op::Delete(of) => Some(of),
        _ => None,
    }
}

fn line(
    vm: &str,
    fate: Fate,
    all: &[&Action],
    whole: bool,
    why: impl Fn(&Action) -> String,
) -> Line {
    let backups = text::count(all.len(), "backup");
    let (sign, what) = match fate {
        Fate::LetGo => (Sign::LetGo, format!("let {backups} go; the files stay")),
        Fate::Deleted => (Sign::Remove, format!("delete {backups}")),
        Fate::Blocked if all.len() == 1 => (Sign::Blocked, format!("{backups} stays for now")),
        Fate::Blocked => (Sign::Blocked, format!("{backups} stay for now")),
    };
    let freed: Bytes = all.iter().map(|action| action.estimate.frees).sum();
    let mut details = Vec::new();
    if fate == Fate::Blocked {
        details.push(caused(all[0]));
    }
    // The newest is what people look for.
    let mut all = all.to_vec();
    all.sort_by_key(|action| std::cmp::Reverse(backup(action).map(|of| &of.backup)));
    let named = if whole { all.len() } else { NAMED };
    details.extend(all.iter().take(named).map(|action| why(action)));
    if all.len() > named {
        details.push(format!(
            "and {} older, all named with -v",
            all.len() - named
        ));
    }
    Line {
        sign,
        subject: vm.to_owned(),
        what,
        cost: match fate {
            Fate::LetGo => None,
            Fate::Deleted => Some(format!("frees {freed}")),
            Fate::Blocked => Some(format!("{freed} to free")),
        },
        details,
        hints: Vec::new(),
        steps: Vec::new(),
    }
}

/// One backup: why, and what holds its files.
fn told(action: &Action) -> String {
    let id = backup(action).map_or_else(String::new, |of| of.backup.to_string());
    let why = match &action.reason {
        Reason::Rotation { kept_by_before, .. } => match kept_by_before.last() {
            Some(before) => format!("was {before}"),
            None => "no rule keeps it".to_owned(),
        },
        Reason::PolicyChange { kept_by_before, .. } => match &kept_by_before[..] {
            [] => "no rule keeps it".to_owned(),
            before if action.is_free() => format!("was {}", text::and(before)),
            before => format!("kept by {}", text::and(before)),
        },
        _ => "nothing needs it any more".to_owned(),
    };
    let needed = action.change.after["needed_by"].as_array();
    let needed: Vec<_> = needed
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let needs = match &needed[..] {
        [] => String::new(),
        [one] => format!("; {one} needs it"),
        [one, more @ ..] => format!("; {one} and {} more need it", more.len()),
    };
    let whole_chain = action.change.before["current"] == true;
    let merged = if whole_chain {
        "; its delta is merged first"
    } else {
        ""
    };
    format!("{id}: {why}{needs}{merged}")
}

/// What it is that changed.
fn caused(action: &Action) -> String {
    let Reason::PolicyChange { fields, source, .. } = &action.reason else {
        return String::new();
    };
    if fields.is_empty() {
        return "no retention was in force for it: the first one wants a human".to_owned();
    }
    let place = source
        .as_ref()
        .map(|at| format!(" ({}:{})", at.file, at.line));
    let changed: Vec<_> = fields.iter().map(field).collect();
    format!("{}{}", text::and(&changed), place.unwrap_or_default())
}

fn changed(reason: &Reason) -> String {
    match reason {
        Reason::Retention { fields } => {
            let changed: Vec<_> = fields.iter().map(field).collect();
            format!(" ({})", text::and(&changed))
        }
        _ => String::new(),
    }
}

fn field(field: &Field) -> String {
    let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
    let key = field.key.strip_prefix("retention.").unwrap_or(&field.key);
    format!("{key} {} -> {}", value(&field.before), value(&field.after))
}

/// VMs that have the same retention from now on.
fn retention(rules: &str, all: &[&Action]) -> Line {
    let mut names: Vec<String> = all
        .iter()
        .filter_map(|action| Some(action.vm.as_ref()?.name.clone()))
        .collect();
    names.sort();
    let new = all.iter().all(|action| action.change.before.is_null());
    let subject = match &names[..] {
        [one] => one.clone(),
        several => text::count(several.len(), "VM"),
    };
    let details = if names.len() > 1 {
        vec![text::and(&names)]
    } else {
        Vec::new()
    };
    Line {
        sign: if new { Sign::Add } else { Sign::Change },
        subject,
        what: format!("keep {rules}"),
        cost: None,
        details,
        hints: Vec::new(),
        steps: Vec::new(),
    }
}

/// Backups that are let go and keep their files for now: those that are deleted besides are counted there.
pub(super) fn only_let_go(plan: &Plan) -> usize {
    let free = || plan.actions.iter().filter(|action| action.is_free());
    let deleted: BTreeSet<_> = free()
        .filter(|action| matches!(action.op, Op::Delete(_)))
        .filter_map(key)
        .collect();
    free()
        .filter(|action| matches!(action.op, Op::Expire(_)))
        .filter(|action| key(action).is_some_and(|of| !deleted.contains(&of)))
        .count()
}

/// What is to be said about the backups that stay until somebody says so; nothing when there are none.
pub(super) fn destructive(plan: &Plan) -> Option<String> {
    let all = plan.actions.iter();
    let all: Vec<_> = all
        .filter(|action| action.class == Class::Destructive && fate(action) == Some(Fate::Blocked))
        .collect();
    let vms: BTreeSet<_> = all.iter().filter_map(|action| action.vm.as_ref()).collect();
    let n = all.len();
    (n > 0).then(|| {
        format!(
            "{} of {} would go by the policy, and stay: this is no rotation. To let them go: \
             knib apply --allow-destructive {n}. To keep them: undo the change.",
            text::count(n, "backup"),
            text::count(vms.len(), "VM"),
        )
    })
}
