//! What may start: an action whose dependencies are done, on whose VM no other action of this run works,
//! and for which its lane has a place. One that finds what it needs in other hands waits for its own run
//! to let go of it. A newer plan takes the place of what has not begun.

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
use crate::model::job::JobKind;
use crate::model::op::Lane;
use crate::model::op::Op;
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
            while let Some(action) = board.next(parallelism.max(1)) {
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

/// What is worked on: actions on one VM follow one another, one job is tried once at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Vm(VmId),
    /// The address of an action that VMs are not in the way of.
    Job(String),
}

impl Subject {
    fn of(action: &Action) -> Option<Self> {
        let vm = action.vm.as_ref()?;
        Some(match action.op.lane() {
            Lane::Vm | Lane::Config => Self::Vm(vm.uuid.clone()),
            Lane::Job { .. } | Lane::Reader { .. } | Lane::Free => {
                Self::Job(action.address.clone())
            }
        })
    }
}

/// Where each action of a run stands: one with a result has ended, one that was not begun waits.
struct Board {
    report: Report,
    /// Where each action is in the plan.
    places: BTreeMap<ActionId, usize>,
    begun: BTreeSet<ActionId>,
    /// What actions work on, and in which lane.
    running: BTreeMap<ActionId, (Option<Subject>, Lane)>,
    /// Tried in vain, until an action of this run ends.
    waiting: BTreeSet<ActionId>,
    /// When anything was last begun, or ended, on something.
    touched: BTreeMap<Subject, Instant>,
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
            running: BTreeMap::new(),
            waiting: BTreeSet::new(),
            touched: BTreeMap::new(),
        }
    }

    /// The next action that may start. What cannot be done any more is passed over.
    fn next(&mut self, parallelism: usize) -> Option<Action> {
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
            let subject = Subject::of(action);
            let lane = action.op.lane();
            if needs.next().is_some()
                || self.waiting.contains(&action.id)
                || self.is_worked_on(subject.as_ref())
                || self.follows_a_swap(action)
                || !self.has_place(lane, parallelism)
            {
                continue;
            }
            let action = action.clone();
            self.begun.insert(action.id.clone());
            self.touch(subject.as_ref());
            self.running.insert(action.id.clone(), (subject, lane));
            return Some(action);
        }
        None
    }

    fn is_worked_on(&self, subject: Option<&Subject>) -> bool {
        let mut running = self.running.values();
        subject.is_some() && running.any(|(other, _)| other.as_ref() == subject)
    }

    /// What begins to compress reads what a swap of the same VM may need alone, and comes after it: once
    /// that was tried in vain, the journal tells who gives way.
    fn follows_a_swap(&self, action: &Action) -> bool {
        let phase = |action: &Action| match &action.op {
            Op::Compress(op) => Some(op.kind()),
            _ => None,
        };
        phase(action) == Some(JobKind::Start)
            && self.running.keys().any(|id| {
                let other = &self.report.plan.actions[self.places[id]];
                other.vm == action.vm && phase(other) == Some(JobKind::Finalize)
            })
    }

    fn has_place(&self, lane: Lane, parallelism: usize) -> bool {
        let taken = |is_same: fn(&Lane, &Lane) -> bool| {
            let running = self.running.values();
            running.filter(|(_, other)| is_same(other, &lane)).count()
        };
        match lane {
            Lane::Vm => taken(|other, _| *other == Lane::Vm) < parallelism,
            Lane::Job {
                places: Some(places),
                ..
            } => taken(is_of_kind) < places as usize,
            Lane::Reader { places } => taken(reads) < places as usize,
            Lane::Job { places: None, .. } | Lane::Config | Lane::Free => true,
        }
    }

    fn touch(&mut self, subject: Option<&Subject>) {
        if let Some(subject) = subject {
            self.touched.insert(subject.clone(), Instant::now());
        }
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
        let Some((subject, lane)) = self.running.remove(id) else {
            return;
        };
        // Others hear of it by what it did, not by when it was begun.
        self.touch(subject.as_ref());
        if let Ended::Busy(holder) = &ended
            && !self.running.is_empty()
            && (holder.pid == std::process::id()
                || matches!(lane, Lane::Job { .. } | Lane::Reader { .. } | Lane::Free))
        {
            // Somebody of this run may have it, and lets go of it when he ends.
            self.begun.remove(id);
            self.waiting.insert(id.clone());
            return;
        }
        self.waiting.clear();
        let Some(n) = self.places.get(id) else {
            return;
        };
        let action = &mut self.report.plan.actions[*n];
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
            let subject = Subject::of(action);
            let touched = subject
                .as_ref()
                .and_then(|subject| self.touched.get(subject));
            !self.is_worked_on(subject.as_ref()) && touched.is_none_or(|at| *at < looked)
        };
        stand(&mut plan);
        plan.actions.retain(is_of_it);
        // What follows on something that was begun is not in a plan that was made meanwhile.
        let mut stays = BTreeSet::new();
        for action in &self.report.plan.actions {
            let mut needs = action.depends_on.iter();
            if self.begun.contains(&action.id)
                || !is_of_it(action)
                || needs.any(|id| self.running.contains_key(id) || self.follows(&stays, id))
            {
                stays.insert(action.id.clone());
            }
        }
        let actions = &mut self.report.plan.actions;
        actions.retain(|action| stays.contains(&action.id));
        // What was tried and may not be tried again now has been told, and what is going to be done is
        // not done twice.
        plan.actions.retain(|action| {
            let mut same = actions.iter().filter(|old| old.address == action.address);
            same.clone().all(|old| old.result.is_some())
                && (action.is_free() || same.next().is_none())
        });
        let mut held: BTreeSet<_> = plan
            .actions
            .iter()
            .map(|action| action.id.clone())
            .collect();
        plan.actions.retain(|action| {
            let whole = action.depends_on.iter().all(|id| held.contains(id));
            if !whole {
                held.remove(&action.id);
            }
            whole
        });
        let free = plan.actions.iter().filter(|action| action.is_free());
        let added = free.cloned().collect();
        actions.extend(plan.actions);
        self.report.plan.upcoming = plan.upcoming;
        self.places = places(&self.report.plan);
        added
    }

    /// Whether an action that was not begun stays, and comes before others.
    fn follows(&self, stays: &BTreeSet<ActionId>, id: &ActionId) -> bool {
        stays.contains(id) && !self.begun.contains(id)
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

fn is_of_kind(one: &Lane, other: &Lane) -> bool {
    matches!((one, other), (Lane::Job { kind: a, .. }, Lane::Job { kind: b, .. }) if a == b)
}

fn reads(one: &Lane, _: &Lane) -> bool {
    matches!(one, Lane::Reader { .. })
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
        Block::Stale { text } => (Outcome::Skipped, text.clone()),
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
        Ended::Found { text, hint } => (Outcome::Failed, Some(text), Some(hint)),
        Ended::Refused(refusal) => (Outcome::Blocked, Some(refusal.text), refusal.hint),
        Ended::Stale(text) => (Outcome::Skipped, Some(text), None),
        Ended::Busy(holder) => (Outcome::Busy, Some(holder.to_string()), None),
    }
}
