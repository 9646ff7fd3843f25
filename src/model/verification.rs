//! What came of reading the files of a backup again.

use jiff::Timestamp;
use serde::Deserialize;
use serde::Serialize;

use crate::model::backup::Backup;
use crate::model::backup::Remark;
use crate::model::backup::Unusable;

/// When the files of a backup itself were read again; those that it continues are read with theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// When all of them were read last; none: that was never brought to an end.
    pub at: Option<Timestamp>,
    /// When it was tried last.
    pub tried: Timestamp,
    /// The backup's record on the storage does not say yet what was found.
    pub untold: bool,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// Every file is as it was written.
    Whole,
    /// One is not.
    Damaged(Unusable),
    /// Nothing: they could not be read to the end, which proves nothing.
    Unread,
}

impl Verification {
    /// What is known after one more, and what the backup is marked with then.
    #[must_use]
    pub fn after(before: Option<Self>, at: Timestamp, found: &Found, backup: &mut Backup) -> Self {
        let before = before.unwrap_or(Self {
            at: None,
            tried: at,
            untold: false,
        });
        let why = match found {
            Found::Unread => {
                return Self {
                    tried: at,
                    ..before
                };
            }
            Found::Damaged(why) => Some(why.clone()),
            Found::Whole => None,
        };
        let news = backup.marks.unusable.is_some() != why.is_some();
        if news {
            backup.learn(&Remark::Unusable { why });
        }
        Self {
            at: Some(at),
            tried: at,
            untold: before.untold != news,
        }
    }

    /// What is known after the backup's record was rewritten; none: nothing any more.
    #[must_use]
    pub fn noted(self, remark: &Remark) -> Option<Self> {
        match remark {
            Remark::Unusable { .. } => Some(Self {
                untold: false,
                ..self
            }),
            // Other files than those that were read.
            Remark::Compressed { .. } => None,
            _ => Some(self),
        }
    }
}
