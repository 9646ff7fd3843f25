//! The files of a backup are read again. Only its own: what it continues is read for itself, so that each
//! file is read once, however many backups need it. Nothing is changed but what the record knows.

use std::collections::BTreeSet;

use crate::action::receipted;
use crate::action::remark;
use crate::model::backup::Backup;
use crate::model::backup::Unusable;
use crate::model::change::Change;
use crate::model::lease::Lease;
use crate::model::lease::Subject;
use crate::model::op::Verify;
use crate::model::program::Direction;
use crate::model::program::Program;
use crate::model::program::Refusal;
use crate::model::receipt::Receipt;
use crate::model::step::Step;
use crate::model::step::Written;
use crate::model::verification::Found;
use crate::model::world::Guest;

/// So many files of a backup are read side by side.
const AT_ONCE: usize = 4;

/// The backup, with other readers.
pub(super) fn leases(op: &Verify) -> Vec<Lease> {
    vec![Lease::shared(Subject::Backup(op.of.backup.clone()))]
}

/// All its files, then its record. Where there is a limit they follow one another, so that it holds.
pub(super) fn program(op: &Verify, guest: &Guest) -> Result<Program, Refusal> {
    let backup = remark::on_record(&op.of, guest)?;
    let Some(of) = op.of.place() else {
        return Ok(Program::default());
    };
    let files = written(backup);
    let rows = if op.rate.is_some() { 1 } else { AT_ONCE };
    let mut rows: Vec<Vec<Written>> = vec![Vec::new(); rows.min(files.len())];
    for (n, file) in files.into_iter().enumerate() {
        let row = n % rows.len();
        rows[row].push(file);
    }
    let reads = rows.into_iter().map(|files| Step::Verify {
        of: of.clone(),
        files,
        rate: op.rate,
    });
    let consult = Step::Consult {
        of: of.clone(),
        imprint: backup.imprint(),
    };
    let stages = vec![reads.collect(), vec![consult]];
    Ok(Program {
        no_return: stages.len(),
        stages,
    })
}

/// The disks first: they are what takes long.
fn written(backup: &Backup) -> Vec<Written> {
    let disks = backup.disks.values().map(|disk| Written {
        name: disk.name.clone(),
        size: Some(disk.size),
        digest: Some(disk.digest),
    });
    let others: BTreeSet<&String> = backup.files.iter().chain(backup.sums.keys()).collect();
    let others = others.into_iter().map(|name| Written {
        name: name.clone(),
        size: None,
        digest: backup.sums.get(name).copied(),
    });
    disks.chain(others).collect()
}

/// What was found, if anything was: one that was interrupted found nothing.
pub(super) fn changes(
    op: &Verify,
    program: &Program,
    receipts: &[Vec<Option<Receipt>>],
    went: Direction,
) -> Vec<Change> {
    let reads = |step: &Step| matches!(step, Step::Verify { .. });
    let steps = program.steps().filter(|(_, _, step)| reads(step)).count();
    let read = receipted(program, receipts).filter(|(step, _)| reads(step));
    let read: Vec<&Receipt> = read.map(|(_, receipt)| receipt).collect();
    let whole = read.iter().filter(|receipt| ***receipt == Receipt::Whole);
    let whole = steps > 0 && whole.count() == steps;
    let damaged = read.iter().find_map(|receipt| match receipt {
        Receipt::Damaged { file, missing, .. } => Some(Unusable {
            code: if *missing { "missing" } else { "damaged" }.to_owned(),
            file: Some(file.clone()),
        }),
        _ => None,
    });
    let found = match (damaged, went) {
        (Some(why), _) => Found::Damaged(why),
        (None, Direction::Back) => Found::Unread,
        (None, Direction::Forward) if whole => Found::Whole,
        (None, Direction::Forward) => return Vec::new(),
    };
    vec![Change::Verified {
        vm: op.of.vm.clone(),
        backup: op.of.backup.clone(),
        at: op.of.at,
        found,
    }]
}
