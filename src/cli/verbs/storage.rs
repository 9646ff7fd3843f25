//! `knib storage`: where backups are, and how much room there is.

use crate::cli::exit::Exit;
use crate::cli::failure::Result;
use crate::cli::render::lists;
use crate::cli::session::Session;
use crate::cli::view::storage;

/// Directories for backups
#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum Storage {
    /// List storages with their space, and what each VM takes of it
    List,
}

pub(super) async fn run(session: &Session, Storage::List: &Storage) -> Result<Exit> {
    let json = session.global.format.is_json()?;
    let basis = session.basis_anyhow()?;
    let seen = session.see(&basis).await?;
    let all = storage::all(&seen.world, basis.policy.as_ref());
    session.list(json, &all, || {
        lists::storages(&all, &session.when(&basis), session.look())
    })?;
    Ok(Exit::Done)
}
