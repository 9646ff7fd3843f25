//! Compress a backup in two phases: compressed files are written beside its own, in its lee, and shown
//! to hold the same; then, with nobody reading it or what continues it, they take their place.
//!
//! Between both, readers go on. The record on the storage tells the truth at every instant: before the
//! first file changes it says what each may be, and after the last what each is.

use std::collections::BTreeMap;

use crate::action::receipted;
use crate::action::remark::on_record;
use crate::model::backup::Backup;
use crate::model::backup::Compressed;
use crate::model::backup::Remark;
use crate::model::change::Change;
use crate::model::id::JobId;
use crate::model::id::Target;
use crate::model::job::Job;
use crate::model::job::JobKind;
use crate::model::job::JobState;
use crate::model::layout;
use crate::model::lease::Lease;
use crate::model::lease::Subject;
use crate::model::op::Compress;
use crate::model::op::OneBackup;
use crate::model::op::Phase;
use crate::model::program::Program;
use crate::model::program::Refusal;
use crate::model::receipt::Receipt;
use crate::model::record::Record;
use crate::model::step::BackupAt;
use crate::model::step::Step;
use crate::model::world::Guest;

/// To write beside it, the backup and all it continues, with other readers; to swap, the backup alone.
pub(super) fn leases(op: &Compress, record: &Record) -> Vec<Lease> {
    let backup = &op.of.backup;
    match op.phase {
        Phase::Start { .. } => std::iter::once(backup.clone())
            .chain(record.ancestors(backup))
            .map(|id| Lease::shared(Subject::Backup(id)))
            .collect(),
        Phase::Finalize => vec![Lease::exclusive(Subject::Backup(backup.clone()))],
    }
}

/// File by file; nothing of what is not wanted any more.
pub(super) fn program(op: &Compress, guest: &Guest) -> Result<Program, Refusal> {
    let backup = on_record(&op.of, guest)?;
    // Since it was planned somebody may have done it, ended its job, or let the backup go.
    let job = guest
        .record
        .jobs
        .get(&JobId::of(&backup.id, op.kind().as_str()));
    let job = job.map(|job| job.clone().under(&op.retry));
    let wanted = backup.is_whole() && job.is_some_and(|job| job.is_waiting());
    Ok(match (&op.phase, op.of.place().filter(|_| wanted)) {
        (Phase::Start { .. }, Some(of)) => start(op, &of, backup),
        (Phase::Finalize, Some(of)) => finalize(of, backup),
        (_, None) => Program::default(),
    })
}

/// An error anywhere takes all of it back: what it makes is new, and nobody knows of it.
fn start(op: &Compress, of: &BackupAt, backup: &Backup) -> Program {
    let Phase::Start {
        how, room, timeout, ..
    } = op.phase
    else {
        return Program::default();
    };
    let dir = of.dir();
    let mut writes = Vec::new();
    let mut compares = Vec::new();
    for (target, disk) in &backup.disks {
        let from = dir.join(&disk.name);
        let to = layout::compressed(&from);
        let parent = disk.parent.as_ref();
        writes.push(Step::Compress {
            target: target.clone(),
            from: from.clone(),
            parent: parent.map(|edge| layout::backing(&edge.backup, target)),
            to: to.clone(),
            how,
            limit: timeout,
        });
        compares.push(Step::Compare {
            target: target.clone(),
            one: from,
            other: to,
            limit: timeout,
        });
    }
    let files = backup.disks.values().map(|disk| dir.join(&disk.name));
    let room = Step::Room {
        of: of.clone(),
        files: files.collect(),
        thousandths: room,
    };
    let stages = vec![vec![room], writes, compares];
    Program {
        no_return: stages.len(),
        stages,
    }
}

/// Before the first file changes it can be taken back. From then on it only goes on.
fn finalize(of: BackupAt, backup: &Backup) -> Program {
    let dir = of.dir();
    let swap = |(target, name): (&Target, &String)| {
        let to = dir.join(name);
        Step::Replace {
            target: target.clone(),
            from: layout::compressed(&to),
            to,
        }
    };
    let files = backup.disks.iter();
    let swaps = files.map(|(target, disk)| swap((target, &disk.name)));
    let swaps = swaps.collect();
    Program {
        stages: vec![
            vec![Step::Announce { of: of.clone() }],
            swaps,
            vec![Step::Settle { of }],
        ],
        no_return: 1,
    }
}

/// A start wishes for the swap of what became smaller; after a swap the record says what is there.
pub(super) fn changes(
    op: &Compress,
    program: &Program,
    receipts: &[Vec<Option<Receipt>>],
) -> Vec<Change> {
    let vm = op.of.vm.clone();
    let done = Change::Job {
        vm: vm.clone(),
        job: JobId::of(&op.of.backup, op.kind().as_str()),
        state: JobState::Done,
        not_before: None,
    };
    let next = match op.phase {
        Phase::Start { .. } => {
            let mut job = wish(&op.of, JobKind::Finalize);
            job.files = smaller(program, receipts);
            Change::Wished { vm, job }
        }
        Phase::Finalize => Change::Remarked {
            vm,
            backup: op.of.backup.clone(),
            remark: Remark::Compressed {
                files: announced(program, receipts),
            },
        },
    };
    vec![done, next]
}

/// A wish that may be tried at once.
fn wish(of: &OneBackup, kind: JobKind) -> Job {
    Job::new(of.backup.clone(), kind, of.at)
}

fn smaller(program: &Program, receipts: &[Vec<Option<Receipt>>]) -> BTreeMap<Target, Compressed> {
    let written = receipted(program, receipts);
    let smaller = written.filter_map(|(step, receipt)| match (step, receipt) {
        (
            Step::Compress { target, .. },
            Receipt::Copied {
                size,
                digest,
                uncompressed: Some(before),
                ..
            },
        ) if size < before => {
            let file = Compressed {
                size: *size,
                digest: *digest,
            };
            Some((target.clone(), file))
        }
        _ => None,
    });
    smaller.collect()
}

fn announced(program: &Program, receipts: &[Vec<Option<Receipt>>]) -> BTreeMap<Target, Compressed> {
    let found = receipted(program, receipts).find_map(|(_, receipt)| match receipt {
        Receipt::Announced { files } => Some(files.clone()),
        _ => None,
    });
    found.unwrap_or_default()
}
