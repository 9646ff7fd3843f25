//! `knib restore new`: a VM of its own from a backup.

use camino::Utf8PathBuf;

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::failure::Result;
use crate::cli::session::Session;
use crate::cli::verbs::restore;
use crate::cli::verbs::restore::DiskFormat;
use crate::cli::verbs::restore::quick::Quick;
use crate::cli::work;
use crate::cli::work::Work;
use crate::model::op::Op;
use crate::model::op::RestoreNew;
use crate::model::plan::Outcome;
use crate::model::plan::Plan;
use crate::planner;
use crate::planner::restore::How;
use crate::planner::restore::NewVm;

/// Define a new VM with its own copies of a backup's disks
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct New {
    /// Id, a unique beginning of it, VM@latest or VM@TIME
    #[arg(value_name = "B")]
    backup: String,
    /// The name of the new VM
    #[arg(long, value_name = "NAME")]
    name: String,
    /// Where its disks go [default: beside those of the VM that was backed up]
    #[arg(long, value_name = "DIR")]
    disk_dir: Option<Utf8PathBuf>,
    /// Their format
    #[arg(long, value_name = "FORMAT", default_value = "qcow2")]
    disk_format: DiskFormat,
    #[command(flatten)]
    quick: Quick,
    /// Show what would be done, and do nothing
    #[arg(long)]
    plan: bool,
}

pub(super) async fn run(session: &Session, args: New) -> Result<Exit> {
    let json = session.global.format.is_json()?;
    let dir = args
        .disk_dir
        .as_deref()
        .map(restore::directory)
        .transpose()?;
    let basis = session.basis_anyhow()?;
    let seen = session.see(&basis).await?;
    let (guest, found) = session.choose(&seen.world.guests, &args.backup, &basis)?;
    let asked = NewVm {
        from: guest.vm.uuid.clone(),
        backup: found.id.clone(),
        name: args.name,
        dir,
        format: args.disk_format.into(),
        how: How {
            verify: false,
            quick: args.quick.quick,
        },
    };
    let mut plan = planner::restore::new_vm(&asked, &seen.world, &basis.options()?);
    if let Some(policy) = &basis.policy {
        plan.clock.timezone.clone_from(&policy.timezone);
    }
    if args.quick.quick && args.disk_format == DiskFormat::Raw {
        let text = "--quick wants disks in the format qcow2: they lie on the backup at first";
        return Err(Failure::usage(text));
    }
    args.quick.prepare(session)?;
    if args.plan {
        return restore::show(session, json, &plan);
    }
    let finished = Work::new("restore new")
        .carry_out(session, &basis, &seen, plan)
        .await?;
    work::print(session, json, &finished.plan, || {
        let left = restore::left_to_qemu(&finished.plan);
        match restored(&finished.plan) {
            Some(op) => defined(op),
            None if !left.is_empty() => left,
            None => finished.report(session),
        }
    })?;
    Ok(finished.exit())
}

fn restored(plan: &Plan) -> Option<&RestoreNew> {
    plan.actions.iter().find_map(|action| match &action.op {
        Op::RestoreNew(op) if action.result == Some(Outcome::Done) => Some(op.as_ref()),
        _ => None,
    })
}

fn defined(op: &RestoreNew) -> String {
    let (vm, origin) = (&op.vm, &op.origin);
    let mut said = format!(
        "{} ({}) is defined, from {} of {}\n",
        vm.name, vm.uuid, origin.backup, origin.from.name
    );
    said += &restore::listed(&op.disks);
    said + &if origin.quick {
        "It runs, and nothing of it refers to the backup any more.\n".to_owned()
    } else {
        format!("It is stopped: virsh start {}\n", vm.name)
    }
}
