//! How an action is carried out: its steps in order.

use serde::Deserialize;
use serde::Serialize;

use crate::model::fault::Fault;
use crate::model::step::Step;

/// Steps in stages. The steps of a stage run side by side; a stage begins when the one before is done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// In order.
    pub stages: Vec<Vec<Step>>,
    /// From this stage on an error leaves the action open, to be carried on; before it an error
    /// turns the action back. That stage is one atomic call, and whatever can run out of space
    /// comes before it.
    pub no_return: usize,
}

impl Program {
    /// Every step with its stage and its place in it.
    pub fn steps(&self) -> impl Iterator<Item = (usize, usize, &Step)> {
        let numbered = self.stages.iter().enumerate();
        numbered.flat_map(|(stage, steps)| {
            steps
                .iter()
                .enumerate()
                .map(move |(n, step)| (stage, n, step))
        })
    }

    /// What one that was planned would do and this one does not, or the other way round.
    #[must_use]
    pub fn differs_from(&self, planned: &Self) -> String {
        // The serials of notes differ whenever knib changed the VM, and tell little.
        let told = |program: &Self| -> Vec<Step> {
            let steps = program.steps().map(|(_, _, step)| step);
            let telling = steps.filter(|step| !matches!(step, Step::Note { .. }));
            telling.cloned().collect()
        };
        let (before, now) = (told(planned), told(self));
        let gone = before.iter().find(|step| !now.contains(step));
        let new = now.iter().find(|step| !before.contains(step));
        match (gone, new) {
            (Some(gone), Some(new)) => {
                format!(
                    "it was to {}, and would {} now",
                    gone.synopsis(),
                    new.synopsis()
                )
            }
            (Some(gone), None) => format!(
                "it was to {}, which is done or not to be done now",
                gone.synopsis()
            ),
            (None, Some(new)) => format!("it would {} now as well", new.synopsis()),
            (None, None) => "knib changed the VM since".to_owned(),
        }
    }
}

/// Where a step stands in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// It may have taken effect.
    Intended,
    /// It took effect.
    Done,
    /// It was taken back.
    Undone,
}

/// Which way an action goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// To its end.
    Forward,
    /// To where it began.
    Back,
}

/// Why a program cannot be drawn up: a rule stands in the way, and nothing was touched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Refusal {
    /// Stable: `managed_save`.
    pub code: String,
    /// A sentence without a period.
    pub text: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Refusal {
    /// A refusal with what to do about it.
    pub fn new(code: &str, text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            text: text.into(),
            hint: Some(hint.into()),
        }
    }
}

/// What a step failed with, as the journal keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepError {
    /// For deciding.
    pub fault: Fault,
    /// For people.
    pub text: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl std::fmt::Display for StepError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}
