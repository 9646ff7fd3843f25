//! The file itself: making, opening, copying, bringing up to date. Looking has a file of its own.

use std::fs;
use std::fs::File;
use std::io;
use std::io::Read;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use rusqlite::Connection;
use rusqlite::OpenFlags;
use rusqlite::Transaction;
use rusqlite::TransactionBehavior;
use rusqlite::backup::Backup;
use rusqlite::backup::StepResult;
use rusqlite::config::DbConfig;
use tempfile::NamedTempFile;

use crate::model::id::StateId;
use crate::state::ATTEMPTS;
use crate::state::PAUSE;
use crate::state::error::Result;
use crate::state::error::StateError;
use crate::state::error::Trouble;
use crate::state::error::damaged;
use crate::state::run;
use crate::state::schema;

/// A file that was found to be a state this program knows.
pub(super) struct Opened {
    pub(super) db: Connection,
    /// Without symbolic links.
    pub(super) path: Utf8PathBuf,
}

/// Opens for writing; makes what is not there.
pub(super) fn open(path: &Utf8Path, steps: &[&str]) -> Result<Opened> {
    let all = || {
        if !path.try_exists()? {
            make(path, steps)?;
        }
        let path = path.canonicalize_utf8()?;
        check_header(&path)?;
        let db = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        // sqlite falls back to reading by itself.
        if db.is_readonly("main")? {
            return Err(io::Error::from(io::ErrorKind::ReadOnlyFilesystem).into());
        }
        let found = schema::version(&db, &path)?;
        let known = schema::version_of(steps);
        schema::not_newer(&path, found, known)?;
        check_length(&db, &path)?;
        db.pragma_update(None, "journal_mode", "DELETE")?;
        if found < known {
            upgrade(&db, &path, steps)?;
        }
        Ok(Opened { db, path })
    };
    all().map_err(|trouble: Trouble| trouble.of(path))
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum JournalMode {
    Rollback,
    Wal,
}

/// Looks at a file before sqlite does, which would take an empty one for a new database and, to read
/// one in WAL mode, would write.
pub(super) fn check_header(path: &Utf8Path) -> Result<JournalMode, Trouble> {
    let not_ours = |why: &str| {
        Trouble::Told(StateError::NotOurs {
            path: path.to_owned(),
            why: why.to_owned(),
        })
    };
    if !path.metadata()?.is_file() {
        return Err(not_ours("it is not a file"));
    }
    let mut header = Vec::new();
    File::open(path)?.take(100).read_to_end(&mut header)?;
    if header.is_empty() {
        return Err(damaged(path.to_owned(), "it is empty".to_owned()).into());
    }
    if !header.starts_with(b"SQLite format 3\0") {
        return Err(not_ours("it is not a sqlite database"));
    }
    Ok(match header.get(18) {
        Some(2) => JournalMode::Wal,
        _ => JournalMode::Rollback,
    })
}

/// A file whose end is missing is not taken for one whose end is empty, as sqlite would.
pub(super) fn check_length(db: &Connection, path: &Utf8Path) -> Result<(), Trouble> {
    // While this is read nobody else writes.
    let _instant = Transaction::new_unchecked(db, TransactionBehavior::Deferred)?;
    let pages: u64 = db.pragma_query_value(None, "page_count", |row| row.get(0))?;
    let size: u64 = db.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let (whole, length) = (pages * size, path.metadata()?.len());
    if length < whole {
        let why = format!("it has {length} bytes of {whole}");
        return Err(damaged(path.to_owned(), why).into());
    }
    Ok(())
}

pub(super) fn connect(path: impl AsRef<Path>, mode: OpenFlags) -> Result<Connection, Trouble> {
    settled(Connection::open_with_flags(
        path,
        mode | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?)
}

/// A connection with our settings.
pub(super) fn settled(mut db: Connection) -> Result<Connection, Trouble> {
    db.busy_handler(Some(wait))?;
    db.pragma_update(None, "synchronous", "EXTRA")?;
    db.pragma_update(None, "foreign_keys", true)?;
    db.pragma_update(None, "trusted_schema", false)?;
    db.pragma_update(None, "cell_size_check", true)?;
    db.pragma_update(None, "temp_store", "MEMORY")?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
    Ok(db)
}

/// sqlite asks whether to try again. Its own timeout would sleep longer and longer.
fn wait(attempts: i32) -> bool {
    std::thread::sleep(PAUSE);
    attempts < ATTEMPTS
}

/// Makes a new file and gives it its name when it is whole. Somebody else may do so first.
fn make(path: &Utf8Path, steps: &[&str]) -> Result<(), Trouble> {
    let path = place(path)?;
    let new = whole(&path, steps, None, |_| Ok(()))?;
    match new.persist_noclobber(&path) {
        Ok(_) => Ok(sync_parent(&path)?),
        Err(_) if path.try_exists()? => Ok(()),
        Err(refused) => Err(refused.error.into()),
    }
}

/// Where a file that may not be there yet will be, without symbolic links; its directory is made.
pub(super) fn place(path: &Utf8Path) -> io::Result<Utf8PathBuf> {
    let (dir, name) = split(path)?;
    private_dir(&dir)?;
    Ok(dir.canonicalize_utf8()?.join(name))
}

/// A file beside the locks of runs, where leftovers are swept, with everything that `fill` writes.
pub(super) fn whole(
    path: &Utf8Path,
    steps: &[&str],
    id: Option<&StateId>,
    fill: impl FnOnce(&Connection) -> Result<(), Trouble>,
) -> Result<NamedTempFile, Trouble> {
    let new = new_beside(path)?;
    let db = settled(Connection::open(new.path())?)?;
    let transaction = Transaction::new_unchecked(&db, TransactionBehavior::Immediate)?;
    schema::upgrade(&transaction, 0, steps)?;
    let id = id.map_or_else(uuid, |id| Ok(id.to_string()))?;
    transaction.execute("INSERT INTO meta (key, value) VALUES ('id', ?1)", [id])?;
    fill(&transaction)?;
    transaction.commit()?;
    db.close().map_err(|(_, error)| error)?;
    Ok(new)
}

/// Brings an older file up to date, after a copy.
fn upgrade(db: &Connection, path: &Utf8Path, steps: &[&str]) -> Result<(), Trouble> {
    // Nobody writes from here on, and another connection still reads what is there.
    let transaction = Transaction::new_unchecked(db, TransactionBehavior::Immediate)?;
    let found = schema::version(&transaction, path)?;
    schema::not_newer(path, found, schema::version_of(steps))?;
    if found < schema::version_of(steps) {
        let reader = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let copy = Utf8PathBuf::from(format!("{path}.v{found}"));
        let new = new_beside(path)?;
        pour(&reader, &mut Connection::open(new.path())?)?;
        new.persist(&copy).map_err(|refused| refused.error)?;
        sync_parent(&copy)?;
        schema::upgrade(&transaction, found, steps)?;
    }
    Ok(transaction.commit()?)
}

/// Writes everything to a new file.
pub(super) fn copy(db: &Connection, to: &Utf8Path) -> Result<(), Trouble> {
    let (dir, _) = split(to)?;
    let new = NamedTempFile::new_in(dir)?;
    pour(db, &mut Connection::open(new.path())?)?;
    new.persist_noclobber(to).map_err(|refused| refused.error)?;
    Ok(sync_parent(to)?)
}

pub(super) fn pour(from: &Connection, to: &mut Connection) -> Result<(), Trouble> {
    match Backup::new(from, to)?.step(-1)? {
        StepResult::Done => Ok(()),
        _ => Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY),
            None,
        )
        .into()),
    }
}

fn new_beside(path: &Utf8Path) -> io::Result<NamedTempFile> {
    let dir = run::dir(path);
    private_dir(&dir)?;
    NamedTempFile::new_in(dir)
}

pub(super) fn private_dir(dir: &Utf8Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
}

fn split(path: &Utf8Path) -> io::Result<(Utf8PathBuf, &str)> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let dir = path.parent().filter(|dir| !dir.as_str().is_empty());
    Ok((dir.unwrap_or(Utf8Path::new(".")).to_owned(), name))
}

pub(super) fn sync_parent(path: &Utf8Path) -> io::Result<()> {
    File::open(split(path)?.0)?.sync_all()
}

/// A random uuid.
fn uuid() -> io::Result<String> {
    let mut bytes = run::random::<16>()?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = run::hex(&bytes);
    let parts = [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ];
    Ok(parts.join("-"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    /// One step fewer than a newer program has.
    const OLD: &[&str] = &[schema::STEPS[0]];
    const NEW: &[&str] = &[OLD[0], "ALTER TABLE run ADD COLUMN host TEXT"];
    const BROKEN: &[&str] = &[
        OLD[0],
        "ALTER TABLE run ADD COLUMN host TEXT; SELECT nothing",
    ];

    fn place() -> (tempfile::TempDir, Utf8PathBuf) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = Utf8PathBuf::from_path_buf(dir.path().join("state.db")).expect("UTF-8");
        (dir, path)
    }

    fn version_and_columns(db: &Connection) -> (u32, u32) {
        let columns = "SELECT count(*) FROM pragma_table_info('run')";
        (
            db.pragma_query_value(None, "user_version", |row| row.get(0))
                .expect("a version"),
            db.query_row(columns, [], |row| row.get(0))
                .expect("a count"),
        )
    }

    #[test]
    fn an_older_file_is_brought_up_to_date_after_a_copy() {
        let (_dir, path) = place();
        drop(open(&path, OLD).expect("made"));
        let before = fs::read(&path).expect("content");
        let opened = open(&path, NEW).expect("opened");
        assert_eq!(version_and_columns(&opened.db), (2, 6));
        let copy = Utf8PathBuf::from(format!("{path}.v1"));
        assert_eq!(copy.metadata().expect("there").mode() & 0o777, 0o600);
        let copied = open(&copy, OLD).expect("an older program reads the copy");
        assert_eq!(version_and_columns(&copied.db), (1, 5));
        assert_ne!(fs::read(&path).expect("content"), before);
        // Once only.
        fs::remove_file(&copy).expect("removed");
        drop(open(&path, NEW).expect("opened"));
        assert!(!copy.exists());
        let refused = open(&path, OLD).err().expect("refused");
        assert!(matches!(
            refused,
            StateError::Newer {
                found: 2,
                known: 1,
                ..
            }
        ));
    }

    #[test]
    fn leases_outlive_an_upgrade() {
        let (_dir, path) = place();
        let action = |id: &str| {
            format!(
                "INSERT INTO action (id, begun_by, held_by, held_since, verb, op, stages, no_return, started)
                 VALUES ('{id}', 'r', 'r', '', 'pin', '', 0, 0, '')"
            )
        };
        let lease =
            |id: &str| format!("INSERT INTO lease VALUES ('{id}', 'backup', 'b', 'exclusive')");
        let run = "INSERT INTO run VALUES ('r', 'apply', 1, '', NULL)".to_owned();
        let old = open(&path, &schema::STEPS[..2]).expect("made");
        old.db
            .execute_batch(&[run, action("a"), lease("a"), action("b")].join(";"))
            .expect("begun");
        drop(old);
        let new = open(&path, schema::STEPS).expect("opened");
        assert!(new.db.execute_batch(&lease("b")).is_err());
        let close = "UPDATE action SET state = 'done', ended = '' WHERE id = 'a'";
        new.db.execute_batch(close).expect("closed");
        new.db.execute_batch(&lease("b")).expect("free now");
    }

    #[test]
    fn an_upgrade_that_fails_changes_nothing() {
        let (_dir, path) = place();
        drop(open(&path, OLD).expect("made"));
        let before = fs::read(&path).expect("content");
        assert!(open(&path, BROKEN).is_err());
        assert_eq!(fs::read(&path).expect("content"), before);
        drop(open(&path, OLD).expect("opened"));
    }

    #[test]
    fn commits_outlive_a_power_cut() {
        let (_dir, path) = place();
        let opened = open(&path, OLD).expect("made");
        let pragma = |name: &str| -> String {
            opened
                .db
                .query_row(&format!("SELECT * FROM pragma_{name}"), [], |row| {
                    row.get::<_, rusqlite::types::Value>(0)
                })
                .map(|value| format!("{value:?}"))
                .expect("a value")
        };
        assert_eq!(pragma("synchronous"), "Integer(3)");
        assert_eq!(pragma("journal_mode"), "Text(\"delete\")");
        assert_eq!(pragma("foreign_keys"), "Integer(1)");
        assert_eq!(pragma("trusted_schema"), "Integer(0)");
    }
}
