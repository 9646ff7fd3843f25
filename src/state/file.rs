//! The file itself: making, opening, looking, copying, bringing up to date.

use std::fs;
use std::fs::File;
use std::io;
use std::io::Read;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;
use std::time::Instant;

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

use crate::state::PATIENCE;
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
        let db = Connection::open_with_flags(
            &path,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        // sqlite falls back to reading by itself.
        if db.is_readonly("main")? {
            return Err(io::Error::from(io::ErrorKind::ReadOnlyFilesystem).into());
        }
        settle(&db)?;
        let found = schema::version(&db, &path)?;
        let known = schema::version_of(steps);
        schema::not_newer(&path, found, known)?;
        db.pragma_update(None, "journal_mode", "DELETE")?;
        if found < known {
            upgrade(&db, &path, steps)?;
        }
        Ok(Opened { db, path })
    };
    all().map_err(|trouble: Trouble| trouble.of(path))
}

/// Opens for looking; none when there is no file.
pub(super) fn look(path: &Utf8Path, steps: &[&str]) -> Result<Option<Opened>> {
    let all = || {
        let path = match path.canonicalize_utf8() {
            Ok(path) => path,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let deadline = Instant::now() + PATIENCE;
        loop {
            match look_at(&path, steps) {
                Err(trouble) if trouble.is_hot_journal() => {
                    if let Some(db) = recovered_copy(&path, steps)? {
                        return Ok(Some(Opened { db, path }));
                    }
                    // It was a writer that has just ended, or somebody put the file right.
                    if Instant::now() > deadline {
                        return Err(trouble);
                    }
                    std::thread::sleep(Duration::from_millis(2));
                }
                other => return other.map(|db| Some(Opened { db, path })),
            }
        }
    };
    all().map_err(|trouble: Trouble| trouble.of(path))
}

fn look_at(path: &Utf8Path, steps: &[&str]) -> Result<Connection, Trouble> {
    if check_header(path)? == JournalMode::Wal {
        return Err(Trouble::Told(StateError::NotOurs {
            path: path.to_owned(),
            why: format!(
                "somebody changed it to WAL mode, in which reading writes; \
                 `sqlite3 {path} 'PRAGMA journal_mode=delete'` changes it back"
            ),
        }));
    }
    let db = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    settle(&db)?;
    for_looking(db, path, steps)
}

/// An older file is brought up to date in memory, so that there is one way to read.
fn for_looking(db: Connection, path: &Utf8Path, steps: &[&str]) -> Result<Connection, Trouble> {
    let found = schema::version(&db, path)?;
    let known = schema::version_of(steps);
    schema::not_newer(path, found, known)?;
    let db = if found < known {
        let mut memory = Connection::open_in_memory()?;
        pour(&db, &mut memory)?;
        settle(&memory)?;
        schema::upgrade(&memory, found, steps)?;
        memory
    } else {
        db
    };
    db.pragma_update(None, "query_only", true)?;
    Ok(db)
}

/// A process died while it wrote, and the file makes sense only with the journal that it left. Rolls
/// back a copy of both and leaves them as they are for the next who may write. None when the journal
/// went or changed meanwhile: then the file may have changed as well.
fn recovered_copy(path: &Utf8Path, steps: &[&str]) -> Result<Option<Connection>, Trouble> {
    let journal = Utf8PathBuf::from(format!("{path}-journal"));
    let dir = tempfile::tempdir()?;
    let copy = dir.path().join("state.db");
    let Some(before) = fingerprint(&journal)? else {
        return Ok(None);
    };
    fs::copy(path, &copy)?;
    match fs::copy(&journal, dir.path().join("state.db-journal")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    if fingerprint(&journal)? != Some(before) {
        return Ok(None);
    }
    let db = Connection::open_with_flags(
        copy,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    settle(&db)?;
    let db = for_looking(db, path, steps)?;
    // The copy stays readable without its name, and nothing is left behind whatever happens.
    dir.close()?;
    Ok(Some(db))
}

/// Tells one journal from the next.
fn fingerprint(path: &Utf8Path) -> io::Result<Option<(u64, u64, i64, i64)>> {
    match path.metadata() {
        Ok(meta) => Ok(Some((
            meta.ino(),
            meta.len(),
            meta.mtime(),
            meta.mtime_nsec(),
        ))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[derive(PartialEq, Eq)]
enum JournalMode {
    Rollback,
    Wal,
}

/// Looks at a file before sqlite does, which would take an empty one for a new database and, to read
/// one in WAL mode, would write.
fn check_header(path: &Utf8Path) -> Result<JournalMode, Trouble> {
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

/// Settings of a connection.
fn settle(db: &Connection) -> Result<(), Trouble> {
    db.busy_timeout(PATIENCE)?;
    db.pragma_update(None, "synchronous", "EXTRA")?;
    db.pragma_update(None, "foreign_keys", true)?;
    db.pragma_update(None, "trusted_schema", false)?;
    db.pragma_update(None, "cell_size_check", true)?;
    db.pragma_update(None, "temp_store", "MEMORY")?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
    Ok(())
}

/// Makes a new file beside the locks of runs, where leftovers are swept, and gives it its name when
/// it is whole. Somebody else may do so first.
fn make(path: &Utf8Path, steps: &[&str]) -> Result<(), Trouble> {
    let (dir, name) = split(path)?;
    private_dir(&dir)?;
    let path = dir.canonicalize_utf8()?.join(name);
    let new = new_beside(&path)?;
    let db = Connection::open(new.path())?;
    settle(&db)?;
    let transaction = Transaction::new_unchecked(&db, TransactionBehavior::Immediate)?;
    schema::upgrade(&transaction, 0, steps)?;
    transaction.execute("INSERT INTO meta (key, value) VALUES ('id', ?1)", [uuid()?])?;
    transaction.commit()?;
    db.close().map_err(|(_, error)| error)?;
    match new.persist_noclobber(&path) {
        Ok(_) => Ok(sync_parent(&path)?),
        Err(_) if path.try_exists()? => Ok(()),
        Err(refused) => Err(refused.error.into()),
    }
}

/// Brings an older file up to date, after a copy.
fn upgrade(db: &Connection, path: &Utf8Path, steps: &[&str]) -> Result<(), Trouble> {
    // Nobody writes from here on, and another connection still reads what is there.
    let transaction = Transaction::new_unchecked(db, TransactionBehavior::Immediate)?;
    let found = schema::version(&transaction, path)?;
    schema::not_newer(path, found, schema::version_of(steps))?;
    if found < schema::version_of(steps) {
        let reader = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
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

fn pour(from: &Connection, to: &mut Connection) -> Result<(), Trouble> {
    from.busy_timeout(PATIENCE)?;
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

fn private_dir(dir: &Utf8Path) -> io::Result<()> {
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

fn sync_parent(path: &Utf8Path) -> io::Result<()> {
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
