//! `knib job`: what is done about backups after they are made.

use clap::ValueEnum;

use crate::cli::at_once;
use crate::cli::at_once::Patience;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::failure::Result;
use crate::cli::find;
use crate::cli::find::Guests;
use crate::cli::render::lists;
use crate::cli::session::Session;
use crate::cli::view::job;
use crate::cli::view::job::JobView;
use crate::cli::view::job::State;
use crate::model::id::BackupId;
use crate::model::id::JobId;
use crate::model::id::VmId;
use crate::model::job::JobKind;
use crate::model::world::World;
use crate::planner::Options;
use crate::planner::jobs;
use crate::planner::jobs::Asked;

/// Compressions and validations of backups
#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum Job {
    /// List jobs, those that are due first
    List(List),
    /// Try a job again that failed, was cancelled, or waits for a time
    Retry(Named),
    /// End a job; its backup stays as it is, and unfinished files go
    Cancel(Named),
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct List {
    /// One job
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Jobs about one backup: an id, a unique beginning of it, VM@latest or VM@TIME
    #[arg(long, value_name = "B")]
    backup: Option<String>,
    /// Jobs of one VM: its name or uuid
    #[arg(long, value_name = "VM")]
    vm: Option<String>,
    /// Jobs of one type
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<Type>,
    /// Only those that are being tried
    #[arg(long)]
    executing: bool,
    /// Only those that wait to be tried, now or later; with --executing also these
    #[arg(long)]
    scheduled: bool,
}

/// What a job is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Type {
    /// Write compressed files beside a backup's
    Start,
    /// Put them in their place
    Finalize,
    /// Boot a backup
    Validate,
}

impl Type {
    fn kind(self) -> JobKind {
        match self {
            Self::Start => JobKind::Start,
            Self::Finalize => JobKind::Finalize,
            Self::Validate => JobKind::Validate,
        }
    }
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Named {
    /// Its id, or a unique beginning of it
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    patience: Patience,
}

pub(super) async fn run(session: &Session, args: Job) -> Result<Exit> {
    match args {
        Job::List(args) => list(session, &args),
        Job::Retry(args) => decide(session, args, Asked::Retry).await,
        Job::Cancel(args) => decide(session, args, Asked::Cancel).await,
    }
}

fn list(session: &Session, args: &List) -> Result<Exit> {
    let json = session.global.format.is_json()?;
    let basis = session.basis_anyhow()?;
    let recalled = basis.recall()?;
    let guests = &recalled.guests;
    let vm = match &args.vm {
        Some(name) => Some(find::vm(guests, name)?.vm.uuid.clone()),
        None => None,
    };
    let backup = match &args.backup {
        Some(given) => Some(session.choose(guests, given, &basis)?.1.id.clone()),
        None => None,
    };
    let id = match &args.id {
        Some(given) => Some(by_beginning(guests, given)?.1),
        None => None,
    };
    let of_each = recalled.by_name().into_iter();
    let mut all: Vec<_> = of_each
        .flat_map(|guest| job::of_guest(guest, session.now))
        .collect();
    all.retain(|one| {
        id.as_ref().is_none_or(|id| one.id == *id)
            && vm.as_ref().is_none_or(|vm| one.vm.uuid == *vm)
            && backup
                .as_ref()
                .is_none_or(|id: &BackupId| one.backup == *id)
            && args.kind.is_none_or(|kind| one.kind == kind.kind())
            && stands(args, one)
    });
    all.sort_by(|a, b| (a.scheduled_at, &a.id).cmp(&(b.scheduled_at, &b.id)));
    let when = session.when(&basis);
    session.list(json, &all, || lists::jobs(&all, &when, session.look()))?;
    Ok(Exit::Done)
}

fn stands(args: &List, one: &JobView) -> bool {
    let executing = one.state == State::Executing;
    let scheduled = matches!(one.state, State::Held | State::Scheduled);
    let every = !args.executing && !args.scheduled;
    every || (args.executing && executing) || (args.scheduled && scheduled)
}

async fn decide(session: &Session, args: Named, asked: Asked) -> Result<Exit> {
    let json = session.global.format.is_json()?;
    let basis = session.basis_anyhow()?;
    let recalled = basis.recall()?;
    let (vm, id) = by_beginning(&recalled.guests, &args.id)?;
    if id.as_str() != args.id {
        session.note(&format!("{} is {id}", args.id));
    }
    let draw_up = |world: &mut World, options: &Options| {
        world.guests.retain(|uuid, _| *uuid == vm);
        jobs::ask(asked, (&vm, &id), world, options)
    };
    let (command, word) = match asked {
        Asked::Retry => ("job retry", "is tried again by the next apply"),
        Asked::Cancel => ("job cancel", "is cancelled"),
    };
    let told = (command, id.as_str());
    let finished = at_once::carry_out(session, &basis, told, args.patience, draw_up).await?;
    finished.conclude(session, json, || format!("{id} {word}\n"))
}

/// A job by its id or a unique beginning of it, and its VM.
fn by_beginning(guests: &Guests, given: &str) -> Result<(VmId, JobId)> {
    let all = guests
        .iter()
        .flat_map(|(vm, guest)| guest.record.jobs.keys().map(move |id| (vm, id)));
    let fits: Vec<_> = all
        .clone()
        .filter(|(_, id)| id.as_str().starts_with(given) && !given.is_empty())
        .collect();
    let exact = fits.iter().find(|(_, id)| id.as_str() == given);
    match (exact, &fits[..]) {
        (Some((vm, id)), _) | (None, [(vm, id)]) => Ok(((*vm).clone(), (*id).clone())),
        (None, []) => {
            let ids: Vec<_> = all.map(|(_, id)| id.as_str()).collect();
            Err(find::unknown("job", given, &ids))
        }
        (None, several) => {
            let ids: Vec<_> = several.iter().map(|(_, id)| id.as_str()).collect();
            let text = format!("{given} is the beginning of {} jobs", several.len());
            Err(Failure::new("ambiguous", text).hint(format!("say which: {}", ids.join(", "))))
        }
    }
}
