//! `knib state`: whether everything that carries knib's mark is accounted for, and what knib knows of it.

use std::fmt::Write;

use crate::cli::at_once;
use crate::cli::at_once::Patience;
use crate::cli::exit::Exit;
use crate::cli::failure::Result;
use crate::cli::render::text;
use crate::cli::session::Session;
use crate::cli::verbs::rebuild;
use crate::cli::verbs::rebuild::Rebuild;
use crate::engine;
use crate::model::orphan::Orphan;
use crate::model::orphan::OrphanKind;
use crate::model::world::World;
use crate::planner::Options;
use crate::planner::request;

/// What knib knows, and what it finds
#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum State {
    /// List what carries knib's mark, on storages and beside disks, and nothing refers to
    Check(Check),
    /// Make a lost state file anew from the storages that the policy names
    Rebuild(Rebuild),
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Check {
    /// Remove what nothing can be lost with; the rest is kept
    #[arg(long)]
    fix: bool,
    #[command(flatten)]
    patience: Patience,
}

pub(super) async fn run(session: &Session, state: State) -> Result<Exit> {
    match state {
        State::Check(args) => check(session, args).await,
        State::Rebuild(args) => rebuild::run(session, &args).await,
    }
}

async fn check(session: &Session, args: Check) -> Result<Exit> {
    let json = session.global.format.is_json()?;
    let basis = session.basis_anyhow()?;
    let seen = session.see(&basis).await?;
    let mut found = engine::orphans(&seen.host, &seen.world).await?;
    let mut exit = Exit::Done;
    if args.fix {
        let draw_up = |world: &mut World, options: &Options| request::clear(&found, world, options);
        let told = ("state check", "what is left over");
        let finished = at_once::carry_out(session, &basis, told, args.patience, draw_up).await?;
        exit = finished.exit();
        if exit != Exit::Done {
            session.note(finished.report(session).trim_end());
        }
        let seen = session.see(&basis).await?;
        let left = engine::orphans(&seen.host, &seen.world).await?;
        for one in found.iter().filter(|one| !left.contains(one)) {
            session.note(&format!("removed {}", one.path));
        }
        found = left;
    }
    session.list(json, &found, || drawn(&found))?;
    if exit == Exit::Done && !found.is_empty() {
        exit = Exit::Blocked;
    }
    Ok(exit)
}

fn drawn(all: &[Orphan]) -> String {
    if all.is_empty() {
        return "Nothing is left over.\n".to_owned();
    }
    let mut said = String::new();
    for one in all {
        let vm = one
            .vm
            .as_ref()
            .map_or(String::new(), |vm| format!(" of {}", vm.name));
        let _ = writeln!(
            said,
            "{}\n  {}{vm}, {}: {}",
            text::clean(one.path.as_str()),
            kind(one.kind),
            one.size,
            fate(one)
        );
    }
    said
}

fn kind(kind: OrphanKind) -> &'static str {
    match kind {
        OrphanKind::Stage => "a backup that was never complete",
        OrphanKind::Deleted => "the rest of a deleted backup",
        OrphanKind::Backup => "a backup that is not on record",
        OrphanKind::Delta => "a delta",
        OrphanKind::Snapshot => "a layer of a snapshot",
        OrphanKind::Merged => "a delta that was merged",
        OrphanKind::Lease => "a note that a VM reads a backup, which none here does",
        OrphanKind::Replaced => "what a restore replaced, or what somebody went back from",
        OrphanKind::Unfinished => "a disk that a restore did not complete",
        OrphanKind::Throwaway => "a file of a VM in which a backup was booted",
        OrphanKind::Compressed => "a compressed file that no job is about",
    }
}

fn fate(one: &Orphan) -> &'static str {
    match (one.removable, one.kind) {
        (true, _) => "--fix removes it",
        (false, OrphanKind::Backup) => "kept: it can be restored by what its README.txt says",
        (false, OrphanKind::Lease) => {
            "kept, and the backup with it: remove the file when no disk of that VM lies on the backup any more"
        }
        (false, OrphanKind::Delta | OrphanKind::Snapshot) => "kept: it may hold what a guest wrote",
        (false, _) => "kept: somebody else may use it",
    }
}
