//! Runs of the program, and whether they are alive.
//!
//! A run holds a kernel lock on a file of its own for as long as it lives, so that a process that was
//! killed is known to be dead at once and nothing stays stuck. Who asks takes the lock shared for an
//! instant, so that two who ask at once do not take each other for the run.

use std::fmt::Write;
use std::fs;
use std::fs::File;
use std::fs::TryLockError;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::OpenOptionsExt;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use jiff::Timestamp;
use jiff::ToSpan;
use rusqlite::params;

use crate::model::id::RunId;
use crate::state::Result;
use crate::state::State;
use crate::state::error::Trouble;
use crate::state::file::private_dir;
use crate::state::value::time;

/// Closed actions are forgotten so many hours after they ended: a month. A saved plan is refused long
/// before, so that none is applied twice.
const REMEMBERED: i64 = 24 * 31;

/// A run that may change something. It lives as long as this value, or this process.
#[derive(Debug)]
pub struct Run {
    /// Sorts by time.
    pub id: RunId,
    lock: Lock,
}

#[derive(Debug)]
struct Lock {
    path: Utf8PathBuf,
    _held: File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A file that stays is swept by the next run: what counts is the lock on it.
        let _ = fs::remove_file(&self.path);
    }
}

impl State {
    /// Begins a run. `command` is the command line's verb.
    ///
    /// # Errors
    /// `Denied`, `Full`, `Io`, `Locked`.
    pub fn start_run(&self, command: &str, now: Timestamp) -> Result<Run> {
        self.write(|db| {
            let id = RunId::new(format!(
                "{}-{}",
                now.strftime("%Y%m%d-%H%M%S"),
                hex(&random::<4>()?)
            ));
            // First, so that who only looks makes no file; seen by others when the lock is held.
            db.execute(
                "INSERT INTO run (id, command, pid, started) VALUES (?1, ?2, ?3, ?4)",
                params![id.as_str(), command, std::process::id(), time(now)],
            )?;
            let dir = dir(&self.path);
            let lock = || {
                private_dir(&dir)?;
                sweep(&dir)?;
                lock(dir.join(id.as_str()))
            };
            let lock = lock().map_err(|error| naming(&dir, &error))?;
            Ok(Run { id, lock })
        })
    }

    /// Whether a run lives, in this process or in another.
    pub(super) fn is_alive(&self, run: &RunId) -> Result<bool, Trouble> {
        let lock = dir(&self.path).join(run.as_str());
        Ok(is_locked(&lock).map_err(|error| naming(&lock, &error))?)
    }
}

impl Run {
    /// Ends the run. What it left open can be taken up by another. One that began nothing leaves no
    /// trace, and what is older than `knib log` tells goes.
    ///
    /// # Errors
    /// As any writing call; the run is over all the same.
    pub fn finish(self, state: &State, now: Timestamp) -> Result<()> {
        let old = now.saturating_sub(REMEMBERED.hours()).unwrap_or(now);
        state.write(|db| {
            db.execute(
                "UPDATE run SET ended = ?2 WHERE id = ?1",
                params![self.id.as_str(), time(now)],
            )?;
            db.execute(
                "DELETE FROM action WHERE state <> 'open' AND ended < ?1",
                [time(old)],
            )?;
            db.execute(
                "DELETE FROM job WHERE state IN ('done', 'cancelled') AND ended < ?1",
                [time(old)],
            )?;
            db.execute(
                "DELETE FROM run WHERE (id = ?1 OR ended < ?2) AND NOT EXISTS (
                     SELECT 1 FROM action WHERE begun_by = run.id OR held_by = run.id)",
                params![self.id.as_str(), time(old)],
            )?;
            Ok(())
        })?;
        drop(self.lock);
        Ok(())
    }
}

/// Where the locks of runs are, and files until they are whole.
pub(super) fn dir(state: &Utf8Path) -> Utf8PathBuf {
    Utf8PathBuf::from(format!("{state}.run"))
}

/// The same error, which says where.
fn naming(path: &Utf8Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{path}: {error}"))
}

fn lock(path: Utf8PathBuf) -> io::Result<Lock> {
    loop {
        let file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        // Waits for one who sweeps and has the file in hand this instant.
        file.lock()?;
        let is_there = match path.metadata() {
            Ok(meta) => meta.ino() == file.metadata()?.ino(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        if is_there {
            return Ok(Lock { path, _held: file });
        }
    }
}

fn is_locked(path: &Utf8Path) -> io::Result<bool> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Removes what dead runs left.
fn sweep(dir: &Utf8Path) -> io::Result<()> {
    for entry in dir.read_dir_utf8()? {
        let path = entry?.into_path();
        if path.is_file() && !is_locked(&path)? {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Random bytes of the kernel.
pub(super) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        filled +=
            rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())?;
    }
    Ok(bytes)
}

/// Bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
