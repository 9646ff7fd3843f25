//! Take over the backups of a VM that runs here now: the storage says so first, then the record.

use crate::model::change::Change;
use crate::model::lease::Lease;
use crate::model::lease::Subject;
use crate::model::op::Adopt;
use crate::model::program::Program;
use crate::model::step::Step;

/// The VM alone.
pub(super) fn leases(op: &Adopt) -> Vec<Lease> {
    vec![Lease::exclusive(Subject::Vm(op.vm.uuid.clone()))]
}

/// One small file is replaced; an error takes it back.
pub(super) fn program(op: &Adopt) -> Program {
    let own = Step::Own {
        storage: op.storage.path.clone(),
        id: op.storage.is.id.clone(),
        vm: op.vm.uuid.clone(),
        from: Box::new(op.from.clone()),
        backups: op.backups.iter().map(|backup| backup.id.clone()).collect(),
    };
    Program {
        stages: vec![vec![own]],
        no_return: 1,
    }
}

/// The backups are on record as they are on the storage, under the name that it has here.
pub(super) fn changes(op: &Adopt) -> Vec<Change> {
    let vm = &op.vm;
    let gone = op.gone.iter().map(|backup| Change::Deleted {
        vm: vm.clone(),
        backup: backup.clone(),
    });
    let published = op.backups.iter().map(|backup| {
        let mut backup = backup.as_ref().clone();
        backup.storage = op.storage.is.clone();
        Change::Published(Box::new(backup))
    });
    let touched = op.note.iter().map(|note| Change::Touched {
        vm: vm.clone(),
        serial: note.serial,
        current: note.current.clone(),
    });
    gone.chain(published).chain(touched).collect()
}
