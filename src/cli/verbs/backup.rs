//! `knib backup`: make one now, look at those there are, let them go, keep them.

use clap::ValueEnum;

use crate::cli::at_once;
use crate::cli::at_once::Patience;
use crate::cli::basis::Recalled;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::failure::Result;
use crate::cli::find;
use crate::cli::render::lists;
use crate::cli::session::Session;
use crate::cli::verbs::delete;
use crate::cli::verbs::delete::Delete;
use crate::cli::verbs::pin;
use crate::cli::verbs::pin::Pin;
use crate::cli::verbs::validate;
use crate::cli::verbs::validate::Validate;
use crate::cli::verbs::verify;
use crate::cli::verbs::verify::Verify;
use crate::cli::view::backup;
use crate::cli::view::backup::BackupView;
use crate::cli::view::backup::Status;
use crate::cli::work;
use crate::cli::work::Finished;
use crate::model::id::BackupId;
use crate::model::op::Op;
use crate::model::plan::Outcome;
use crate::model::plan::Plan;
use crate::model::policy;
use crate::model::world::World;
use crate::planner::Options;
use crate::planner::request;
use crate::planner::request::BackupRun;

/// Make backups, look at them, let them go
#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum Backup {
    /// Back a VM up now
    Run(Run),
    /// List backups
    List(List),
    /// Show everything about a backup
    Show(Show),
    Delete(Delete),
    Verify(Verify),
    /// Keep a backup whatever would let it go
    Pin(Pin),
    /// Keep a pinned backup no longer than others
    Unpin(Pin),
    Validate(Validate),
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Run {
    /// Name or uuid
    #[arg(value_name = "VM")]
    vm: String,
    /// Outside of the VM's chain, which stays as it is
    #[arg(long)]
    isolated: bool,
    /// All disks whole: begins a new chain
    #[arg(long, conflicts_with = "isolated")]
    full: bool,
    /// What the guest is asked, instead of what its schedules say
    #[arg(long, value_name = "LEVEL")]
    quiesce: Option<Quiesce>,
    /// Where to, instead of the policy's storage; needed for a VM without a policy
    #[arg(long, value_name = "NAME")]
    storage: Option<String>,
    #[command(flatten)]
    patience: Patience,
}

/// Whether the guest's file systems are frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Quiesce {
    /// Not asked
    None,
    /// Asked; without an answer the backup is made all the same
    Preferred,
    /// Without an answer there is no backup
    Required,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct List {
    /// Only of this VM
    #[arg(long, value_name = "VM")]
    vm: Option<String>,
    /// Also those that failed or were let go
    #[arg(long)]
    all: bool,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Show {
    /// Id, a unique beginning of it, VM@latest or VM@TIME
    #[arg(value_name = "B")]
    backup: String,
}

pub(super) async fn run(session: &Session, args: Backup) -> Result<Exit> {
    match args {
        Backup::Run(args) => make(session, args).await,
        Backup::List(args) => list(session, &args),
        Backup::Show(args) => show(session, &args),
        Backup::Delete(args) => delete::run(session, args).await,
        Backup::Verify(args) => verify::run(session, args).await,
        Backup::Pin(args) => pin::run(session, args, true).await,
        Backup::Unpin(args) => pin::run(session, args, false).await,
        Backup::Validate(args) => validate::run(session, args).await,
    }
}

fn list(session: &Session, args: &List) -> Result<Exit> {
    let json = session.global.format.is_json()?;
    let basis = session.basis_anyhow()?;
    let recalled = basis.recall()?;
    let guests = match &args.vm {
        Some(name) => vec![find::vm(&recalled.guests, name)?],
        None => recalled.by_name(),
    };
    let known = recalled.known();
    let each = guests
        .into_iter()
        .flat_map(|guest| backup::of_guest(known, guest));
    let all: Vec<BackupView> = each.filter(|one| args.all || is_listed(one)).collect();
    let when = session.when(&basis);
    session.list(json, &all, || lists::backups(&all, &when, session.look()))?;
    Ok(Exit::Done)
}

fn is_listed(one: &BackupView) -> bool {
    !matches!(one.status, Status::Failed | Status::Removed)
}

fn show(session: &Session, args: &Show) -> Result<Exit> {
    let json = session.global.format.is_json()?;
    let basis = session.basis_anyhow()?;
    let recalled = basis.recall()?;
    let (guest, found) = session.choose(&recalled.guests, &args.backup, &basis)?;
    let view = backup::view(recalled.known(), guest, found);
    if json {
        session.print_json(&view)?;
    } else {
        let when = session.when(&basis);
        session.print(&lists::backup(&view, &when, session.look()))?;
    }
    Ok(Exit::Done)
}

async fn make(session: &Session, args: Run) -> Result<Exit> {
    let json = session.global.format.is_json()?;
    let basis = session.basis_anyhow()?;
    let seen = session.see(&basis).await?;
    let guest = find::defined(&seen.world.guests, &args.vm)?;
    let (name, uuid) = (guest.vm.name.clone(), guest.vm.uuid.clone());
    let policy = guest.record.assigned.as_ref();
    if policy.is_none() && args.storage.is_none() {
        return Err(
            Failure::new("no_policy", format!("{name} has no policy in force")).hint(
                "name a --storage for a backup that is kept until it is deleted by hand, or select the VM in a policy and knib apply",
            ),
        );
    }
    if let Some(storage) = &args.storage
        && !seen.world.storages.contains_key(storage)
    {
        let names: Vec<_> = seen.world.storages.keys().map(String::as_str).collect();
        return Err(find::unknown("storage", storage, &names));
    }
    let asked = BackupRun {
        vm: uuid.clone(),
        isolated: args.isolated,
        full: args.full,
        quiesce: args.quiesce.map(|level| match level {
            Quiesce::None => policy::Quiesce::None,
            Quiesce::Preferred => policy::Quiesce::Preferred,
            Quiesce::Required => policy::Quiesce::Required,
        }),
        storage: args.storage,
    };
    let draw_up = |world: &mut World, options: &Options| {
        world.guests.retain(|vm, _| *vm == uuid);
        request::backup(&asked, basis.policy.as_ref(), world, options)
    };
    let told = ("backup run", name.as_str());
    let finished = at_once::carry_out(session, &basis, told, args.patience, draw_up).await?;
    work::print(session, json, &finished.plan, || {
        made(&finished).unwrap_or_else(|| finished.report(session))
    })?;
    Ok(finished.exit())
}

/// The backup that was made, in a line.
fn made(finished: &Finished) -> Option<String> {
    let id = done(&finished.plan)?;
    let recalled = Recalled::of(finished.state.as_ref()?).ok()?;
    let (guest, found) = recalled
        .guests
        .values()
        .find_map(|guest| Some((guest, guest.record.backups.get(id)?)))?;
    let view = backup::view(recalled.known(), guest, found);
    let kind = if found.parent.is_some() {
        "incremental"
    } else {
        "full"
    };
    let place = match (view.chain, view.position) {
        (Some(chain), Some(position)) => format!("{position} in chain {chain}"),
        _ => "isolated".to_owned(),
    };
    let level = format!("{:?}", found.consistency).to_lowercase();
    Some(format!(
        "{id} of {}: {kind}, {place}, {}, {level} consistent, on {}\n",
        guest.vm.name,
        view.size,
        view.storage.unwrap_or_default()
    ))
}

/// The backup of a plan all of which was done.
fn done(plan: &Plan) -> Option<&BackupId> {
    let all = plan.actions.iter();
    if !all
        .clone()
        .all(|action| action.result == Some(Outcome::Done))
    {
        return None;
    }
    all.into_iter().find_map(|action| match &action.op {
        Op::Backup(op) => Some(&op.id),
        _ => None,
    })
}
