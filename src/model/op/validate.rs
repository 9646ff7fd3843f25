//! Booting a backup, and what its guest is put through.

use std::fmt;

use camino::Utf8PathBuf;
use serde::Deserialize;
use serde::Serialize;

use crate::model::bytes::Bytes;
use crate::model::op::OneBackup;
use crate::model::op::Retry;
use crate::model::seconds::Seconds;

/// One attempt to see whether a backup boots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validate {
    /// Which backup.
    pub of: OneBackup,
    /// Where the throwaway VM has its own files.
    pub dir: Utf8PathBuf,
    /// What its guest is put through.
    pub trial: Trial,
    /// When it is tried again.
    pub retry: Retry,
    /// So many at once on this host; none: no limit.
    pub at_once: Option<u32>,
    /// A person asked for it, whatever came of it before.
    pub asked: bool,
}

/// What a guest is put through, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// Whether its agent has to answer.
    pub boot: Wait,
    /// Within so long.
    pub boot_timeout: Seconds,
    /// A picture of its screen is taken so long after that; none: no picture.
    pub screenshot: Option<Seconds>,
    /// A program is run in it.
    pub command: Option<Command>,
    /// Bounds all of it.
    pub limit: Seconds,
    /// Memory that the VM has at most.
    pub memory: Option<Bytes>,
    /// Processors that it has at most.
    pub vcpus: Option<u32>,
    /// A guest that fails ends the chain of its backup.
    pub ends_chain: bool,
}

impl fmt::Display for Trial {
    /// `boot a throwaway VM within 4m, screenshot after 1m, run /usr/bin/health`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut steps = Vec::new();
        if self.boot != Wait::Never {
            steps.push(format!("boot a throwaway VM within {}", self.boot_timeout));
        }
        let picture = self
            .screenshot
            .map(|wait| format!("screenshot after {wait}"));
        steps.extend(picture);
        let command = self.command.as_ref();
        steps.extend(command.map(|command| format!("run {}", command.path)));
        f.write_str(&steps.join(", "))
    }
}

/// Whether a guest's agent is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wait {
    /// Nobody asked.
    Never,
    /// Where it was connected when the backup, or one that it continues, was made.
    WhereKnown,
    /// In any case.
    Always,
}

/// A program that is run in a guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Its path in the guest.
    pub path: String,
    /// What it is given.
    pub arguments: Vec<String>,
    /// How long it may take.
    pub timeout: Seconds,
    /// What it must exit with.
    pub exit_code: i32,
    /// What it must print, white space at the end aside; none: anything.
    pub output: Option<String>,
}
