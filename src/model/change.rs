//! What the record learns when an action closes. Applied to sqlite, to a foreseen world and by tests alike.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use jiff::Timestamp;
use serde::Deserialize;
use serde::Serialize;

use crate::model::backup::Backup;
use crate::model::backup::Remark;
use crate::model::backup::Slot;
use crate::model::backup::StorageRef;
use crate::model::backup::VmRef;
use crate::model::id::BackupId;
use crate::model::id::JobId;
use crate::model::job::Job;
use crate::model::job::JobState;
use crate::model::policy::Offering;
use crate::model::policy::VmPolicy;
use crate::model::retention::Rules;
use crate::model::snapshot::Snapshots;
use crate::model::verification::Found;

/// One thing the record learns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    /// A storage is in use, or is called something else, or is somewhere else now.
    Storage {
        /// Name and id.
        storage: StorageRef,
        /// Where.
        path: Utf8PathBuf,
    },
    /// An offering is in force.
    Offering {
        /// Its name.
        name: String,
        /// What it says.
        spec: Offering,
    },
    /// An offering is no longer in the policy; what it said stays known.
    OfferingRemoved {
        /// Its name.
        name: String,
    },
    /// A policy is in force.
    Policy {
        /// Its name.
        name: String,
        /// What it says.
        spec: Box<VmPolicy>,
        /// Since when each schedule counts.
        since: BTreeMap<String, Timestamp>,
    },
    /// A policy is no longer there.
    PolicyRemoved {
        /// Its name.
        name: String,
    },
    /// A VM has a policy.
    Assigned {
        /// Which VM.
        vm: VmRef,
        /// Which policy.
        policy: String,
        /// Since when slots count.
        since: Timestamp,
    },
    /// A VM has none any more.
    Unassigned {
        /// Which VM.
        vm: VmRef,
    },
    /// What lets backups of a VM go from now on.
    Retained {
        /// Of which VM.
        vm: VmRef,
        /// All of it.
        rules: Box<Rules>,
    },
    /// A backup exists.
    Published(Box<Backup>),
    /// A backup is marked otherwise than it was.
    Remarked {
        /// Of which VM.
        vm: VmRef,
        /// Which backup.
        backup: BackupId,
        /// How.
        remark: Remark,
    },
    /// The files of a backup were read again.
    Verified {
        /// Of which VM.
        vm: VmRef,
        /// Which backup.
        backup: BackupId,
        /// When that was decided: all was read after it.
        at: Timestamp,
        /// What was found.
        found: Found,
    },
    /// A backup has no files any more.
    Deleted {
        /// Of which VM.
        vm: VmRef,
        /// Which backup, or which attempt at one.
        backup: BackupId,
    },
    /// knib changed a VM.
    Touched {
        /// Which VM.
        vm: VmRef,
        /// The serial it claimed.
        serial: u64,
        /// The backup whose delta the VM writes to now.
        current: Option<BackupId>,
    },
    /// The snapshots of a VM are these.
    Snapshots {
        /// Which VM.
        vm: VmRef,
        /// All of them.
        snapshots: Snapshots,
    },
    /// Something is wished about a backup.
    Wished {
        /// Of which VM.
        vm: VmRef,
        /// What; it takes the place of one of its kind.
        job: Job,
    },
    /// A job stands otherwise.
    Job {
        /// Of which VM.
        vm: VmRef,
        /// Which.
        job: JobId,
        /// How.
        state: JobState,
        /// Of one that waits again: until when; it is as if it had never been tried.
        not_before: Option<Timestamp>,
    },
    /// Slots are served: they never become due again.
    Served {
        /// Of which VM.
        vm: VmRef,
        /// Which slots.
        slots: Vec<Slot>,
    },
}
