//! A backup whose files were read again.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::model::backup::VmRef;
use crate::model::bytes::Bytes;
use crate::model::id::BackupId;
use crate::model::op::Op;
use crate::model::plan::Action;
use crate::model::plan::Outcome;
use crate::model::world::Guest;

/// What reading the files of a backup showed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct VerifiedView {
    /// Which backup.
    pub backup: BackupId,
    /// Of which VM.
    pub vm: VmRef,
    /// It was named; else a backup that was continues it.
    pub asked: bool,
    /// What was found.
    pub result: Verdict,
    /// What is wrong, or what stood in the way.
    pub error: Option<String>,
    /// It was marked as damaged before, and is counted on again.
    pub whole_again: bool,
    /// Bytes of its files.
    pub size: Bytes,
    /// Its files that have no digest on record, of which only the presence was seen.
    pub without_digest: Vec<String>,
    /// Listed backups that cannot be restored without it, where it is damaged.
    pub continued_by: Vec<BackupId>,
    /// When its files were last read to the end; null: never since it was made.
    pub verified: Option<Timestamp>,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every file is as it was written.
    Whole,
    /// One is not.
    Damaged,
    /// It could not be read to the end, which proves nothing.
    Unread,
    /// Another run has it, or the run was stopped.
    Passed,
}

/// One that was to be read, with what is on record of its VM before and after.
#[must_use]
pub fn view(action: &Action, before: &Guest, after: &Guest) -> Option<VerifiedView> {
    let Op::Verify(op) = &action.op else {
        return None;
    };
    let id = &op.of.backup;
    let marked = |guest: &Guest| {
        let backup = guest.record.backups.get(id);
        backup.is_some_and(|backup| backup.marks.unusable.is_some())
    };
    let backup = after.record.backups.get(id)?;
    let result = match action.result {
        Some(Outcome::Done) => Verdict::Whole,
        Some(Outcome::Failed | Outcome::Blocked) => {
            let known = after.record.verified.get(id);
            let read = known.is_some_and(|known| known.at == Some(op.of.at));
            if read && marked(after) {
                Verdict::Damaged
            } else {
                Verdict::Unread
            }
        }
        _ => Verdict::Passed,
    };
    let bare = |name: &&String| !backup.sums.contains_key(*name);
    Some(VerifiedView {
        backup: id.clone(),
        vm: op.of.vm.clone(),
        asked: false,
        result,
        error: action.error.clone(),
        whole_again: result == Verdict::Whole && marked(before),
        size: backup.size(),
        without_digest: backup.files.iter().filter(bare).cloned().collect(),
        continued_by: if result == Verdict::Damaged {
            after.record.needed_by(id)
        } else {
            Vec::new()
        },
        verified: after.record.verified.get(id).and_then(|known| known.at),
    })
}
