//! `knib restore disk`: a disk of a backup comes to a VM.

use crate::cli::exit::Exit;
use crate::cli::failure::Result;
use crate::cli::find;
use crate::cli::session::Session;
use crate::cli::verbs::restore;
use crate::cli::verbs::restore::DiskFormat;
use crate::cli::verbs::restore::common::Common;
use crate::cli::verbs::restore::quick::Quick;
use crate::model::id::Target;
use crate::model::op::Op;
use crate::model::op::RestoreDisk;
use crate::model::plan::Plan;
use crate::planner;
use crate::planner::restore::OneDisk;

/// Attach a copy of one disk of a backup to a VM, running or not
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Disk {
    /// Id, a unique beginning of it, VM@latest or VM@TIME
    #[arg(value_name = "B")]
    backup: String,
    /// Which of its disks: vda
    #[arg(value_name = "DISK")]
    wanted: String,
    /// The VM that gets it
    #[arg(long, value_name = "VM")]
    to: String,
    /// What it is called there [default: as it was, or the next name that is free]
    #[arg(long = "as", value_name = "TARGET")]
    target: Option<String>,
    /// Its format
    #[arg(long = "disk-format", value_name = "FORMAT", default_value = "qcow2")]
    written_as: DiskFormat,
    #[command(flatten)]
    quick: Quick,
    #[command(flatten)]
    common: Common,
}

pub(super) async fn run(session: &Session, args: Disk) -> Result<Exit> {
    let common = &args.common;
    let basis = common.basis(session)?;
    let seen = session.see(&basis).await?;
    let guests = &seen.world.guests;
    let to = find::defined(guests, &args.to)?;
    let (from, found) = session.choose(guests, &args.backup, &basis)?;
    let disk = Target::new(args.wanted);
    if !found.disks.contains_key(&disk) {
        let known: Vec<_> = found.disks.keys().map(Target::as_str).collect();
        let what = format!("disk in {}", found.id);
        return Err(find::unknown(&what, disk.as_str(), &known));
    }
    let ground = common.ground(&seen, &[found]).await?;
    let asked = OneDisk {
        from: from.vm.uuid.clone(),
        backup: found.id.clone(),
        disk,
        to: to.vm.uuid.clone(),
        target: args.target.map(Target::new),
        dir: common.dir()?,
        format: args.written_as.into(),
        how: common.how(args.quick),
    };
    args.quick.wants_qcow2(args.written_as)?;
    args.quick.prepare(session, &[(from, found)])?;
    let names = ("restore disk", to.vm.name.as_str());
    let draw_up = |world: &_, options: &_| planner::restore::disk(&asked, &ground, world, options);
    common
        .carry_out(session, &basis, &seen, names, draw_up, said)
        .await
}

fn said(plan: &Plan) -> String {
    let attached = restore::done(plan).filter_map(|action| match &action.op {
        Op::RestoreDisk(op) => Some(come(op)),
        _ => None,
    });
    attached.collect()
}

fn come(op: &RestoreDisk) -> String {
    let mut said = format!("{} has {} of {}\n", op.vm.name, op.disk, op.origin.backup);
    said += &restore::listed([(&op.target, &op.image)]);
    if op.origin.quick {
        said += "It runs, and nothing of it refers to the backup any more.\n";
    }
    said
}
