//! A clock that was put back: what it decides would come too late, or twice.

use jiff::SignedDuration;
use jiff::Timestamp;

use crate::model::finding::Finding;
use crate::model::finding::Severity;
use crate::model::seconds::later;
use crate::model::world::World;
use crate::planner::draft::Draft;

/// Clocks are set right by less than this all the time.
const SLACK: SignedDuration = SignedDuration::from_secs(60);

/// What is on record of a later time than the clock says.
#[must_use]
pub fn behind(world: &World) -> Option<Timestamp> {
    world
        .latest()
        .filter(|latest| *latest > later(world.now, SLACK))
}

pub(super) fn tell(draft: &mut Draft<'_>) {
    let Some(latest) = behind(draft.now).filter(|_| !draft.clock_given()) else {
        return;
    };
    let now = draft.now.now;
    let text = format!("the clock says {now:.0}, and {latest:.0} is on record already");
    let hint = "set the clock right; knib apply wants --accept-clock if it is right";
    draft
        .findings
        .push(Finding::new(Severity::Warning, "clock_back", text).hint(hint));
}
