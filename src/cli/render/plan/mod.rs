//! A plan, drawn: what would be done, why, and how much it is.

mod details;
mod lines;
mod markdown;
mod retention;
mod summary;
pub mod words;

use std::collections::BTreeMap;
use std::fmt::Write;

use jiff::tz::TimeZone;

use crate::cli::render::BAD;
use crate::cli::render::CHANGED;
use crate::cli::render::FAINT;
use crate::cli::render::GOOD;
use crate::cli::render::HEADING;
use crate::cli::render::Look;
use crate::cli::render::plan::lines::Line;
use crate::cli::render::plan::lines::Sign;
pub use crate::cli::render::plan::markdown::markdown;
use crate::cli::render::said::said;
use crate::cli::render::text;
use crate::model::finding::Severity;
use crate::model::plan::KeptBackup;
use crate::model::plan::Plan;

/// How much is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Only what is done or wants a human: for a run that nobody watches.
    Brief,
    /// Everything a plan is read for.
    Normal,
    /// Every step as well.
    Steps,
}

/// The widest that a subject pushes the next column.
const SUBJECT: usize = 24;

/// For people.
#[must_use]
pub fn human(plan: &Plan, detail: Detail, look: Look) -> String {
    let zone = TimeZone::get(&plan.clock.timezone).unwrap_or(TimeZone::UTC);
    let mut drawn = String::new();
    let changes = !plan.is_empty();
    if changes {
        drawn += &head(plan, &zone, look);
    } else {
        drawn += &nothing(plan, look);
    }
    for section in lines::sections(plan, &zone, detail == Detail::Steps) {
        let _ = write!(drawn, "\n{}\n", look.paint(HEADING, section.title));
        let subjects = section
            .lines
            .iter()
            .map(|line| text::columns(&line.subject));
        let wide = subjects.max().unwrap_or(0).min(SUBJECT);
        for line in &section.lines {
            drawn += &draw(line, wide, detail, look);
        }
    }
    drawn += &kept(plan, &zone, look);
    if detail != Detail::Brief {
        drawn += &besides(plan, &zone, look);
    }
    if let Some(stay) = retention::destructive(plan) {
        drawn.push('\n');
        drawn += &text::wrap("", &stay, 0, look.width);
    }
    if changes {
        drawn += &closing(plan, look);
    }
    drawn
}

fn head(plan: &Plan, zone: &TimeZone, look: Look) -> String {
    let at = text::second(plan.clock.now, zone);
    let line = format!(
        "knib {}, {} ({}), {at} {}",
        plan.knib_version, plan.host.hostname, plan.host.uri, plan.clock.timezone
    );
    look.paint(FAINT, &line) + "\n"
}

/// What is said first when nothing would be done.
fn nothing(plan: &Plan, look: Look) -> String {
    let stuck = summary::counts(plan);
    if stuck.is_empty() {
        let line = look.paint(GOOD, "No changes.");
        return format!("{line} Everything is as the policy says, and no slot is due.\n");
    }
    format!(
        "{} {stuck}.\n",
        look.paint(CHANGED, "No changes can be made:")
    )
}

fn draw(line: &Line, wide: usize, detail: Detail, look: Look) -> String {
    let style = match line.sign {
        Sign::Add | Sign::Resume => GOOD,
        Sign::Change | Sign::Merge | Sign::Waits | Sign::LetGo => CHANGED,
        Sign::Remove | Sign::Blocked => BAD,
    };
    let subject = text::clean(&line.subject);
    let first = format!("  {} {subject:<wide$}  ", line.sign.letter());
    let cost = line.cost.as_ref().map(|cost| format!(", {cost}"));
    let what = format!("{}{}", text::clean(&line.what), cost.unwrap_or_default());
    let mut drawn = text::wrap(&first, &what, 6, look.width);
    if look.colour {
        let letter = line.sign.letter().to_string();
        drawn = drawn.replacen(&letter, &look.paint(style, &letter), 1);
    }
    for detail in &line.details {
        drawn += &look.faint(&text::wrap("      ", detail, 8, look.width));
    }
    for hint in &line.hints {
        drawn += &text::wrap("      -> ", hint, 9, look.width);
    }
    if detail == Detail::Steps {
        for step in &line.steps {
            drawn += &look.faint(&text::wrap("        ", step, 11, look.width));
        }
    }
    drawn
}

impl Look {
    /// Whole lines, faint.
    fn faint(self, lines: &str) -> String {
        lines
            .lines()
            .map(|line| self.paint(FAINT, line) + "\n")
            .collect()
    }
}

/// Backups that stay and why, where it was asked: by VM, the newest first.
fn kept(plan: &Plan, zone: &TimeZone, look: Look) -> String {
    let mut vms: BTreeMap<&str, Vec<&KeptBackup>> = BTreeMap::new();
    for one in plan.kept.iter().rev() {
        vms.entry(&one.vm).or_default().push(one);
    }
    let mut drawn = String::new();
    if !vms.is_empty() {
        let _ = write!(drawn, "\n{}\n", look.paint(HEADING, "Kept"));
    }
    for (vm, all) in vms {
        let _ = writeln!(drawn, "  = {}", text::clean(vm));
        for one in all {
            let at = text::minute(one.created, zone);
            let first = format!("      {}  {at}  ", one.backup);
            drawn += &text::wrap(&first, &one.kept_by.join(", "), 8, look.width);
        }
    }
    drawn
}

/// Findings that are not errors, and what comes next.
fn besides(plan: &Plan, zone: &TimeZone, look: Look) -> String {
    let mut drawn = String::new();
    let told: Vec<_> = plan
        .findings
        .iter()
        .filter(|finding| finding.severity < Severity::Error)
        .collect();
    if !told.is_empty() {
        drawn.push('\n');
    }
    for finding in told {
        drawn += &said(finding, look);
    }
    if let Some(next) = summary::next(plan, zone) {
        drawn.push('\n');
        drawn += &text::wrap("Next: ", &next, 6, look.width);
    }
    drawn
}

fn closing(plan: &Plan, look: Look) -> String {
    let mut drawn = "\n".to_owned();
    if let Some(first) = summary::first_backups(plan) {
        drawn += &text::wrap("", &first, 0, look.width);
    }
    let mut counted = format!("{}.", summary::counts(plan));
    if let Some(bytes) = summary::bytes(plan) {
        let _ = write!(counted, " {bytes}");
    }
    let line = text::wrap("Plan: ", &counted, 6, look.width);
    drawn + &line.replacen("Plan:", &look.paint(HEADING, "Plan:"), 1)
}
