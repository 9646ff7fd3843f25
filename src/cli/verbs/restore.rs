//! `knib restore`: VMs from backups.

use std::fmt::Write;

use camino::Utf8PathBuf;
use clap::ValueEnum;

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::failure::Result;
use crate::cli::render::plan as render;
use crate::cli::saved;
use crate::cli::session::Session;
use crate::cli::work;
use crate::cli::work::Work;
use crate::model::machine::Format;
use crate::model::op::Op;
use crate::model::op::RestoreNew;
use crate::model::plan::Outcome;
use crate::model::plan::Plan;
use crate::planner::request;
use crate::planner::request::NewVm;

/// Restore from backups
#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum Restore {
    /// Define a new, stopped VM with its own copies of a backup's disks
    New(New),
}

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
    /// Show what would be done, and do nothing
    #[arg(long)]
    plan: bool,
}

/// A format that disks are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DiskFormat {
    /// QEMU's own
    Qcow2,
    /// The bytes themselves
    Raw,
}

pub(super) async fn run(session: &Session, Restore::New(args): Restore) -> Result<Exit> {
    let json = session.global.format.is_json()?;
    let dir = args.disk_dir.as_ref().map(|dir| {
        dir.canonicalize_utf8()
            .map_err(|error| Failure::file("use the directory", dir, &error))
    });
    let dir = dir.transpose()?;
    let basis = session.basis_anyhow()?;
    let seen = session.see(&basis).await?;
    let (guest, found) = session.choose(&seen.world.guests, &args.backup, &basis)?;
    let asked = NewVm {
        from: guest.vm.uuid.clone(),
        backup: found.id.clone(),
        name: args.name,
        dir,
        format: match args.disk_format {
            DiskFormat::Qcow2 => Format::Qcow2,
            DiskFormat::Raw => Format::Raw,
        },
    };
    let mut plan = request::new_vm(&asked, &seen.world, &basis.options()?);
    if let Some(policy) = &basis.policy {
        plan.clock.timezone.clone_from(&policy.timezone);
    }
    if args.plan {
        session.print(&if json {
            saved::text(&plan)
        } else {
            render::human(&plan, work::detail(session), session.look())
        })?;
        return Ok(Exit::Done);
    }
    let finished = Work::new("restore new")
        .carry_out(session, &basis, &seen, plan)
        .await?;
    work::print(session, json, &finished.plan, || {
        restored(&finished.plan).map_or_else(|| finished.report(session), defined)
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
    let mut said = format!(
        "{} ({}) is defined, from {} of {}\n",
        op.vm.name, op.vm.uuid, op.backup, op.from.name
    );
    for (target, path) in &op.disks {
        let _ = writeln!(said, "  {target}  {path}");
    }
    said + &format!("It is stopped: virsh start {}\n", op.vm.name)
}
