//! What an interrupted run left open comes before anything else of its VM.

use crate::model::finding::Finding;
use crate::model::finding::Severity;
use crate::model::id::JobId;
use crate::model::job::JobKind;
use crate::model::op::Op;
use crate::model::op::Recover;
use crate::model::plan::Class;
use crate::model::program::Direction;
use crate::model::program::Mark;
use crate::model::reason::Reason;
use crate::model::world::Open;
use crate::planner::draft::Draft;
use crate::planner::draft::Key;
use crate::planner::draft::Wish;

/// An action for each open one whose run is dead; a living run's is left to it.
pub(super) fn plan(draft: &mut Draft<'_>) {
    for open in draft.now.opens() {
        one(draft, open);
    }
}

/// The same of one open action.
pub(super) fn one<'a>(draft: &mut Draft<'a>, open: &'a Open) {
    if open.alive || open.consolidates() {
        return;
    }
    let vm = open.op.vm().cloned();
    let name = vm
        .as_ref()
        .map_or_else(|| open.action.to_string(), |vm| vm.name.clone());
    let op = Op::Recover(Recover {
        action: open.action.clone(),
        vm: vm.clone(),
        lane: open.op.lane(),
    });
    let mut wish = Wish::new(
        format!("recover.{name}/{}", open.op.verb().as_str()),
        op,
        Class::Recovery,
        interrupted(open),
    );
    wish.gives = Vec::from_iter(gives(&open.op));
    draft.findings.extend(stuck(open, &name));
    draft.take_up(wish, open);
}

/// What failed where it could only be left open may fail for ever.
fn stuck(open: &Open, name: &str) -> Option<Finding> {
    let error = open.error.as_ref()?;
    let verb = open.op.verb().as_str().replace('_', " ");
    let way = match open.direction {
        Direction::Forward => "is not done",
        Direction::Back => "is not taken back",
    };
    let text = format!("{name}: {verb} {way} yet: {}", error.text);
    let hint = format!(
        "knib apply goes on with it; if that can never succeed: knib apply --abandon {}",
        open.action
    );
    let found = Finding::new(Severity::Warning, "interrupted", text).hint(hint);
    Some(match open.op.vm() {
        Some(vm) => found.vm(vm.name.clone()),
        None => found,
    })
}

/// What later actions may need of it.
fn gives(op: &Op) -> Option<Key> {
    Some(match op {
        Op::StorageCreate(op) => Key::Storage(op.storage.is.name.clone()),
        Op::OfferingCreate(op) | Op::OfferingUpdate(op) => Key::Offering(op.name.clone()),
        Op::PolicyCreate(op) | Op::PolicyUpdate(op) => Key::Policy(op.name.clone()),
        Op::Validate(op) => {
            let job = JobId::of(&op.of.backup, JobKind::Validate.as_str());
            Key::Job(op.of.vm.uuid.clone(), job)
        }
        // The VM's backups do not wait for it.
        Op::Compress(op) => {
            let next = JobId::of(&op.of.backup, JobKind::Finalize.as_str());
            Key::Job(op.of.vm.uuid.clone(), next)
        }
        Op::Verify(_) => return None,
        op => Key::Vm(op.vm()?.uuid.clone()),
    })
}

pub(super) fn interrupted(open: &Open) -> Reason {
    let done = |stage: &Vec<Option<Mark>>| stage.iter().all(|mark| *mark == Some(Mark::Done));
    let stage = open
        .marks
        .iter()
        .position(|stage| !done(stage))
        .unwrap_or(open.marks.len());
    let doing = open.program.stages.get(stage).map(|steps| {
        let open = steps
            .iter()
            .zip(&open.marks[stage])
            .filter(|(_, mark)| **mark != Some(Mark::Done));
        open.map(|(step, _)| step.synopsis())
            .collect::<Vec<_>>()
            .join("; ")
    });
    Reason::Interrupted {
        verb: open.op.verb().as_str().to_owned(),
        stage,
        stages: open.program.stages.len(),
        doing: doing.unwrap_or_else(|| "write the record".to_owned()),
        error: open.error.as_ref().map(|error| error.text.clone()),
        turning_back: open.direction == Direction::Back,
    }
}
