//! A finding in a line or two, where the policy's own lines need not be shown.

use crate::cli::render::BAD;
use crate::cli::render::CHANGED;
use crate::cli::render::FAINT;
use crate::cli::render::Look;
use crate::cli::render::text;
use crate::model::finding::Finding;
use crate::model::finding::Severity;

/// What it says, where, and what to do.
#[must_use]
pub fn said(finding: &Finding, look: Look) -> String {
    let (word, style) = match finding.severity {
        Severity::Error => ("error", BAD),
        Severity::Warning => ("warning", CHANGED),
        Severity::Note => ("note", FAINT),
    };
    let place = finding.labels.first().map(|label| &label.origin);
    let place = place.map(|at| format!(" ({}:{})", at.file, at.line));
    let line = format!("{}{}", finding.text, place.unwrap_or_default());
    let mut drawn = text::wrap(&format!("{word}: "), &line, 2, look.width);
    if look.colour {
        drawn = drawn.replacen(word, &look.paint(style, word), 1);
    }
    if let Some(hint) = &finding.hint {
        drawn += &text::wrap("  -> ", hint, 5, look.width);
    }
    drawn
}
