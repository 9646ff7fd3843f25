//! The verbs, one file each: what must hold still, what is done file by file, what the record learns.
//!
//! All of it is pure. A program is computed when an action is planned and again when it starts; only
//! if both are equal it is carried out, so nothing is done that was not planned.

mod adopt;
mod backup;
mod branches;
mod clear;
mod compress;
mod config;
mod consolidate;
mod delete;
mod deltas;
mod discard;
mod files;
mod job;
mod merge;
mod readme;
mod remark;
mod restore;
mod restore_disk;
mod restore_new;
mod restore_vm;
mod retain;
mod seal;
mod snapshot_create;
mod snapshot_delete;
mod snapshot_revert;
mod tag;
mod validate;
mod verify;
mod vm;

use std::collections::BTreeMap;

use camino::Utf8PathBuf;

pub use crate::action::readme::readme;
use crate::model::backup::Backup;
use crate::model::backup::Maker;
use crate::model::bytes::Bytes;
use crate::model::change::Change;
use crate::model::id::Target;
use crate::model::lease::Lease;
use crate::model::op::Files;
use crate::model::op::MarkUnusable;
use crate::model::op::Op;
use crate::model::program::Direction;
use crate::model::program::Program;
use crate::model::program::Refusal;
use crate::model::receipt::Receipt;
use crate::model::record::Record;
use crate::model::step::Step;
use crate::model::world::Guest;

/// Whether a VM was defined from an XML that is older than the record and points below a delta: nothing
/// of it is touched until a person decides.
#[must_use]
pub fn is_outdated(guest: &Guest) -> bool {
    vm::is_outdated(guest)
}

/// What must hold still from the beginning of an action to its close.
#[must_use]
pub fn leases(op: &Op, record: &Record) -> Vec<Lease> {
    match op {
        Op::Backup(op) => backup::leases(op, record),
        Op::Merge(op) => vm::lease(&op.vm),
        Op::Expire(of)
        | Op::Pin(of)
        | Op::Unpin(of)
        | Op::MarkUnusable(MarkUnusable { of, .. }) => remark::leases(of),
        Op::Verify(op) => verify::leases(op),
        Op::Delete(of) => delete::leases(of, record),
        Op::Clear(op) => clear::leases(op),
        Op::Files(op) => files::leases(op),
        Op::Compress(op) => compress::leases(op, record),
        Op::Validate(op) => validate::leases(op, record),
        Op::JobCancel(op) => job::leases_to_cancel(op),
        Op::RestoreVm(op) => restore::leases(&op.origin, &op.vm),
        Op::RestoreDisk(op) => restore::leases(&op.origin, &op.vm),
        Op::RestoreNew(op) => restore::leases(&op.origin, &op.vm),
        Op::Consolidate(op) => consolidate::leases(op),
        Op::Discard(op) => vm::lease(&op.vm),
        Op::Adopt(op) => adopt::leases(op),
        Op::Tag(op) => tag::leases(op),
        Op::SnapshotCreate(op) => vm::lease(&op.vm),
        Op::SnapshotRevert(op) | Op::SnapshotDelete(op) => vm::lease(&op.vm),
        Op::StorageCreate(_)
        | Op::OfferingCreate(_)
        | Op::OfferingUpdate(_)
        | Op::OfferingDelete(_)
        | Op::PolicyCreate(_)
        | Op::PolicyUpdate(_)
        | Op::PolicyDelete(_)
        | Op::Assign(_)
        | Op::Unassign(_)
        | Op::Retain(_)
        | Op::JobRetry(_)
        | Op::Recover(_)
        | Op::Abandon(_) => Vec::new(),
    }
}

/// The files that each disk of a backup is read from, the wanted one first, with their lengths.
///
/// # Errors
/// One of them is not on record.
pub fn files(
    op: &Files,
    guest: &Guest,
) -> Result<BTreeMap<Target, Vec<(Utf8PathBuf, Bytes)>>, Refusal> {
    files::chains(op, guest)
}

/// How an action is carried out on a guest as it is now.
///
/// # Errors
/// A rule stands in the way; nothing was touched.
pub fn program(op: &Op, guest: Option<&Guest>) -> Result<Program, Refusal> {
    match op {
        Op::Backup(op) => backup::program(op, vm::known(guest, &op.vm)?),
        Op::Merge(op) => merge::program(op, vm::known(guest, &op.vm)?),
        Op::Expire(of)
        | Op::Pin(of)
        | Op::Unpin(of)
        | Op::MarkUnusable(MarkUnusable { of, .. }) => {
            remark::program(op, vm::known(guest, &of.vm)?)
        }
        Op::Verify(op) => verify::program(op, vm::known(guest, &op.of.vm)?),
        Op::Delete(of) => delete::program(of, vm::known(guest, &of.vm)?),
        Op::Clear(op) => Ok(clear::program(op)),
        Op::Files(op) => files::program(op, vm::known(guest, &op.vm)?),
        Op::Compress(op) => compress::program(op, vm::known(guest, &op.of.vm)?),
        Op::Validate(op) => validate::program(op, vm::known(guest, &op.of.vm)?),
        Op::JobRetry(op) => job::retry(op, vm::known(guest, &op.of.vm)?),
        Op::JobCancel(op) => job::cancel(op, vm::known(guest, &op.of.vm)?),
        Op::RestoreVm(op) => restore_vm::program(op, guest),
        Op::RestoreDisk(op) => restore_disk::program(op, vm::known(guest, &op.vm)?),
        Op::RestoreNew(op) => restore_new::program(op, guest),
        Op::Consolidate(op) => consolidate::program(op, vm::known(guest, &op.vm)?),
        Op::Discard(op) => discard::program(op, vm::known(guest, &op.vm)?),
        Op::SnapshotCreate(op) => snapshot_create::program(op, vm::known(guest, &op.vm)?),
        Op::SnapshotRevert(op) => snapshot_revert::program(op, vm::known(guest, &op.vm)?),
        Op::SnapshotDelete(op) => snapshot_delete::program(op, vm::known(guest, &op.vm)?),
        Op::StorageCreate(op) => Ok(config::storage_program(op)),
        Op::Adopt(op) => Ok(adopt::program(op)),
        Op::Tag(op) => vm::known(guest, &op.vm).map(|_| tag::program(op)),
        Op::Retain(op) => retain::program(op, guest),
        Op::OfferingCreate(_)
        | Op::OfferingUpdate(_)
        | Op::OfferingDelete(_)
        | Op::PolicyCreate(_)
        | Op::PolicyUpdate(_)
        | Op::PolicyDelete(_)
        | Op::Assign(_)
        | Op::Unassign(_)
        | Op::Recover(_)
        | Op::Abandon(_) => Ok(Program::default()),
    }
}

/// What the record learns when an action closes, having gone to its end or back to its beginning.
/// `receipts` has the shape of the program's stages.
#[must_use]
pub fn changes(
    op: &Op,
    program: &Program,
    receipts: &[Vec<Option<Receipt>>],
    went: Direction,
) -> Vec<Change> {
    let mut changes = match (op, went) {
        (Op::Backup(op), _) => backup::changes(op, program, receipts, went),
        (Op::Merge(op), _) => vm::touched(&op.vm, program, went),
        (Op::Verify(op), _) => verify::changes(op, program, receipts, went),
        (Op::Delete(of), _) => delete::changes(of, program, went),
        (Op::Expire(_) | Op::Pin(_) | Op::Unpin(_) | Op::MarkUnusable(_), Direction::Forward) => {
            remark::changes(op)
        }
        (Op::RestoreVm(op), _) => restore::changes((&op.origin, &op.vm), program, receipts, went),
        (Op::RestoreDisk(op), _) => restore::changes((&op.origin, &op.vm), program, receipts, went),
        (Op::RestoreNew(op), _) => restore::damaged(&op.origin, receipts),
        (Op::Compress(op), Direction::Forward) => compress::changes(op, program, receipts),
        (Op::Validate(op), Direction::Forward) => validate::changes(op, program, receipts),
        (Op::JobRetry(op), Direction::Forward) => job::retried(op),
        (Op::JobCancel(op), Direction::Forward) => job::cancelled(op),
        (Op::Discard(op), _) => vm::touched(&op.vm, program, went),
        (Op::Adopt(op), Direction::Forward) => adopt::changes(op),
        (Op::SnapshotCreate(op), _) => vm::touched(&op.vm, program, went),
        (Op::SnapshotRevert(op) | Op::SnapshotDelete(op), _) => vm::touched(&op.vm, program, went),
        (_, Direction::Forward) => config::changes(op),
        (_, Direction::Back) => Vec::new(),
    };
    // Whatever touches a VM says in its note which snapshots there are then.
    if let (Some(vm), Some(Step::Note { note, .. })) = (op.vm(), vm::note_left(program, went)) {
        changes.push(Change::Snapshots {
            vm: vm.clone(),
            snapshots: note
                .as_ref()
                .map(|note| note.snapshots.clone())
                .unwrap_or_default(),
        });
    }
    changes
}

/// What `backup.json` says of a backup whose copies are made.
///
/// # Errors
/// A receipt that every complete stage has is missing, or a parent is not on record.
pub fn sealed(
    op: &Op,
    program: &Program,
    receipts: &[Vec<Option<Receipt>>],
    record: &Record,
    maker: &Maker,
) -> Result<Backup, Refusal> {
    match op {
        Op::Backup(op) => seal::sealed(op, program, receipts, record, maker),
        _ => Err(Refusal::new(
            "no_backup",
            "this action makes no backup",
            "report this as a bug",
        )),
    }
}

/// Pairs each step with its receipt.
fn receipted<'a>(
    program: &'a Program,
    receipts: &'a [Vec<Option<Receipt>>],
) -> impl Iterator<Item = (&'a Step, &'a Receipt)> {
    let receipt = |stage: usize, n: usize| receipts.get(stage)?.get(n)?.as_ref();
    program
        .steps()
        .filter_map(move |(stage, n, step)| Some((step, receipt(stage, n)?)))
}
