//! `knib plan`: what would be done, and why. Writes nothing but the files it is told to.

use std::collections::BTreeSet;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use clap::ValueEnum;

use crate::cli::args::Format;
use crate::cli::basis::Basis;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::failure::Result;
use crate::cli::files;
use crate::cli::render::plan as render;
use crate::cli::render::text;
use crate::cli::saved;
use crate::cli::session::Session;
use crate::cli::stateless;
use crate::cli::times;
use crate::cli::work;
use crate::model::finding::Finding;
use crate::model::finding::Severity;
use crate::model::id::BackupId;
use crate::model::id::VmId;
use crate::model::op::Group;
use crate::model::op::Op;
use crate::model::plan;
use crate::model::policy::Policy;
use crate::model::policy::VmPolicy;
use crate::model::world::Guest;
use crate::model::world::World;
use crate::planner;
use crate::planner::Options;
use crate::policy::glob::Glob;
use crate::policy::lint;
use crate::policy::select;

/// Show what would be done, and why; change nothing
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Plan {
    /// Save the plan for `knib apply PLAN`
    #[arg(short, long, value_name = "FILE")]
    out: Option<Utf8PathBuf>,
    /// Exit 2 when changes are pending, 3 when something is blocked
    #[arg(long)]
    detailed_exitcode: bool,
    /// Plan for another time: 2026-11-23T02:00 in the policy's zone, or with an offset
    #[arg(long, value_name = "T")]
    at: Option<String>,
    #[command(flatten)]
    pub(super) narrow: Narrow,
    /// Tell of every backup why it is kept
    #[arg(long)]
    show_kept: bool,
    /// Plan over a world that was saved instead of this host
    #[arg(long, value_name = "FILE", conflicts_with = "world_out")]
    world: Option<Utf8PathBuf>,
    /// Save what was seen, for --world
    #[arg(long, value_name = "FILE")]
    world_out: Option<Utf8PathBuf>,
}

/// What a plan is narrowed to.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Narrow {
    /// Only these groups of actions
    #[arg(long, value_name = "GROUP", value_delimiter = ',')]
    pub(super) only: Vec<Only>,
    /// Only actions of VMs whose name matches
    #[arg(long, value_name = "GLOB", value_parser = glob)]
    pub(super) vm: Option<Glob>,
}

/// A group of actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(in crate::cli) enum Only {
    /// Storages, offerings, policies, who has which
    Config,
    /// Recoveries, backups, merges
    Backup,
    /// Compressions, verifications
    Jobs,
}

impl Narrow {
    pub(super) fn groups(&self) -> Option<BTreeSet<Group>> {
        let groups = self.only.iter().map(|only| match only {
            Only::Config => Group::Config,
            Only::Backup => Group::Backup,
            Only::Jobs => Group::Jobs,
        });
        (!self.only.is_empty()).then(|| groups.collect())
    }
}

/// What a plan is asked for.
pub(super) struct Ask<'a> {
    narrow: &'a Narrow,
    clock_given: bool,
    show_kept: bool,
    /// Backups that may go although the retention in force keeps them.
    pub(super) allowed: BTreeSet<(VmId, BackupId)>,
}

impl<'a> Ask<'a> {
    pub(super) fn new(narrow: &'a Narrow) -> Self {
        Self {
            narrow,
            clock_given: false,
            show_kept: false,
            allowed: BTreeSet::new(),
        }
    }
}

pub(super) fn glob(text: &str) -> std::result::Result<Glob, String> {
    Glob::read(text).map_err(|why| why.text)
}

pub(super) async fn run(session: &Session, args: Plan) -> Result<Exit> {
    const FORMATS: [Format; 3] = [Format::Human, Format::Json, Format::Markdown];
    let format = session.global.format.of(&FORMATS)?;
    let basis = session.basis_in_files()?;
    let mut world = match &args.world {
        Some(file) => replayed(file)?,
        None => stateless::see(session, &basis).await?.world,
    };
    if let Some(at) = &args.at {
        world.now = times::instant(at, &basis.zone())?;
    }
    if let Some(file) = &args.world_out {
        let text = serde_json::to_vec(&world).expect("a world is plain data");
        files::replace(file, &text)?;
    }
    let ask = Ask {
        // What is planned for another time, or over another world, is for looking.
        clock_given: args.at.is_some() || args.world.is_some(),
        show_kept: args.show_kept,
        ..Ask::new(&args.narrow)
    };
    let plan = draw_up(&basis, &world, &ask)?;
    if let Some(file) = &args.out {
        saved::write(file, &plan)?;
        session.note(&format!(
            "saved: knib apply {file} does this or less, once, within seven days"
        ));
    }
    session.print(&match format {
        Format::Json => saved::text(&plan),
        Format::Markdown => render::markdown(&plan),
        _ => render::human(&plan, work::detail(session), session.look()),
    })?;
    refuse_errors(&basis, &plan)?;
    Ok(Exit::most_telling(args.detailed_exitcode.then(|| {
        if plan.summary.blocked > 0 {
            Exit::Blocked
        } else if plan.is_empty() {
            Exit::Done
        } else {
            Exit::Changes
        }
    })))
}

/// What the policy asks for in this world.
pub(super) fn draw_up(basis: &Basis, world: &World, ask: &Ask<'_>) -> Result<plan::Plan> {
    let narrow = ask.narrow;
    let options = Options {
        only: narrow.groups(),
        vm: narrow.vm.clone(),
        clock_given: ask.clock_given,
        show_kept: ask.show_kept,
        allowed: ask.allowed.clone(),
        ..basis.options()?
    };
    let policy = basis.policy();
    let mut plan = planner::reconcile(policy, world, &options);
    if let Some(pattern) = &narrow.vm {
        plan.unprotected.retain(|name| pattern.matches(name));
        plan.findings.retain(|finding| {
            let vm = finding.vm.as_ref();
            vm.is_none_or(|name| pattern.matches(name))
        });
    }
    if !plan.unprotected.is_empty() {
        let excluding = excluding(policy, &plan, world);
        let finding = lint::unprotected(&plan.unprotected, &excluding);
        plan.findings.push(finding);
    }
    if let Some(text) = emptied(policy, &plan, world) {
        let finding = Finding::new(Severity::Warning, "empty", text);
        let hint = "its backups stay; knib apply wants --allow-empty for this";
        plan.findings.push(finding.hint(hint));
    }
    plan.resolved = Some(Box::new(policy.clone()));
    Ok(plan)
}

/// The policies that take a VM out which no other selects.
fn excluding(policy: &Policy, plan: &plan::Plan, world: &World) -> BTreeSet<String> {
    let guests = world.guests.values();
    let machines = guests.filter_map(|guest| guest.machine.as_ref());
    let unprotected: Vec<_> = machines
        .filter(|machine| plan.unprotected.contains(&machine.name))
        .collect();
    let excludes = |spec: &VmPolicy| {
        unprotected.iter().any(|machine| {
            let (name, uuid) = (&machine.name, machine.id.as_str());
            select::excludes(&spec.select, name, uuid, &machine.tags)
        })
    };
    let policies = policy.policies.iter().filter(|(_, spec)| excludes(spec));
    policies.map(|(name, _)| name.clone()).collect()
}

/// What a policy says that lets every VM leave which has one, as it does that lost a line by accident.
pub(super) fn emptied(policy: &Policy, plan: &plan::Plan, world: &World) -> Option<String> {
    let before = world.applied.policies.len();
    if policy.policies.is_empty() && before > 0 {
        let text = match before {
            1 => "the policy has no policies, and 1 is in force: every VM would leave".to_owned(),
            n => format!("the policy has no policies, and {n} are in force: every VM would leave"),
        };
        return Some(text);
    }
    let protected = |guest: &&Guest| guest.machine.is_some() && guest.record.assigned.is_some();
    let leaves = |guest: &Guest| {
        let mut actions = plan.actions.iter();
        actions.any(|action| match &action.op {
            Op::Unassign(op) => op.vm.uuid == guest.vm.uuid,
            Op::Merge(op) => op.leave && op.vm.uuid == guest.vm.uuid,
            _ => false,
        })
    };
    let held: Vec<_> = world.guests.values().filter(protected).collect();
    let all = !held.is_empty() && held.iter().all(|guest| leaves(guest));
    all.then(|| {
        let vms = text::count(held.len(), "VM");
        format!("no policy selects any VM that has one now ({vms}): every VM would leave")
    })
}

/// A plan with errors is drawn, so that the whole is seen, and not carried out.
pub(super) fn refuse_errors(basis: &Basis, plan: &plan::Plan) -> Result<()> {
    let errors = plan.findings.iter();
    let errors: Vec<_> = errors
        .filter(|finding| finding.severity == Severity::Error)
        .cloned()
        .collect();
    if errors.is_empty() {
        return Ok(());
    }
    Err(Failure::plan(errors, basis.sources.clone()))
}

fn replayed(file: &Utf8Path) -> Result<World> {
    let no_world = |why: &dyn std::fmt::Display| {
        Failure::new("no_world", format!("{file} is not a saved world: {why}"))
            .hint("knib plan --world-out FILE saves one")
    };
    let world: World =
        serde_json::from_slice(&files::read(file)?).map_err(|error| no_world(&error))?;
    if world.format > crate::model::world::FORMAT {
        return Err(no_world(&format!(
            "form {} is newer than this knib",
            world.format
        )));
    }
    Ok(world)
}
