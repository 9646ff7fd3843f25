//! What may start: an action whose dependencies are done, whose VM no other action of this run works
//! on, and for which its lane has room. A newer plan takes the place of what has not begun.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Instant;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task;
use tokio::task::JoinError;
use tokio::task::JoinSet;

use crate::engine::Engine;
use crate::engine::EngineError;
use crate::engine::run::Ended;
use crate::engine::run::broken;
use crate::host::Host;
use crate::host::StopLevel;
use crate::model::event::Event;
use crate::model::id::ActionId;
use crate::model::id::VmId;
use crate::model::op::Group;
use crate::model::plan::Action;
use crate::model::plan::Outcome;
use crate::model::plan::Plan;
use crate::model::reason::Block;

/// How a plan was carried out.
#[derive(Debug)]
pub struct Report {
    /// With a result for each action, those of newer plans among them.
    pub plan: Plan,
    /// What to do about failures, where it is known.
    pub hints: BTreeMap<ActionId, String>,
    /// Somebody asked to stop.
    pub stopped: bool,
}

/// A plan that was made while another one was carried out.
#[derive(Debug)]
pub struct Newer {
    /// When the look at the world began that it was made on. It says nothing about a VM that
    /// anything was begun on since.
    pub looked: Instant,
    /// The plan.
    pub plan: Plan,
}

/// How an action of a run ended, with its id.
type Joined = Result<(task::Id, Result<Ended, EngineError>), JoinError>;

impl<H: Host> Engine<H> {
    /// Carries out what nothing stands in the way of, VMs side by side, `parallelism` at a time, and
    /// what `newer` brings until that is done. A failure skips what depends on it and nothing else, a
    /// defect of knib included.
    ///
    /// # Errors
    /// The journal cannot be written: what was begun stays open.
    pub async fn apply(
        self: &Rc<Self>,
        plan: Plan,
        parallelism: usize,
        mut newer: UnboundedReceiver<Newer>,
    ) -> Result<Report, EngineError> {
        let mut board = Board::new(plan);
        let mut started: JoinSet<Result<Ended, EngineError>> = JoinSet::new();
        let mut tasks = BTreeMap::new();
        loop {
            board.report.stopped |= self.stop.level() >= StopLevel::AfterStep;
            while let Some(action) = board.next(started.len() < parallelism.max(1)) {
                let id = action.id.clone();
                let engine = Rc::clone(self);
                let task = started.spawn_local(async move { engine.carry_out(&action).await });
                tasks.insert(task.id(), id);
            }
            if started.is_empty() {
                break;
            }
            tokio::select! {
                biased;
                Some(joined) = started.join_next_with_id() => {
                    let (task, ended) = told(joined);
                    if let Some(id) = tasks.remove(&task) {
                        board.end(&id, ended?);
                    }
                }
                Some(newer) = newer.recv() => {
                    for action in board.take(newer) {
                        let action = Box::new(action);
                        self.say(&Event::Added { action });
                    }
                }
            }
        }
        Ok(board.close())
    }
}

/// What a task came to; a panic is a defect, and the action it carried out stays open.
fn told(joined: Joined) -> (task::Id, Result<Ended, EngineError>) {
    match joined {
        Ok((task, Err(EngineError::Host(error)))) => (task, Ok(Ended::NotBegun(error.into()))),
        Ok(ended) => ended,
        Err(panic) => (panic.id(), Ok(Ended::LeftOpen(broken(&panic.to_string())))),
    }
}

/// Where each action of a run stands: one with a result has ended, one that was not begun waits.
struct Board {
    report: Report,
    /// Where each action is in the plan.
    places: BTreeMap<ActionId, usize>,
    begun: BTreeSet<ActionId>,
    /// VMs that an action works on.
    running: BTreeSet<VmId>,
    /// When anything was last begun on a VM.
    touched: BTreeMap<VmId, Instant>,
}

impl Board {
    fn new(mut plan: Plan) -> Self {
        stand(&mut plan);
        Self {
            places: places(&plan),
            report: Report {
                plan,
                hints: BTreeMap::new(),
                stopped: false,
            },
            begun: BTreeSet::new(),
            running: BTreeSet::new(),
            touched: BTreeMap::new(),
        }
    }

    /// The next action that may start. What cannot be done any more is passed over.
    fn next(&mut self, room: bool) -> Option<Action> {
        for n in 0..self.report.plan.actions.len() {
            let action = &self.report.plan.actions[n];
            if action.result.is_some() || self.begun.contains(&action.id) {
                continue;
            }
            if self.report.stopped {
                self.skip(n, "the run was asked to stop".to_owned());
                continue;
            }
            let needs = action.depends_on.iter().map(|id| (id, self.result_of(id)));
            let mut needs = needs.filter(|(_, result)| *result != Some(Outcome::Done));
            if let Some((id, _)) = needs.clone().find(|(_, result)| result.is_some()) {
                let name = self.report.plan.name_of(id);
                let text = format!("it needs {name}, which was not done");
                self.skip(n, text);
                continue;
            }
            let vm = action.vm.as_ref().map(|vm| vm.uuid.clone());
            let works = vm.as_ref().is_some_and(|vm| self.running.contains(vm));
            let room = room || action.verb.group() == Group::Config;
            if needs.next().is_some() || works || !room {
                continue;
            }
            self.begun.insert(action.id.clone());
            if let Some(vm) = vm {
                self.touched.insert(vm.clone(), Instant::now());
                self.running.insert(vm);
            }
            return Some(self.report.plan.actions[n].clone());
        }
        None
    }

    fn result_of(&self, id: &ActionId) -> Option<Outcome> {
        self.report.plan.actions[*self.places.get(id)?].result
    }

    fn skip(&mut self, n: usize, why: String) {
        let action = &mut self.report.plan.actions[n];
        action.result = Some(Outcome::Skipped);
        action.error = Some(why);
    }

    fn end(&mut self, id: &ActionId, ended: Ended) {
        let Some(n) = self.places.get(id) else {
            return;
        };
        let action = &mut self.report.plan.actions[*n];
        if let Some(vm) = &action.vm {
            self.running.remove(&vm.uuid);
        }
        self.report.stopped |= ended == Ended::Stopped;
        let (outcome, why, hint) = outcome(ended);
        action.result = Some(outcome);
        action.error = why;
        if let Some(hint) = hint {
            self.report.hints.insert(id.clone(), hint);
        }
    }

    /// What has not begun gives way to a newer plan; what it adds that can be done.
    fn take(&mut self, newer: Newer) -> Vec<Action> {
        let Newer { looked, mut plan } = newer;
        let is_of_it = |action: &Action| {
            let vm = action.vm.as_ref().map(|vm| &vm.uuid);
            vm.is_none_or(|vm| {
                let touched = self.touched.get(vm).is_some_and(|at| *at >= looked);
                !touched && !self.running.contains(vm)
            })
        };
        stand(&mut plan);
        plan.actions.retain(is_of_it);
        let begun = &self.begun;
        let actions = &mut self.report.plan.actions;
        actions.retain(|action| begun.contains(&action.id) || !is_of_it(action));
        // What was tried and may not be tried again now has been told.
        plan.actions.retain(|action| {
            action.is_free() || !actions.iter().any(|tried| tried.address == action.address)
        });
        let free = plan.actions.iter().filter(|action| action.is_free());
        let added = free.cloned().collect();
        actions.extend(plan.actions);
        self.report.plan.upcoming = plan.upcoming;
        self.places = places(&self.report.plan);
        added
    }

    fn close(mut self) -> Report {
        for n in 0..self.report.plan.actions.len() {
            if self.report.plan.actions[n].result.is_none() {
                self.skip(
                    n,
                    "it needs an action that this plan does not hold".to_owned(),
                );
            }
        }
        self.report.plan.summary = Plan::summarise(&self.report.plan.actions);
        self.report
    }
}

fn places(plan: &Plan) -> BTreeMap<ActionId, usize> {
    let ids = plan.actions.iter().map(|action| action.id.clone());
    ids.zip(0..).collect()
}

/// Gives what something stands in the way of its result.
pub fn stand(plan: &mut Plan) {
    let standing: Vec<_> = plan
        .actions
        .iter()
        .map(|action| standing(plan, action))
        .collect();
    for (action, standing) in plan.actions.iter_mut().zip(standing) {
        if let Some((outcome, why)) = standing {
            action.result = Some(outcome);
            action.error = Some(why);
        }
    }
}

/// How an action that something stands in the way of ends; none for one that can be carried out.
fn standing(plan: &Plan, action: &Action) -> Option<(Outcome, String)> {
    Some(match action.blocked_by.first()? {
        Block::Blocked(refusal) => (Outcome::Blocked, refusal.text.clone()),
        Block::Held { text, .. } => (Outcome::Held, text.clone()),
        Block::Busy { holder } => (Outcome::Busy, holder.clone()),
        Block::Waits { action } => {
            let name = plan.name_of(action);
            (
                Outcome::Skipped,
                format!("it needs {name}, which is not done"),
            )
        }
    })
}

/// What to say of an action that ended: how, why, and what to do.
fn outcome(ended: Ended) -> (Outcome, Option<String>, Option<String>) {
    const CARRIED_ON: &str = "the next apply carries it on";
    match ended {
        Ended::Done => (Outcome::Done, None, None),
        Ended::TakenBack(error) | Ended::NotBegun(error) => {
            (Outcome::Failed, Some(error.text), error.hint)
        }
        Ended::LeftOpen(error) => {
            let text = format!("{}; {CARRIED_ON}", error.text);
            (Outcome::Failed, Some(text), error.hint)
        }
        Ended::Stopped => {
            let text = format!("stopped; {CARRIED_ON}");
            (Outcome::Skipped, Some(text), None)
        }
        Ended::Detached => {
            let text = "QEMU goes on with it; the next apply sees it done".to_owned();
            (Outcome::Held, Some(text), None)
        }
        Ended::Found(text) => {
            let hint = "what was restored holds what is in the damaged file: knib backup list shows what else there is";
            (Outcome::Failed, Some(text), Some(hint.to_owned()))
        }
        Ended::Refused(refusal) => (Outcome::Blocked, Some(refusal.text), refusal.hint),
        Ended::Stale(text) => (Outcome::Skipped, Some(text), None),
        Ended::Busy(holder) => (Outcome::Busy, Some(holder.to_string()), None),
    }
}
