//! Attempts at jobs, and what a person decides about them.

use std::fmt;

use serde::Deserialize;
use serde::Serialize;

use crate::model::backup::VmRef;
use crate::model::bytes::Bytes;
use crate::model::id::JobId;
use crate::model::job::JobKind;
use crate::model::op::OneBackup;
use crate::model::policy::CompressionLibrary;
use crate::model::policy::Settings;
use crate::model::seconds::Seconds;

/// One attempt at a phase of compressing a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compress {
    /// Which backup.
    pub of: OneBackup,
    /// Which phase.
    pub phase: Phase,
    /// When it is tried again.
    pub retry: Retry,
}

/// A phase of compressing a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "lowercase")]
pub enum Phase {
    /// Compressed files are written beside the backup's, and compared with them.
    Start {
        /// How.
        how: Compression,
        /// Thousandths of what its files take that must be free.
        room: u64,
        /// Bounds each step.
        timeout: Seconds,
        /// So many at once on this host; none: no limit.
        at_once: Option<u32>,
    },
    /// They take the place of the backup's.
    Finalize,
}

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compression {
    /// With what, on this host.
    pub library: CompressionLibrary,
    /// How many clusters at a time, 1 to 16.
    pub coroutines: u32,
    /// Bytes a second at most.
    pub rate: Option<Bytes>,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.library.as_str())?;
        if self.coroutines > 1 {
            write!(f, ", {} clusters at a time", self.coroutines)?;
        }
        if let Some(rate) = self.rate {
            write!(f, ", {} MB/s at most", rate.0 / 1_000_000)?;
        }
        Ok(())
    }
}

/// When an attempt that failed is made up for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// So many attempts in all; none: no limit, for what was done before would be in vain.
    pub attempts: Option<u32>,
    /// From the end of one to the next.
    pub interval: Seconds,
}

/// Something that a person, or the end of its backup, decides about a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OneJob {
    /// About which backup.
    pub of: OneBackup,
    /// Which job of it.
    pub kind: JobKind,
}

impl Retry {
    /// As the settings say of a kind of job.
    #[must_use]
    pub fn of(kind: JobKind, settings: &Settings) -> Self {
        let (compression, validation) = (&settings.compression, &settings.validation);
        let (attempts, interval) = match kind {
            JobKind::Start => (Some(compression.attempts), compression.retry_interval),
            JobKind::Finalize => (None, compression.retry_interval),
            JobKind::Validate => (Some(validation.attempts), validation.retry_interval),
        };
        Self { attempts, interval }
    }
}

impl Compress {
    /// The kind of job that it is an attempt at.
    #[must_use]
    pub fn kind(&self) -> JobKind {
        match self.phase {
            Phase::Start { .. } => JobKind::Start,
            Phase::Finalize => JobKind::Finalize,
        }
    }
}

impl OneJob {
    /// Which job.
    #[must_use]
    pub fn id(&self) -> JobId {
        JobId::of(&self.of.backup, self.kind.as_str())
    }
}

/// The job that an action is an attempt at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt<'a> {
    /// Of which VM.
    pub vm: &'a VmRef,
    /// Which job.
    pub job: JobId,
    /// When it is tried again.
    pub retry: Retry,
}
