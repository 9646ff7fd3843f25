//! Take a VM for ours: the storage says so first, then the record.

use std::sync::Arc;

use crate::model::backup::Backup;
use crate::model::change::Change;
use crate::model::id::BackupId;
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
    let own = op.estate.iter().map(|estate| Step::Own {
        storage: estate.storage.path.clone(),
        id: estate.storage.is.id.clone(),
        vm: op.vm.uuid.clone(),
        from: Box::new(estate.from.clone()),
        backups: ids(&estate.backups),
    });
    let stages: Vec<_> = own.map(|own| vec![own]).collect();
    Program {
        no_return: stages.len(),
        stages,
    }
}

/// The backups are on record as they are on the storage, under the name that it has here.
pub(super) fn changes(op: &Adopt) -> Vec<Change> {
    let vm = &op.vm;
    let mut changes = Vec::new();
    if let Some(estate) = &op.estate {
        changes.extend(estate.gone.iter().map(|backup| Change::Deleted {
            vm: vm.clone(),
            backup: backup.clone(),
        }));
        changes.extend(estate.backups.iter().map(|backup| {
            let mut backup = backup.as_ref().clone();
            backup.storage = Arc::new(estate.storage.is.clone());
            Change::Published(Box::new(backup))
        }));
    }
    changes.extend(op.note.iter().map(|note| Change::Touched {
        vm: vm.clone(),
        serial: note.serial,
        current: note.current.clone(),
    }));
    changes.extend(op.note.iter().map(|note| Change::Snapshots {
        vm: vm.clone(),
        snapshots: note.snapshots.clone(),
    }));
    changes
}

fn ids(backups: &[Arc<Backup>]) -> Vec<BackupId> {
    backups.iter().map(|backup| backup.id.clone()).collect()
}
