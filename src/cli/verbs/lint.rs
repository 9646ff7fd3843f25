//! `knib lint`: the policy alone, every problem at once. No host is asked.

use crate::cli::args::Format;
use crate::cli::exit::Exit;
use crate::cli::failure::Result;
use crate::cli::find;
use crate::cli::render::findings;
use crate::cli::session::Session;
use crate::cli::sources;
use crate::model::finding::Severity;
use crate::policy;
use crate::policy::lint;

/// Check the policy, without asking any host
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Lint {
    /// Make an error of a lint; may be repeated
    #[arg(long, value_name = "KLnnn", value_delimiter = ',')]
    deny: Vec<String>,
}

pub(super) fn run(session: &Session, args: &Lint) -> Result<Exit> {
    let format = session
        .global
        .format
        .of(&[Format::Human, Format::Json, Format::Github])?;
    let known = lint::CODES.map(|(code, _)| code);
    if let Some(code) = args
        .deny
        .iter()
        .find(|code| !known.contains(&code.as_str()))
    {
        return Err(find::unknown("lint", code, &known).exit(Exit::Usage));
    }
    let places = session.places()?;
    let (sources, mut all) = sources::read(&places);
    let readable = all.is_empty();
    let (policy, found) = policy::load(&sources);
    all.extend(found);
    if let Some(policy) = policy.filter(|_| readable) {
        all.extend(lint::lint(&policy, &sources, session.now));
    }
    lint::deny(&mut all, &args.deny);
    let look = session.look();
    session.print(&match format {
        Format::Json => findings::json(&all),
        Format::Github => findings::github(&all),
        _ => {
            findings::human(&all, &sources, look.width, look.colour)
                + &findings::closing(&all, &sources)
        }
    })?;
    let wrong = all.iter().any(|one| one.severity == Severity::Error);
    Ok(if wrong { Exit::Error } else { Exit::Done })
}
