//! How runs ended, drawn.

use std::collections::BTreeMap;

use knib::cli::render::Look;
use knib::cli::render::report;
use knib::model::id::ActionId;
use knib::model::op::Verb;
use knib::model::plan::Outcome;
use knib::model::plan::Plan;

use crate::cli::plans;

fn ended(mut plan: Plan) -> (Plan, BTreeMap<ActionId, String>) {
    let mut hints = BTreeMap::new();
    let mut backups = 0;
    knib::engine::stand(&mut plan);
    for action in plan.actions.iter_mut().filter(|action| action.is_free()) {
        backups += u32::from(action.verb == Verb::Backup);
        let (outcome, text) = match (action.verb, backups) {
            (Verb::Backup, 1) => {
                let hint = "make room; the slot is tried again".to_owned();
                hints.insert(action.id.clone(), hint);
                let text = "could not copy vdb of db-01: qemu-img: No space left on device";
                (Outcome::Failed, Some(text.to_owned()))
            }
            (Verb::Backup, 2) => {
                let text = "backup by knib apply (pid 4121) since 2026-11-24T02:31:00Z";
                (Outcome::Busy, Some(text.to_owned()))
            }
            _ => (Outcome::Done, None),
        };
        action.result = Some(outcome);
        action.error = text;
    }
    (plan, hints)
}

#[test]
fn a_run_with_failures() {
    let (plan, hints) = ended(plans::busy_plan());
    insta::assert_snapshot!(report::human(&plan, &hints, false, Look::PLAIN));
}

#[test]
fn a_run_that_was_stopped() {
    let (plan, hints) = ended(plans::first_plan().2);
    insta::assert_snapshot!(report::human(&plan, &hints, true, Look::PLAIN));
}
