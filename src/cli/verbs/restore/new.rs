//! `knib restore new`: a VM of its own from a backup.

use crate::cli::exit::Exit;
use crate::cli::failure::Result;
use crate::cli::session::Session;
use crate::cli::verbs::restore;
use crate::cli::verbs::restore::DiskFormat;
use crate::cli::verbs::restore::common::Common;
use crate::cli::verbs::restore::quick::Quick;
use crate::model::op::Op;
use crate::model::op::RestoreNew;
use crate::model::plan::Plan;
use crate::planner;
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
    /// Start it
    #[arg(long)]
    start: bool,
    /// The format of its disks
    #[arg(long, value_name = "FORMAT", default_value = "qcow2")]
    disk_format: DiskFormat,
    /// Connect its network cards to this network of libvirt's
    #[arg(long, value_name = "NAME")]
    network: Option<String>,
    #[command(flatten)]
    quick: Quick,
    /// Keep the addresses of its network cards: never beside the VM that was backed up
    #[arg(long)]
    keep_mac: bool,
    #[command(flatten)]
    common: Common,
}

pub(super) async fn run(session: &Session, args: New) -> Result<Exit> {
    let common = &args.common;
    let basis = common.basis(session)?;
    let seen = session.see(&basis).await?;
    let (guest, found) = session.choose(&seen.world.guests, &args.backup, &basis)?;
    let ground = common.ground(&seen, &[found]).await?;
    let asked = NewVm {
        from: guest.vm.uuid.clone(),
        backup: found.id.clone(),
        name: args.name,
        dir: common.dir()?,
        format: args.disk_format.into(),
        keep_mac: args.keep_mac,
        network: args.network,
        start: args.start,
        how: common.how(args.quick),
    };
    args.quick.wants_qcow2(args.disk_format)?;
    args.quick.prepare(session, &[(guest, found)])?;
    let names = ("restore new", asked.name.as_str());
    let draw_up =
        |world: &_, options: &_| planner::restore::new_vm(&asked, &ground, world, options);
    common
        .carry_out(session, &basis, &seen, names, draw_up, said)
        .await
}

fn said(plan: &Plan) -> String {
    let made = restore::done(plan).filter_map(|action| match &action.op {
        Op::RestoreNew(op) => Some(defined(op)),
        _ => None,
    });
    made.collect()
}

fn defined(op: &RestoreNew) -> String {
    let (vm, origin) = (&op.vm, &op.origin);
    let mut said = format!(
        "{} ({}) is defined, from {} of {}\n",
        vm.name, vm.uuid, origin.backup, origin.from.name
    );
    said += &restore::listed(&op.disks);
    if origin.quick {
        said + "It runs, and nothing of it refers to the backup any more.\n"
    } else if op.start {
        said + "It runs\n"
    } else {
        said + &format!("It is stopped: virsh start {}\n", vm.name)
    }
}
