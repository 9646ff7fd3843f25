//! A job: a wish about a backup that is tried until it came true, or was tried often enough. An action
//! is one attempt.
//!
//! What a job is to do is its kind; how, the settings in force say when it is tried.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use crate::model::backup::Compressed;
use crate::model::id::BackupId;
use crate::model::id::JobId;
use crate::model::id::Target;
use crate::model::op::Retry;
use crate::model::program::StepError;
use crate::model::seconds::later;

/// What is wished.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum JobKind {
    /// Compressed files beside those of the backup, shown to hold the same.
    Start,
    /// They take the place of the backup's.
    Finalize,
    /// The backup was booted.
    Validate,
}

impl JobKind {
    /// As JSON and ids spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Finalize => "finalize",
            Self::Validate => "validate",
        }
    }
}

/// Where a job stands, apart from attempts that are under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// To be tried.
    Waiting,
    /// It came true.
    Done,
    /// Tried often enough.
    Failed,
    /// A person ended it, or its backup was let go.
    Cancelled,
}

/// A wish about a backup. There is one of a kind at most.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// About which backup.
    pub backup: BackupId,
    /// What is wished.
    pub kind: JobKind,
    /// Where it stands.
    pub state: JobState,
    /// Attempts that ended.
    pub attempts: u32,
    /// Not tried before.
    pub not_before: Timestamp,
    /// When its last attempt began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// When its last attempt ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// What its last attempt failed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<StepError>,
    /// Of one that finalizes: the compressed files that are smaller.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<Target, Compressed>,
}

impl Job {
    /// A wish that nobody tried yet.
    #[must_use]
    pub fn new(backup: BackupId, kind: JobKind, not_before: Timestamp) -> Self {
        Self {
            backup,
            kind,
            state: JobState::Waiting,
            attempts: 0,
            not_before,
            started: None,
            ended: None,
            error: None,
            files: BTreeMap::new(),
        }
    }

    /// Whether it is too early. Commands decide in whole seconds, and wishes are made in between.
    #[must_use]
    pub fn is_early(&self, now: Timestamp) -> bool {
        self.not_before.as_second() > now.as_second()
    }

    /// Stands otherwise from now on; one that waits again is as if it had never been tried.
    pub fn learn(&mut self, state: JobState, not_before: Option<Timestamp>) {
        self.state = state;
        if let Some(not_before) = not_before {
            self.not_before = not_before;
            self.attempts = 0;
            self.error = None;
        }
    }

    /// As the settings in force see it: whether it was tried often enough, and when it is tried again, are
    /// reckoned from what was tried, whatever the settings were then.
    #[must_use]
    pub fn under(mut self, retry: &Retry) -> Self {
        let (Some(ended), 1..) = (self.ended, self.attempts) else {
            return self;
        };
        if self.is_over() {
            return self;
        }
        if retry.attempts.is_some_and(|most| self.attempts >= most) {
            self.state = JobState::Failed;
        } else {
            let interval = i64::try_from(retry.interval.0).unwrap_or(i64::MAX);
            self.state = JobState::Waiting;
            self.not_before = later(ended, SignedDuration::from_secs(interval));
        }
        self
    }

    /// To be tried.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.state == JobState::Waiting
    }

    /// It came true, or was ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.state, JobState::Done | JobState::Cancelled)
    }

    /// What people call it.
    #[must_use]
    pub fn id(&self) -> JobId {
        JobId::of(&self.backup, self.kind.as_str())
    }
}
