//! See whether a backup boots: a throwaway VM over its files, without a network and for a short while.
//!
//! The guest writes to empty layers on primary, which go with it; the backup is read. A guest that failed
//! is a result, and goes on record. A trial that could not be held is an error, and everything is taken
//! back.

use std::collections::BTreeMap;

use crate::action::receipted;
use crate::action::remark::on_record;
use crate::model::backup::Remark;
use crate::model::change::Change;
use crate::model::id::JobId;
use crate::model::job::JobKind;
use crate::model::job::JobState;
use crate::model::layout;
use crate::model::lease::Lease;
use crate::model::lease::Subject;
use crate::model::machine::Format;
use crate::model::op::Validate;
use crate::model::program::Program;
use crate::model::program::Refusal;
use crate::model::receipt::Receipt;
use crate::model::record::Record;
use crate::model::step::Image;
use crate::model::step::Step;
use crate::model::world::Guest;

/// The backup and all it continues, with other readers; what its record says, and the throwaway VM, alone.
pub(super) fn leases(op: &Validate, record: &Record) -> Vec<Lease> {
    let backup = &op.of.backup;
    let read = std::iter::once(backup.clone()).chain(record.ancestors(backup));
    let mut leases: Vec<_> = read.map(|id| Lease::shared(Subject::Backup(id))).collect();
    leases.push(Lease::exclusive(Subject::Marks(backup.clone())));
    leases.push(Lease::exclusive(Subject::Vm(op.of.vm.uuid.throwaway())));
    leases
}

/// An error before the trial is over takes all of it back.
pub(super) fn program(op: &Validate, guest: &Guest) -> Result<Program, Refusal> {
    let backup = on_record(&op.of, guest)?;
    let record = &guest.record;
    if !record.is_usable(&backup.id) {
        return Err(Refusal::new(
            "unusable",
            format!(
                "{} cannot be booted: a file of it, or of a backup it needs, is damaged or missing",
                backup.id
            ),
            "choose another one: knib backup list",
        ));
    }
    let Some(of) = op.of.place() else {
        return Ok(Program::default());
    };
    let vm = &op.of.vm;
    let (mut heads, mut backing) = (BTreeMap::new(), BTreeMap::new());
    let mut lays = Vec::new();
    for target in backup.disks.keys() {
        let files = record
            .files_of(&backup.id, target)
            .map_err(|text| Refusal::new("chain_broken", text, "knib backup list --all"))?;
        let below: Vec<_> = files
            .iter()
            .map(|(id, file)| {
                let dir = layout::backup_dir(&of.storage, &of.vm, id);
                Image::new(dir.join(&file.name), Format::Qcow2)
            })
            .collect();
        let file = layout::disk_file(target);
        let head = layout::throwaway_file(&op.dir, &vm.uuid, &file);
        lays.extend(below.first().map(|on| Step::Lay {
            target: target.clone(),
            on: on.path.clone(),
            path: head.clone(),
        }));
        heads.insert(target.clone(), Image::new(head, Format::Qcow2));
        backing.insert(target.clone(), below);
    }
    let discards = heads.values().map(|head| Step::Discard {
        path: head.path.clone(),
    });
    let discards = discards.collect();
    let boot = Step::Boot {
        of: of.clone(),
        ancestors: record.ancestors(&backup.id),
        vm: vm.uuid.throwaway(),
        name: layout::throwaway(&vm.name),
        dir: op.dir.clone(),
        heads,
        backing,
        trial: Box::new(op.trial.clone()),
    };
    Ok(Program {
        stages: vec![lays, vec![boot], discards, vec![Step::Attest { of }]],
        no_return: 2,
    })
}

/// The job is done, whatever the result is.
pub(super) fn changes(
    op: &Validate,
    program: &Program,
    receipts: &[Vec<Option<Receipt>>],
) -> Vec<Change> {
    let vm = op.of.vm.clone();
    let how = receipted(program, receipts).find_map(|(_, receipt)| match receipt {
        Receipt::Judged(how) => Some(how.clone()),
        _ => None,
    });
    let done = Change::Job {
        vm: vm.clone(),
        job: JobId::of(&op.of.backup, JobKind::Validate.as_str()),
        state: JobState::Done,
        not_before: None,
    };
    let remarked = Change::Remarked {
        vm,
        backup: op.of.backup.clone(),
        remark: Remark::Validated { how },
    };
    vec![done, remarked]
}
