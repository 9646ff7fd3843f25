//! `knib offering`: what kinds of backups there are.

use crate::cli::exit::Exit;
use crate::cli::failure::Result;
use crate::cli::find;
use crate::cli::render::lists;
use crate::cli::session::Session;
use crate::cli::view::offering;
use crate::cli::view::offering::OfferingView;

/// Kinds of backups
#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum Offering {
    /// List the offerings in force
    List(List),
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct List {
    /// One offering
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Only those that compress
    #[arg(long)]
    compress: bool,
    /// Only those that validate
    #[arg(long)]
    validate: bool,
    /// Only those that allow a quick restore
    #[arg(long)]
    allow_quick_restore: bool,
    /// Only those that allow to extract files
    #[arg(long)]
    allow_extract_file: bool,
    /// Also those that the policy no longer has
    #[arg(long)]
    show_removed: bool,
}

pub(super) fn run(session: &Session, args: &Offering) -> Result<Exit> {
    let Offering::List(args) = args;
    let json = session.global.format.is_json()?;
    let basis = session.basis_anyhow()?;
    let recalled = session.recall(&basis)?;
    let mut all = offering::all(recalled.known());
    if let Some(name) = &args.name
        && !all.iter().any(|one| one.name == *name)
    {
        let names: Vec<_> = all.iter().map(|one| one.name.as_str()).collect();
        return Err(find::unknown("offering", name, &names));
    }
    all.retain(|one| wanted(args, one));
    session.list(json, &all, || lists::offerings(&all, session.look()))?;
    Ok(Exit::Done)
}

fn wanted(args: &List, one: &OfferingView) -> bool {
    args.name.as_ref().is_none_or(|name| one.name == *name)
        && (!args.compress || one.compress)
        && (!args.validate || one.validate)
        && (!args.allow_quick_restore || one.allow_quick_restore)
        && (!args.allow_extract_file || one.allow_extract_file)
        && (args.show_removed || !one.removed)
}
