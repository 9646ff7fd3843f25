//! `knib apply`: do what the plan says. The only verb that asks.

use std::collections::BTreeSet;
use std::time::Instant;

use camino::Utf8Path;
use camino::Utf8PathBuf;

use crate::cli::basis::Basis;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::failure::Result;
use crate::cli::render::plan as render;
use crate::cli::render::plan::Detail;
use crate::cli::render::text;
use crate::cli::saved;
use crate::cli::session::Session;
use crate::cli::stateless;
use crate::cli::times;
use crate::cli::verbs::abandon;
use crate::cli::verbs::plan;
use crate::cli::verbs::plan::Ask;
use crate::cli::verbs::plan::Narrow;
use crate::cli::work;
use crate::cli::work::Work;
use crate::model::id::BackupId;
use crate::model::id::VmId;
use crate::model::plan::Class;
use crate::model::plan::Outcome;
use crate::model::plan::Plan;
use crate::model::policy::Policy;
use crate::model::reason::Block;
use crate::model::seconds::Seconds;
use crate::model::world::Applied;
use crate::model::world::World;
use crate::planner;
use crate::state::State;

/// Do what the plan says
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Apply {
    /// A plan saved by `knib plan -o`; without it a new one is made
    #[arg(value_name = "PLAN", conflicts_with_all = ["only", "vm"])]
    plan: Option<Utf8PathBuf>,
    /// Do not ask
    #[arg(long)]
    pub(super) auto_approve: bool,
    #[command(flatten)]
    pub(super) consent: Consent,
    #[command(flatten)]
    narrow: Narrow,
    /// So many VMs at a time
    #[arg(long, value_name = "N", default_value = "2", value_parser = clap::value_parser!(u16).range(1..))]
    parallelism: u16,
    /// Give up an interrupted action that can neither be done nor taken back: what it did stays
    #[arg(long, value_name = "ACTION", conflicts_with_all = ["plan", "only", "vm"])]
    abandon: Option<String>,
    /// Wait so long for other runs to let go of VMs before planning
    #[arg(long, value_name = "D", default_value = "0s", value_parser = times::length)]
    lock_timeout: Seconds,
}

/// What has to be said twice.
#[derive(Debug, clap::Args)]
pub(super) struct Consent {
    /// Leave out backups of a saved plan whose slot was served or passed since
    #[arg(long, requires = "plan")]
    skip_superseded: bool,
    /// Let go so many backups, all of which the plan shows, that the retention in force keeps
    #[arg(long, value_name = "N")]
    pub(super) allow_destructive: Option<usize>,
    /// Go on although the clock is behind what is on record
    #[arg(long)]
    accept_clock: bool,
    /// Take a policy by which every VM leaves for what it says
    #[arg(long)]
    allow_empty: bool,
}

pub(super) async fn run(session: &Session, args: Apply) -> Result<Exit> {
    let json = session.global.format.is_json()?;
    if !args.auto_approve && !session.io.can_ask() {
        return Err(
            Failure::usage("there is no terminal to ask on, and nothing was read")
                .hint("--auto-approve applies without asking; knib plan shows what it would do"),
        );
    }
    if let Some(action) = &args.abandon {
        return abandon::run(session, &args, action).await;
    }
    let saved = args.plan.as_deref().map(read_saved(session)).transpose()?;
    let basis = match &saved {
        Some(plan) => session.basis_of(plan),
        None => session.basis_in_files()?,
    };
    let begun_without = stateless::opens(&basis)?;
    if !carry_on(session, json, &args, &basis).await? {
        session.note("nothing was changed");
        return Ok(Exit::Error);
    }
    wait(session, &basis, &args).await?;
    let seen = session.see(&basis).await?;
    let is_saved = saved.is_some();
    refuse_clock(&seen.world, args.consent.accept_clock)?;
    let mut ask = Ask::new(&args.narrow);
    let plan = if let (Some(plan), Some(path)) = (saved, &args.plan) {
        saved::check_host(&plan, path, &seen.world.host.id)?;
        not_applied(&plan, path, &basis)?;
        let mut plan = superseded(session, plan, &seen.world, args.consent.skip_superseded);
        saved::carried_on(&mut plan, &begun_without);
        saved::count_from(&mut plan, session.now);
        ask.allowed = allowed(&args, &plan)?;
        if ask.allowed.is_empty() {
            plan
        } else {
            saved::freed(plan, &plan::draw_up(&basis, &seen.world, &ask)?)
        }
    } else {
        let plan = plan::draw_up(&basis, &seen.world, &ask)?;
        ask.allowed = allowed(&args, &plan)?;
        if ask.allowed.is_empty() {
            plan
        } else {
            plan::draw_up(&basis, &seen.world, &ask)?
        }
    };
    refuse_empty(&basis, &seen.world, &plan, args.consent.allow_empty)?;
    show(session, json, &args, &plan)?;
    plan::refuse_errors(&basis, &plan)?;
    if !plan.is_empty() && !args.auto_approve && !agreed(session, &plan)? {
        session.note("nothing was changed");
        return Ok(Exit::Error);
    }
    let nothing = plan.is_empty();
    let mut work = Work::new("apply");
    work.parallelism = args.parallelism.into();
    // Nobody agreed to more than was shown, except in advance.
    let again = |world: &World| {
        let plan = plan::draw_up(&basis, world, &ask)?;
        refuse_empty(&basis, world, &plan, args.consent.allow_empty)?;
        plan::refuse_errors(&basis, &plan).map(|()| plan)
    };
    if args.auto_approve && !is_saved {
        work.again = Some(&again);
    }
    let finished = work.carry_out(session, &basis, &seen, plan).await?;
    keep(&basis)?;
    if json {
        session.print(&saved::text(&finished.plan))?;
    } else if !nothing {
        session.print(&format!("\n{}", finished.report(session)))?;
    }
    Ok(match finished.exit() {
        // What a saved plan says and was not done is no longer so: it wants a new plan.
        Exit::Busy if is_saved && is_stale(&finished.plan) => Exit::Refused,
        exit => exit,
    })
}

/// What a restore without a state left comes first: it is in no journal that the plan is about. False: nobody wants it.
async fn carry_on(session: &Session, json: bool, args: &Apply, basis: &Basis) -> Result<bool> {
    let ask = |plan: &Plan| {
        if args.auto_approve {
            return Ok(true);
        }
        show(session, json, args, plan)?;
        agreed(session, plan)
    };
    let gone_on = stateless::carry_on(session, basis, ask).await;
    gone_on.or_else(|failure| {
        session.note(&format!(
            "a restore that was interrupted waits: {}",
            failure.brief()
        ));
        Ok(true)
    })
}

/// Backups whose slot was served since are not made again; nor, where that is wanted, those whose slot
/// has a successor by now.
fn superseded(session: &Session, mut plan: Plan, world: &World, skip: bool) -> Plan {
    let (stale, passed) = saved::overtaken(&plan, world);
    if skip {
        for address in saved::without(&mut plan, stale.into_iter().chain(passed)) {
            session.note(&format!("left out: {address}"));
        }
    } else {
        saved::mark_stale(&mut plan, stale);
    }
    plan
}

/// The backups of a plan that go although the retention in force keeps them, if their number was said.
fn allowed(args: &Apply, plan: &Plan) -> Result<BTreeSet<(VmId, BackupId)>> {
    let spared = planner::spared(plan);
    match args.consent.allow_destructive {
        None => Ok(BTreeSet::new()),
        Some(n) if n == spared.len() => Ok(spared),
        Some(n) => {
            let would = text::count(spared.len(), "backup");
            let text = format!("{would} would go that the retention in force keeps, not {n}");
            Err(Failure::new("destructive", text)
                .hint("nothing was changed; knib plan names them and their number")
                .exit(Exit::Blocked))
        }
    }
}

/// A clock that was put back decides wrongly what is due and what is old.
fn refuse_clock(world: &World, accepted: bool) -> Result<()> {
    let Some(latest) = planner::clock::behind(world).filter(|_| !accepted) else {
        return Ok(());
    };
    let text = format!(
        "the clock says {:.0}, and {latest:.0} is on record already",
        world.now
    );
    Err(Failure::new("clock_back", text)
        .hint("nothing was changed; set the clock right, or say --accept-clock if it is right")
        .exit(Exit::Blocked))
}

fn read_saved(session: &Session) -> impl Fn(&Utf8Path) -> Result<Plan> {
    |path| {
        let saved = saved::read(path)?;
        saved::check(&saved, path, session.now)?;
        let mut plan = saved.plan;
        saved::expire(&mut plan, session.now);
        Ok(plan)
    }
}

fn not_applied(plan: &Plan, path: &Utf8Path, basis: &Basis) -> Result<()> {
    let applied = match State::look(&basis.state)? {
        Some(state) => state.plan_applied(&plan.id)?,
        None => false,
    };
    if applied {
        let text = format!("{path} was applied before");
        return Err(saved::refused(
            text,
            "a plan is applied once; make a new one",
        ));
    }
    Ok(())
}

/// Other runs of VMs that this one is about.
async fn wait(session: &Session, basis: &Basis, args: &Apply) -> Result<()> {
    if args.lock_timeout == Seconds(0) {
        return Ok(());
    }
    let pattern = args.narrow.vm.as_ref();
    let ours = |name: &str| pattern.is_none_or(|pattern| pattern.matches(name));
    // What is still held then is passed over, as without waiting.
    let deadline = Instant::now() + args.lock_timeout.duration();
    work::wait(session, basis, deadline, |open| {
        open.op.vm().is_none_or(|vm| ours(&vm.name))
    })
    .await?;
    Ok(())
}

/// Every VM leaves only when that is said twice.
fn refuse_empty(basis: &Basis, world: &World, plan: &Plan, allowed: bool) -> Result<()> {
    let policy = basis.policy.as_ref().filter(|_| !allowed);
    match policy.and_then(|policy| plan::emptied(policy, plan, world)) {
        Some(text) => Err(Failure::new("empty", text)
            .hint("nothing was changed; --allow-empty if that is what you want")),
        None => Ok(()),
    }
}

/// What will be done, where the report will be; for a question beside it when that is JSON.
pub(super) fn show(session: &Session, json: bool, args: &Apply, plan: &Plan) -> Result<()> {
    let detail = match work::detail(session) {
        Detail::Normal if args.auto_approve => Detail::Brief,
        detail => detail,
    };
    if !json {
        return session.print(&render::human(plan, detail, session.look()));
    }
    if !args.auto_approve {
        let look = session.io.err(session.global.color);
        session.io.tell(&render::human(plan, detail, look));
    }
    Ok(())
}

pub(super) fn agreed(session: &Session, plan: &Plan) -> Result<bool> {
    let free = plan
        .actions
        .iter()
        .filter(|action| action.is_free())
        .count();
    let mut all = plan.actions.iter().filter(|action| action.is_free());
    let destructive = match all
        .by_ref()
        .filter(|action| action.class == Class::Destructive)
        .count()
    {
        0 => String::new(),
        n => format!(", {n} of them destructive"),
    };
    let question = format!(
        "\nApply {}{destructive}? Only 'yes' is accepted: ",
        text::count(free, "action")
    );
    let answer = session.io.ask(&question).map_err(|error| {
        Failure::new("no_answer", format!("could not read the answer: {error}"))
    })?;
    Ok(answer == "yes")
}

/// Keeps the policy for commands that find no file, once all that it says is on record. Nothing is
/// written where nothing is new.
fn keep(basis: &Basis) -> Result<()> {
    let Some(policy) = &basis.policy else {
        return Ok(());
    };
    let Some(state) = State::look(&basis.state)? else {
        return Ok(());
    };
    let kept = state.policy()?;
    if kept.is_none_or(|kept| kept.digest != policy.digest)
        && is_on_record(policy, &state.applied()?)
    {
        drop(state);
        State::open(&basis.state)?.set_policy(policy)?;
    }
    Ok(())
}

fn is_on_record(policy: &Policy, applied: &Applied) -> bool {
    let policies = applied.policies.iter().map(|(name, one)| (name, &one.spec));
    let offerings = applied.offerings.iter().filter(|(_, one)| !one.removed);
    let offerings = offerings.map(|(name, one)| (name, &one.spec));
    policies.eq(&policy.policies) && offerings.eq(&policy.offerings)
}

fn is_stale(plan: &Plan) -> bool {
    let mut skipped = plan
        .actions
        .iter()
        .filter(|action| action.result == Some(Outcome::Skipped));
    let stale = |block: &Block| matches!(block, Block::Stale { .. });
    skipped.any(|action| action.is_free() || action.blocked_by.iter().any(stale))
}
