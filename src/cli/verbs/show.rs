//! `knib show`: read a saved plan.

use camino::Utf8PathBuf;

use crate::cli::args::Format;
use crate::cli::exit::Exit;
use crate::cli::failure::Result;
use crate::cli::render::plan as render;
use crate::cli::saved;
use crate::cli::session::Session;
use crate::cli::work;

/// Show a saved plan
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Show {
    /// A plan saved by `knib plan -o`
    #[arg(value_name = "PLAN")]
    plan: Utf8PathBuf,
}

pub(super) fn run(session: &Session, args: &Show) -> Result<Exit> {
    const FORMATS: [Format; 3] = [Format::Human, Format::Json, Format::Markdown];
    let format = session.global.format.of(&FORMATS)?;
    let saved = saved::read(&args.plan)?;
    if !saved.whole {
        session.note("note: this plan was altered after it was saved; knib apply refuses it");
    }
    session.print(&match format {
        Format::Json => saved::text(&saved.plan),
        Format::Markdown => render::markdown(&saved.plan),
        _ => render::human(&saved.plan, work::detail(session), session.look()),
    })?;
    Ok(Exit::Done)
}
