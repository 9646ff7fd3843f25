//! The journal of restores that have no state to write into, and what it may have left.

use std::fs;

use camino::Utf8Path;
use camino::Utf8PathBuf;

use crate::cli::at_once;
use crate::cli::at_once::Patience;
use crate::cli::basis::Basis;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::failure::Result;
use crate::cli::session::Seen;
use crate::cli::session::Session;
use crate::model::op::Op;
use crate::model::plan::Plan;
use crate::model::world::Guest;
use crate::model::world::Open;
use crate::planner::restore;
use crate::policy::Sources;
use crate::state::State;

const ENDING: &str = ".restore";

/// The journal, beside where the state would be.
fn journal(state: &Utf8Path) -> Utf8PathBuf {
    Utf8PathBuf::from(format!("{state}{ENDING}"))
}

/// The same, reading one storage in the place of all others; without a state into a journal of its own.
pub(super) fn reading(mut basis: Basis, storage: &Utf8Path) -> Result<Basis> {
    basis.from = Some(directory(storage)?);
    if State::look(&basis.state)?.is_none() {
        basis.state = journal(&basis.state);
    }
    Ok(basis)
}

/// A directory as everything else will name it.
pub(super) fn directory(dir: &Utf8Path) -> Result<Utf8PathBuf> {
    dir.canonicalize_utf8()
        .map_err(|error| Failure::file("use the directory", dir, &error))
}

/// What was begun without a state and is not done; nothing is the usual case.
pub(super) fn opens(basis: &Basis) -> Result<Vec<Open>> {
    Ok(match State::look(&journal(&basis.state))? {
        Some(journal) => journal.opens()?,
        None => Vec::new(),
    })
}

/// Sees everything, and what was begun without a state. Writes nothing.
pub(super) async fn see(session: &Session, basis: &Basis) -> Result<Seen> {
    let opens = opens(basis)?;
    let mut seen = match session.see(basis).await {
        Ok(seen) => seen,
        Err(failure) => {
            tell(session, &opens);
            return Err(failure);
        }
    };
    for open in opens {
        let Some(vm) = open.op.vm().cloned() else {
            continue;
        };
        let guest = seen.world.guests.entry(vm.uuid.clone());
        guest.or_insert_with(|| Guest::new(vm)).open.push(open);
    }
    Ok(seen)
}

/// Says what waits where no plan can.
fn tell(session: &Session, opens: &[Open]) {
    for open in opens.iter().filter(|open| !open.alive) {
        if let (Some(vm), Some(from)) = (open.op.vm(), storage(&open.op)) {
            let name = &vm.name;
            session.note(&format!(
                "{name}: a restore from {from} was interrupted; knib apply goes on with it, or: knib restore resume {name}"
            ));
        }
    }
}

/// What to work from to go on with a restore of a VM that was begun without a state; none if none was.
pub(super) fn of_vm(basis: &Basis, vm: &str) -> Result<Option<Basis>> {
    let opens = opens(basis)?;
    let mut of_it = opens.iter().filter(|open| {
        let of = open.op.vm();
        of.is_some_and(|of| of.name == vm || of.uuid.as_str() == vm)
    });
    Ok(of_it.find_map(|open| going_on(basis, open)))
}

fn going_on(basis: &Basis, open: &Open) -> Option<Basis> {
    Some(Basis {
        policy: basis.policy.clone(),
        sources: Sources::default(),
        uri: basis.uri.clone(),
        state: journal(&basis.state),
        from: Some(storage(&open.op)?.clone()),
    })
}

/// Goes on with what was interrupted while there was no state, if `agreed` to; whether it was.
pub(super) async fn carry_on(
    session: &Session,
    basis: &Basis,
    agreed: impl FnOnce(&Plan) -> Result<bool>,
) -> Result<bool> {
    let opens = opens(basis)?;
    let Some(without) = opens.iter().find_map(|open| going_on(basis, open)) else {
        forget(&journal(&basis.state))?;
        return Ok(true);
    };
    let seen = session.see(&without).await?;
    if !agreed(&restore::rest(&seen.world, &without.options()?))? {
        return Ok(false);
    }
    tell(session, &opens);
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
    forget(&without.state)?;
    Ok(true)
}

/// Where what an action restores is read.
fn storage(op: &Op) -> Option<&Utf8PathBuf> {
    Some(match op {
        Op::RestoreVm(op) => &op.origin.storage.path,
        Op::RestoreDisk(op) => &op.origin.storage.path,
        Op::RestoreNew(op) => &op.origin.storage.path,
        Op::Consolidate(op) => &op.disks.values().next()?.of.storage,
        _ => return None,
    })
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
