//! `knib log`: the journal as it is told.

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::failure::Result;
use crate::cli::find;
use crate::cli::render::lists;
use crate::cli::session::Session;
use crate::cli::times;
use crate::cli::view::run::RunView;
use crate::state::Filter;
use crate::state::State;

/// Show runs and what they did, each failure with its cause
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Log {
    /// One run, by its id or a unique beginning of it, with every step
    #[arg(value_name = "RUN")]
    run: Option<String>,
    /// Only what was done to this VM
    #[arg(long, value_name = "VM")]
    vm: Option<String>,
    /// Only what failed or was interrupted
    #[arg(long)]
    failed: bool,
    /// Only runs that began at this time or later
    #[arg(long, value_name = "T")]
    since: Option<String>,
}

pub(super) fn run(session: &Session, args: &Log) -> Result<Exit> {
    let json = session.global.format.is_json()?;
    let basis = session.basis_anyhow()?;
    let zone = basis.zone();
    let since = args
        .since
        .as_ref()
        .map(|since| times::instant(since, &zone));
    let recalled = session.recall(&basis)?;
    let vm = args
        .vm
        .as_ref()
        .map(|name| find::vm(&recalled.guests, name));
    let filter = Filter {
        run: None,
        since: since.transpose()?,
        vm: vm.transpose()?.map(|guest| guest.vm.uuid.clone()),
        failed: args.failed,
    };
    let history = match State::look(&basis.state)? {
        Some(state) => state.history(&filter)?,
        None => Vec::new(),
    };
    let runs: Vec<RunView> = history.into_iter().map(RunView::from).collect();
    let when = session.when(&basis);
    let Some(given) = &args.run else {
        return session
            .list(json, &runs, || lists::runs(&runs, &when, session.look()))
            .map(|()| Exit::Done);
    };
    let one = chosen(&runs, given)?;
    if json {
        session.print_json(one)?;
    } else {
        session.print(&lists::run(one, &when, session.look()))?;
    }
    Ok(Exit::Done)
}

fn chosen<'a>(runs: &'a [RunView], given: &str) -> Result<&'a RunView> {
    let fits: Vec<_> = runs
        .iter()
        .filter(|run| run.id.as_str().starts_with(given))
        .collect();
    match &fits[..] {
        [one] => Ok(one),
        [] => {
            let ids: Vec<_> = runs.iter().map(|run| run.id.as_str()).collect();
            Err(find::unknown("run", given, &ids))
        }
        several => {
            let text = format!("{given} is the beginning of {} runs", several.len());
            Err(Failure::new("ambiguous", text))
        }
    }
}
