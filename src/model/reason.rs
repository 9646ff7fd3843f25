//! Why an action is planned, or why it cannot be done: data, put into words by renderers.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use crate::model::finding::Origin;
use crate::model::id::ActionId;
use crate::model::id::BackupId;
use crate::model::id::JobId;
use crate::model::program::Refusal;

/// Why an action is planned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum Reason {
    /// The policy has it and the record has not.
    New,
    /// The policy says something else than the record.
    Changed {
        /// Keys with the old and the new value.
        fields: Vec<Field>,
    },
    /// The record has it and the policy has not.
    Dropped,
    /// Rules of a policy select the VM.
    Selected {
        /// `names db-*, tag env=prod`
        by: String,
        /// Another policy that selects it too, at a lower priority.
        also: Vec<String>,
        /// The policy it had.
        before: Option<String>,
    },
    /// No policy selects the VM any more.
    NotSelected,
    /// It runs here, and its backups belong to another state.
    MovedHere {
        /// Whose they are.
        owner: String,
        /// Since when.
        since: Timestamp,
    },
    /// A VM without one good backup gets its first.
    FirstBackup,
    /// A schedule asks for it.
    SlotDue {
        /// Which schedules.
        schedules: Vec<String>,
        /// The slot that was due first.
        slot: Timestamp,
        /// With the VM's share of the jitter.
        due_at: Timestamp,
        /// How long ago.
        late_by_seconds: u64,
        /// Earlier slots that this backup makes up for.
        superseded_slots: u64,
        /// Attempts that failed before.
        failed_attempts: u64,
    },
    /// A person asked for it.
    Asked,
    /// A file of it is not as it is on record.
    Damaged {
        /// Which.
        file: Option<String>,
        /// It is not there, rather than of another length.
        missing: bool,
        /// It was read, rather than looked at.
        #[serde(default)]
        read: bool,
        /// Backups that cannot be restored without it.
        continued_by: Vec<BackupId>,
    },
    /// It was read, and is what was written.
    Whole,
    /// Its files are to be read again after some time.
    Unread {
        /// When they were read last; null: never since it was made.
        since: Option<Timestamp>,
    },
    /// Newer backups have its places: so it goes by the retention in force as well.
    Rotation {
        /// What kept it until now.
        kept_by_before: Vec<String>,
        /// Why nothing keeps it any more.
        passed: Vec<String>,
    },
    /// The retention in force keeps it, and the policy would not.
    PolicyChange {
        /// What keeps it now; empty: nothing let backups of the VM go before.
        kept_by_before: Vec<String>,
        /// Why the policy would not.
        passed: Vec<String>,
        /// What differs between the retention in force and the policy.
        fields: Vec<Field>,
        /// Where the policy says so.
        source: Option<Origin>,
    },
    /// What lets backups go is not what it was; none of those that are there go by it.
    Retention {
        /// What differs.
        fields: Vec<Field>,
    },
    /// It was let go, and no backup needs its files any more.
    Unneeded,
    /// It is wished about a backup.
    JobWaits {
        /// By which job.
        job: JobId,
        /// Attempts that failed before.
        failed_attempts: u64,
    },
    /// Its backup was let go, or a file of it is damaged.
    NotListed,
    /// A newer backup is to be booted instead, or none.
    Overtaken,
    /// A restore replaced it, and its VM has a good backup since.
    Outlived,
    /// Its disks lie on files of a backup.
    ReadsBackup {
        /// Which.
        backup: BackupId,
    },
    /// A run was interrupted, or failed where it could not turn back.
    Interrupted {
        /// The verb that was going on.
        verb: String,
        /// Stages done.
        stage: usize,
        /// Stages in all.
        stages: usize,
        /// What it was about to do.
        doing: String,
        /// What it failed with, if it did.
        error: Option<String>,
        /// It is taken back rather than carried on.
        turning_back: bool,
    },
}

/// A key that changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Field {
    /// `retention.keepDaily`
    pub key: String,
    /// As YAML would say it; nothing: it was not there.
    pub before: Option<String>,
    /// The same.
    pub after: Option<String>,
}

/// Why an action is not done although there is reason to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Block {
    /// It wants a human.
    Blocked(Refusal),
    /// It waits for a time, or for something that goes on.
    Held {
        /// Until when, where that is known.
        until: Option<Timestamp>,
        /// For what: `attempt 2 failed at ..`.
        text: String,
    },
    /// Another run has it.
    Busy {
        /// Who: operation, pid, since when.
        holder: String,
    },
    /// The world has moved on since the plan was saved.
    Stale {
        /// How.
        text: String,
    },
    /// An action of this plan that it needs is blocked, held or busy.
    Waits {
        /// Which.
        action: ActionId,
    },
}
