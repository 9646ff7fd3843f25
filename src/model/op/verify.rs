//! Reading backups again.

use serde::Deserialize;
use serde::Serialize;

use crate::model::bytes::Bytes;
use crate::model::op::OneBackup;

/// Read the files of a backup itself, and see whether they are what was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verify {
    /// Which backup.
    pub of: OneBackup,
    /// Bytes a second at most; none: no limit.
    pub rate: Option<Bytes>,
    /// So many backups at once.
    pub at_once: u32,
}
