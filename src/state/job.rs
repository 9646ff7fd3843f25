//! Jobs: wishes about backups, and what came of the attempts at them.

use jiff::Timestamp;
use rusqlite::Connection;
use rusqlite::OptionalExtension;
use rusqlite::Row;
use rusqlite::ToSql;
use rusqlite::params;

use crate::model::backup::VmRef;
use crate::model::id::ActionId;
use crate::model::id::JobId;
use crate::model::id::VmId;
use crate::model::job::Job;
use crate::model::job::JobKind;
use crate::model::job::JobState;
use crate::model::lease::Holder;
use crate::model::lease::Lease;
use crate::model::lease::Mode;
use crate::model::lease::Subject;
use crate::model::op::Attempt;
use crate::model::op::Lane;
use crate::model::op::OneBackup;
use crate::model::op::Op;
use crate::model::op::Retry;
use crate::model::policy::Settings;
use crate::state::Result;
use crate::state::State;
use crate::state::StateError;
use crate::state::error::Trouble;
use crate::state::value::Word;
use crate::state::value::json;
use crate::state::value::parse;
use crate::state::value::time;

/// The columns of a job, its VM first.
pub(super) const COLUMNS: &str =
    "vm, backup, kind, state, attempts, not_before, started, ended, error, files";

impl State {
    /// One job.
    ///
    /// # Errors
    /// `Locked`, `Damaged`, `Io`.
    pub fn job(&self, vm: &VmId, job: &JobId) -> Result<Option<Job>> {
        self.see(|db| one(db, vm, job))
    }

    /// No job is tried twice at once, and no more of a kind are than there are places on the host.
    pub(super) fn expect_place(&self, db: &Connection, op: &Op) -> Result<(), Trouble> {
        let Some(attempt) = op.attempt() else {
            return Ok(());
        };
        let job = one(db, &attempt.vm.uuid, &attempt.job)?;
        if !job.is_some_and(|job| job.is_waiting()) {
            return Err(StateError::Overtaken(attempt.vm.name.clone()).into());
        }
        let mut others = Vec::new();
        let mut statement =
            db.prepare_cached("SELECT id, op FROM action WHERE state = 'open' AND verb = ?1")?;
        let mut rows = statement.query([op.verb().as_str()])?;
        while let Some(row) = rows.next()? {
            let Word(id): Word<ActionId> = row.get(0)?;
            let other: Op = parse(format_args!("action {id}"), &row.get::<_, String>(1)?)?;
            let Some(holder) = self.holder(db, &id)? else {
                continue;
            };
            if other
                .attempt()
                .is_some_and(|other| other.job == attempt.job)
            {
                return Err(StateError::Held(holder).into());
            }
            others.push((other.lane(), holder));
        }
        let Lane::Job {
            kind,
            places: Some(places),
        } = op.lane()
        else {
            return Ok(());
        };
        // One whose run is dead takes no place until it is taken up.
        others.retain(|(lane, holder)| {
            matches!(lane, Lane::Job { kind: of, .. } if *of == kind) && holder.alive
        });
        match others.pop() {
            Some((_, holder)) if others.len() + 1 >= places as usize => {
                Err(StateError::Held(holder).into())
            }
            _ => Ok(()),
        }
    }

    /// What begins to compress gives way to a swap that waits for nothing but others that compress: one
    /// after another, each would read what is to be swapped before the last one ended.
    pub(super) fn expect_turn(
        &self,
        db: &Connection,
        action: &ActionId,
        op: &Op,
        leases: &[Lease],
        now: Timestamp,
    ) -> Result<(), Trouble> {
        let Op::Compress(compress) = op else {
            return Ok(());
        };
        let read = leases.iter().filter(|lease| lease.mode == Mode::Shared);
        for Lease { subject, .. } in read {
            let Subject::Backup(backup) = subject else {
                continue;
            };
            let swap = JobId::of(backup, JobKind::Finalize.as_str());
            let retry = Retry {
                attempts: None,
                ..compress.retry
            };
            let swap = one(db, &compress.of.vm.uuid, &swap)?.map(|swap| swap.under(&retry));
            if !swap.is_some_and(|swap| swap.is_waiting() && !swap.is_early(now)) {
                continue;
            }
            let mut holders = self.holders(db, action, subject, Mode::Exclusive)?;
            let compresses = |holder: &Holder| holder.operation == op.verb().as_str();
            if holders.iter().all(compresses) {
                holders.retain(|holder| holder.alive);
                if let Some(holder) = holders.pop() {
                    return Err(StateError::Held(holder).into());
                }
            }
        }
        Ok(())
    }
}

/// What a row says, and of which VM.
pub(super) fn read(row: &Row<'_>) -> Result<(VmId, Job), Trouble> {
    let Word(vm) = row.get(0)?;
    let Word(backup) = row.get(1)?;
    let Word(kind) = row.get(2)?;
    let Word(state) = row.get(3)?;
    let Word(not_before) = row.get(5)?;
    let instant = |column: usize| -> rusqlite::Result<Option<Timestamp>> {
        Ok(row
            .get::<_, Option<Word<Timestamp>>>(column)?
            .map(|Word(at)| at))
    };
    let mut job = Job {
        state,
        attempts: row.get(4)?,
        started: instant(6)?,
        ended: instant(7)?,
        ..Job::new(backup, kind, not_before)
    };
    if let Some(error) = row.get::<_, Option<String>>(8)? {
        job.error = Some(parse(
            format_args!("the error of job {}", job.id()),
            &error,
        )?);
    }
    if let Some(files) = row.get::<_, Option<String>>(9)? {
        job.files = parse(format_args!("the files of job {}", job.id()), &files)?;
    }
    Ok((vm, job))
}

fn one(db: &Connection, vm: &VmId, job: &JobId) -> Result<Option<Job>, Trouble> {
    let Some((backup, kind)) = parts(job) else {
        return Ok(None);
    };
    let sql = format!("SELECT {COLUMNS} FROM job WHERE vm = ?1 AND backup = ?2 AND kind = ?3");
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query([vm.as_str(), backup, kind])?;
    let row = rows.next()?.map(read).transpose()?;
    Ok(row.map(|(_, job)| job))
}

/// What nobody wished for is wished for when it is tried; what a person asks for is wished for anew. What
/// waits is seen as the settings that it is tried by see it.
pub(super) fn wish(db: &Connection, op: &Op) -> Result<(), Trouble> {
    if let Some(attempt) = op.attempt()
        && let Some(known) = one(db, &attempt.vm.uuid, &attempt.job)?
    {
        let job = known.clone().under(&attempt.retry);
        if job != known {
            wished(db, attempt.vm, &job)?;
        }
    }
    let Op::Validate(validate) = op else {
        return Ok(());
    };
    let OneBackup { vm, backup, at, .. } = &validate.of;
    let job = Job::new(backup.clone(), JobKind::Validate, *at);
    if validate.asked || one(db, &vm.uuid, &job.id())?.is_none() {
        wished(db, vm, &job)?;
    }
    Ok(())
}

/// Something is wished; it takes the place of one of its kind.
pub(super) fn wished(db: &Connection, vm: &VmRef, job: &Job) -> Result<(), Trouble> {
    put(db, &vm.uuid, job)
}

fn put(db: &Connection, vm: &VmId, job: &Job) -> Result<(), Trouble> {
    let error = job.error.as_ref().map(json).transpose()?;
    let files = (!job.files.is_empty())
        .then(|| json(&job.files))
        .transpose()?;
    let sql = format!(
        "INSERT OR REPLACE INTO job ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
    );
    db.prepare_cached(&sql)?.execute(params![
        vm.as_str(),
        job.backup.as_str(),
        job.kind.as_str(),
        word(job.state),
        job.attempts,
        time(job.not_before),
        job.started.map(time),
        job.ended.map(time),
        error,
        files,
    ])?;
    Ok(())
}

/// A job stands otherwise.
pub(super) fn stands(
    db: &Connection,
    vm: &VmRef,
    job: &JobId,
    state: JobState,
    not_before: Option<Timestamp>,
) -> Result<(), Trouble> {
    set(db, &vm.uuid, job, "state = ?4", &word(state))?;
    if let Some(at) = not_before {
        let waits = "not_before = ?4, attempts = 0, error = NULL";
        set(db, &vm.uuid, job, waits, &time(at))?;
    }
    Ok(())
}

/// An attempt ended. One that failed is made up for, unless the job was tried often enough or ended.
pub(super) fn tried(
    db: &Connection,
    action: &ActionId,
    attempt: &Attempt<'_>,
    done: bool,
    now: Timestamp,
) -> Result<(), Trouble> {
    let (vm, job) = (&attempt.vm.uuid, &attempt.job);
    let Some(known) = one(db, vm, job)? else {
        return Ok(());
    };
    let (started, error): (Word<Timestamp>, Option<String>) = db
        .prepare_cached("SELECT started, error FROM action WHERE id = ?1")?
        .query_row([action.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?
        .ok_or_else(|| StateError::Unknown(format!("action {action}")))?;
    let error = error.filter(|_| !done);
    let error = error.map(|error| parse(format_args!("the error of action {action}"), &error));
    let tried = Job {
        attempts: known.attempts.saturating_add(1),
        started: Some(started.0),
        ended: Some(now),
        error: error.transpose()?,
        ..known
    };
    wished(db, attempt.vm, &tried.under(&attempt.retry))
}

/// What was tried is tried again, or not, as a policy says from now on. One that a person asked for and
/// that failed is for whoever asked, so that a boot that failed stays so until it is wanted.
pub(super) fn follow(db: &Connection, settings: &Settings) -> Result<(), Trouble> {
    let mut statement = db.prepare_cached(&format!("SELECT {COLUMNS} FROM job"))?;
    let mut rows = statement.query([])?;
    let mut changed = Vec::new();
    while let Some(row) = rows.next()? {
        let (vm, known) = read(row)?;
        let job = known.clone().under(&Retry::of(known.kind, settings));
        let revives = known.state == JobState::Failed && known.kind == JobKind::Validate;
        if job != known && !revives {
            changed.push((vm, job));
        }
    }
    for (vm, job) in &changed {
        put(db, vm, job)?;
    }
    Ok(())
}

fn set(
    db: &Connection,
    vm: &VmId,
    job: &JobId,
    what: &str,
    value: &dyn ToSql,
) -> Result<(), Trouble> {
    if let Some((backup, kind)) = parts(job) {
        let sql = format!("UPDATE job SET {what} WHERE vm = ?1 AND backup = ?2 AND kind = ?3");
        db.prepare_cached(&sql)?
            .execute(params![vm.as_str(), backup, kind, value])?;
    }
    Ok(())
}

/// The backup and the kind of a job.
fn parts(job: &JobId) -> Option<(&str, &str)> {
    job.as_str().rsplit_once('.')
}

fn word(state: JobState) -> &'static str {
    match state {
        JobState::Waiting => "waiting",
        JobState::Done => "done",
        JobState::Failed => "failed",
        JobState::Cancelled => "cancelled",
    }
}
