//! `knib restore vm`: VMs get the disks of backups.

use std::collections::BTreeSet;

use camino::Utf8PathBuf;

use crate::cli::at_once;
use crate::cli::at_once::Patience;
use crate::cli::basis::Basis;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::failure::Result;
use crate::cli::find::Guests;
use crate::cli::session::Session;
use crate::cli::times;
use crate::cli::verbs::restore;
use crate::cli::verbs::restore::quick::Quick;
use crate::model::id::BackupId;
use crate::model::id::VmId;
use crate::model::op::Op;
use crate::model::op::Stopping;
use crate::model::plan::Outcome;
use crate::model::plan::Plan;
use crate::model::program::Program;
use crate::model::seconds::Seconds;
use crate::model::step::Step;
use crate::planner;
use crate::planner::restore::How;
use crate::planner::restore::InPlace;

/// Give VMs the disks they had when they were backed up
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(in crate::cli) struct Vm {
    /// Id, a unique beginning of it, VM@latest or VM@TIME; VM may be a pattern: '*@latest'
    #[arg(value_name = "B", required = true)]
    backups: Vec<String>,
    /// Ask the guest of a VM that runs to shut down
    #[arg(
        long,
        value_name = "D",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "2m",
        value_parser = times::length
    )]
    stop: Option<Seconds>,
    /// Pull the plug of a VM that runs, with --stop only when its guest does not shut down
    #[arg(long)]
    destroy: bool,
    /// Delete the disks that are replaced at once, instead of after the next good backup
    #[arg(long)]
    discard_old: bool,
    /// Where the disks go [default: beside those they replace]
    #[arg(long, value_name = "DIR")]
    disk_dir: Option<Utf8PathBuf>,
    /// Read all that will be restored before anything is written
    #[arg(long)]
    verify: bool,
    #[command(flatten)]
    quick: Quick,
    #[command(flatten)]
    patience: Patience,
    /// Show what would be done, and do nothing
    #[arg(long)]
    plan: bool,
}

pub(super) async fn run(session: &Session, args: Vm) -> Result<Exit> {
    let json = session.global.format.is_json()?;
    let dir = args
        .disk_dir
        .as_deref()
        .map(restore::directory)
        .transpose()?;
    let basis = session.basis_anyhow()?;
    let seen = session.see(&basis).await?;
    let backups = chosen(session, &seen.world.guests, &args.backups, &basis)?;
    let names: Vec<_> = backups
        .iter()
        .filter_map(|(vm, _)| Some(seen.world.guests.get(vm)?.vm.name.clone()))
        .collect();
    let stop = Stopping {
        ask: args.stop,
        pull: args.destroy,
    };
    let asked = InPlace {
        backups,
        stop: (args.stop.is_some() || args.destroy).then_some(stop),
        discard: args.discard_old,
        dir,
        how: How {
            verify: args.verify,
            quick: args.quick.quick,
        },
    };
    args.quick.prepare(session)?;
    if args.plan {
        let plan = planner::restore::vms(&asked, &seen.world, &basis.options()?);
        return restore::show(session, json, &plan);
    }
    let finished = at_once::carry_out(
        session,
        &basis,
        ("restore vm", &names.join(", ")),
        args.patience,
        |world, options| planner::restore::vms(&asked, world, options),
    )
    .await?;
    let left = restore::left_to_qemu(&finished.plan);
    finished.conclude(session, json, || said(&finished.plan) + &left)
}

/// The backups that were meant, one a VM.
fn chosen(
    session: &Session,
    guests: &Guests,
    given: &[String],
    basis: &Basis,
) -> Result<Vec<(VmId, BackupId)>> {
    let mut chosen = Vec::new();
    let mut vms = BTreeSet::new();
    for given in given {
        for (guest, backup) in session.choose_some(guests, given, basis)? {
            if !vms.insert(&guest.vm.uuid) {
                let text = format!("{} is named twice", guest.vm.name);
                return Err(Failure::usage(text).hint("one backup of a VM can be restored"));
            }
            chosen.push((guest.vm.uuid.clone(), backup.id.clone()));
        }
    }
    Ok(chosen)
}

fn said(plan: &Plan) -> String {
    let done = plan
        .actions
        .iter()
        .filter(|action| action.result == Some(Outcome::Done));
    let mut said = String::new();
    for action in done {
        if let Op::RestoreVm(op) = &action.op {
            said += &format!("{} has its disks of {}\n", op.vm.name, op.origin.backup);
            said += &restore::listed(&op.disks);
            let steps = action.program.iter().flat_map(Program::steps);
            let describes = steps.filter_map(|(_, _, step)| match step {
                Step::Describe { to, .. } => Some(to),
                _ => None,
            });
            for to in describes {
                said += &format!("To go back, while it is off: virsh define '{to}'\n");
            }
        }
    }
    said
}
