//! Carries a plan out and says how it ended.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;
use std::time::Instant;

use tokio::sync::mpsc;

use crate::cli::basis::Basis;
use crate::cli::clock;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::failure::Result;
use crate::cli::progress;
use crate::cli::progress::Progress;
use crate::cli::render::plan::Detail;
use crate::cli::render::report;
use crate::cli::saved;
use crate::cli::session::Seen;
use crate::cli::session::Session;
use crate::engine;
use crate::engine::Engine;
use crate::engine::Newer;
use crate::model::backup::Maker;
use crate::model::id::ActionId;
use crate::model::lease::Holder;
use crate::model::op::Op;
use crate::model::plan::Outcome;
use crate::model::plan::Plan;
use crate::model::reason::Reason;
use crate::model::world::Open;
use crate::model::world::World;
use crate::state::State;

/// So often it is looked whether others let go.
const LOOK: Duration = Duration::from_millis(250);

/// A plan that was carried out.
pub(super) struct Finished {
    /// With a result for each action.
    pub(super) plan: Plan,
    /// What to do about failures.
    hints: BTreeMap<ActionId, String>,
    stopped: bool,
    signal: Option<Exit>,
    /// The state afterwards; none when nothing could be begun.
    pub(super) state: Option<Rc<State>>,
}

/// Draws a plan up on a world.
type Draw<'a> = &'a dyn Fn(&World) -> Result<Plan>;

/// How a plan is carried out.
pub(super) struct Work<'a> {
    /// How other runs will see it.
    command: &'static str,
    /// So many VMs at a time.
    pub(super) parallelism: usize,
    /// Plans again, on the world as it is by then, for as long as the work takes.
    pub(super) again: Option<Draw<'a>>,
}

impl Work<'_> {
    /// One VM at a time, and this plan only.
    pub(super) fn new(command: &'static str) -> Self {
        Self {
            command,
            parallelism: 1,
            again: None,
        }
    }

    /// Does what the plan says or less. With nothing to begin, nothing is written.
    pub(super) async fn carry_out(
        self,
        session: &Session,
        basis: &Basis,
        seen: &Seen,
        mut plan: Plan,
    ) -> Result<Finished> {
        if plan.is_empty() {
            engine::stand(&mut plan);
            return Ok(Finished {
                plan,
                hints: BTreeMap::new(),
                stopped: false,
                signal: None,
                state: None,
            });
        }
        let signals = session.signals()?;
        let state = Rc::new(State::open(&basis.state)?);
        let run = state.start_run(self.command, clock::now())?;
        let progress = Progress::new(session.io.clone(), session.global.quiet, &plan);
        let engine = Rc::new(Engine {
            host: Rc::clone(&seen.host),
            state: Rc::clone(&state),
            run: run.id.clone(),
            maker: Maker {
                host: seen.world.host.id.clone(),
                hostname: seen.world.host.hostname.clone(),
                state: state.id().clone(),
                knib: env!("CARGO_PKG_VERSION").to_owned(),
            },
            uri: seen.world.host.uri.clone(),
            clock: Box::new(clock::now),
            sink: Box::new(move |event| {
                progress.hear(event);
                progress::crash_at(event);
            }),
            stop: signals.stop(),
        });
        let (sender, newer) = mpsc::unbounded_channel();
        let applied = tokio::select! {
            applied = engine.apply(plan, self.parallelism, newer) => applied,
            never = self.plan_again(session, basis, sender) => match never {},
        };
        let ended = run.finish(&state, clock::now());
        let report = applied.map_err(|error| Failure::from(error).exit(Exit::Failed))?;
        ended?;
        // Whoever asked in the last moment stopped nothing.
        let mut results = report.plan.actions.iter().map(|action| action.result);
        let stopped = report.stopped && results.any(|result| result == Some(Outcome::Skipped));
        Ok(Finished {
            plan: report.plan,
            hints: report.hints,
            stopped,
            signal: signals.heard(),
            state: Some(state),
        })
    }

    /// Never ends. What cannot be seen, or has errors, is left to the next time.
    async fn plan_again(
        &self,
        session: &Session,
        basis: &Basis,
        sender: mpsc::UnboundedSender<Newer>,
    ) -> Infallible {
        let Some(again) = self.again else {
            return std::future::pending().await;
        };
        loop {
            tokio::time::sleep(clock::again()).await;
            let looked = Instant::now();
            let seen = session.see_at(basis, clock::instant()).await;
            match seen.and_then(|seen| again(&beside_this_run(seen.world))) {
                // Without a receiver the work is done.
                Ok(plan) => _ = sender.send(Newer { looked, plan }),
                Err(error) => tracing::warn!(?error, "could not plan again"),
            }
        }
    }
}

/// What this run itself is at is nobody else's: it knows by itself what must wait for what.
fn beside_this_run(mut world: World) -> World {
    let is_own = |open: &Open| open.alive && open.pid == std::process::id();
    for guest in world.guests.values_mut() {
        guest.open.retain(|open| !is_own(open));
    }
    world
}

impl Finished {
    /// The report, for people.
    pub(super) fn report(&self, session: &Session) -> String {
        report::human(&self.plan, &self.hints, self.stopped, session.look())
    }

    /// Prints the plan as JSON; for people what `done` says of one all of which went well, else the
    /// report. Returns what to exit with.
    pub(super) fn conclude(
        &self,
        session: &Session,
        json: bool,
        done: impl FnOnce() -> String,
    ) -> Result<Exit> {
        let exit = self.exit();
        print(session, json, &self.plan, || {
            if exit == Exit::Done {
                done()
            } else {
                self.report(session)
            }
        })?;
        Ok(exit)
    }

    /// What to exit with.
    pub(super) fn exit(&self) -> Exit {
        let signal = self.signal.filter(|_| self.stopped);
        Exit::most_telling(signal.into_iter().chain([exit(&self.plan)]))
    }
}

/// What the results of a plan's actions are worth. One that was passed over although nothing is
/// wrong is done by a later run.
fn exit(plan: &Plan) -> Exit {
    let results = plan
        .actions
        .iter()
        .filter_map(|action| Some((action, action.result?)));
    Exit::most_telling(results.map(|(action, result)| match result {
        Outcome::Done if marks_damage(&action.op) => Exit::Failed,
        // Of what a person asked for nothing was done.
        Outcome::Held if action.reason == Reason::Asked && !action.is_free() => Exit::Busy,
        Outcome::Done | Outcome::Held => Exit::Done,
        Outcome::Failed => Exit::Failed,
        Outcome::Blocked => Exit::Blocked,
        Outcome::Busy | Outcome::Skipped => Exit::Busy,
    }))
}

fn marks_damage(op: &Op) -> bool {
    matches!(op, Op::MarkUnusable(op) if op.why.is_some())
}

/// Prints a plan with its results: as JSON, or what `human` says.
pub(super) fn print(
    session: &Session,
    json: bool,
    plan: &Plan,
    human: impl FnOnce() -> String,
) -> Result<()> {
    if json {
        session.print(&saved::text(plan))
    } else {
        session.print(&human())
    }
}

/// How much of a plan is drawn.
pub(super) fn detail(session: &Session) -> Detail {
    if session.global.verbose > 0 {
        Detail::Steps
    } else {
        Detail::Normal
    }
}

/// Waits until no living run holds what `wanted` picks, at most until the deadline; then who does.
pub(super) async fn wait(
    session: &Session,
    basis: &Basis,
    deadline: Instant,
    wanted: impl Fn(&Open) -> bool,
) -> Result<Option<Holder>> {
    let signals = session.signals()?;
    let mut told = false;
    loop {
        if let Some(exit) = signals.heard() {
            return Err(Failure::new("interrupted", "interrupted while it waited").exit(exit));
        }
        let opens = match State::look(&basis.state)? {
            Some(state) => state.opens()?,
            None => Vec::new(),
        };
        let held = opens.iter().find(|open| open.alive && wanted(open));
        let Some(open) = held else { return Ok(None) };
        let holder = holder(open);
        if Instant::now() >= deadline {
            return Ok(Some(holder));
        }
        if !told {
            session.note(&format!("waiting for {holder}"));
            told = true;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Who works on an open action, or did.
pub(super) fn holder(open: &Open) -> Holder {
    Holder {
        operation: open.op.verb().as_str().replace('_', " "),
        command: open.command.clone(),
        pid: open.pid,
        alive: open.alive,
        since: open.since,
    }
}
