//! Reading what was begun and is not closed.

use rusqlite::Connection;
use rusqlite::Row;
use rusqlite::params_from_iter;

use crate::model::id::ActionId;
use crate::model::id::RunId;
use crate::model::id::VmId;
use crate::model::program::Program;
use crate::model::world::Open;
use crate::state::Result;
use crate::state::State;
use crate::state::error::Trouble;
use crate::state::value::Word;
use crate::state::value::parse;

impl State {
    /// Every open action, in the order they were begun. One is alive while a run works on it.
    ///
    /// # Errors
    /// `Locked`, `Damaged`, `Io`.
    pub fn opens(&self) -> Result<Vec<Open>> {
        self.see(|db| self.open_actions(db, None))
    }

    /// The open actions about one VM.
    ///
    /// # Errors
    /// `Locked`, `Damaged`, `Io`.
    pub fn opens_of(&self, vm: &VmId) -> Result<Vec<Open>> {
        self.see(|db| self.open_actions(db, Some(vm)))
    }

    fn open_actions(&self, db: &Connection, only: Option<&VmId>) -> Result<Vec<Open>, Trouble> {
        let about = only.map_or("", |_| "AND action.vm = ?1");
        let mut statement = db.prepare_cached(&format!(
            "SELECT action.id, op, stages, no_return, direction, error, action.started,
                 attended, run.id, run.command, run.pid
             FROM action JOIN run ON run.id = action.held_by
             WHERE action.state = 'open' {about}
             ORDER BY action.started, action.rowid"
        ))?;
        let mut rows = statement.query(params_from_iter(only.map(VmId::as_str)))?;
        let mut opens = Vec::new();
        while let Some(row) = rows.next()? {
            let mut open = self.without_steps(row)?;
            steps(db, &mut open)?;
            opens.push(open);
        }
        Ok(opens)
    }

    fn without_steps(&self, row: &Row<'_>) -> Result<Open, Trouble> {
        let Word(action): Word<ActionId> = row.get(0)?;
        let stages: usize = row.get(2)?;
        let Word(direction) = row.get(4)?;
        let Word(since) = row.get(6)?;
        let attended: bool = row.get(7)?;
        let Word(run): Word<RunId> = row.get(8)?;
        let error: Option<String> = row.get(5)?;
        Ok(Open {
            op: parse(format_args!("action {action}"), &row.get::<_, String>(1)?)?,
            program: Program {
                stages: vec![Vec::new(); stages],
                no_return: row.get(3)?,
            },
            marks: vec![Vec::new(); stages],
            receipts: vec![Vec::new(); stages],
            intended: vec![Vec::new(); stages],
            direction,
            error: error
                .map(|text| parse(format_args!("the error of action {action}"), &text))
                .transpose()?,
            since,
            command: row.get(9)?,
            pid: row.get(10)?,
            alive: attended && self.is_alive(&run)?,
            action,
        })
    }
}

/// Fills in the steps and where each stands.
fn steps(db: &Connection, open: &mut Open) -> Result<(), Trouble> {
    let mut statement = db.prepare_cached(
        "SELECT stage, n, spec, mark, receipt, intended FROM step
         WHERE action = ?1 ORDER BY stage, n",
    )?;
    let mut rows = statement.query([open.action.as_str()])?;
    while let Some(row) = rows.next()? {
        let (stage, n): (usize, usize) = (row.get(0)?, row.get(1)?);
        let action = &open.action;
        let what = format_args!("step {n} in stage {stage} of action {action}");
        let fits = open.program.stages.get(stage).map(Vec::len) == Some(n);
        if !fits {
            return Err(Trouble::unreadable(what, "there is no place for it"));
        }
        let step = parse(what, &row.get::<_, String>(2)?)?;
        let mark: Option<Word<_>> = row.get(3)?;
        let receipt: Option<String> = row.get(4)?;
        let receipt = receipt.map(|text| parse(what, &text)).transpose()?;
        let intended: Option<Word<_>> = row.get(5)?;
        open.program.stages[stage].push(step);
        open.marks[stage].push(mark.map(|Word(mark)| mark));
        open.receipts[stage].push(receipt);
        open.intended[stage].push(intended.map(|Word(at)| at));
    }
    Ok(())
}
