//! Write tags into a VM's definition, where policies select by them.

use crate::model::lease::Lease;
use crate::model::lease::Subject;
use crate::model::op::Tag;
use crate::model::program::Program;
use crate::model::step::Step;

/// The VM alone.
pub(super) fn leases(op: &Tag) -> Vec<Lease> {
    vec![Lease::exclusive(Subject::Vm(op.vm.uuid.clone()))]
}

/// All of them at once.
pub(super) fn program(op: &Tag) -> Program {
    let tag = Step::Tag {
        vm: op.vm.uuid.clone(),
        tags: op.tags.clone(),
    };
    Program {
        stages: vec![vec![tag]],
        no_return: 0,
    }
}
