//! Writing the journal: `begin`, then for each stage `intend` and for each step `done`, then `close`.
//!
//! An error turns the action back (`turn_back`, `undone`, `close`) or leaves it open (`leave_open`).
//! An action that a dead run left is taken up with `adopt` and goes on where its marks say, or is given
//! up with `abandon`. What may
//! follow what is enforced by the file's triggers; a call that does not fit is `Refused` and changes
//! nothing.

use std::collections::BTreeSet;

use jiff::Timestamp;
use rusqlite::Connection;
use rusqlite::OptionalExtension;
use rusqlite::params;

use crate::model::backup::Backup;
use crate::model::change::Change;
use crate::model::fault::Fault;
use crate::model::id::ActionId;
use crate::model::id::RunId;
use crate::model::lease::Lease;
use crate::model::op::Op;
use crate::model::program::Program;
use crate::model::program::StepError;
use crate::model::receipt::Receipt;
use crate::model::step::Step;
use crate::state::Result;
use crate::state::State;
use crate::state::StateError;
use crate::state::error::Trouble;
use crate::state::index;
use crate::state::job;
use crate::state::value::json;
use crate::state::value::parse;
use crate::state::value::time;

impl State {
    /// An action is about to be carried out: what it is, its steps and its leases, or nothing.
    ///
    /// # Errors
    /// `Held` when a lease is in conflict, `Applied` when the action was begun before, `Overtaken` when
    /// the VM was changed since the program was drawn up, or a job it is an attempt at is over, `Unknown` when the run is not there or has
    /// ended.
    pub fn begin(
        &self,
        run: &RunId,
        action: &ActionId,
        op: &Op,
        program: &Program,
        leases: &[Lease],
        now: Timestamp,
    ) -> Result<()> {
        self.write(|db| {
            let known = "SELECT 1 FROM action WHERE id = ?1";
            if db.prepare_cached(known)?.exists([action.as_str()])? {
                return Err(StateError::Applied(action.clone()).into());
            }
            expect_run(db, run)?;
            expect_latest(db, op, program)?;
            expect_unneeded(db, op)?;
            expect_as_read(db, op)?;
            job::wish(db, op)?;
            self.expect_place(db, op)?;
            self.expect_turn(db, action, op, leases, now)?;
            db.prepare_cached(
                "INSERT INTO action (id, begun_by, held_by, held_since, verb, vm, vm_name, op,
                     stages, no_return, started)
                 VALUES (?1, ?2, ?2, ?9, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?
            .execute(params![
                action.as_str(),
                run.as_str(),
                op.verb().as_str(),
                op.vm().map(|vm| vm.uuid.as_str()),
                op.vm().map(|vm| vm.name.as_str()),
                json(op)?,
                program.stages.len(),
                program.no_return,
                time(now),
            ])?;
            let mut insert = db.prepare_cached(
                "INSERT INTO step (action, stage, n, spec) VALUES (?1, ?2, ?3, ?4)",
            )?;
            for (stage, n, step) in program.steps() {
                insert.execute(params![action.as_str(), stage, n, json(step)?])?;
            }
            self.take(db, action, leases)
        })
    }

    /// An open action that nobody works on any more becomes this run's.
    ///
    /// # Errors
    /// `Held` when a run works on it; `Unknown` when there is no such action, or it was closed.
    pub fn adopt(&self, run: &RunId, action: &ActionId, now: Timestamp) -> Result<()> {
        self.write(|db| self.take_over(db, run, action, now))
    }

    fn take_over(
        &self,
        db: &Connection,
        run: &RunId,
        action: &ActionId,
        now: Timestamp,
    ) -> Result<(), Trouble> {
        expect_run(db, run)?;
        match self.holder(db, action)? {
            None => return Err(unknown(action)),
            Some(holder) if holder.alive => return Err(StateError::Held(holder).into()),
            Some(_) => {}
        }
        db.execute(
            "UPDATE action SET held_by = ?2, held_since = ?3, attended = 1 WHERE id = ?1",
            params![action.as_str(), run.as_str(), time(now)],
        )?;
        Ok(())
    }

    /// An open action that nobody works on any more is over, wherever it stands: its leases are gone, and
    /// the record learns nothing of what it did. A backup goes on record as a failure.
    ///
    /// # Errors
    /// As [`adopt`](Self::adopt).
    pub fn abandon(&self, run: &RunId, action: &ActionId, now: Timestamp) -> Result<()> {
        self.write(|db| {
            self.take_over(db, run, action, now)?;
            let given_up = StepError {
                fault: Fault::Stopped,
                text: "it was abandoned".to_owned(),
                hint: Some("knib state check lists what it left".to_owned()),
            };
            db.execute(
                "UPDATE action SET error = coalesce(error, ?2) WHERE id = ?1",
                params![action.as_str(), json(&given_up)?],
            )?;
            db.execute(
                "UPDATE action SET abandoned = 1, state = 'undone', ended = ?2 WHERE id = ?1",
                params![action.as_str(), time(now)],
            )?;
            ended(db, action, false, now)
        })
    }

    /// The steps of a stage may take effect from now on. Those that have a mark keep it.
    ///
    /// # Errors
    /// `Refused` while the stage before is not done, or when the action goes back.
    pub fn intend(&self, action: &ActionId, stage: usize, now: Timestamp) -> Result<()> {
        self.write(|db| {
            let stages: Option<usize> = db
                .prepare_cached("SELECT stages FROM action WHERE id = ?1 AND state = 'open'")?
                .query_row([action.as_str()], |row| row.get(0))
                .optional()?;
            match stages {
                None => return Err(unknown(action)),
                Some(stages) if stage >= stages => return Err(no_step(action, stage, 0)),
                Some(_) => {}
            }
            db.prepare_cached(
                "UPDATE step SET mark = 'intended', intended = ?3, marked = ?3
                 WHERE action = ?1 AND stage = ?2 AND mark IS NULL",
            )?
            .execute(params![action.as_str(), stage, time(now)])?;
            Ok(())
        })
    }

    /// A step took effect and learned this.
    ///
    /// # Errors
    /// `Refused` unless it is intended.
    pub fn done(
        &self,
        action: &ActionId,
        stage: usize,
        step: usize,
        receipt: &Receipt,
        now: Timestamp,
    ) -> Result<()> {
        self.write(|db| {
            let rows = db
                .prepare_cached(
                    "UPDATE step SET mark = 'done', marked = ?4, receipt = ?5
                     WHERE action = ?1 AND stage = ?2 AND n = ?3",
                )?
                .execute(params![
                    action.as_str(),
                    stage,
                    step,
                    time(now),
                    json(receipt)?
                ])?;
            one(rows, || no_step(action, stage, step))
        })
    }

    /// From now on the action goes back to where it began.
    ///
    /// # Errors
    /// `Refused` when a step from the point of no return on is done.
    pub fn turn_back(&self, action: &ActionId, error: &StepError) -> Result<()> {
        self.write(|db| {
            let rows = db.execute(
                "UPDATE action SET direction = 'back', error = ?2 WHERE id = ?1",
                params![action.as_str(), json(error)?],
            )?;
            one(rows, || unknown(action))
        })
    }

    /// A step was taken back.
    ///
    /// # Errors
    /// `Refused` unless it was intended or done, and the action goes back.
    pub fn undone(
        &self,
        action: &ActionId,
        stage: usize,
        step: usize,
        now: Timestamp,
    ) -> Result<()> {
        self.write(|db| {
            let rows = db.execute(
                "UPDATE step SET mark = 'undone', marked = ?4
                 WHERE action = ?1 AND stage = ?2 AND n = ?3",
                params![action.as_str(), stage, step, time(now)],
            )?;
            one(rows, || no_step(action, stage, step))
        })
    }

    /// The run has done what it could and works on the action no longer; it keeps its leases, and
    /// any run may adopt it from now on.
    ///
    /// # Errors
    /// `Refused` when it was closed.
    pub fn leave_open(&self, action: &ActionId, error: &StepError) -> Result<()> {
        self.write(|db| {
            let rows = db.execute(
                "UPDATE action SET attended = 0, error = ?2 WHERE id = ?1",
                params![action.as_str(), json(error)?],
            )?;
            one(rows, || unknown(action))
        })
    }

    /// The action is over: the record learns what changed, and the leases are gone. A backup that did
    /// not come about goes on record as a failure.
    ///
    /// # Errors
    /// `Refused` unless each step is done or, having turned back, undone or never begun; and when the
    /// changes leave a file whose parent is not there.
    pub fn close(
        &self,
        action: &ActionId,
        done: bool,
        changes: &[Change],
        now: Timestamp,
    ) -> Result<()> {
        self.write(|db| {
            for change in changes {
                index::learn(db, change)?;
            }
            let state = if done { "done" } else { "undone" };
            let rows = db.execute(
                "UPDATE action SET state = ?2, ended = ?3 WHERE id = ?1",
                params![action.as_str(), state, time(now)],
            )?;
            one(rows, || unknown(action))?;
            ended(db, action, done, now)
        })
    }
}

/// What the record learns of an end that no change tells: it takes a clock, or what it failed with.
fn ended(db: &Connection, action: &ActionId, done: bool, now: Timestamp) -> Result<(), Trouble> {
    let row: Option<(String, Option<String>)> = db
        .query_row(
            "SELECT op, error FROM action WHERE id = ?1 AND verb IN ('backup', 'compress', 'validate')",
            [action.as_str()],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    let Some((op, error)) = row else {
        return Ok(());
    };
    let op = parse(format_args!("action {action}"), &op)?;
    match (&op, error) {
        (Op::Backup(op), Some(error)) if !done => index::failed(db, op, &error, now),
        _ => match op.attempt() {
            Some(attempt) => job::tried(db, action, &attempt, done, now),
            None => Ok(()),
        },
    }
}

fn expect_run(db: &Connection, run: &RunId) -> Result<(), Trouble> {
    let mut statement = db.prepare_cached("SELECT 1 FROM run WHERE id = ?1 AND ended IS NULL")?;
    if statement.exists([run.as_str()])? {
        return Ok(());
    }
    Err(StateError::Unknown(format!("run {run} under way")).into())
}

/// A program claims a serial above the one on record. One that does not was drawn up before another
/// action of the VM closed, between the look at the VM and the lease on it.
fn expect_latest(db: &Connection, op: &Op, program: &Program) -> Result<(), Trouble> {
    let claim = program.steps().find_map(|(_, _, step)| match step {
        Step::Note { claim, .. } | Step::Overlay { claim, .. } | Step::Merge { claim, .. } => {
            Some(*claim)
        }
        _ => None,
    });
    let (Some(claim), Some(vm)) = (claim, op.vm()) else {
        return Ok(());
    };
    let serial: Option<u64> = db
        .prepare_cached("SELECT serial FROM vm WHERE id = ?1")?
        .query_row([vm.uuid.as_str()], |row| row.get(0))
        .optional()?;
    if serial.is_some_and(|serial| serial >= claim) {
        return Err(StateError::Overtaken(vm.name.clone()).into());
    }
    Ok(())
}

/// No file goes that another one continues, were that made since the VM was looked at.
fn expect_unneeded(db: &Connection, op: &Op) -> Result<(), Trouble> {
    let Op::Delete(of) = op else {
        return Ok(());
    };
    let mut children =
        db.prepare_cached("SELECT 1 FROM backup_disk WHERE vm = ?1 AND parent = ?2")?;
    if children.exists([of.vm.uuid.as_str(), of.backup.as_str()])? {
        return Err(StateError::Overtaken(of.vm.name.clone()).into());
    }
    Ok(())
}

/// The files that a restore reads are those that it was planned with, and not compressed since.
fn expect_as_read(db: &Connection, op: &Op) -> Result<(), Trouble> {
    let Some(origin) = op.origin() else {
        return Ok(());
    };
    let mut known = BTreeSet::new();
    let mut read = db.prepare_cached("SELECT spec FROM backup WHERE vm = ?1 AND id = ?2")?;
    for id in std::iter::once(&origin.backup).chain(&origin.ancestors) {
        let text: Option<String> = read
            .query_row([origin.from.uuid.as_str(), id.as_str()], |row| row.get(0))
            .optional()?;
        // What another state made is not on record here, and is not compressed here.
        let Some(text) = text else { return Ok(()) };
        let backup: Backup = parse(format_args!("backup {id}"), &text)?;
        known.extend(backup.disks.values().map(|disk| disk.digest));
    }
    let mut files = origin.disks.values().flatten();
    if files.any(|file| !known.contains(&file.digest)) {
        return Err(StateError::Overtaken(origin.from.name.clone()).into());
    }
    Ok(())
}

fn one(rows: usize, otherwise: impl FnOnce() -> Trouble) -> Result<(), Trouble> {
    if rows == 0 {
        return Err(otherwise());
    }
    Ok(())
}

fn unknown(action: &ActionId) -> Trouble {
    StateError::Unknown(format!("open action {action}")).into()
}

fn no_step(action: &ActionId, stage: usize, step: usize) -> Trouble {
    StateError::Unknown(format!("step {step} in stage {stage} of action {action}")).into()
}
