//! `knib backup verify`: read backups again, and see whether they are what was written.

use std::collections::BTreeSet;

use crate::cli::at_once;
use crate::cli::at_once::Patience;
use crate::cli::basis::Basis;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::failure::Result;
use crate::cli::find::Guests;
use crate::cli::render::lists;
use crate::cli::session::Session;
use crate::cli::view::verified;
use crate::cli::view::verified::VerifiedView;
use crate::model::id::BackupId;
use crate::model::id::VmId;
use crate::model::plan::Action;
use crate::model::plan::Plan;
use crate::model::world::World;
use crate::planner::Options;
use crate::planner::verify;

/// Read backups, and all that they continue, and see whether every file is what was written
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Verify {
    /// Ids, unique beginnings of them, VM@latest or VM@TIME; VM may be a pattern: '*@latest'
    #[arg(value_name = "B", required_unless_present_any = ["all", "oldest"])]
    backups: Vec<String>,
    /// All backups
    #[arg(long, conflicts_with = "backups")]
    all: bool,
    /// The N backups that were read, or else made, longest ago, without what they continue
    #[arg(long, value_name = "N", conflicts_with_all = ["backups", "all"])]
    oldest: Option<usize>,
    #[command(flatten)]
    patience: Patience,
}

pub(super) async fn run(session: &Session, args: Verify) -> Result<Exit> {
    let json = session.global.format.is_json()?;
    let basis = session.basis_anyhow()?;
    let recalled = basis.recall()?;
    let asked = chosen(session, &recalled.guests, &args, &basis)?;
    let alone = args.oldest.is_some();
    let what = match &asked[..] {
        [(_, one)] => one.to_string(),
        several => format!("one of {} backups", several.len()),
    };
    let draw_up = |world: &mut World, options: &Options| verify::ask(&asked, alone, world, options);
    let told = ("backup verify", what.as_str());
    let read = at_once::carry_out(session, &basis, told, args.patience, draw_up).await?;
    let after = basis.recall()?.guests;
    let all = views(&read.plan, (&recalled.guests, &after), &asked);
    let said = note(session, &basis, &after, &args).await;
    session.list(json, &all, || lists::verified(&all, session.look()))?;
    Ok(Exit::most_telling([read.exit(), said?]))
}

/// The backups that were meant.
fn chosen(
    session: &Session,
    guests: &Guests,
    args: &Verify,
    basis: &Basis,
) -> Result<Vec<(VmId, BackupId)>> {
    if args.oldest == Some(0) {
        return Err(Failure::usage("--oldest wants one backup at least"));
    }
    if args.all || args.oldest.is_some() {
        let number = args.oldest.unwrap_or(usize::MAX);
        let oldest = verify::oldest(guests.values(), number);
        let own = |(vm, id): (&VmId, &BackupId)| (vm.clone(), id.clone());
        return Ok(oldest.into_iter().map(own).collect());
    }
    let mut chosen = Vec::new();
    for given in &args.backups {
        for (guest, backup) in session.choose_some(guests, given, basis)? {
            chosen.push((guest.vm.uuid.clone(), backup.id.clone()));
        }
    }
    Ok(chosen)
}

fn views(
    plan: &Plan,
    (before, after): (&Guests, &Guests),
    asked: &[(VmId, BackupId)],
) -> Vec<VerifiedView> {
    let view = |action: &Action| {
        let vm = &action.vm.as_ref()?.uuid;
        let mut view = verified::view(action, before.get(vm)?, after.get(vm)?)?;
        view.asked = asked.iter().any(|(of, id)| of == vm && *id == view.backup);
        Some(view)
    };
    plan.actions.iter().filter_map(view).collect()
}

/// What was found goes into the backups' own records at once.
async fn note(session: &Session, basis: &Basis, guests: &Guests, args: &Verify) -> Result<Exit> {
    let untold = guests.values().filter(|guest| {
        let mut all = guest.record.verified.values();
        all.any(|known| known.untold)
    });
    let vms: BTreeSet<VmId> = untold.map(|guest| guest.vm.uuid.clone()).collect();
    if vms.is_empty() {
        return Ok(Exit::Done);
    }
    let draw_up = |world: &mut World, options: &Options| verify::tell(&vms, world, options);
    let told = ("backup verify", "a backup that was verified");
    let finished = at_once::carry_out(session, basis, told, args.patience, draw_up).await?;
    Ok(finished.exit())
}
