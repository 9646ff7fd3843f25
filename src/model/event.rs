//! What a run says while it works. One sink takes them all: progress, log lines, crash points of tests.

use serde::Serialize;

use crate::model::bytes::Bytes;
use crate::model::id::ActionId;
use crate::model::id::Target;
use crate::model::plan::Action;

/// Something happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A newer plan brought an action that can be done.
    Added {
        /// Which.
        action: Box<Action>,
    },
    /// An action is in the journal.
    Began {
        /// Which.
        action: ActionId,
        /// Taken up again after an interruption.
        resumed: bool,
    },
    /// A stage's steps are in the journal as intended.
    Intended {
        /// Which action.
        action: ActionId,
        /// Counted from 0.
        stage: usize,
    },
    /// A step took effect and the journal does not know it yet.
    Performed {
        /// Which action.
        action: ActionId,
        /// Its stage.
        stage: usize,
        /// Its place in the stage.
        step: usize,
    },
    /// A step is in the journal as done, or as undone.
    Marked {
        /// Which action.
        action: ActionId,
        /// Its stage.
        stage: usize,
        /// Its place in the stage.
        step: usize,
    },
    /// A long step goes on.
    Progress {
        /// Which action.
        action: ActionId,
        /// What it does: `copy`, `merge`, `digest`.
        what: &'static str,
        /// On which disk.
        target: Option<Target>,
        /// Bytes done.
        done: Bytes,
        /// Bytes in all.
        total: Bytes,
    },
    /// Something to be told that is not a failure.
    Said {
        /// Which action.
        action: ActionId,
        /// A sentence.
        text: String,
    },
    /// An error turned the action back.
    TurnedBack {
        /// Which action.
        action: ActionId,
        /// Why.
        error: String,
    },
    /// The action's record is written.
    Closed {
        /// Which action.
        action: ActionId,
        /// It did what it was to do.
        done: bool,
    },
}
