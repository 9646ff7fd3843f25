//! The journal of restores that have no state to write into, and what it may have left.

use std::fs;

use camino::Utf8Path;
use camino::Utf8PathBuf;

use crate::cli::at_once;
use crate::cli::at_once::Patience;
use crate::cli::basis::Basis;
use crate::cli::exit::Exit;
use crate::cli::failure::Result;
use crate::cli::session::Session;
use crate::model::op::Op;
use crate::model::op::Origin;
use crate::planner::restore;
use crate::policy::Sources;
use crate::state::State;

const ENDING: &str = ".restore";

/// The journal, beside where the state would be.
pub(super) fn journal(state: &Utf8Path) -> Utf8PathBuf {
    Utf8PathBuf::from(format!("{state}{ENDING}"))
}

/// Goes on with a restore that was interrupted while there was no state; none is the usual case.
pub(in crate::cli::verbs) async fn carry_on(session: &Session, basis: &Basis) -> Result<()> {
    let journal = journal(&basis.state);
    let Some(state) = State::look(&journal)? else {
        return Ok(());
    };
    let opens = state.opens()?;
    drop(state);
    let origin = opens.iter().find_map(|open| origin(&open.op));
    let Some(from) = origin.map(|origin| origin.storage.path.clone()) else {
        return forget(&journal);
    };
    session.note(&format!(
        "going on with a restore from {from} that was interrupted"
    ));
    let without = Basis {
        policy: basis.policy.clone(),
        sources: Sources::default(),
        uri: basis.uri.clone(),
        state: journal.clone(),
        from: Some(from),
    };
    let told = ("apply", "what a restore left");
    let rest = at_once::carry_out(
        session,
        &without,
        told,
        Patience::default(),
        |world, options| restore::rest(world, options),
    );
    let finished = rest.await?;
    if finished.exit() != Exit::Done {
        session.note(finished.report(session).trim_end());
    }
    drop(finished);
    forget(&journal)
}

fn origin(op: &Op) -> Option<&Origin> {
    match op {
        Op::RestoreVm(op) => Some(&op.origin),
        Op::RestoreDisk(op) => Some(&op.origin),
        Op::RestoreNew(op) => Some(&op.origin),
        _ => None,
    }
}

/// A journal that was made for want of a state goes when nothing in it is open.
pub(super) fn forget(state: &Utf8Path) -> Result<()> {
    if !state.as_str().ends_with(ENDING) {
        return Ok(());
    }
    let Some(journal) = State::look(state)? else {
        return Ok(());
    };
    if !journal.opens()?.is_empty() {
        return Ok(());
    }
    drop(journal);
    for ending in ["", "-wal", "-shm"] {
        // What stays is found again, and is empty.
        let _ = fs::remove_file(format!("{state}{ending}"));
    }
    let _ = fs::remove_dir_all(format!("{state}.run"));
    Ok(())
}
