//! What may start: an action whose dependencies are done, whose VM no other action of this run works
//! on, and for which its lane has room.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::rc::Rc;

use tokio::task::JoinSet;

use crate::engine::Engine;
use crate::engine::EngineError;
use crate::engine::run::Ended;
use crate::engine::run::broken;
use crate::host::Host;
use crate::host::StopLevel;
use crate::model::id::ActionId;
use crate::model::id::VmId;
use crate::model::op::Group;
use crate::model::plan::Action;
use crate::model::plan::Outcome;
use crate::model::plan::Plan;
use crate::model::reason::Block;

/// How each action of a plan ended.
#[derive(Debug, Default)]
pub struct Report {
    /// With what there is to say about it.
    pub ended: BTreeMap<ActionId, (Outcome, Option<String>)>,
    /// What to do about failures, where it is known.
    pub hints: BTreeMap<ActionId, String>,
    /// Somebody asked to stop.
    pub stopped: bool,
}

impl<H: Host> Engine<H> {
    /// Carries out what nothing stands in the way of, VMs side by side, `parallelism` at a time.
    /// A failure skips what depends on it and nothing else, a defect of knib included.
    ///
    /// # Errors
    /// The journal cannot be written: what was begun stays open.
    pub async fn apply(
        self: &Rc<Self>,
        plan: &Plan,
        parallelism: usize,
    ) -> Result<Report, EngineError> {
        let mut report = Report::default();
        let mut waiting: Vec<&Action> = Vec::new();
        for action in &plan.actions {
            match standing(plan, action) {
                Some(ended) => {
                    report.ended.insert(action.id.clone(), ended);
                }
                None => waiting.push(action),
            }
        }
        let mut running: BTreeSet<VmId> = BTreeSet::new();
        let mut started = JoinSet::new();
        let mut tasks = BTreeMap::new();
        loop {
            report.stopped |= self.stop.level() >= StopLevel::AfterStep;
            let mut still = Vec::new();
            for action in waiting {
                let vm = action.vm.as_ref().map(|vm| vm.uuid.clone());
                let waits = action
                    .depends_on
                    .iter()
                    .any(|id| !report.ended.contains_key(id));
                let works = vm.as_ref().is_some_and(|vm| running.contains(vm));
                let full =
                    action.verb.group() != Group::Config && started.len() >= parallelism.max(1);
                if report.stopped {
                    let text = "the run was asked to stop".to_owned();
                    report
                        .ended
                        .insert(action.id.clone(), (Outcome::Skipped, Some(text)));
                } else if let Some(failed) = first_not_done(action, &report) {
                    let text = format!("it needs {}, which was not done", plan.name_of(failed));
                    report
                        .ended
                        .insert(action.id.clone(), (Outcome::Skipped, Some(text)));
                } else if waits || works || full {
                    still.push(action);
                } else {
                    running.extend(vm.clone());
                    let engine = Rc::clone(self);
                    let owned = action.clone();
                    let task = started.spawn_local(async move { engine.carry_out(&owned).await });
                    tasks.insert(task.id(), (action.id.clone(), vm));
                }
            }
            waiting = still;
            let Some(joined) = started.join_next_with_id().await else {
                if waiting.is_empty() {
                    break;
                }
                // Only actions whose dependencies are not part of the plan can be left.
                for action in waiting.drain(..) {
                    let text = "it needs an action that this plan does not hold".to_owned();
                    report
                        .ended
                        .insert(action.id.clone(), (Outcome::Skipped, Some(text)));
                }
                break;
            };
            let (task, ended) = match joined {
                Ok((task, ended)) => (task, ended),
                Err(panic) => (panic.id(), Ok(Ended::LeftOpen(broken(&panic.to_string())))),
            };
            let Some((id, vm)) = tasks.remove(&task) else {
                continue;
            };
            if let Some(vm) = vm {
                running.remove(&vm);
            }
            match ended {
                Ok(ended) => report.record(id, ended),
                Err(EngineError::Host(error)) => report.record(id, Ended::NotBegun(error.into())),
                Err(error) => return Err(error),
            }
        }
        Ok(report)
    }
}

impl Report {
    fn advise(&mut self, id: &ActionId, hint: Option<&String>) {
        if let Some(hint) = hint {
            self.hints.insert(id.clone(), hint.clone());
        }
    }

    fn record(&mut self, id: ActionId, ended: Ended) {
        let outcome = match ended {
            Ended::Done => (Outcome::Done, None),
            Ended::TakenBack(error) | Ended::NotBegun(error) => {
                self.advise(&id, error.hint.as_ref());
                (Outcome::Failed, Some(error.text))
            }
            Ended::LeftOpen(error) => {
                self.advise(&id, error.hint.as_ref());
                (
                    Outcome::Failed,
                    Some(format!("{}; the next apply carries it on", error.text)),
                )
            }
            Ended::Stopped => {
                self.stopped = true;
                (
                    Outcome::Skipped,
                    Some("stopped; the next apply carries it on".to_owned()),
                )
            }
            Ended::Refused(refusal) => {
                self.advise(&id, refusal.hint.as_ref());
                (Outcome::Blocked, Some(refusal.text))
            }
            Ended::Stale(text) => (Outcome::Skipped, Some(text)),
            Ended::Busy(holder) => (Outcome::Busy, Some(holder.to_string())),
        };
        self.ended.insert(id, outcome);
    }
}

/// How an action that something stands in the way of ends; none for one that can be carried out.
#[must_use]
pub fn standing(plan: &Plan, action: &Action) -> Option<(Outcome, Option<String>)> {
    let block = action.blocked_by.first()?;
    Some(match block {
        Block::Blocked(refusal) => (Outcome::Blocked, Some(refusal.text.clone())),
        Block::Held { text, .. } => (Outcome::Held, Some(text.clone())),
        Block::Busy { holder } => (Outcome::Busy, Some(holder.clone())),
        Block::Waits { action } => {
            let text = format!("it needs {}, which is not done", plan.name_of(action));
            (Outcome::Skipped, Some(text))
        }
    })
}

fn first_not_done<'a>(action: &'a Action, report: &Report) -> Option<&'a ActionId> {
    let not_done = |id: &&ActionId| {
        report
            .ended
            .get(id)
            .is_some_and(|(outcome, _)| *outcome != Outcome::Done)
    };
    action.depends_on.iter().find(not_done)
}
