//! The journal.

use std::fmt::Write;

use crate::cli::render::BAD;
use crate::cli::render::FAINT;
use crate::cli::render::HEADING;
use crate::cli::render::Look;
use crate::cli::render::lists::When;
use crate::cli::render::text;
use crate::cli::view::run::ActionView;
use crate::cli::view::run::RunView;

/// Runs with what they did.
#[must_use]
pub fn runs(all: &[RunView], when: &When, look: Look) -> String {
    if all.is_empty() {
        return "No runs.\n".to_owned();
    }
    let each = all.iter().map(|one| draw(one, false, when, look));
    each.collect::<Vec<_>>().join("\n")
}

/// One run with every step.
#[must_use]
pub fn run(one: &RunView, when: &When, look: Look) -> String {
    draw(one, true, when, look)
}

fn draw(run: &RunView, steps: bool, when: &When, look: Look) -> String {
    let at = text::second(run.started, &when.zone);
    let end = match run.ended {
        Some(ended) => {
            let took = ended.duration_since(run.started).as_secs();
            format!("took {}", text::length(u64::try_from(took).unwrap_or(0)))
        }
        None if run.alive => format!("going on, pid {}", run.pid),
        None => format!("killed, pid {}", run.pid),
    };
    let head = look.paint(HEADING, &format!("{at}  knib {}", run.command));
    let mut drawn = format!(
        "{head}  {}\n",
        look.paint(FAINT, &format!("{}, {end}", run.id))
    );
    for action in &run.actions {
        drawn += &of_action(action, look);
        if steps {
            for step in &action.steps {
                let mark = step.mark.as_deref().unwrap_or("not begun");
                let _ = writeln!(
                    drawn,
                    "    {:<9} {}. {}",
                    mark,
                    step.stage,
                    text::clean(&step.what)
                );
            }
        }
    }
    drawn
}

fn of_action(action: &ActionView, look: Look) -> String {
    let name = action.object.as_deref().unwrap_or_default();
    let verb = action.verb.replace('_', " ");
    let line = format!("  {:<12} {verb} {}", action.outcome, text::clean(name));
    let failed = ["undone", "interrupted", "abandoned"].contains(&action.outcome.as_str());
    let mut drawn = if failed {
        look.paint(BAD, line.trim_end()) + "\n"
    } else {
        line.trim_end().to_owned() + "\n"
    };
    if let Some(error) = &action.error {
        drawn += &text::wrap("    ", error, 4, look.width);
    }
    if let Some(hint) = &action.hint {
        drawn += &text::wrap("    -> ", hint, 7, look.width);
    }
    drawn
}
