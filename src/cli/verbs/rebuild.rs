//! `knib state rebuild`: the state made anew from what storages hold.

use std::fmt::Write;

use camino::Utf8Path;
use camino::Utf8PathBuf;

use crate::cli::basis::Basis;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::failure::Result;
use crate::cli::render::said::said;
use crate::cli::render::text;
use crate::cli::session::Session;
use crate::cli::view::rebuilt;
use crate::cli::view::rebuilt::RebuiltView;
use crate::engine;
use crate::model::finding::Severity;
use crate::planner::rebuild;
use crate::state::State;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Rebuild {
    /// Also in the place of a state that is there; a copy of it is kept
    #[arg(long)]
    force: bool,
    /// Show what it would hold, and write nothing
    #[arg(long)]
    plan: bool,
}

pub(super) async fn run(session: &Session, args: &Rebuild) -> Result<Exit> {
    let json = session.global.format.is_json()?;
    let basis = session.basis_in_files()?;
    let there = replaceable(&basis, args.force)?;
    let seen = session.see_without_state(&basis).await?;
    let kept = engine::kept(&seen.host, &seen.world).await;
    let rebuilt = rebuild::rebuild(&kept, basis.policy(), &seen.world);
    let unreachable = seen
        .world
        .storages
        .iter()
        .find(|(_, one)| one.usable().is_none());
    if let Some((name, storage)) = unreachable {
        let text = format!("storage {name} is not there: {}", storage.path);
        let hint = "mount it, or take it out of the policy: what is on it would not be known";
        return Err(Failure::new("storage_missing", text).hint(hint));
    }
    let mut view = rebuilt::view(&basis.state, &rebuilt);
    let worst = view.findings.iter().map(|finding| finding.severity).max();
    if worst != Some(Severity::Error) && !args.plan {
        let kept = put_away(&basis.state, session);
        State::make_anew(&basis.state, rebuilt.id.as_ref(), &rebuilt.changes, &kept)?;
        view.kept = there.then_some(kept);
        view.written = true;
    }
    if json {
        session.print_json(&view)?;
    } else {
        session.print(&drawn(&view))?;
        let look = session.io.err(session.global.color);
        for finding in &view.findings {
            session.io.tell(&said(finding, look));
        }
    }
    Ok(match worst {
        Some(Severity::Error) => Exit::Error,
        Some(Severity::Warning) => Exit::Failed,
        _ => Exit::Done,
    })
}

/// Whether there is a state, and it may be replaced: nobody works with it, and it knows of nothing, or a
/// person insists.
fn replaceable(basis: &Basis, force: bool) -> Result<bool> {
    let path = &basis.state;
    let known = match State::look(path) {
        Ok(None) => return Ok(false),
        Ok(Some(state)) => state.read(|state| Ok((state.opens()?, state.records()?))),
        Err(error) => Err(error),
    };
    let (opens, records) = match known {
        Ok(known) => known,
        // One that cannot be read is what this is for.
        Err(_) if force => return Ok(true),
        Err(error) => return Err(Failure::from(error).hint(insist(path))),
    };
    if let Some(open) = opens.iter().find(|open| open.alive) {
        let text = format!("knib {} (pid {}) works with {path}", open.command, open.pid);
        return Err(Failure::new("held", text).exit(Exit::Busy));
    }
    let knows = records
        .values()
        .any(|(_, record)| !record.backups.is_empty());
    if force || (opens.is_empty() && !knows) {
        return Ok(true);
    }
    let text = format!("there is a state: {path}; nothing was changed");
    Err(Failure::new("state_there", text).hint(insist(path)))
}

fn insist(path: &Utf8Path) -> String {
    format!(
        "--force makes it anew all the same and keeps {path} beside it; what was interrupted is then forgotten"
    )
}

/// The name that a state has when it was replaced.
fn put_away(path: &Utf8Path, session: &Session) -> Utf8PathBuf {
    let at = session.now.strftime("%Y%m%d-%H%M%S");
    Utf8PathBuf::from(format!("{path}.before-{at}"))
}

fn drawn(view: &RebuiltView) -> String {
    let mut drawn = String::new();
    for one in &view.vms {
        let next = match (&one.current, one.defined) {
            (Some(current), _) => format!("the next one continues {current}"),
            (None, true) => "the next one is full".to_owned(),
            (None, false) => "not defined here".to_owned(),
        };
        let backups = text::count(one.backups, "backup");
        let name = text::clean(&one.vm.name);
        let _ = writeln!(drawn, "{name}  {backups}, {next}");
    }
    let backups: usize = view.vms.iter().map(|one| one.backups).sum();
    let of = text::count(view.vms.len(), "VM");
    let path = &view.path;
    let verb = if view.written { "holds" } else { "would hold" };
    let _ = writeln!(
        drawn,
        "{path} {verb} {} of {of}.",
        text::count(backups, "backup")
    );
    if let Some(kept) = &view.kept {
        let _ = writeln!(drawn, "What was there before is {kept}.");
    }
    drawn += if view.written {
        "knib plan shows what comes next.\n"
    } else {
        "Nothing was written.\n"
    };
    drawn
}
