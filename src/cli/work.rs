//! Carries a plan out and says how it ended.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use std::time::Instant;

use crate::action;
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
use crate::cli::signals::Signals;
use crate::cli::times;
use crate::engine;
use crate::engine::Engine;
use crate::model::backup::Maker;
use crate::model::id::ActionId;
use crate::model::lease::Holder;
use crate::model::op::Op;
use crate::model::plan::Outcome;
use crate::model::plan::Plan;
use crate::model::seconds::Seconds;
use crate::model::world::Open;
use crate::model::world::World;
use crate::planner::Options;
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

/// Does what the plan says or less. `command` is how other runs will see it. With nothing to begin,
/// nothing is written.
pub(super) async fn carry_out(
    session: &Session,
    basis: &Basis,
    seen: &Seen,
    mut plan: Plan,
    command: &str,
    parallelism: usize,
) -> Result<Finished> {
    if plan.is_empty() {
        let standing = |action| engine::standing(&plan, action);
        let ended: Vec<_> = plan.actions.iter().map(standing).collect();
        for (action, ended) in plan.actions.iter_mut().zip(ended) {
            (action.result, action.error) =
                ended.map_or((None, None), |(how, why)| (Some(how), why));
        }
        return Ok(Finished {
            plan,
            hints: BTreeMap::new(),
            stopped: false,
            signal: None,
            state: None,
        });
    }
    let signals = Signals::listen(session.io.clone())?;
    let state = Rc::new(State::open(&basis.state)?);
    let run = state.start_run(command, clock::now())?;
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
        clock: Box::new(clock::now),
        sink: Box::new(move |event| {
            progress.hear(event);
            progress::crash_at(event);
        }),
        stop: signals.stop(),
    });
    let applied = engine.apply(&plan, parallelism).await;
    let ended = run.finish(&state, clock::now());
    let report = applied.map_err(|error| Failure::from(error).exit(Exit::Failed))?;
    ended?;
    for action in &mut plan.actions {
        if let Some((outcome, text)) = report.ended.get(&action.id) {
            action.result = Some(*outcome);
            action.error.clone_from(text);
        }
    }
    // Whoever asked in the last moment stopped nothing.
    let mut results = plan.actions.iter().map(|action| action.result);
    let stopped = report.stopped && results.any(|result| result == Some(Outcome::Skipped));
    Ok(Finished {
        plan,
        hints: report.hints,
        stopped,
        signal: signals.heard(),
        state: Some(state),
    })
}

impl Finished {
    /// The report, for people.
    pub(super) fn report(&self, session: &Session) -> String {
        report::human(&self.plan, &self.hints, self.stopped, session.look())
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
    let results = plan.actions.iter().filter_map(|action| action.result);
    Exit::most_telling(results.map(|result| match result {
        Outcome::Done | Outcome::Held => Exit::Done,
        Outcome::Failed => Exit::Failed,
        Outcome::Blocked => Exit::Blocked,
        Outcome::Busy | Outcome::Skipped => Exit::Busy,
    }))
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

/// How long a command that names its object waits for it.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Patience {
    /// Wait so long for another run to let go of what is needed
    #[arg(long, value_name = "D", default_value = "30s", value_parser = times::length)]
    lock_timeout: Seconds,
}

/// Does what a command asks for: `draw_up` plans it on the world as it is, again when somebody else
/// had what it needs. `what` is how people call that.
pub(super) async fn at_once(
    session: &Session,
    basis: &Basis,
    (command, what): (&str, &str),
    patience: Patience,
    draw_up: impl Fn(&mut World, &Options) -> Plan,
) -> Result<Finished> {
    let deadline = Instant::now() + patience.lock_timeout.duration();
    loop {
        let mut seen = session.see(basis).await?;
        let plan = draw_up(&mut seen.world, &basis.options()?);
        let world = &seen.world;
        let leases = |op: &Op| {
            let guest = op.guest().and_then(|vm| world.guests.get(&vm.uuid));
            guest.map_or_else(Vec::new, |guest| action::leases(op, &guest.record))
        };
        let wanted: Vec<_> = plan
            .actions
            .iter()
            .flat_map(|action| leases(&action.op))
            .collect();
        let mut opens = world.guests.values().flat_map(|guest| &guest.open);
        let clashes = |open: &&Open| {
            let held = leases(&open.op);
            let mut pairs = held
                .iter()
                .flat_map(|held| wanted.iter().map(move |one| (held, one)));
            open.alive && pairs.any(|(held, wanted)| !held.agrees_with(wanted))
        };
        if let Some(open) = opens.find(clashes) {
            let of_it = |other: &Open| other.action == open.action;
            if let Some(holder) = wait(session, basis, deadline, of_it).await? {
                return Err(Failure::held(what, &holder));
            }
            // Whoever let go changed what was seen.
            continue;
        }
        let finished = carry_out(session, basis, &seen, plan, command, 1).await?;
        // Another run may have come in between the look and the beginning.
        if finished.exit() != Exit::Busy || Instant::now() >= deadline {
            return Ok(finished);
        }
    }
}

/// Waits until no living run holds what `wanted` picks, at most until the deadline; then who does.
pub(super) async fn wait(
    session: &Session,
    basis: &Basis,
    deadline: Instant,
    wanted: impl Fn(&Open) -> bool,
) -> Result<Option<Holder>> {
    let mut told = false;
    loop {
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

fn holder(open: &Open) -> Holder {
    Holder {
        operation: open.op.verb().as_str().replace('_', " "),
        command: open.command.clone(),
        pid: open.pid,
        alive: open.alive,
        since: open.since,
    }
}
