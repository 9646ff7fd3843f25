//! What reading backups again showed.

use std::fmt::Write;

use crate::cli::render::BAD;
use crate::cli::render::CHANGED;
use crate::cli::render::Look;
use crate::cli::render::text;
use crate::cli::view::verified::Verdict;
use crate::cli::view::verified::VerifiedView;
use crate::model::bytes::Bytes;

/// So many backups are named that cannot be restored.
const NAMED: usize = 5;

/// One line each, then all in one.
#[must_use]
pub fn verified(all: &[VerifiedView], look: Look) -> String {
    if all.is_empty() {
        return "Nothing to verify: there is no backup.\n".to_owned();
    }
    let mut drawn = String::new();
    for one in all {
        let (word, style) = match one.result {
            Verdict::Whole if one.whole_again => ("whole again", None),
            Verdict::Whole => ("whole", None),
            Verdict::Damaged => ("DAMAGED", Some(BAD)),
            Verdict::Unread => ("not read to the end", Some(BAD)),
            Verdict::Passed => ("passed over", Some(CHANGED)),
        };
        let mut line = format!("{} of {}: {word}, {}", one.backup, one.vm.name, one.size);
        if let Some(error) = &one.error {
            let _ = write!(line, ": {}", text::clean(error));
        }
        if !one.without_digest.is_empty() && one.result == Verdict::Whole {
            let _ = write!(
                line,
                "; without a digest on record, only seen to be there: {}",
                one.without_digest.join(", ")
            );
        }
        if let Some(lost) = lost(one) {
            let _ = write!(line, "; {lost}");
        }
        let line = text::wrap("", &line, 2, look.width);
        match style {
            Some(style) => {
                let painted = line.lines().map(|line| look.paint(style, line) + "\n");
                drawn.extend(painted);
            }
            None => drawn += &line,
        }
    }
    drawn + &summed_up(all)
}

/// What cannot be restored without a damaged one.
fn lost(one: &VerifiedView) -> Option<String> {
    let all = &one.continued_by;
    let mut names: Vec<_> = all.iter().take(NAMED).map(ToString::to_string).collect();
    if all.len() > NAMED {
        names.push(format!("{} more", all.len() - NAMED));
    }
    (!names.is_empty()).then(|| format!("without it cannot be restored: {}", text::and(&names)))
}

fn summed_up(all: &[VerifiedView]) -> String {
    let of = |verdict| all.iter().filter(|one| one.result == verdict).count();
    let read = all.iter().filter(|one| one.result != Verdict::Passed);
    let bytes: Bytes = read.map(|one| one.size).sum();
    let mut said = format!(
        "{} of {} whole, {bytes} read",
        of(Verdict::Whole),
        text::count(all.len(), "backup")
    );
    if of(Verdict::Damaged) > 0 {
        said += "; the next backup of a VM whose chain is damaged is full";
    }
    said + ".\n"
}
