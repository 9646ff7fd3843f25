//! `knib restore resume`: a VM that was restored quickly gets the rest of its disks.

use camino::Utf8PathBuf;

use crate::cli::at_once;
use crate::cli::at_once::Patience;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::failure::Result;
use crate::cli::find;
use crate::cli::session::Session;
use crate::cli::stateless;
use crate::cli::work;
use crate::planner::consolidate;

/// Follow a quick restore until nothing of its VM refers to the backup
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Resume {
    /// The VM's name or uuid
    #[arg(value_name = "VM")]
    vm: String,
    /// Return as soon as QEMU is at it
    #[arg(long)]
    detach: bool,
    /// A storage that is mounted here and that no policy names; a restore that was begun so is known anyway
    #[arg(long, value_name = "DIR")]
    from: Option<Utf8PathBuf>,
    #[command(flatten)]
    patience: Patience,
}

pub(super) async fn run(session: &Session, args: &Resume) -> Result<Exit> {
    let json = session.global.format.is_json()?;
    let basis = session.basis_anyhow()?;
    let begun_without = stateless::of_vm(&basis, &args.vm)?;
    let basis = match (&args.from, begun_without) {
        (Some(dir), _) => stateless::reading(basis, dir)?,
        (None, Some(without)) => without,
        (None, None) => basis,
    };
    let seen = session.see(&basis).await?;
    let vm = find::vm(&seen.world.guests, &args.vm)?.vm.clone();
    if args.detach {
        session.signals()?.detach();
    }
    if let Some(open) = consolidate::followed(&vm.uuid, &seen.world) {
        return Err(Failure::held(&vm.name, &work::holder(open)));
    }
    let told = ("restore resume", vm.name.as_str());
    let finished = at_once::carry_out(session, &basis, told, args.patience, |world, options| {
        consolidate::resume(&vm.uuid, world, options)
    })
    .await?;
    let left = super::left_to_qemu(&finished.plan);
    let exit = finished.conclude(session, json, || match left.as_str() {
        "" if finished.plan.actions.is_empty() => {
            format!("Nothing of {} refers to a backup.\n", vm.name)
        }
        "" => format!(
            "{} is consolidated: nothing of it refers to a backup any more.\n",
            vm.name
        ),
        _ => left,
    })?;
    drop(finished);
    stateless::forget(&basis.state)?;
    Ok(exit)
}
