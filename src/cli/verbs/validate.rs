//! `knib backup validate`.

use camino::Utf8PathBuf;

use crate::cli::at_once;
use crate::cli::at_once::Patience;
use crate::cli::basis::Recalled;
use crate::cli::exit::Exit;
use crate::cli::failure::Result;
use crate::cli::session::Session;
use crate::cli::view::backup;
use crate::cli::work::Finished;
use crate::model::backup::VmRef;
use crate::model::id::BackupId;
use crate::model::world::World;
use crate::planner::Options;
use crate::planner::validations;

/// Boot a backup in a throwaway VM without a network, and see whether its guest does well
///
/// What it is put through is what the VM's policy says under `validate`, else a picture of its screen and, where the guest had an agent when it was backed up, the agent's answer.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Validate {
    /// Id, a unique beginning of it, VM@latest or VM@TIME
    #[arg(value_name = "B")]
    backup: String,
    #[command(flatten)]
    patience: Patience,
}

pub(super) async fn run(session: &Session, args: Validate) -> Result<Exit> {
    let json = session.global.format.is_json()?;
    let basis = session.basis_anyhow()?;
    let recalled = basis.recall()?;
    let (guest, found) = session.choose(&recalled.guests, &args.backup, &basis)?;
    let (vm, id) = (guest.vm.clone(), found.id.clone());
    let draw_up = |world: &mut World, options: &Options| {
        world.guests.retain(|uuid, _| *uuid == vm.uuid);
        validations::ask((&vm.uuid, &id), basis.policy.as_ref(), world, options)
    };
    let told = ("backup validate", id.as_str());
    let finished = at_once::carry_out(session, &basis, told, args.patience, draw_up).await?;
    finished.conclude(session, json, || valid(&finished, &vm, &id))
}

/// That it is, and where its picture is.
fn valid(finished: &Finished, vm: &VmRef, id: &BackupId) -> String {
    let picture = picture(finished, vm, id);
    let picture = picture.map_or_else(String::new, |path| format!("; its screen: {path}"));
    format!("{id} of {} is valid{picture}\n", vm.name)
}

fn picture(finished: &Finished, vm: &VmRef, id: &BackupId) -> Option<Utf8PathBuf> {
    let recalled = Recalled::of(finished.state.as_ref()?).ok()?;
    let guest = recalled.guests.get(&vm.uuid)?;
    let view = backup::view(recalled.known(), guest, guest.record.backups.get(id)?);
    view.validated?.screenshot
}
