//! Looking at the file without writing anything near it, whatever state it was left in.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use rusqlite::Connection;
use rusqlite::OpenFlags;

use crate::state::ATTEMPTS;
use crate::state::PAUSE;
use crate::state::error::Result;
use crate::state::error::StateError;
use crate::state::error::Trouble;
use crate::state::file::JournalMode;
use crate::state::file::Opened;
use crate::state::file::check_header;
use crate::state::file::check_length;
use crate::state::file::connect;
use crate::state::file::pour;
use crate::state::file::settled;
use crate::state::schema;

/// Opens for looking; none when there is no file.
pub(super) fn look(path: &Utf8Path, steps: &[&str]) -> Result<Option<Opened>> {
    let all = || {
        let path = match path.canonicalize_utf8() {
            Ok(path) => path,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut attempts = 0;
        loop {
            let journal_mode = check_header(&path)?;
            if is_left_behind(&path)?
                && let Some(db) = recovered_copy(&path, steps)?
            {
                return Ok(Some(Opened { db, path }));
            }
            match look_at(&path, journal_mode, steps) {
                // A writer has just ended, or has just died.
                Err(trouble) if trouble.is_hot_journal() && attempts < ATTEMPTS => attempts += 1,
                other => return other.map(|db| Some(Opened { db, path })),
            }
            std::thread::sleep(PAUSE);
        }
    };
    all().map_err(|trouble: Trouble| trouble.of(path))
}

fn look_at(
    path: &Utf8Path,
    journal_mode: JournalMode,
    steps: &[&str],
) -> Result<Connection, Trouble> {
    if journal_mode == JournalMode::Wal {
        return Err(Trouble::Told(StateError::NotOurs {
            path: path.to_owned(),
            why: format!(
                "somebody changed it to WAL mode, in which reading writes; \
                 `sqlite3 {path} 'PRAGMA journal_mode=delete'` changes it back"
            ),
        }));
    }
    let db = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    schema::version(&db, path)?;
    check_length(&db, path)?;
    for_looking(db, path, steps)
}

/// An older file is brought up to date in memory, so that there is one way to read.
fn for_looking(db: Connection, path: &Utf8Path, steps: &[&str]) -> Result<Connection, Trouble> {
    let found = schema::version(&db, path)?;
    let known = schema::version_of(steps);
    schema::not_newer(path, found, known)?;
    let db = if found < known {
        let mut memory = settled(Connection::open_in_memory()?)?;
        pour(&db, &mut memory)?;
        schema::upgrade(&memory, found, steps)?;
        memory
    } else {
        db
    };
    db.pragma_update(None, "query_only", true)?;
    Ok(db)
}

fn journal_of(path: &Utf8Path) -> Utf8PathBuf {
    Utf8PathBuf::from(format!("{path}-journal"))
}

/// Whether there is a journal that nobody writes to: of a process that died, or that does not get on.
/// sqlite would open it to find out, and as root it changes the owner of what it opens.
fn is_left_behind(path: &Utf8Path) -> Result<bool, Trouble> {
    const LONG_ENOUGH: u32 = 20;
    let journal = journal_of(path);
    let first = fingerprint(&journal)?;
    if first.is_none() {
        return Ok(false);
    }
    for _ in 0..LONG_ENOUGH {
        std::thread::sleep(PAUSE);
        if fingerprint(&journal)? != first {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The file makes sense only together with its journal. Rolls back a copy of both, and leaves them as
/// they are for the next who may write. None when the journal went or changed meanwhile: then the
/// file may have changed as well.
fn recovered_copy(path: &Utf8Path, steps: &[&str]) -> Result<Option<Connection>, Trouble> {
    let no_copy = |error: io::Error| StateError::Io {
        path: path.to_owned(),
        why: format!(
            "a run died while it wrote, and looking takes a copy, which could not be made in {}: \
             {error}",
            std::env::temp_dir().display()
        ),
    };
    let dir = tempfile::tempdir().map_err(no_copy)?;
    let copy = dir.path().join("state.db");
    if !copy_both(path, &copy).map_err(no_copy)? {
        return Ok(None);
    }
    let db = connect(copy, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let db = for_looking(db, path, steps)?;
    // The copy stays readable without its name, and nothing is left behind whatever happens.
    dir.close().map_err(no_copy)?;
    Ok(Some(db))
}

/// The journal comes second: one that is as it was fits every page that was copied before.
fn copy_both(path: &Utf8Path, copy: &Path) -> io::Result<bool> {
    let journal = journal_of(path);
    let Some(before) = fingerprint(&journal)? else {
        return Ok(false);
    };
    fs::copy(path, copy)?;
    match fs::copy(&journal, copy.with_file_name("state.db-journal")) {
        Ok(_) => Ok(fingerprint(&journal)? == Some(before)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::file::open;

    #[test]
    fn looking_at_an_older_file_leaves_it_as_it_is() {
        let old = schema::STEPS;
        let new = &[old, &["ALTER TABLE run ADD COLUMN host TEXT"]].concat();
        let dir = tempfile::tempdir().expect("a directory");
        let path = Utf8PathBuf::from_path_buf(dir.path().join("state.db")).expect("UTF-8");
        drop(open(&path, old).expect("made"));
        let before = fs::read(&path).expect("content");

        let looked = look(&path, new).expect("looked").expect("there");
        let read = looked.db.prepare("SELECT host FROM run");
        assert!(read.is_ok(), "as the newer program knows it");
        assert!(looked.db.execute("DELETE FROM meta", []).is_err());
        assert_eq!(fs::read(&path).expect("content"), before);
        assert_eq!(dir.path().read_dir().expect("a listing").count(), 2);
    }
}
