//! A run in the journal.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::model::backup::VmRef;
use crate::model::id::ActionId;
use crate::model::id::RunId;
use crate::model::program::Mark;
use crate::state::Outcome;
use crate::state::PastAction;
use crate::state::PastRun;

/// A run of knib that changed something, or tried to.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct RunView {
    /// Which.
    pub id: RunId,
    /// The command line's verb.
    pub command: String,
    /// Its process.
    pub pid: u32,
    /// When it began.
    pub started: Timestamp,
    /// When it ended; null: it goes on, or was killed.
    pub ended: Option<Timestamp>,
    /// It goes on.
    pub alive: bool,
    /// What it did.
    pub actions: Vec<ActionView>,
}

/// An action in the journal.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct ActionView {
    /// Which.
    pub id: ActionId,
    /// What it was to do.
    pub verb: String,
    /// Of which VM.
    pub vm: Option<VmRef>,
    /// What it was about, by its name: a VM, a storage, an offering, a policy.
    pub object: Option<String>,
    /// When it was begun.
    pub started: Timestamp,
    /// When it was closed.
    pub ended: Option<Timestamp>,
    /// `running`, `interrupted`, `done`, `undone`, `abandoned`
    pub outcome: String,
    /// What it failed with.
    pub error: Option<String>,
    /// What to do about that.
    pub hint: Option<String>,
    /// In order.
    pub steps: Vec<StepView>,
}

/// A step in the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct StepView {
    /// Counted from 1; steps of one stage run side by side.
    pub stage: usize,
    /// In words.
    pub what: String,
    /// `intended`, `done`, `undone`; null: not begun.
    pub mark: Option<String>,
    /// When it was begun.
    pub started: Option<Timestamp>,
    /// When it got its mark.
    pub marked: Option<Timestamp>,
}

impl From<PastRun> for RunView {
    fn from(run: PastRun) -> Self {
        Self {
            id: run.id,
            command: run.command,
            pid: run.pid,
            started: run.started,
            ended: run.ended,
            alive: run.alive,
            actions: run.actions.into_iter().map(action).collect(),
        }
    }
}

fn action(past: PastAction) -> ActionView {
    let (error, hint) = past.error.map(|error| (error.text, error.hint)).unzip();
    let steps = past.steps.into_iter().map(|step| StepView {
        stage: step.stage + 1,
        what: step.what,
        mark: step.mark.map(mark),
        started: step.intended,
        marked: step.marked,
    });
    ActionView {
        id: past.id,
        verb: past.verb,
        vm: past.vm,
        object: past.object,
        started: past.started,
        ended: past.ended,
        outcome: match past.outcome {
            Outcome::Running => "running",
            Outcome::Interrupted => "interrupted",
            Outcome::Done => "done",
            Outcome::Undone => "undone",
            Outcome::Abandoned => "abandoned",
        }
        .to_owned(),
        error,
        hint: hint.flatten(),
        steps: steps.collect(),
    }
}

fn mark(mark: Mark) -> String {
    match mark {
        Mark::Intended => "intended",
        Mark::Done => "done",
        Mark::Undone => "undone",
    }
    .to_owned()
}
