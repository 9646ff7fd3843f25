//! Verbs that only rewrite what a backup's record says of it: let go, keep, keep no longer, damaged.

use crate::model::backup::Backup;
use crate::model::backup::Remark;
use crate::model::change::Change;
use crate::model::lease::Lease;
use crate::model::lease::Subject;
use crate::model::op::MarkUnusable;
use crate::model::op::OneBackup;
use crate::model::op::Op;
use crate::model::program::Program;
use crate::model::program::Refusal;
use crate::model::step::Step;
use crate::model::world::Guest;

/// The backup that such a verb is about, and what its record will say.
fn meant(op: &Op) -> Option<(&OneBackup, Remark)> {
    Some(match op {
        Op::Expire(of) => (of, Remark::Removed { at: Some(of.at) }),
        Op::Pin(of) => (of, Remark::Pinned { pinned: true }),
        Op::Unpin(of) => (of, Remark::Pinned { pinned: false }),
        Op::MarkUnusable(MarkUnusable { of, why }) => {
            let why = why.clone();
            (of, Remark::Unusable { why })
        }
        _ => return None,
    })
}

/// Readers go on: none of its disks' files changes. Of two that rewrite its record at once, one would
/// take back what the other said.
pub(super) fn leases(of: &OneBackup) -> Vec<Lease> {
    vec![
        Lease::shared(Subject::Backup(of.backup.clone())),
        Lease::exclusive(Subject::Marks(of.backup.clone())),
    ]
}

/// One file is written anew.
pub(super) fn program(op: &Op, guest: &Guest) -> Result<Program, Refusal> {
    let Some((of, remark)) = meant(op) else {
        return Ok(Program::default());
    };
    if matches!(op, Op::MarkUnusable(_)) && !guest.record.backups.contains_key(&of.backup) {
        // It went since it was looked at.
        return Ok(Program::default());
    }
    let backup = on_record(of, guest)?;
    match op {
        Op::Expire(_) => unpinned(backup)?,
        Op::Pin(_) if backup.marks.removed.is_some() => {
            return Err(Refusal::new(
                "removed",
                format!(
                    "{} was let go: its files stay only while others need them",
                    of.backup
                ),
                "pin one that is listed: knib backup list",
            ));
        }
        _ => {}
    }
    let step = of.place().map(|of| Step::Remark { of, remark });
    let stages: Vec<_> = step.into_iter().map(|step| vec![step]).collect();
    Ok(Program {
        no_return: stages.len(),
        stages,
    })
}

/// The record says the same as the file.
pub(super) fn changes(op: &Op) -> Vec<Change> {
    let change = meant(op).map(|(of, remark)| Change::Remarked {
        vm: of.vm.clone(),
        backup: of.backup.clone(),
        remark,
    });
    Vec::from_iter(change)
}

/// The backup, if it is there.
pub(super) fn on_record<'a>(of: &OneBackup, guest: &'a Guest) -> Result<&'a Backup, Refusal> {
    let found = guest.record.backups.get(&of.backup);
    found.map(AsRef::as_ref).ok_or_else(|| {
        Refusal::new(
            "backup_gone",
            format!("{} of {} is not on record any more", of.backup, of.vm.name),
            "knib backup list --all",
        )
    })
}

/// A pin yields to nothing.
pub(super) fn unpinned(backup: &Backup) -> Result<(), Refusal> {
    if !backup.marks.pinned {
        return Ok(());
    }
    let id = &backup.id;
    Err(Refusal::new(
        "pinned",
        format!("{id} of {} is pinned", backup.vm.name),
        format!("knib backup unpin {id}, if it may go"),
    ))
}
