//! Verbs that change what is on record: storages, offerings, policies, assignments, retention.

use crate::model::backup::Marker;
use crate::model::change::Change;
use crate::model::op::Op;
use crate::model::op::StorageCreate;
use crate::model::program::Program;
use crate::model::step::Step;

/// The version of a storage's layout that this program writes.
const STORAGE_FORMAT: u32 = 1;

/// A storage gets its marker; one that has it already is left as it is.
pub(super) fn storage_program(op: &StorageCreate) -> Program {
    if op.known {
        return Program::default();
    }
    let marker = Marker {
        format: STORAGE_FORMAT,
        id: op.storage.is.id.clone(),
    };
    let step = Step::Mark {
        storage: op.storage.path.clone(),
        marker,
    };
    Program {
        stages: vec![vec![step]],
        no_return: 0,
    }
}

/// What the record learns.
pub(super) fn changes(op: &Op) -> Vec<Change> {
    let change = match op {
        Op::StorageCreate(op) => Change::Storage {
            storage: op.storage.is.clone(),
            path: op.storage.path.clone(),
        },
        Op::OfferingCreate(op) | Op::OfferingUpdate(op) => Change::Offering {
            name: op.name.clone(),
            spec: op.spec.clone(),
        },
        Op::OfferingDelete(op) => Change::OfferingRemoved {
            name: op.name.clone(),
        },
        Op::PolicyCreate(op) | Op::PolicyUpdate(op) => Change::Policy {
            name: op.name.clone(),
            spec: Box::new(op.spec.clone()),
            since: op.since.clone(),
        },
        Op::PolicyDelete(op) => Change::PolicyRemoved {
            name: op.name.clone(),
        },
        Op::Assign(op) => Change::Assigned {
            vm: op.vm.clone(),
            policy: op.policy.clone(),
            since: op.since,
        },
        Op::Unassign(op) => Change::Unassigned { vm: op.vm.clone() },
        Op::Retain(op) => Change::Retained {
            vm: op.vm.clone(),
            rules: Box::new(op.rules.clone()),
        },
        Op::Adopt(_)
        | Op::Tag(_)
        | Op::Recover(_)
        | Op::Abandon(_)
        | Op::Backup(_)
        | Op::Merge(_)
        | Op::Expire(_)
        | Op::Delete(_)
        | Op::Pin(_)
        | Op::Unpin(_)
        | Op::MarkUnusable(_)
        | Op::Verify(_)
        | Op::Clear(_)
        | Op::Compress(_)
        | Op::Validate(_)
        | Op::JobRetry(_)
        | Op::JobCancel(_)
        | Op::RestoreVm(_)
        | Op::RestoreDisk(_)
        | Op::RestoreNew(_)
        | Op::Files(_)
        | Op::Consolidate(_)
        | Op::Discard(_)
        | Op::SnapshotCreate(_)
        | Op::SnapshotRevert(_)
        | Op::SnapshotDelete(_) => return Vec::new(),
    };
    vec![change]
}
