//! What a step learned when it was done: the data that flows from step to step and into the record.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use crate::model::backup::Backup;
use crate::model::backup::Compressed;
use crate::model::backup::Validated;
use crate::model::bytes::Bytes;
use crate::model::digest::Digest;
use crate::model::id::BackupId;
use crate::model::id::Target;

/// What a step learned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Receipt {
    /// Nothing but that it is done.
    Done,
    /// The overlays were made.
    Frozen {
        /// The instant that the backup shows.
        at: Timestamp,
        /// How settled the guest was.
        consistency: Consistency,
        /// A freeze ran out of time: the guest may freeze later and must be thawed.
        thaw_owed: bool,
    },
    /// A file was written to the storage.
    Copied {
        /// Length in bytes.
        size: Bytes,
        /// Of these bytes.
        digest: Digest,
        /// What a guest would see.
        virtual_size: Bytes,
        /// What it took before it was compressed; none: it is not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        uncompressed: Option<Bytes>,
    },
    /// The record on the storage says what files may become.
    Announced {
        /// Those that do.
        files: BTreeMap<Target, Compressed>,
    },
    /// Files that describe the VM were written.
    Captured {
        /// Their names in the stage.
        files: Vec<String>,
        /// Of what they hold.
        #[serde(default)]
        sums: BTreeMap<String, Digest>,
    },
    /// Every file that was to be read is what it was.
    Whole,
    /// A file of a backup is not what it was.
    Damaged {
        /// Of which backup.
        backup: BackupId,
        /// Its name there.
        file: String,
        /// In words.
        text: String,
        /// It is not there at all.
        #[serde(default)]
        missing: bool,
    },
    /// A VM that was to run cannot be started; all else went on.
    StaysOff {
        /// In words.
        text: String,
    },
    /// A backup was booted: this is how it went.
    Judged(Box<Validated>),
    /// The stage is complete: this is what `backup.json` says.
    Sealed(Box<Backup>),
}

/// How settled the guest was at a backup's instant, from weak to strong.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Consistency {
    /// As after a power cut.
    Crash,
    /// File systems were frozen.
    Filesystem,
    /// Nothing was running, or programs in the guest took part.
    Application,
}
