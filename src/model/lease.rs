//! What must hold still while an action is open.

use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use crate::model::id::BackupId;
use crate::model::id::VmId;

/// A claim on something, taken with an action and kept until it closes, across crashes and reboots.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Lease {
    /// On what.
    pub subject: Subject,
    /// With whom it can be shared.
    pub mode: Mode,
}

/// What can be leased.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// A VM's disks, definition and note.
    Vm(VmId),
    /// A backup's directory.
    Backup(BackupId),
    /// What the record of a backup says of it: rewritten by one at a time, beside readers of its disks.
    Marks(BackupId),
}

/// With whom a lease can be shared.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// With other readers.
    Shared,
    /// With nobody.
    Exclusive,
}

impl Lease {
    /// Alone.
    #[must_use]
    pub fn exclusive(subject: Subject) -> Self {
        Self {
            subject,
            mode: Mode::Exclusive,
        }
    }

    /// With others.
    #[must_use]
    pub fn shared(subject: Subject) -> Self {
        Self {
            subject,
            mode: Mode::Shared,
        }
    }

    /// Whether both can be held at once.
    #[must_use]
    pub fn agrees_with(&self, other: &Self) -> bool {
        self.subject != other.subject || (self.mode == Mode::Shared && other.mode == Mode::Shared)
    }
}

/// Who holds a lease that is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// What it does: `backup`, `restore new`.
    pub operation: String,
    /// The command line's verb.
    pub command: String,
    /// Its process.
    pub pid: u32,
    /// Whether that process still runs. A dead holder's action must be recovered first.
    pub alive: bool,
    /// Since when.
    pub since: jiff::Timestamp,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            operation,
            command,
            pid,
            alive,
            since,
        } = self;
        let state = if *alive { "" } else { ", interrupted" };
        write!(
            f,
            "{operation} by knib {command} (pid {pid}{state}) since {since:.0}"
        )
    }
}
