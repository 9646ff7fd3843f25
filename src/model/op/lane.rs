//! What an action waits for besides its dependencies and its leases.

use serde::Deserialize;
use serde::Serialize;

use crate::model::job::JobKind;
use crate::model::op::Group;
use crate::model::op::Op;
use crate::model::op::Phase;

/// What an action waits for besides its dependencies and its leases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lane {
    /// For other actions on its VM to end, and for one of the places that the run has.
    #[default]
    Vm,
    /// For other actions on its VM to end.
    Config,
    /// For a place among its kind; on its VM other things may go on.
    Job {
        /// What kind.
        kind: JobKind,
        /// So many places on this host; none: no limit.
        places: Option<u32>,
    },
    /// For a place among those that only read; on its VM other things may go on.
    Reader {
        /// So many places in the run.
        places: u32,
    },
    /// For nothing.
    Free,
}

impl Op {
    /// What it waits for.
    #[must_use]
    pub fn lane(&self) -> Lane {
        match self {
            Self::Recover(op) => op.lane,
            Self::Compress(op) => match op.phase {
                Phase::Start { at_once, .. } => Lane::Job {
                    kind: JobKind::Start,
                    places: at_once,
                },
                Phase::Finalize => Lane::Free,
            },
            Self::Validate(op) => Lane::Job {
                kind: JobKind::Validate,
                places: op.at_once,
            },
            Self::Verify(op) => Lane::Reader { places: op.at_once },
            // QEMU does the work.
            Self::JobRetry(_) | Self::JobCancel(_) | Self::Consolidate(_) => Lane::Free,
            _ if self.verb().group() == Group::Config => Lane::Config,
            _ => Lane::Vm,
        }
    }

    /// What `--only` calls it. What is recovered of a job is one.
    #[must_use]
    pub fn group(&self) -> Group {
        match self {
            Self::Recover(op)
                if matches!(op.lane, Lane::Job { .. } | Lane::Reader { .. } | Lane::Free) =>
            {
                Group::Jobs
            }
            _ => self.verb().group(),
        }
    }
}
