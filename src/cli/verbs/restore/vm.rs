//! `knib restore vm`: VMs get the disks of backups.

use std::collections::BTreeSet;

use crate::cli::basis::Basis;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::failure::Result;
use crate::cli::find::Guests;
use crate::cli::session::Session;
use crate::cli::times;
use crate::cli::verbs::restore;
use crate::cli::verbs::restore::common::Common;
use crate::cli::verbs::restore::quick::Quick;
use crate::model::backup::Backup;
use crate::model::op::Op;
use crate::model::op::Stopping;
use crate::model::plan::Plan;
use crate::model::program::Program;
use crate::model::seconds::Seconds;
use crate::model::step::Step;
use crate::model::world::Guest;
use crate::planner;
use crate::planner::restore::InPlace;

/// Give VMs the disks they had when they were backed up
#[derive(Debug, clap::Args)]
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
    #[command(flatten)]
    quick: Quick,
    #[command(flatten)]
    common: Common,
}

pub(super) async fn run(session: &Session, args: Vm) -> Result<Exit> {
    let common = &args.common;
    let basis = common.basis(session)?;
    let seen = session.see(&basis).await?;
    let guests = &seen.world.guests;
    let backups = chosen(session, guests, &args.backups, &basis)?;
    let names: Vec<_> = backups
        .iter()
        .map(|(guest, _)| guest.vm.name.as_str())
        .collect();
    let found: Vec<_> = backups.iter().map(|(_, backup)| *backup).collect();
    let ground = common.ground(&seen, &found).await?;
    let stop = Stopping {
        ask: args.stop,
        pull: args.destroy,
    };
    let ids = backups
        .iter()
        .map(|(guest, backup)| (guest.vm.uuid.clone(), backup.id.clone()));
    let asked = InPlace {
        backups: ids.collect(),
        stop: (args.stop.is_some() || args.destroy).then_some(stop),
        discard: args.discard_old,
        dir: common.dir()?,
        how: common.how(args.quick),
    };
    args.quick.prepare(session, &backups)?;
    let names = ("restore vm", names.join(", "));
    let draw_up = |world: &_, options: &_| planner::restore::vms(&asked, &ground, world, options);
    common
        .carry_out(session, &basis, &seen, (names.0, &names.1), draw_up, said)
        .await
}

/// The backups that were meant, one a VM.
fn chosen<'a>(
    session: &Session,
    guests: &'a Guests,
    given: &[String],
    basis: &Basis,
) -> Result<Vec<(&'a Guest, &'a Backup)>> {
    let mut chosen = Vec::new();
    let mut vms = BTreeSet::new();
    for given in given {
        for (guest, backup) in session.choose_some(guests, given, basis)? {
            if !vms.insert(&guest.vm.uuid) {
                let text = format!("{} is named twice", guest.vm.name);
                return Err(Failure::usage(text).hint("one backup of a VM can be restored"));
            }
            chosen.push((guest, backup));
        }
    }
    Ok(chosen)
}

fn said(plan: &Plan) -> String {
    let mut said = String::new();
    for action in restore::done(plan) {
        let Op::RestoreVm(op) = &action.op else {
            continue;
        };
        let program = action.program.iter();
        let steps: Vec<_> = program
            .flat_map(Program::steps)
            .map(|(_, _, step)| step)
            .collect();
        let again = steps.iter().any(|step| matches!(step, Step::Define { .. }));
        let what = if again {
            "is defined again, with"
        } else {
            "has"
        };
        said += &format!("{} {what} its disks of {}\n", op.vm.name, op.origin.backup);
        said += &restore::listed(&op.disks);
        for step in steps {
            if let Step::Describe { to, .. } = step {
                said += &format!("To go back, while it is off: virsh define '{to}'\n");
            }
        }
    }
    said
}
