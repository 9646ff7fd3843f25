//! Remove what carries knib's mark and nothing refers to.

use crate::model::lease::Lease;
use crate::model::lease::Subject;
use crate::model::op::Clear;
use crate::model::program::Program;
use crate::model::step::Step;

/// Its VM alone, where it is known: nobody makes use of it meanwhile.
pub(super) fn leases(op: &Clear) -> Vec<Lease> {
    let vm = op.vm.as_ref();
    let lease = vm.map(|vm| Lease::exclusive(Subject::Vm(vm.uuid.clone())));
    Vec::from_iter(lease)
}

/// It is looked at again, then it goes.
pub(super) fn program(op: &Clear) -> Program {
    let step = Step::Clear {
        path: op.path.clone(),
        kind: op.kind,
    };
    Program {
        stages: vec![vec![step]],
        no_return: 0,
    }
}
