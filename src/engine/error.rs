//! What a run fails with before any action is concerned, and how causes become a step's error.

use crate::host::HostError;
use crate::model::fault::Fault;
use crate::model::program::Refusal;
use crate::model::program::StepError;
use crate::state::StateError;

/// The world could not be seen, or the journal not be written.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// From outside.
    #[error(transparent)]
    Host(#[from] HostError),
    /// From the state file.
    #[error(transparent)]
    State(#[from] StateError),
}

impl From<HostError> for StepError {
    fn from(error: HostError) -> Self {
        let of_fault = match error.fault {
            Fault::NoSpace => Some("make room; the slot is tried again"),
            Fault::Denied => {
                Some("knib must be able to read disks and write storages: run it as root")
            }
            Fault::Timeout => Some("settings: knib.timeout bounds the copy"),
            _ => None,
        };
        Self {
            fault: error.fault,
            text: error.to_string(),
            hint: error.hint.or_else(|| of_fault.map(str::to_owned)),
        }
    }
}

impl From<StateError> for StepError {
    fn from(error: StateError) -> Self {
        Self {
            fault: Fault::Io,
            text: error.to_string(),
            hint: None,
        }
    }
}

impl From<Refusal> for StepError {
    fn from(refusal: Refusal) -> Self {
        Self {
            fault: Fault::Conflict,
            text: refusal.text,
            hint: refusal.hint,
        }
    }
}
