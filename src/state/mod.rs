//! The state file: the journal of what is under way, the leases that open actions hold, and the
//! index of what is on record.
//!
//! Each writing call is one durable transaction: when it returns, a crash or a power cut no longer
//! undoes it, and when it fails nothing was written. What may follow what is enforced by triggers in
//! the file itself, so that no program breaks the journal. Who only looks writes nothing at all, not
//! even a lock file. It knows nothing of libvirt, storages or policies' meaning, and SQL stays in here.
//!
//! The file uses sqlite's rollback journal, not WAL, since reading in WAL mode writes. It is locked by
//! sqlite alone, which gives its locks up when anything in the process closes the file: use a file
//! from one thread.

mod anew;
mod applied;
mod error;
mod file;
mod history;
mod index;
mod job;
mod journal;
mod lease;
mod look;
mod open;
mod record;
mod run;
mod schema;
mod value;
mod verified;

use std::time::Duration;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use rusqlite::Connection;
use rusqlite::Transaction;
use rusqlite::TransactionBehavior;

use crate::model::id::StateId;
pub use crate::state::error::Result;
pub use crate::state::error::StateError;
use crate::state::error::Trouble;
use crate::state::file::Opened;
pub use crate::state::history::Filter;
pub use crate::state::history::Outcome;
pub use crate::state::history::PastAction;
pub use crate::state::history::PastRun;
pub use crate::state::history::PastStep;
pub use crate::state::run::Run;
use crate::state::value::Word;

/// How often the file is tried while another process has it locked, about five seconds in all. Short
/// and often, since somebody who writes one transaction after the other leaves but short gaps.
const ATTEMPTS: i32 = 5_000;
const PAUSE: Duration = Duration::from_millis(1);

/// An open state file.
#[derive(Debug)]
pub struct State {
    db: Connection,
    /// Without symbolic links, so that every process agrees where locks of runs are.
    path: Utf8PathBuf,
    id: StateId,
}

impl State {
    /// Opens it for reading and writing. Makes the file, readable by its owner alone, and its
    /// directory where there are none; brings an older file up to date, leaving a copy as it was
    /// beside it (`state.db.v1`).
    ///
    /// # Errors
    /// `Newer`, `NotOurs`, `Damaged`, `Locked`, `Denied`, `Full`, `Io`.
    pub fn open(path: &Utf8Path) -> Result<Self> {
        Self::from_opened(file::open(path, schema::STEPS)?)
    }

    /// Opens it for looking. Writes nothing anywhere near the file, on a read-only file system, in
    /// the middle of what another process writes, and after a process that died writing. None when
    /// there is no file.
    ///
    /// # Errors
    /// As [`State::open`].
    pub fn look(path: &Utf8Path) -> Result<Option<Self>> {
        look::look(path, schema::STEPS)?
            .map(Self::from_opened)
            .transpose()
    }

    fn from_opened(Opened { db, path }: Opened) -> Result<Self> {
        let id = db
            .query_row("SELECT value FROM meta WHERE key = 'id'", [], |row| {
                row.get(0)
            })
            .map(|Word(id)| id)
            .map_err(|error| Trouble::from(error).of(&path))?;
        Ok(Self { db, path, id })
    }

    /// Drawn when the file was made.
    #[must_use]
    pub fn id(&self) -> &StateId {
        &self.id
    }

    /// Writes the file as it is now to `to`, where nothing may be.
    ///
    /// # Errors
    /// `Denied`, `Full`, `Io` about `to`; `Damaged`.
    pub fn copy_to(&self, to: &Utf8Path) -> Result<()> {
        file::copy(&self.db, to).map_err(|trouble| trouble.of(to))
    }

    /// Everything that is read inside is of one instant. Nothing can be written inside.
    ///
    /// # Errors
    /// Those of `act`, and `Locked`, `Newer`.
    pub fn read<T>(&self, act: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        if !self.db.is_autocommit() {
            return act(self);
        }
        let _instant = self.instant().map_err(|trouble| trouble.of(&self.path))?;
        act(self)
    }

    /// One transaction, whole or not at all.
    fn write<T>(&self, act: impl FnOnce(&Connection) -> Result<T, Trouble>) -> Result<T> {
        let all = || {
            let transaction = Transaction::new_unchecked(&self.db, TransactionBehavior::Immediate)?;
            schema::expect(&transaction, &self.path)?;
            let value = act(&transaction)?;
            transaction.commit()?;
            Ok(value)
        };
        all().map_err(|trouble: Trouble| trouble.of(&self.path))
    }

    /// The same for reading.
    fn see<T>(&self, act: impl FnOnce(&Connection) -> Result<T, Trouble>) -> Result<T> {
        self.read(|state| act(&state.db).map_err(|trouble| trouble.of(&state.path)))
    }

    /// A transaction that only reads. A writer that ends its transaction this very moment looks, to
    /// one who may not write, as if it had died in it.
    fn instant(&self) -> Result<Transaction<'_>, Trouble> {
        let mut attempts = 0;
        loop {
            let transaction = Transaction::new_unchecked(&self.db, TransactionBehavior::Deferred)?;
            match schema::expect(&transaction, &self.path) {
                Ok(()) => return Ok(transaction),
                Err(trouble) if trouble.is_hot_journal() && attempts < ATTEMPTS => attempts += 1,
                Err(trouble) => return Err(trouble),
            }
            drop(transaction);
            std::thread::sleep(PAUSE);
        }
    }
}
