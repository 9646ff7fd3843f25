//! A job.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::model::backup::VmRef;
use crate::model::id::BackupId;
use crate::model::id::JobId;
use crate::model::job::Job;
use crate::model::job::JobKind;
use crate::model::job::JobState;
use crate::model::world::Guest;
use crate::model::world::Open;

/// A wish about a backup, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct JobView {
    /// Which.
    pub id: JobId,
    /// About which backup.
    pub backup: BackupId,
    /// Of which VM.
    pub vm: VmRef,
    /// What is wished.
    #[serde(rename = "type")]
    pub kind: JobKind,
    /// How it stands.
    pub state: State,
    /// Attempts that ended.
    pub attempts: u32,
    /// When it was or will be due.
    pub scheduled_at: Timestamp,
    /// When its last attempt began.
    pub started_at: Option<Timestamp>,
    /// When its last attempt ended.
    pub finished_at: Option<Timestamp>,
    /// What its last attempt failed with.
    pub error: Option<String>,
    /// The process of an attempt that is under way.
    pub pid: Option<u32>,
}

/// How a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It waits for a time.
    Held,
    /// The next apply tries it.
    Scheduled,
    /// It is being tried.
    Executing,
    /// It came true.
    Done,
    /// It was tried often enough.
    Failed,
    /// It was ended.
    Cancelled,
}

/// The jobs of a VM, in the order they are due.
#[must_use]
pub fn of_guest(guest: &Guest, now: Timestamp) -> Vec<JobView> {
    let jobs = guest.record.jobs.values();
    let mut all: Vec<_> = jobs.map(|job| view(guest, job, now)).collect();
    all.sort_by(|a, b| (a.scheduled_at, &a.id).cmp(&(b.scheduled_at, &b.id)));
    all
}

fn view(guest: &Guest, job: &Job, now: Timestamp) -> JobView {
    let open = attempt(guest, job);
    let state = match job.state {
        JobState::Waiting if open.is_some_and(|open| open.alive) => State::Executing,
        // An interrupted one goes on, whatever time it is.
        JobState::Waiting if open.is_none() && job.is_early(now) => State::Held,
        JobState::Waiting => State::Scheduled,
        JobState::Done => State::Done,
        JobState::Failed => State::Failed,
        JobState::Cancelled => State::Cancelled,
    };
    JobView {
        id: job.id(),
        backup: job.backup.clone(),
        vm: guest.vm.clone(),
        kind: job.kind,
        state,
        attempts: job.attempts,
        scheduled_at: job.not_before,
        started_at: open.map_or(job.started, |open| Some(open.since)),
        finished_at: job.ended.filter(|_| open.is_none()),
        error: job.error.as_ref().map(|error| error.text.clone()),
        pid: open.filter(|open| open.alive).map(|open| open.pid),
    }
}

/// The attempt at a job that is not closed.
pub(super) fn attempt<'a>(guest: &'a Guest, job: &Job) -> Option<&'a Open> {
    let mut opens = guest.open.iter();
    opens.find(|open| {
        let attempt = open.op.attempt();
        attempt.is_some_and(|attempt| attempt.job == job.id())
    })
}
