//! How a run ended: what was done, and of everything else why not.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt::Write;

use crate::cli::render::BAD;
use crate::cli::render::CHANGED;
use crate::cli::render::GOOD;
use crate::cli::render::Look;
use crate::cli::render::plan::words;
use crate::cli::render::text;
use crate::model::id::ActionId;
use crate::model::op::Op;
use crate::model::plan::Action;
use crate::model::plan::Outcome;
use crate::model::plan::Plan;
use crate::model::reason::Block;

/// So many actions of one kind are named.
const NAMED: usize = 20;

/// A plan whose actions have results, for people. `hints` say what to do about failures.
#[must_use]
pub fn human(plan: &Plan, hints: &BTreeMap<ActionId, String>, stopped: bool, look: Look) -> String {
    const ORDER: [(Outcome, &str); 6] = [
        (Outcome::Done, "done"),
        (Outcome::Failed, "failed"),
        (Outcome::Skipped, "skipped"),
        (Outcome::Busy, "busy"),
        (Outcome::Held, "held"),
        (Outcome::Blocked, "blocked"),
    ];
    let of = |outcome: Outcome| -> Vec<&Action> {
        let all = plan.actions.iter();
        all.filter(|action| action.result == Some(outcome))
            .collect()
    };
    let failed = !of(Outcome::Failed).is_empty();
    let (head, style) = match (stopped, failed) {
        (true, _) => ("Interrupted; the next knib apply carries on.", CHANGED),
        (_, true) => ("Ended with failures.", BAD),
        (false, false) if !of(Outcome::Blocked).is_empty() => {
            ("Ended, and something wants a human.", CHANGED)
        }
        (false, false) if of(Outcome::Busy).is_empty() && of(Outcome::Skipped).is_empty() => {
            ("Done.", GOOD)
        }
        (false, false) => ("Ended; not everything was done.", CHANGED),
    };
    let mut drawn = look.paint(style, head) + "\n\n";
    for (outcome, word) in ORDER {
        let all = of(outcome);
        if all.is_empty() {
            continue;
        }
        let first = format!("  {word:<8} {:>3}  ", all.len());
        if outcome == Outcome::Done {
            drawn += &text::wrap(&first, &names(&all), 15, look.width);
            continue;
        }
        // One line for all that only one number is missing of.
        let (spared, all): (Vec<&Action>, Vec<&Action>) = all
            .into_iter()
            .partition(|action| action.is_blocked_as("destructive"));
        if !spared.is_empty() {
            drawn += &told_as_one(&first, &spared, look);
        }
        for (n, action) in all.iter().take(NAMED).enumerate() {
            let first = if n == 0 && spared.is_empty() {
                &first
            } else {
                "               "
            };
            let hint = hints.get(&action.id).or_else(|| planned(action));
            drawn += &undone(first, action, hint, look);
        }
        if all.len() > NAMED {
            let _ = writeln!(drawn, "               and {} more", all.len() - NAMED);
        }
    }
    drawn
}

fn told_as_one(first: &str, spared: &[&Action], look: Look) -> String {
    let vms: BTreeSet<_> = spared
        .iter()
        .filter_map(|action| action.vm.as_ref())
        .collect();
    let n = spared.len();
    let text = format!(
        "{} of {} that the policy would let go and the retention in force keeps",
        text::count(n, "backup"),
        text::count(vms.len(), "VM")
    );
    let hint = format!("knib plan names them; knib apply --allow-destructive {n} lets them go");
    text::wrap(first, &text, 15, look.width)
        + &text::wrap("               -> ", &hint, 18, look.width)
}

/// What the plan said already.
fn planned(action: &Action) -> Option<&String> {
    match action.blocked_by.first()? {
        Block::Blocked(refusal) => refusal.hint.as_ref(),
        _ => None,
    }
}

fn undone(first: &str, action: &Action, hint: Option<&String>, look: Look) -> String {
    let why = action.error.as_deref().unwrap_or("no cause was given");
    let line = format!("{}: {why}", name(action));
    let mut drawn = text::wrap(first, &line, 15, look.width);
    if let Some(hint) = hint {
        drawn += &text::wrap("               -> ", hint, 18, look.width);
    }
    drawn
}

fn names(actions: &[&Action]) -> String {
    let mut names: Vec<_> = actions.iter().take(NAMED).map(|one| name(one)).collect();
    if actions.len() > NAMED {
        names.push(format!("{} more", actions.len() - NAMED));
    }
    names.join(", ")
}

/// `backup db-01`, `add policy prod`
#[must_use]
pub fn name(action: &Action) -> String {
    let object = match &action.vm {
        Some(vm) => vm.name.as_str(),
        None => action
            .address
            .split_once('.')
            .map_or(action.address.as_str(), |(_, name)| name),
    };
    let verb = words::verb(action.verb);
    match &action.op {
        Op::Compress(op) => format!("{verb} {object} {}", op.of.backup),
        Op::Validate(op) => format!("{verb} {object} {}", op.of.backup),
        Op::Verify(op) => format!("{verb} {object} {}", op.of.backup),
        Op::MarkUnusable(op) if op.why.is_none() => format!("count again on {object}"),
        _ => format!("{verb} {object}"),
    }
}
