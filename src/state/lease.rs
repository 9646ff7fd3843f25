//! Leases: taken with an action, given up when it closes, in conflict or not as the file's triggers say.

use std::collections::BTreeMap;

use rusqlite::Connection;
use rusqlite::Row;
use rusqlite::params;

use crate::model::id::ActionId;
use crate::model::id::RunId;
use crate::model::lease::Holder;
use crate::model::lease::Lease;
use crate::model::lease::Mode;
use crate::model::lease::Subject;
use crate::state::State;
use crate::state::StateError;
use crate::state::error::Trouble;
use crate::state::value::Word;

/// What a [`Holder`] is made from, of `action` and `run`.
const HOLDER: &str =
    "action.verb, action.held_since, action.attended, run.id, run.command, run.pid";

impl State {
    /// Takes every lease, or fails with who holds one of them.
    pub(super) fn take(
        &self,
        db: &Connection,
        action: &ActionId,
        leases: &[Lease],
    ) -> Result<(), Trouble> {
        // One that is wanted twice is wanted in the stronger mode.
        let mut wanted = BTreeMap::new();
        for lease in leases {
            let mode = wanted.entry(&lease.subject).or_insert(lease.mode);
            *mode = lease.mode.max(*mode);
        }
        let mut insert = db.prepare_cached(
            "INSERT INTO lease (action, kind, subject, mode) VALUES (?1, ?2, ?3, ?4)",
        )?;
        for (subject, mode) in wanted {
            let (kind, id) = columns(subject);
            let word = match mode {
                Mode::Shared => "shared",
                Mode::Exclusive => "exclusive",
            };
            if let Err(refused) = insert.execute(params![action.as_str(), kind, id, word]) {
                return Err(match self.in_the_way(db, action, subject, mode)? {
                    Some(holder) => StateError::Held(holder).into(),
                    None => refused.into(),
                });
            }
        }
        Ok(())
    }

    /// Who holds what `action` wants. Of several it is one that lives, if any does: the others can be
    /// recovered, and waiting is for this one.
    fn in_the_way(
        &self,
        db: &Connection,
        action: &ActionId,
        subject: &Subject,
        mode: Mode,
    ) -> Result<Option<Holder>, Trouble> {
        let mut holders = self.holders(db, action, subject, mode)?;
        let first = holders.iter().position(|holder| holder.alive).unwrap_or(0);
        Ok((first < holders.len()).then(|| holders.swap_remove(first)))
    }

    /// Everybody who holds something in a way that keeps `action` from having it so.
    pub(super) fn holders(
        &self,
        db: &Connection,
        action: &ActionId,
        subject: &Subject,
        mode: Mode,
    ) -> Result<Vec<Holder>, Trouble> {
        let (kind, id) = columns(subject);
        let mut statement = db.prepare_cached(&format!(
            "SELECT {HOLDER} FROM lease
             JOIN action ON action.id = lease.action
             JOIN run ON run.id = action.held_by
             WHERE kind = ?1 AND subject = ?2 AND lease.action <> ?3
                 AND (mode = 'exclusive' OR ?4)
             ORDER BY action.started, action.id"
        ))?;
        let alone = mode == Mode::Exclusive;
        let mut rows = statement.query(params![kind, id, action.as_str(), alone])?;
        let mut holders = Vec::new();
        while let Some(row) = rows.next()? {
            holders.push(self.holder_in(row)?);
        }
        Ok(holders)
    }

    /// Who has an open action.
    pub(super) fn holder(
        &self,
        db: &Connection,
        action: &ActionId,
    ) -> Result<Option<Holder>, Trouble> {
        let mut statement = db.prepare_cached(&format!(
            "SELECT {HOLDER} FROM action JOIN run ON run.id = action.held_by
             WHERE action.id = ?1 AND action.state = 'open'"
        ))?;
        let mut rows = statement.query([action.as_str()])?;
        let row = rows.next()?;
        row.map(|row| self.holder_in(row)).transpose()
    }

    fn holder_in(&self, row: &Row<'_>) -> Result<Holder, Trouble> {
        let verb: String = row.get(0)?;
        let Word(since) = row.get(1)?;
        let attended: bool = row.get(2)?;
        let Word(run): Word<RunId> = row.get(3)?;
        Ok(Holder {
            operation: verb.replace('_', " "),
            command: row.get(4)?,
            pid: row.get(5)?,
            alive: attended && self.is_alive(&run)?,
            since,
        })
    }
}

fn columns(subject: &Subject) -> (&'static str, &str) {
    match subject {
        Subject::Vm(vm) => ("vm", vm.as_str()),
        Subject::Backup(backup) => ("backup", backup.as_str()),
        Subject::Marks(backup) => ("marks", backup.as_str()),
    }
}
