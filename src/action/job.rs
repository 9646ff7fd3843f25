//! What a person, or the end of its backup, decides about a job: that it is tried again, or ends.

use crate::action::remark::on_record;
use crate::model::change::Change;
use crate::model::id::JobId;
use crate::model::job::Job;
use crate::model::job::JobKind;
use crate::model::job::JobState;
use crate::model::layout;
use crate::model::lease::Lease;
use crate::model::lease::Subject;
use crate::model::op::OneJob;
use crate::model::program::Program;
use crate::model::program::Refusal;
use crate::model::step::Step;
use crate::model::world::Guest;

/// The backup alone where files of the job may be beside its own. An attempt that writes them hears of
/// the end of its job by itself.
pub(super) fn leases_to_cancel(op: &OneJob) -> Vec<Lease> {
    match op.kind {
        JobKind::Finalize => vec![Lease::exclusive(Subject::Backup(op.of.backup.clone()))],
        JobKind::Start | JobKind::Validate => Vec::new(),
    }
}

/// Nothing but the record.
pub(super) fn retry(op: &OneJob, guest: &Guest) -> Result<Program, Refusal> {
    let job = known(op, guest)?;
    match (job.state, job.kind) {
        (JobState::Cancelled, JobKind::Finalize) => {
            let start = JobId::of(&op.of.backup, JobKind::Start.as_str());
            Err(Refusal::new(
                "files_gone",
                format!("the compressed files of {} are gone", op.of.backup),
                format!("knib job retry {start} writes them anew"),
            ))
        }
        (JobState::Done, _) => Err(Refusal::new(
            "job_done",
            format!("{} is done", op.id()),
            "knib job list shows what is not",
        )),
        _ => Ok(Program::default()),
    }
}

/// Files that wait to take another's place go.
pub(super) fn cancel(op: &OneJob, guest: &Guest) -> Result<Program, Refusal> {
    let job = known(op, guest)?;
    if matches!(job.state, JobState::Done | JobState::Cancelled) {
        return Err(Refusal::new(
            "job_over",
            format!("{} is over", op.id()),
            "knib job list shows what is not",
        ));
    }
    let (Some(of), JobKind::Finalize) = (op.of.place(), op.kind) else {
        return Ok(Program::default());
    };
    let backup = on_record(&op.of, guest)?;
    let files = backup.disks.values().map(|disk| of.dir().join(&disk.name));
    let discards = files.map(|file| Step::Discard {
        path: layout::compressed(&file),
    });
    Ok(Program {
        stages: vec![discards.collect()],
        no_return: 0,
    })
}

/// It waits again, from now on.
pub(super) fn retried(op: &OneJob) -> Vec<Change> {
    vec![Change::Job {
        vm: op.of.vm.clone(),
        job: op.id(),
        state: JobState::Waiting,
        not_before: Some(op.of.at),
    }]
}

/// It is over. One that finalizes lost what the job before it had written.
pub(super) fn cancelled(op: &OneJob) -> Vec<Change> {
    let over = |kind: JobKind| Change::Job {
        vm: op.of.vm.clone(),
        job: JobId::of(&op.of.backup, kind.as_str()),
        state: JobState::Cancelled,
        not_before: None,
    };
    let before = (op.kind == JobKind::Finalize).then_some(JobKind::Start);
    before.into_iter().chain([op.kind]).map(over).collect()
}

fn known<'a>(op: &OneJob, guest: &'a Guest) -> Result<&'a Job, Refusal> {
    guest.record.jobs.get(&op.id()).ok_or_else(|| {
        Refusal::new(
            "job_gone",
            format!("there is no job {} any more", op.id()),
            "knib job list",
        )
    })
}
