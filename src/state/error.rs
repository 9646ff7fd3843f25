//! What goes wrong with the state file, small enough to branch on, with what to do about it.

use std::fmt;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use rusqlite::ErrorCode;
use rusqlite::ffi;

use crate::model::id::ActionId;
use crate::model::lease::Holder;

/// Of calls on the state.
pub type Result<T, E = StateError> = std::result::Result<T, E>;

/// Why a call on the state did nothing. Whatever it is, the file is as it was before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Another action has what this one needs.
    #[error("held: {0}")]
    Held(Holder),
    /// The action was begun before: a plan is applied once.
    #[error("action {0} was begun before")]
    Applied(ActionId),
    /// The VM of this name was changed since the program was drawn up.
    #[error("{0} was changed by another run since this was decided")]
    Overtaken(String),
    /// The journal knows no such run or action, or no such step of it.
    #[error("the journal has no {0}")]
    Unknown(String),
    /// The call does not fit where the action stands: a defect of the caller.
    #[error("the journal does not take this: {0}")]
    Refused(String),
    /// A newer program wrote the file.
    #[error("{path} was written by a newer knib (schema {found}; this one knows {known})")]
    #[expect(missing_docs, reason = "the text says it")]
    Newer {
        path: Utf8PathBuf,
        found: u32,
        known: u32,
    },
    /// The file is something else.
    #[error("{path} is not a knib state: {why}")]
    #[expect(missing_docs, reason = "the text says it")]
    NotOurs { path: Utf8PathBuf, why: String },
    /// The file is one of ours and cannot be read.
    #[error("the state {path} is damaged: {why}")]
    #[expect(missing_docs, reason = "the text says it")]
    Damaged {
        path: Utf8PathBuf,
        why: String,
        /// The newest copy beside it.
        copy: Option<Utf8PathBuf>,
    },
    /// Another process kept the file locked for as long as is waited.
    #[error("the state {path} is locked by another process")]
    #[expect(missing_docs, reason = "the text says it")]
    Locked { path: Utf8PathBuf },
    /// The file, or its directory, may not be read or written.
    #[error("no access to the state {path}: {why}")]
    #[expect(missing_docs, reason = "the text says it")]
    Denied { path: Utf8PathBuf, why: String },
    /// The file system is full.
    #[error("no room to write the state {path}")]
    #[expect(missing_docs, reason = "the text says it")]
    Full { path: Utf8PathBuf },
    /// Anything else that reading or writing failed with.
    #[error("the state {path} could not be used: {why}")]
    #[expect(missing_docs, reason = "the text says it")]
    Io { path: Utf8PathBuf, why: String },
}

impl StateError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Held(holder) if holder.alive => "try again when it has ended".to_owned(),
            Self::Held(_) => "run `knib apply` to finish what was interrupted".to_owned(),
            Self::Applied(_) | Self::Overtaken(_) => "make a new plan: `knib plan`".to_owned(),
            Self::Unknown(_) => return None,
            Self::Refused(_) => {
                "this is a defect in knib; nothing was written, and the next `knib apply` carries on"
                    .to_owned()
            }
            Self::Newer { .. } => "use the newer knib; nothing was changed".to_owned(),
            Self::NotOurs { .. } => {
                "look at `state:` in the policy, `--state` and KNIB_STATE; nothing was changed"
                    .to_owned()
            }
            Self::Damaged { path, copy, .. } => {
                let rebuild = "no backup is touched by this; `knib state rebuild` makes the state \
                               again from the storages";
                match copy {
                    Some(copy) => {
                        format!("{rebuild}, or put the copy {copy} in the place of {path}")
                    }
                    None => rebuild.to_owned(),
                }
            }
            Self::Locked { path } => format!("`fuser {path}` shows by which"),
            Self::Denied { .. } => "run knib as the user the state belongs to, on a file system \
                                    that can be written"
                .to_owned(),
            Self::Full { .. } => "make room; what was under way is carried on by the next \
                                  `knib apply`"
                .to_owned(),
            Self::Io { .. } => "the kernel's log may say more".to_owned(),
        })
    }
}

/// What went wrong before it is known of which file.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It is told already.
    Told(StateError),
    /// SQL.
    Sql(rusqlite::Error),
    /// A file.
    File(std::io::Error),
    /// A stored value that cannot be understood.
    Unreadable(String),
}

impl From<StateError> for Trouble {
    fn from(error: StateError) -> Self {
        Self::Told(error)
    }
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        Self::File(error)
    }
}

impl Trouble {
    /// A stored value that cannot be understood.
    pub(super) fn unreadable(what: fmt::Arguments<'_>, cause: impl fmt::Display) -> Self {
        Self::Unreadable(format!("{what} cannot be understood: {cause}"))
    }

    /// A writer died while it wrote, and only writing would put that right.
    pub(super) fn is_hot_journal(&self) -> bool {
        matches!(self, Self::Sql(rusqlite::Error::SqliteFailure(error, _))
            if error.extended_code == ffi::SQLITE_READONLY_ROLLBACK)
    }

    /// Tells it of a file.
    pub(super) fn of(self, path: &Utf8Path) -> StateError {
        let path = path.to_owned();
        match self {
            Self::Told(error) => error,
            Self::Sql(error) => of_sql(&error, path),
            Self::File(error) => of_file(&error, path),
            Self::Unreadable(why) => damaged(path, why),
        }
    }
}

fn of_file(error: &std::io::Error, path: Utf8PathBuf) -> StateError {
    use std::io::ErrorKind;
    let why = error.to_string();
    match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            StateError::Denied { path, why }
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StateError::Full { path },
        _ => StateError::Io { path, why },
    }
}

fn of_sql(error: &rusqlite::Error, path: Utf8PathBuf) -> StateError {
    let (failure, message) = match error {
        rusqlite::Error::SqliteFailure(failure, message) => (failure, message),
        rusqlite::Error::ToSqlConversionFailure(cause) => {
            return StateError::Refused(cause.to_string());
        }
        // Tables or columns are not there or not as they were made.
        _ => return damaged(path, error.to_string()),
    };
    let why = message.clone().unwrap_or_else(|| failure.to_string());
    match failure.code {
        ErrorCode::ConstraintViolation => StateError::Refused(match failure.extended_code {
            ffi::SQLITE_CONSTRAINT_FOREIGNKEY => {
                "something is left without what it refers to, as a backup's file without its parent"
                    .to_owned()
            }
            _ => why,
        }),
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => StateError::Locked { path },
        ErrorCode::ReadOnly => match failure.extended_code {
            ffi::SQLITE_READONLY_ROLLBACK => StateError::Locked { path },
            ffi::SQLITE_READONLY_DBMOVED => StateError::Io {
                path,
                why: "it was moved or replaced while it was in use".to_owned(),
            },
            _ => StateError::Denied { path, why },
        },
        ErrorCode::NotADatabase => StateError::NotOurs { path, why },
        ErrorCode::DatabaseCorrupt => damaged(path, why),
        ErrorCode::DiskFull => StateError::Full { path },
        ErrorCode::PermissionDenied => StateError::Denied { path, why },
        ErrorCode::CannotOpen => match readable(&path) {
            Ok(()) => StateError::Io { path, why },
            Err(error) => of_file(&error, path),
        },
        _ => StateError::Io { path, why },
    }
}

/// sqlite tells that a file cannot be opened, not why. Asks without opening it, since closing it
/// would give up the locks that sqlite has on it.
fn readable(path: &Utf8Path) -> std::io::Result<()> {
    rustix::fs::access(path.as_std_path(), rustix::fs::Access::READ_OK)?;
    Ok(())
}

/// The file is damaged; finds the newest copy beside it.
pub(super) fn damaged(path: Utf8PathBuf, why: String) -> StateError {
    let copy = newest_copy(&path);
    StateError::Damaged { path, why, copy }
}

/// Copies of a state are called as it is, with something behind: `state.db.v1`.
fn newest_copy(path: &Utf8Path) -> Option<Utf8PathBuf> {
    let prefix = format!("{}.", path.file_name()?);
    let entries = path.parent()?.read_dir_utf8().ok()?;
    entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().starts_with(&prefix))
        .filter_map(|entry| {
            let meta = entry.metadata().ok().filter(std::fs::Metadata::is_file)?;
            Some((meta.modified().ok()?, entry.into_path()))
        })
        .max()
        .map(|(_, path)| path)
}
