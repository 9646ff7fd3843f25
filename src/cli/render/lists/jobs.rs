//! Jobs.

use crate::cli::render::BAD;
use crate::cli::render::Look;
use crate::cli::render::lists::When;
use crate::cli::render::lists::or_dash;
use crate::cli::render::table::Side;
use crate::cli::render::table::Table;
use crate::cli::render::text;
use crate::cli::view::job::JobView;
use crate::cli::view::job::State;

/// One line each, and what those that failed failed with.
#[must_use]
pub fn jobs(all: &[JobView], when: &When, look: Look) -> String {
    if all.is_empty() {
        return "No jobs.\n".to_owned();
    }
    let mut table = Table::new(&[
        ("ID", Side::Left),
        ("VM", Side::Left),
        ("STATE", Side::Left),
        ("ATTEMPTS", Side::Right),
        ("DUE", Side::Left),
        ("STARTED", Side::Left),
        ("FINISHED", Side::Left),
    ]);
    let at = |at| text::second(at, &when.zone);
    for one in all {
        table.row(&[
            one.id.to_string(),
            one.vm.name.clone(),
            state(one),
            one.attempts.to_string(),
            at(one.scheduled_at),
            or_dash(one.started_at.map(at)),
            or_dash(one.finished_at.map(at)),
        ]);
    }
    let mut drawn = table.draw(look);
    for one in all {
        if let Some(error) = &one.error {
            let line = text::wrap(&format!("{}: ", one.id), error, 2, look.width);
            drawn += &(look.paint(BAD, line.trim_end()) + "\n");
        }
    }
    drawn
}

fn state(one: &JobView) -> String {
    match (one.state, one.pid) {
        (State::Held, _) => "held".to_owned(),
        (State::Scheduled, _) => "scheduled".to_owned(),
        (State::Executing, Some(pid)) => format!("executing (pid {pid})"),
        (State::Executing, None) => "executing".to_owned(),
        (State::Done, _) => "done".to_owned(),
        (State::Failed, _) => "failed".to_owned(),
        (State::Cancelled, _) => "cancelled".to_owned(),
    }
}
