//! Remove the files of a backup that no other one continues. The delta that the current one left is
//! merged first, which ends the chain; what the record on the storage says comes before the files go.

use crate::action::merge;
use crate::action::remark::on_record;
use crate::action::remark::unpinned;
use crate::action::vm;
use crate::model::backup::Remark;
use crate::model::change::Change;
use crate::model::lease::Lease;
use crate::model::lease::Subject;
use crate::model::op::Merge;
use crate::model::op::OneBackup;
use crate::model::program::Direction;
use crate::model::program::Program;
use crate::model::program::Refusal;
use crate::model::record::Record;
use crate::model::step::Step;
use crate::model::world::Guest;
use crate::sabotage;
use crate::sabotage::Sabotage;

/// The backup alone; the VM alone as well while it writes to the delta that the backup left.
pub(super) fn leases(of: &OneBackup, record: &Record) -> Vec<Lease> {
    if sabotage::is(Sabotage::LeaseIgnored) {
        return Vec::new();
    }
    let mut leases = vec![Lease::exclusive(Subject::Backup(of.backup.clone()))];
    if record.current.as_ref() == Some(&of.backup) {
        leases.push(Lease::exclusive(Subject::Vm(of.vm.uuid.clone())));
    }
    leases
}

/// Nothing for an attempt that failed: taking it back left no files.
pub(super) fn program(of: &OneBackup, guest: &Guest) -> Result<Program, Refusal> {
    let record = &guest.record;
    let failed = record.failures.iter().any(|one| one.backup == of.backup);
    if failed && !record.backups.contains_key(&of.backup) {
        return Ok(Program::default());
    }
    let backup = on_record(of, guest)?;
    unpinned(backup)?;
    let needed = record.descendants(&of.backup);
    if let Some(first) = needed.first() {
        return Err(Refusal::new(
            "needed",
            format!("{} needs the files of {}", first, of.backup),
            "plan again: it is let go, and its files go with the last backup that needs them",
        ));
    }
    let Some(place) = of.place() else {
        return Ok(Program::default());
    };
    let is_current = record.current.as_ref() == Some(&of.backup);
    // What an undefined VM left on primary nobody can merge, and nobody removes.
    let merges = is_current && guest.machine.is_some();
    let mut program = if merges {
        merge::program(&merged(of), guest)?
    } else {
        Program::default()
    };
    if backup.marks.removed.is_none() {
        program.stages.push(vec![Step::Remark {
            of: place.clone(),
            remark: Remark::Removed { at: Some(of.at) },
        }]);
    }
    if !merges {
        program.no_return = program.stages.len();
    }
    program.stages.push(vec![Step::Remove { of: place }]);
    Ok(program)
}

/// It is gone, and nothing is current where it was. Turned back, only a claim was spent.
pub(super) fn changes(of: &OneBackup, program: &Program, went: Direction) -> Vec<Change> {
    let mut changes = vm::touched(&of.vm, program, went);
    if went == Direction::Forward {
        changes.push(Change::Deleted {
            vm: of.vm.clone(),
            backup: of.backup.clone(),
        });
    }
    changes
}

fn merged(of: &OneBackup) -> Merge {
    Merge {
        vm: of.vm.clone(),
        leave: false,
    }
}
