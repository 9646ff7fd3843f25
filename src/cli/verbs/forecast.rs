//! `knib forecast`: the calendar played forward.

use jiff::SignedDuration;

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::failure::Result;
use crate::cli::render::forecast as render;
use crate::cli::session::Session;
use crate::cli::times;
use crate::cli::verbs::plan::glob;
use crate::model::seconds::later;
use crate::planner::Options;
use crate::planner::forecast;
use crate::policy::glob::Glob;

/// So far ahead when nothing is said.
const AHEAD: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Play the calendar forward: what each day writes, lets go and frees
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Forecast {
    /// How far: 2027-03-01, in the policy's zone [default: 30 days]
    #[arg(long, value_name = "T")]
    until: Option<String>,
    /// Only VMs whose name matches
    #[arg(long, value_name = "GLOB", value_parser = glob)]
    vm: Option<Glob>,
}

pub(super) async fn run(session: &Session, args: Forecast) -> Result<Exit> {
    let json = session.global.format.is_json()?;
    let basis = session.basis_in_files()?;
    let until = match &args.until {
        Some(text) => times::instant(text, &basis.zone())?,
        None => later(session.now, AHEAD),
    };
    if until <= session.now {
        let text = format!("--until {until} is not in the future");
        return Err(Failure::usage(text));
    }
    let seen = session.see(&basis).await?;
    let options = Options {
        vm: args.vm,
        ..basis.options()?
    };
    let played = forecast::play(basis.policy(), &seen.world, &options, until);
    if json {
        session.print_json(&played)?;
    } else {
        session.print(&render::human(&played, session.look()))?;
    }
    Ok(Exit::Done)
}
