//! `knib chain`: backups that continue each other.

use crate::cli::exit::Exit;
use crate::cli::failure::Result;
use crate::cli::render::lists;
use crate::cli::session::Session;
use crate::cli::view::chain;

/// Backups that continue each other
#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum Chain {
    /// List the chains of every VM
    List,
}

pub(super) fn run(session: &Session, Chain::List: &Chain) -> Result<Exit> {
    let json = session.global.format.is_json()?;
    let basis = session.basis_anyhow()?;
    let recalled = session.recall(&basis)?;
    let known = recalled.known();
    let of_each = recalled.by_name().into_iter();
    let all: Vec<_> = of_each
        .flat_map(|guest| chain::of_guest(known, guest))
        .collect();
    let when = session.when(&basis);
    session.list(json, &all, || lists::chains(&all, &when, session.look()))?;
    Ok(Exit::Done)
}
