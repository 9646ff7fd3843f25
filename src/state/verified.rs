//! When the files of backups were read again, and what became of it.

use jiff::Timestamp;
use rusqlite::Connection;
use rusqlite::OptionalExtension;
use rusqlite::Row;
use rusqlite::params;

use crate::model::backup::Remark;
use crate::model::backup::VmRef;
use crate::model::id::BackupId;
use crate::model::verification::Found;
use crate::model::verification::Verification;
use crate::state::error::Trouble;
use crate::state::index;
use crate::state::value::Word;
use crate::state::value::time;

/// What is read of it, in this order.
pub(super) const COLUMNS: &str = "at, tried, untold";

/// The files of a backup that is on record were read.
pub(super) fn learn(
    db: &Connection,
    vm: &VmRef,
    id: &BackupId,
    at: Timestamp,
    found: &Found,
) -> Result<(), Trouble> {
    let key = [vm.uuid.as_str(), id.as_str()];
    let Some(mut backup) = index::backup(db, vm, id)? else {
        return Ok(());
    };
    let after = Verification::after(known(db, key)?, at, found, &mut backup);
    index::rewrite(db, vm, &backup)?;
    write(db, key, after)
}

/// The record of a backup was rewritten.
pub(super) fn noted(
    db: &Connection,
    vm: &VmRef,
    id: &BackupId,
    remark: &Remark,
) -> Result<(), Trouble> {
    let key = [vm.uuid.as_str(), id.as_str()];
    let Some(before) = known(db, key)? else {
        return Ok(());
    };
    if let Some(after) = before.noted(remark) {
        return write(db, key, after);
    }
    db.prepare_cached("DELETE FROM verified WHERE vm = ?1 AND backup = ?2")?
        .execute(key)?;
    Ok(())
}

/// What the columns say, the first of them being the `from`th.
pub(super) fn read(row: &Row<'_>, from: usize) -> rusqlite::Result<Verification> {
    let at: Option<Word<Timestamp>> = row.get(from)?;
    let Word(tried) = row.get(from + 1)?;
    Ok(Verification {
        at: at.map(|Word(at)| at),
        tried,
        untold: row.get(from + 2)?,
    })
}

fn known(db: &Connection, key: [&str; 2]) -> Result<Option<Verification>, Trouble> {
    let sql = format!("SELECT {COLUMNS} FROM verified WHERE vm = ?1 AND backup = ?2");
    let mut statement = db.prepare_cached(&sql)?;
    Ok(statement.query_row(key, |row| read(row, 0)).optional()?)
}

fn write(db: &Connection, [vm, backup]: [&str; 2], known: Verification) -> Result<(), Trouble> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO verified (vm, backup, at, tried, untold)
         VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![
        vm,
        backup,
        known.at.map(time),
        time(known.tried),
        known.untold
    ])?;
    Ok(())
}
