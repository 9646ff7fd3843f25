//! A plan for a comment on a pull request.

use std::fmt::Write;

use jiff::tz::TimeZone;

use crate::cli::render::plan::lines;
use crate::cli::render::plan::retention;
use crate::cli::render::plan::summary;
use crate::cli::render::text;
use crate::model::finding::Severity;
use crate::model::plan::Plan;

/// A heading with the counts, a table a section, findings.
#[must_use]
pub fn markdown(plan: &Plan) -> String {
    let zone = TimeZone::get(&plan.clock.timezone).unwrap_or(TimeZone::UTC);
    let counted = summary::counts(plan);
    let counted = if counted.is_empty() {
        "no changes"
    } else {
        &counted
    };
    let mut page = format!("### knib plan: {counted}\n\n");
    let at = text::second(plan.clock.now, &zone);
    let host = cell(&plan.host.hostname);
    let _ = writeln!(
        page,
        "{host}, {at} {}, plan `{}`",
        plan.clock.timezone, plan.id
    );
    for told in [
        retention::destructive(plan),
        summary::first_backups(plan),
        summary::bytes(plan),
    ]
    .into_iter()
    .flatten()
    {
        let _ = writeln!(page, "\n{}", cell(&told));
    }
    for section in lines::sections(plan, &zone, true) {
        let _ = write!(
            page,
            "\n#### {}\n\n|   |   |   |   |\n|---|---|---|---|\n",
            section.title
        );
        for line in section.lines {
            let why: Vec<_> = line.details.iter().chain(&line.hints).cloned().collect();
            let what = [line.what, line.cost.unwrap_or_default()];
            let what: Vec<_> = what.into_iter().filter(|part| !part.is_empty()).collect();
            let _ = writeln!(
                page,
                "| `{}` | {} | {} | {} |",
                line.sign.letter(),
                cell(&line.subject),
                cell(&what.join(", ")),
                cell(&why.join("; "))
            );
        }
    }
    if !plan.findings.is_empty() {
        page.push('\n');
    }
    for finding in &plan.findings {
        let word = match finding.severity {
            Severity::Error => "**error**",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        let place = finding.labels.first().map(|label| &label.origin);
        let place = place.map(|at| format!(" (`{}:{}`)", at.file, at.line));
        let _ = writeln!(
            page,
            "- {word}: {}{}",
            cell(&finding.text),
            place.unwrap_or_default()
        );
    }
    page
}

/// Text that a table holds and that is no markup.
fn cell(text: &str) -> String {
    let mut safe = String::new();
    for c in text::clean(text).chars() {
        match c {
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '#' => safe.extend(['\\', c]),
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '&' => safe += "&amp;",
            c => safe.push(c),
        }
    }
    safe
}
