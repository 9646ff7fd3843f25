//! `knib backup delete`: let backups go, with their files as soon as nothing needs those.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::cli::at_once;
use crate::cli::at_once::Patience;
use crate::cli::exit::Exit;
use crate::cli::failure::Result;
use crate::cli::find;
use crate::cli::session::Session;
use crate::model::op::OneBackup;
use crate::model::op::Op;
use crate::model::plan::Action;
use crate::model::plan::Plan;
use crate::model::world::Guest;
use crate::model::world::World;
use crate::planner::Options;
use crate::planner::removal;
use crate::planner::removal::Removal;

/// Let backups go; files that another backup needs stay until it goes as well
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Delete {
    /// Ids, unique beginnings of them, VM@latest or VM@TIME
    #[arg(value_name = "B", required = true)]
    backups: Vec<String>,
    /// Also the last good backup of a VM
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    patience: Patience,
}

pub(super) async fn run(session: &Session, args: Delete) -> Result<Exit> {
    let json = session.global.format.is_json()?;
    let basis = session.basis_anyhow()?;
    let recalled = basis.recall()?;
    let mut backups = Vec::new();
    let zone = basis.zone();
    for given in &args.backups {
        let (guest, id) = find::attempt(&recalled.guests, given, &zone)?;
        if id.as_str() != given {
            session.note(&format!("{given} is {id} of {}", guest.vm.name));
        }
        backups.push((guest.vm.uuid.clone(), id.clone()));
    }
    let asked = Removal {
        backups,
        force: args.force,
    };
    let vms: BTreeSet<_> = asked.backups.iter().map(|(vm, _)| vm.clone()).collect();
    let draw_up = |world: &mut World, options: &Options| {
        let reads = |guest: &Guest| {
            let mut read = guest.open.iter().filter_map(|open| open.op.guest());
            read.any(|vm| vms.contains(&vm.uuid))
        };
        // Their machines are looked at all the same: one may have been started from a backup.
        for (vm, guest) in &mut world.guests {
            if !vms.contains(vm) && !reads(guest) {
                guest.open.clear();
            }
        }
        removal::delete(&asked, world, options)
    };
    let what = match &asked.backups[..] {
        [(_, one)] => one.to_string(),
        several => format!("one of {} backups", several.len()),
    };
    let told = ("backup delete", what.as_str());
    let finished = at_once::carry_out(session, &basis, told, args.patience, draw_up).await?;
    finished.conclude(session, json, || gone(&finished.plan))
}

/// What became of each.
fn gone(plan: &Plan) -> String {
    let mut said = String::new();
    for action in &plan.actions {
        let line = match &action.op {
            Op::Expire(of) => told(of, &let_go(action)),
            Op::Delete(of) => told(of, &deleted(action)),
            _ => continue,
        };
        let _ = writeln!(said, "{line}");
    }
    if said.is_empty() {
        said += "let go already; what is left goes with the last backup that needs it\n";
    }
    said
}

fn told(of: &OneBackup, what: &str) -> String {
    format!("{} of {}: {what}", of.backup, of.vm.name)
}

fn let_go(action: &Action) -> String {
    let needed = action.change.after["needed_by"].as_array();
    match needed.map_or(0, Vec::len) {
        1 => "let go; its files stay while 1 backup needs them".to_owned(),
        n => format!("let go; its files stay while {n} backups need them"),
    }
}

fn deleted(action: &Action) -> String {
    if action.change.before["status"] == "failed" {
        return "forgotten; it had no files".to_owned();
    }
    let freed = format!("deleted, {} freed", action.estimate.frees);
    if action.change.before["current"] == true {
        return freed + "; its delta was merged, the next backup will be full";
    }
    freed
}
