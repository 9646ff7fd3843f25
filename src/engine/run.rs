//! One action, from its beginning to its close: the journal protocol.
//!
//! Begin (action, steps and leases in one transaction), then for each stage: mark its steps intended,
//! perform them side by side, mark each done with its receipt. Recovery is this same code, entered
//! with the marks that are there: forward after a crash, back after an error before `no_return`,
//! otherwise left open for the next run.

use std::rc::Rc;

use tokio::task::JoinSet;

use crate::action;
use crate::engine::Engine;
use crate::engine::EngineError;
use crate::engine::observe;
use crate::engine::perform;
use crate::engine::perform::Scene;
use crate::host::Host;
use crate::host::StopLevel;
use crate::model::event::Event;
use crate::model::fault::Fault;
use crate::model::id::ActionId;
use crate::model::lease::Holder;
use crate::model::op::Op;
use crate::model::plan::Action;
use crate::model::program::Direction;
use crate::model::program::Mark;
use crate::model::program::Program;
use crate::model::program::Refusal;
use crate::model::program::StepError;
use crate::model::receipt::Receipt;
use crate::model::step::Step;
use crate::model::world::Open;
use crate::sabotage;
use crate::sabotage::Sabotage;
use crate::state::StateError;

const CHANGED: &str = "the world has changed since the plan was made";
const CARRIED_ON: &str = "it was carried on by another run";

/// How carrying out an action ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// It did what it was to do.
    Done,
    /// It failed and everything it had done was taken back.
    TakenBack(StepError),
    /// It failed where it could not turn back, or could not be taken back: the next apply goes on.
    LeftOpen(StepError),
    /// The VM could not be looked at; nothing was touched.
    NotBegun(StepError),
    /// Somebody asked to stop: the next apply goes on.
    Stopped,
    /// It is done but for what QEMU goes on with by itself: the next apply sees to that.
    Detached,
    /// It did what it was to do, and found something that is not what it was.
    Found {
        /// What.
        text: String,
        /// What to do about it.
        hint: String,
    },
    /// A rule stands in the way; nothing was touched.
    Refused(Refusal),
    /// The world is not what the plan was made on; nothing was touched.
    Stale(String),
    /// Another run has what it needs; nothing was touched.
    Busy(Holder),
}

impl<H: Host> Engine<H> {
    /// Carries an action out, or goes on with the one it recovers.
    ///
    /// # Errors
    /// The world could not be seen or the journal not be written. An action that was begun stays
    /// open then.
    pub async fn carry_out(self: &Rc<Self>, action: &Action) -> Result<Ended, EngineError> {
        if let Some(open) = action.op.carries_on() {
            return self.take_up(open).await;
        }
        if let Op::Abandon(op) = &action.op {
            return self.give_up(&op.action);
        }
        let guest = match action.op.guest() {
            Some(vm) => observe::guest(&self.host, &self.state, vm).await?,
            None => None,
        };
        let program = match action::program(&action.op, guest.as_ref()) {
            Ok(program) => program,
            Err(refusal) => return Ok(Ended::Refused(refusal)),
        };
        match &action.program {
            Some(planned) if *planned == program => {}
            planned => {
                let differs = planned
                    .as_ref()
                    .map(|planned| program.differs_from(planned));
                let why = differs.map_or_else(String::new, |differs| format!(": {differs}"));
                return Ok(Ended::Stale(format!("{CHANGED}{why}")));
            }
        }
        let record = guest.map(|guest| guest.record).unwrap_or_default();
        let leases = action::leases(&action.op, &record);
        let begun = self.state.begin(
            &self.run,
            &action.id,
            &action.op,
            &program,
            &leases,
            self.now(),
        );
        match begun {
            Ok(()) => {}
            Err(StateError::Held(holder)) => return Ok(Ended::Busy(holder)),
            Err(StateError::Applied(_)) => {
                return Ok(Ended::Stale("this plan was applied before".to_owned()));
            }
            Err(StateError::Overtaken(_)) => return Ok(Ended::Stale(CHANGED.to_owned())),
            Err(error) => return Err(error.into()),
        }
        self.say(&Event::Began {
            action: action.id.clone(),
            resumed: false,
        });
        let open = Progress::new(action.id.clone(), action.op.clone(), program);
        self.carry_on(open).await
    }

    /// Goes on with an action that an earlier run left open.
    async fn take_up(self: &Rc<Self>, action: &ActionId) -> Result<Ended, EngineError> {
        match self.state.adopt(&self.run, action, self.now()) {
            Ok(()) => {}
            Err(StateError::Held(holder)) => return Ok(Ended::Busy(holder)),
            Err(StateError::Unknown(_)) => return Ok(Ended::Stale(CARRIED_ON.to_owned())),
            Err(error) => return Err(error.into()),
        }
        // Only now: another run may have gone on with it until a moment ago.
        let opens = self.state.opens()?;
        let Some(open) = opens.into_iter().find(|open| open.action == *action) else {
            return Ok(Ended::Stale(CARRIED_ON.to_owned()));
        };
        self.say(&Event::Began {
            action: action.clone(),
            resumed: true,
        });
        self.carry_on(Progress::from(open)).await
    }

    /// Closes an action that an earlier run left open, and leaves everything as it is.
    fn give_up(&self, action: &ActionId) -> Result<Ended, EngineError> {
        match self.state.abandon(&self.run, action, self.now()) {
            Ok(()) => {}
            Err(StateError::Held(holder)) => return Ok(Ended::Busy(holder)),
            Err(StateError::Unknown(_)) => return Ok(Ended::Stale(CARRIED_ON.to_owned())),
            Err(error) => return Err(error.into()),
        }
        self.say(&Event::Closed {
            action: action.clone(),
            done: false,
        });
        Ok(Ended::Done)
    }

    /// From wherever the marks say it is, to the end or back to the beginning.
    async fn carry_on(self: &Rc<Self>, mut at: Progress) -> Result<Ended, EngineError> {
        while at.direction == Direction::Forward {
            let Some(stage) = at.next_stage() else {
                return self.close(&at, None);
            };
            if self.stop.level() >= StopLevel::AfterStep {
                return Ok(Ended::Stopped);
            }
            match self.forward(&mut at, stage).await? {
                None => {}
                Some(error) if error.fault == Fault::Stopped => {
                    return Ok(match self.stop.level() {
                        StopLevel::Detach => Ended::Detached,
                        _ => Ended::Stopped,
                    });
                }
                Some(error) if at.is_past(stage, &error) => {
                    self.state.leave_open(&at.action, &error)?;
                    return Ok(Ended::LeftOpen(error));
                }
                Some(error) => {
                    self.state.turn_back(&at.action, &error)?;
                    let text = error.to_string();
                    self.say(&Event::TurnedBack {
                        action: at.action.clone(),
                        error: text,
                    });
                    at.direction = Direction::Back;
                    at.error = Some(error);
                }
            }
        }
        match self.back(&mut at).await? {
            None => {
                let error = at.error.clone();
                self.close(&at, error)
            }
            Some(error) if error.fault == Fault::Stopped => Ok(Ended::Stopped),
            Some(undo) => {
                let error = at
                    .error
                    .as_ref()
                    .map_or_else(|| undo.clone(), |cause| both(cause, &undo));
                self.state.leave_open(&at.action, &error)?;
                Ok(Ended::LeftOpen(error))
            }
        }
    }

    /// One stage: all its steps run to their end, whatever their siblings do; the first error, if any.
    async fn forward(
        self: &Rc<Self>,
        at: &mut Progress,
        stage: usize,
    ) -> Result<Option<StepError>, EngineError> {
        let now = self.now();
        let late = sabotage::is(Sabotage::MarkAfterEffect);
        if !late {
            self.state.intend(&at.action, stage, now)?;
        }
        let mut siblings = JoinSet::new();
        for n in 0..at.program.stages[stage].len() {
            if at.marks[stage][n] == Some(Mark::Done) {
                continue;
            }
            at.marks[stage][n] = Some(Mark::Intended);
            let again = at.intended[stage][n].is_some();
            let since = *at.intended[stage][n].get_or_insert(now);
            let scene = at.scene(since, again);
            let step = at.program.stages[stage][n].clone();
            let engine = Rc::clone(self);
            siblings
                .spawn_local(async move { (n, perform::perform(&engine, &scene, &step).await) });
        }
        self.say(&Event::Intended {
            action: at.action.clone(),
            stage,
        });
        let mut failed = None;
        while let Some(joined) = siblings.join_next().await {
            let (n, result) = match joined {
                Ok(ended) => ended,
                Err(panic) => {
                    failed.get_or_insert_with(|| broken(&panic.to_string()));
                    continue;
                }
            };
            match result {
                Ok(receipt) => {
                    self.say(&Event::Performed {
                        action: at.action.clone(),
                        stage,
                        step: n,
                    });
                    if late {
                        self.state.intend(&at.action, stage, now)?;
                    }
                    self.state
                        .done(&at.action, stage, n, &receipt, self.now())?;
                    at.marks[stage][n] = Some(Mark::Done);
                    at.receipts[stage][n] = Some(receipt);
                    self.say(&Event::Marked {
                        action: at.action.clone(),
                        stage,
                        step: n,
                    });
                }
                Err(error) => {
                    failed.get_or_insert(error);
                }
            }
        }
        Ok(failed)
    }

    /// The inverses of all that may have taken effect, last first; the first error ends it.
    async fn back(self: &Rc<Self>, at: &mut Progress) -> Result<Option<StepError>, EngineError> {
        for stage in (0..at.program.stages.len()).rev() {
            for n in (0..at.program.stages[stage].len()).rev() {
                if !matches!(at.marks[stage][n], Some(Mark::Intended | Mark::Done)) {
                    continue;
                }
                let since = at.intended[stage][n].unwrap_or_else(|| self.now());
                let scene = at.scene(since, true);
                for inverse in at.program.stages[stage][n].inverse() {
                    if let Err(error) = perform::perform(self, &scene, &inverse).await {
                        return Ok(Some(error));
                    }
                    self.say(&Event::Performed {
                        action: at.action.clone(),
                        stage,
                        step: n,
                    });
                }
                self.state.undone(&at.action, stage, n, self.now())?;
                at.marks[stage][n] = Some(Mark::Undone);
                self.say(&Event::Marked {
                    action: at.action.clone(),
                    stage,
                    step: n,
                });
            }
        }
        Ok(None)
    }

    fn close(&self, at: &Progress, error: Option<StepError>) -> Result<Ended, EngineError> {
        let changes = action::changes(&at.op, &at.program, &at.receipts, at.direction);
        let done = at.direction == Direction::Forward;
        self.state.close(&at.action, done, &changes, self.now())?;
        self.say(&Event::Closed {
            action: at.action.clone(),
            done,
        });
        let found = found(at);
        Ok(match error {
            Some(error) => Ended::TakenBack(error),
            None if done => found.unwrap_or(Ended::Done),
            None => Ended::TakenBack(broken("it was turned back without a cause")),
        })
    }
}

/// How far an action has got, in the shape of its program.
struct Progress {
    action: ActionId,
    op: Rc<Op>,
    program: Rc<Program>,
    marks: Vec<Vec<Option<Mark>>>,
    receipts: Vec<Vec<Option<Receipt>>>,
    intended: Vec<Vec<Option<jiff::Timestamp>>>,
    direction: Direction,
    error: Option<StepError>,
}

impl Progress {
    fn new(action: ActionId, op: Op, program: Program) -> Self {
        let shape = |stage: &Vec<Step>| stage.len();
        Self {
            action,
            op: Rc::new(op),
            marks: program
                .stages
                .iter()
                .map(|stage| vec![None; shape(stage)])
                .collect(),
            receipts: program
                .stages
                .iter()
                .map(|stage| vec![None; shape(stage)])
                .collect(),
            intended: program
                .stages
                .iter()
                .map(|stage| vec![None; shape(stage)])
                .collect(),
            program: Rc::new(program),
            direction: Direction::Forward,
            error: None,
        }
    }

    /// The first stage with a step that is not done.
    fn next_stage(&self) -> Option<usize> {
        self.marks
            .iter()
            .position(|stage| stage.iter().any(|mark| *mark != Some(Mark::Done)))
    }

    /// Whether an error in a stage cannot turn the action back.
    fn is_past(&self, stage: usize, error: &StepError) -> bool {
        let no_return = self.program.no_return;
        stage > no_return || (stage == no_return && error.fault != Fault::Untouched)
    }

    fn scene(&self, since: jiff::Timestamp, again: bool) -> Scene {
        Scene {
            action: self.action.clone(),
            op: Rc::clone(&self.op),
            program: Rc::clone(&self.program),
            receipts: self.receipts.clone(),
            since,
            again,
        }
    }
}

impl From<Open> for Progress {
    fn from(open: Open) -> Self {
        Self {
            action: open.action,
            op: Rc::new(open.op),
            program: Rc::new(open.program),
            marks: open.marks,
            receipts: open.receipts,
            intended: open.intended,
            direction: open.direction,
            error: open.error,
        }
    }
}

/// Something that is not as it was, or not as it should be.
fn found(at: &Progress) -> Option<Ended> {
    let (mut texts, mut hints) = (Vec::new(), Vec::new());
    for receipt in at.receipts.iter().flatten().flatten() {
        match receipt {
            Receipt::Damaged { text, .. } => {
                texts.push(text.as_str());
                hints.push(of_damage(&at.op).to_owned());
            }
            Receipt::StaysOff { text } => {
                texts.push(text);
                hints.push(of_one_that_stays_off(&at.program));
            }
            Receipt::Judged(how) if !how.is_valid() => {
                let hint = "knib backup show names the picture of its screen, where there is one";
                return Some(Ended::Found {
                    text: format!("invalid: {}", how.reasons.join("; ")),
                    hint: hint.to_owned(),
                });
            }
            _ => {}
        }
    }
    hints.dedup();
    (!texts.is_empty()).then(|| Ended::Found {
        text: texts.join("; "),
        hint: hints.join("; "),
    })
}

fn of_damage(op: &Op) -> &'static str {
    match op {
        Op::Verify(_) => {
            "nothing continues it any more, the next backup of its VM is full; knib backup list shows what else there is"
        }
        _ => {
            "what was restored holds what is in the damaged file: knib backup list shows what else there is"
        }
    }
}

fn of_one_that_stays_off(program: &Program) -> String {
    let mut steps = program.steps().map(|(_, _, step)| step);
    let back = steps.find_map(|step| match step {
        Step::Describe { to, .. } => Some(format!("; to go back instead: virsh define '{to}'")),
        _ => None,
    });
    format!(
        "its disks are whole and nothing of it reads the backup: mend what keeps it off, then start it{}",
        back.unwrap_or_default()
    )
}

fn both(cause: &StepError, undo: &StepError) -> StepError {
    StepError {
        fault: undo.fault,
        text: format!("{cause}; and taking it back failed: {undo}"),
        hint: undo.hint.clone().or_else(|| cause.hint.clone()),
    }
}

/// A defect, told as a failure.
pub(super) fn broken(text: &str) -> StepError {
    StepError {
        fault: Fault::Io,
        text: format!("a bug in knib: {text}"),
        hint: Some("the action is taken back or left open; please report it".to_owned()),
    }
}
