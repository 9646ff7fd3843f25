//! Which tables the file has: its version, and how an older one becomes a newer one.

use camino::Utf8Path;
use rusqlite::Connection;

use crate::state::error::StateError;
use crate::state::error::Trouble;
use crate::state::error::damaged;

/// `knib`, in sqlite's header: tells our files from those of other programs.
const APPLICATION: i32 = 0x6b6e_6962;

/// What makes version n+1 from version n, beginning with an empty file. Never edited once released.
pub(super) const STEPS: &[&str] = &[
    include_str!("schema/0001.sql"),
    include_str!("schema/0002.sql"),
    include_str!("schema/0003.sql"),
    include_str!("schema/0004.sql"),
    include_str!("schema/0005.sql"),
    include_str!("schema/0006.sql"),
    include_str!("schema/0007.sql"),
];

/// The version that some steps lead to.
pub(super) fn version_of(steps: &[&str]) -> u32 {
    u32::try_from(steps.len()).expect("there are few steps")
}

/// The file's version.
pub(super) fn version(db: &Connection, path: &Utf8Path) -> Result<u32, Trouble> {
    let application: i32 = db.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if application != APPLICATION {
        return Err(Trouble::Told(StateError::NotOurs {
            path: path.to_owned(),
            why: "it is a sqlite database of another program".to_owned(),
        }));
    }
    match current(db)? {
        0 => Err(Trouble::Told(damaged(
            path.to_owned(),
            "it has no schema".to_owned(),
        ))),
        version => Ok(version),
    }
}

/// Refuses a file that is newer than some steps lead to.
pub(super) fn not_newer(path: &Utf8Path, found: u32, known: u32) -> Result<(), Trouble> {
    if found > known {
        return Err(Trouble::Told(StateError::Newer {
            path: path.to_owned(),
            found,
            known,
        }));
    }
    Ok(())
}

/// Refuses a file that another program brought up to date since it was opened.
pub(super) fn expect(db: &Connection, path: &Utf8Path) -> Result<(), Trouble> {
    not_newer(path, current(db)?, version_of(STEPS))
}

/// Makes the newest version from version `from`, inside a transaction.
pub(super) fn upgrade(db: &Connection, from: u32, steps: &[&str]) -> Result<(), Trouble> {
    let missing = steps.iter().skip(from as usize);
    for step in missing {
        db.execute_batch(step)?;
    }
    db.pragma_update(None, "application_id", APPLICATION)?;
    db.pragma_update(None, "user_version", version_of(steps))?;
    Ok(())
}

fn current(db: &Connection) -> Result<u32, Trouble> {
    let mut statement = db.prepare_cached("PRAGMA user_version")?;
    Ok(statement.query_row([], |row| row.get(0))?)
}
