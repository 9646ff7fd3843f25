//! Findings with the lines of the policy that they are about.

mod report;

use std::fmt::Write as _;

use miette::GraphicalReportHandler;
use miette::GraphicalTheme;

use crate::model::finding::Finding;
use crate::model::finding::Severity;
use crate::policy::Sources;
use report::Report;

/// More than anybody reads.
const MOST: usize = 50;

/// Findings for people: what, where with a caret, and what to do.
#[must_use]
pub fn human(findings: &[Finding], sources: &Sources, width: usize, colour: bool) -> String {
    let theme = if colour {
        GraphicalTheme::unicode()
    } else {
        GraphicalTheme::unicode_nocolor()
    };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(width)
        .with_links(false)
        .with_context_lines(1);
    let mut text = String::new();
    for finding in findings.iter().take(MOST) {
        let report = Report::of(finding, sources);
        // A string takes everything.
        let _ = handler.render_report(&mut text, &report);
        text.push('\n');
    }
    if let Some(more) = findings.len().checked_sub(MOST).filter(|more| *more > 0) {
        let _ = writeln!(text, "and {more} more");
    }
    text
}

/// The last line of a report on a policy that was not taken: how much, and where.
#[must_use]
pub fn closing(findings: &[Finding], sources: &Sources) -> String {
    let count = |severity: Severity, one: &str| {
        let of_it = |finding: &&Finding| finding.severity == severity;
        match findings.iter().filter(of_it).count() {
            0 => None,
            1 => Some(format!("1 {one}")),
            n => Some(format!("{n} {one}s")),
        }
    };
    let errors = count(Severity::Error, "problem");
    let nothing = if errors.is_some() {
        " Nothing was read from the host."
    } else {
        ""
    };
    let parts = [
        errors,
        count(Severity::Warning, "warning"),
        count(Severity::Note, "note"),
    ];
    let parts = parts.into_iter().flatten().collect::<Vec<_>>().join(", ");
    let place = match sources.files() {
        [] => String::new(),
        [one] => format!(" in {}", one.name),
        several => format!(" in {} files", several.len()),
    };
    let parts = if parts.is_empty() {
        "No problems"
    } else {
        &parts
    };
    format!("{parts}{place}.{nothing}\n")
}

/// Findings as annotations of a GitHub workflow, which shows ten of a step.
#[must_use]
pub fn github(findings: &[Finding]) -> String {
    const SHOWN: usize = 9;
    let mut sorted = findings.iter().collect::<Vec<_>>();
    sorted.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    let mut text = String::new();
    for finding in sorted.iter().take(SHOWN) {
        text += &annotation(finding);
    }
    if let Some(more) = findings.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        let _ = writeln!(text, "::notice::and {more} more");
    }
    text
}

fn annotation(finding: &Finding) -> String {
    let level = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "notice",
    };
    let message = |text: &str| {
        text.replace('%', "%25")
            .replace('\r', "%0D")
            .replace('\n', "%0A")
    };
    let property = |text: &str| message(text).replace(':', "%3A").replace(',', "%2C");
    let place = finding.labels.first().map(|label| &label.origin);
    let place = place.map(|at| {
        let file = property(at.file.as_str());
        format!("file={file},line={},col={},", at.line, at.column)
    });
    let title = property(&finding.code);
    let hint = finding.hint.as_ref();
    let hint = hint.map_or(String::new(), |hint| format!("\nhelp: {hint}"));
    let text = message(&format!("{}{hint}", finding.text));
    format!(
        "::{level} {}title={title}::{text}\n",
        place.unwrap_or_default()
    )
}

/// Findings for programs: an array.
#[must_use]
pub fn json(findings: &[Finding]) -> String {
    let list = serde_json::json!(findings);
    format!("{list:#}\n")
}
