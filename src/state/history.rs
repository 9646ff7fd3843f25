//! What runs did: the journal as it is told.

use jiff::Timestamp;
use rusqlite::Connection;
use rusqlite::Row;
use rusqlite::params;
use serde::Deserialize;
use serde::Serialize;

use crate::model::backup::VmRef;
use crate::model::id::ActionId;
use crate::model::id::RunId;
use crate::model::id::VmId;
use crate::model::op::Op;
use crate::model::program::Mark;
use crate::model::program::StepError;
use crate::model::step::Step;
use crate::state::Result;
use crate::state::State;
use crate::state::error::Trouble;
use crate::state::value::Word;
use crate::state::value::parse;
use crate::state::value::time;

/// Which runs and which of their actions; all of them by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// This run alone.
    pub run: Option<RunId>,
    /// Runs that began at this instant or later.
    pub since: Option<Timestamp>,
    /// Actions about this VM alone, and runs that have one.
    pub vm: Option<VmId>,
    /// Actions that failed or were interrupted alone, and runs that have one.
    pub failed: bool,
}

/// A run that began or took up an action.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PastRun {
    /// Which.
    pub id: RunId,
    /// The command line's verb.
    pub command: String,
    /// Its process.
    pub pid: u32,
    /// When it began.
    pub started: Timestamp,
    /// When it ended; none: it lives, or was killed.
    pub ended: Option<Timestamp>,
    /// It goes on.
    pub alive: bool,
    /// In the order they were begun. One that another run took up is told of both.
    pub actions: Vec<PastAction>,
}

/// An action that was begun.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PastAction {
    /// Which.
    pub id: ActionId,
    /// As [`Verb::as_str`](crate::model::op::Verb::as_str) spells it.
    pub verb: String,
    /// The VM by the name it had.
    pub vm: Option<VmRef>,
    /// What it was about, by its name: a VM, a storage, an offering, a policy. None where this program
    /// does not know such an action.
    pub object: Option<String>,
    /// When it was begun.
    pub started: Timestamp,
    /// When it was closed.
    pub ended: Option<Timestamp>,
    /// How it ended.
    pub outcome: Outcome,
    /// What turned it back, or left it open; kept when it was carried on and done later.
    pub error: Option<StepError>,
    /// In order.
    pub steps: Vec<PastStep>,
}

/// How an action ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A run works on it.
    Running,
    /// Nobody works on it and it is not closed: the next apply carries it on.
    Interrupted,
    /// It did what it was to do.
    Done,
    /// It was taken back.
    Undone,
    /// It was given up where it stood.
    Abandoned,
}

/// A step and how far it came.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PastStep {
    /// Counted from 0.
    pub stage: usize,
    /// Its place in the stage, counted from 0.
    pub step: usize,
    /// In words; as it is stored where this program does not know such a step.
    pub what: String,
    /// Where it stands.
    pub mark: Option<Mark>,
    /// When it was intended.
    pub intended: Option<Timestamp>,
    /// When it got the mark it has.
    pub marked: Option<Timestamp>,
}

impl State {
    /// Runs in the order they began. Closed actions are remembered for a month.
    ///
    /// # Errors
    /// `Locked`, `Damaged`, `Io`.
    pub fn history(&self, filter: &Filter) -> Result<Vec<PastRun>> {
        self.see(|db| {
            let mut statement = db.prepare(
                "SELECT id, command, pid, started, ended FROM run
                 WHERE id = coalesce(?1, id) AND started >= coalesce(?2, started)
                 ORDER BY started, id",
            )?;
            let only = filter.run.as_ref().map(RunId::as_str);
            let mut rows = statement.query(params![only, filter.since.map(time)])?;
            let mut runs = Vec::new();
            while let Some(row) = rows.next()? {
                let Word(id): Word<RunId> = row.get(0)?;
                let Word(started) = row.get(3)?;
                let ended: Option<Word<_>> = row.get(4)?;
                let run = PastRun {
                    command: row.get(1)?,
                    pid: row.get(2)?,
                    started,
                    ended: ended.map(|Word(at)| at),
                    alive: self.is_alive(&id)?,
                    actions: self.past_actions(db, &id, filter)?,
                    id,
                };
                let everything = filter.vm.is_none() && !filter.failed;
                if everything || !run.actions.is_empty() {
                    runs.push(run);
                }
            }
            Ok(runs)
        })
    }

    fn past_actions(
        &self,
        db: &Connection,
        run: &RunId,
        filter: &Filter,
    ) -> Result<Vec<PastAction>, Trouble> {
        let mut statement = db.prepare_cached(
            "SELECT id, verb, vm, vm_name, started, ended, state, error, attended, held_by, op, abandoned
             FROM action WHERE (begun_by = ?1 OR held_by = ?1)
                 AND (?2 IS NULL OR vm = ?2)
             ORDER BY started, rowid",
        )?;
        let vm = filter.vm.as_ref().map(VmId::as_str);
        let mut rows = statement.query(params![run.as_str(), vm])?;
        let mut actions = Vec::new();
        while let Some(row) = rows.next()? {
            let outcome = self.outcome(row)?;
            let failed = !matches!(outcome, Outcome::Running | Outcome::Done);
            if failed || !filter.failed {
                actions.push(past_action(db, row, outcome)?);
            }
        }
        Ok(actions)
    }

    fn outcome(&self, row: &Row<'_>) -> Result<Outcome, Trouble> {
        let state: String = row.get(6)?;
        let attended: bool = row.get(8)?;
        let Word(holder): Word<RunId> = row.get(9)?;
        Ok(match state.as_str() {
            "done" => Outcome::Done,
            "undone" if row.get(11)? => Outcome::Abandoned,
            "undone" => Outcome::Undone,
            _ if attended && self.is_alive(&holder)? => Outcome::Running,
            _ => Outcome::Interrupted,
        })
    }
}

fn past_action(db: &Connection, row: &Row<'_>, outcome: Outcome) -> Result<PastAction, Trouble> {
    let Word(id): Word<ActionId> = row.get(0)?;
    let uuid: Option<Word<VmId>> = row.get(2)?;
    let name: Option<String> = row.get(3)?;
    let Word(started) = row.get(4)?;
    let ended: Option<Word<_>> = row.get(5)?;
    let error: Option<String> = row.get(7)?;
    let op: String = row.get(10)?;
    let op: Option<Op> = serde_json::from_str(&op).ok();
    Ok(PastAction {
        verb: row.get(1)?,
        object: op.and_then(|op| op.object().map(ToOwned::to_owned)),
        vm: uuid
            .zip(name)
            .map(|(Word(uuid), name)| VmRef { name, uuid }),
        started,
        ended: ended.map(|Word(at)| at),
        outcome,
        error: error
            .map(|text| parse(format_args!("the error of action {id}"), &text))
            .transpose()?,
        steps: past_steps(db, &id)?,
        id,
    })
}

fn past_steps(db: &Connection, action: &ActionId) -> Result<Vec<PastStep>, Trouble> {
    let mut statement = db.prepare_cached(
        "SELECT stage, n, spec, mark, intended, marked FROM step
         WHERE action = ?1 ORDER BY stage, n",
    )?;
    let mut rows = statement.query([action.as_str()])?;
    let mut steps = Vec::new();
    while let Some(row) = rows.next()? {
        let spec: String = row.get(2)?;
        let mark: Option<Word<_>> = row.get(3)?;
        let intended: Option<Word<_>> = row.get(4)?;
        let marked: Option<Word<_>> = row.get(5)?;
        steps.push(PastStep {
            stage: row.get(0)?,
            step: row.get(1)?,
            what: serde_json::from_str::<Step>(&spec).map_or(spec, |step| step.synopsis()),
            mark: mark.map(|Word(mark)| mark),
            intended: intended.map(|Word(at)| at),
            marked: marked.map(|Word(at)| at),
        });
    }
    Ok(steps)
}
