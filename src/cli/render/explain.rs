//! Explanations, drawn.

use std::fmt::Write;

use crate::cli::render::CHANGED;
use crate::cli::render::HEADING;
use crate::cli::render::Look;
use crate::cli::render::lists::When;
use crate::cli::render::table::Side;
use crate::cli::render::table::Table;
use crate::cli::render::text;
use crate::cli::view::explain::BackupExplained;
use crate::cli::view::explain::PolicyView;
use crate::cli::view::explain::ValueView;
use crate::cli::view::explain::VmExplained;
use crate::model::finding::Origin;

/// A line under its heading.
fn line(drawn: &mut String, key: &str, text: &str, look: Look) {
    let first = format!("  {key:<9} ");
    *drawn += &text::wrap(&first, text, 14, look.width);
}

fn heading(name: &str, look: Look) -> String {
    look.paint(HEADING, &text::clean(name)) + "\n"
}

fn place(origin: Option<&Origin>) -> String {
    match origin {
        Some(at) => format!("{}:{}", at.file, at.line),
        None => "default".to_owned(),
    }
}

fn values(values: &[ValueView], look: Look) -> String {
    let mut table = Table::new(&[
        ("KEY", Side::Left),
        ("VALUE", Side::Left),
        ("FROM", Side::Left),
    ]);
    // A policy without any place is the one last applied.
    let placed = values.iter().any(|value| value.origin.is_some());
    for value in values {
        let from = if placed {
            place(value.origin.as_ref())
        } else {
            String::new()
        };
        table.row(&[value.key.clone(), value.value.clone(), from]);
    }
    format!("\n{}", table.draw(look))
}

/// A policy.
#[must_use]
pub fn policy(view: &PolicyView, look: Look) -> String {
    let mut drawn = heading(&format!("policy {}", view.name), look);
    line(&mut drawn, "keeps", &view.keeps, look);
    if view.selects.is_empty() {
        line(&mut drawn, "selects", "no VM here", look);
    }
    for (n, one) in view.selects.iter().enumerate() {
        let key = if n == 0 { "selects" } else { "" };
        let taken = one.taken_by.as_ref();
        let taken = taken.map(|other| format!("; {other} takes it, of higher priority"));
        let taken = taken.unwrap_or_default();
        line(
            &mut drawn,
            key,
            &format!("{} ({}){taken}", one.vm, one.by),
            look,
        );
    }
    drawn + &values(&view.values, look)
}

/// A VM.
#[must_use]
pub fn vm(view: &VmExplained, when: &When, look: Look) -> String {
    let mut drawn = heading(&format!("{} ({})", view.vm.name, view.vm.uuid), look);
    match &view.claims[..] {
        [] => line(&mut drawn, "policy", "none: no policy selects it", look),
        [first, others @ ..] => {
            let at = place(first.origin.as_ref());
            let said = if view.tie {
                format!(
                    "none: {} and {} select it at the same priority",
                    first.policy, others[0].policy
                )
            } else {
                format!("{}: {} ({at})", first.policy, first.by)
            };
            line(&mut drawn, "policy", &said, look);
            for other in others {
                let (name, by, priority) = (&other.policy, &other.by, other.priority);
                let own = first.priority;
                let said = format!("also {name}: {by}; priority {priority}, not above {own}");
                line(&mut drawn, "", &said, look);
            }
        }
    }
    let since = view.since.map(|at| text::minute(at, &when.zone));
    let in_force = match (&view.in_force, since) {
        (Some(name), Some(since)) => format!("{name}, slots count since {since}"),
        _ => "nothing; knib apply assigns it".to_owned(),
    };
    line(&mut drawn, "in force", &in_force, look);
    for (n, next) in view.upcoming.iter().enumerate() {
        let key = if n == 0 { "next" } else { "" };
        let mut said = format!("{}: {}", next.schedule, text::day(next.due_at, &when.zone));
        let share = next.due_at.duration_since(next.slot).as_secs();
        if let Some(share) = u64::try_from(share).ok().filter(|share| *share > 0) {
            let _ = write!(said, ", its share of the jitter is {}", text::length(share));
        }
        line(&mut drawn, key, &said, look);
    }
    let keeps = match (&view.keeps, &view.keeps_now) {
        (Some(keeps), Some(now)) if keeps == now => keeps.clone(),
        (Some(keeps), Some(now)) => format!("{keeps}; in force still: {now}"),
        (Some(keeps), None) => format!("{keeps}; nothing is in force yet"),
        (None, Some(now)) => format!("everything, while no policy has it; before: {now}"),
        (None, None) => "everything".to_owned(),
    };
    line(&mut drawn, "keeps", &keeps, look);
    if !view.spared.is_empty() {
        let spared = text::count(view.spared.len(), "backup");
        let said = format!("{spared} would go by the policy and stay until somebody says so");
        let said = text::wrap("            ", &said, 14, look.width);
        drawn += &look.paint(CHANGED, said.trim_end());
        drawn.push('\n');
    }
    if view.values.is_empty() {
        return drawn;
    }
    drawn + &values(&view.values, look)
}

/// A backup.
#[must_use]
pub fn backup(view: &BackupExplained, when: &When, look: Look) -> String {
    let at = text::minute(view.created, &when.zone);
    let mut drawn = heading(&format!("{} of {}, {at}", view.id, view.vm.name), look);
    let fate = match (view.removed, &view.rules) {
        (Some(at), _) => format!(
            "let go at {}; its files stay while a listed backup needs them",
            text::minute(at, &when.zone)
        ),
        (None, None) => "stays: nothing lets backups of this VM go".to_owned(),
        (None, Some(_)) if view.kept_by.is_empty() => {
            "goes with the next apply: no rule keeps it".to_owned()
        }
        (None, Some(_)) => format!("stays: {}", view.kept_by.join("; ")),
    };
    line(&mut drawn, "now", &fate, look);
    if let Some(rules) = &view.rules {
        line(&mut drawn, "rules", rules, look);
    }
    for (n, passed) in view.passed.iter().enumerate() {
        line(&mut drawn, if n == 0 { "not by" } else { "" }, passed, look);
    }
    let list = |ids: &[crate::model::id::BackupId]| {
        let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
        text::and(&ids)
    };
    if !view.needs.is_empty() {
        line(&mut drawn, "needs", &list(&view.needs), look);
    }
    let files = match &view.needed_by[..] {
        [] => format!(
            "nothing needs them; {} would be freed if it went",
            view.frees_bytes
        ),
        needed => format!("stay while they are needed by {}", list(needed)),
    };
    line(&mut drawn, "files", &files, look);
    drawn
}
