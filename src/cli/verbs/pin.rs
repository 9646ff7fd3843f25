//! `knib backup pin` and `unpin`.

use crate::cli::at_once;
use crate::cli::at_once::Patience;
use crate::cli::exit::Exit;
use crate::cli::failure::Result;
use crate::cli::session::Session;
use crate::model::world::World;
use crate::planner::Options;
use crate::planner::request;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Pin {
    /// Id, a unique beginning of it, VM@latest or VM@TIME
    #[arg(value_name = "B")]
    backup: String,
    #[command(flatten)]
    patience: Patience,
}

pub(super) async fn run(session: &Session, args: Pin, pinned: bool) -> Result<Exit> {
    let json = session.global.format.is_json()?;
    let basis = session.basis_anyhow()?;
    let recalled = basis.recall()?;
    let (guest, found) = session.choose(&recalled.guests, &args.backup, &basis)?;
    let (vm, id) = (guest.vm.clone(), found.id.clone());
    let draw_up = |world: &mut World, options: &Options| {
        // Nothing is written where it is so already.
        world.guests.retain(|uuid, guest| {
            let found = guest.record.backups.get(&id);
            *uuid == vm.uuid && found.is_some_and(|found| found.marks.pinned != pinned)
        });
        request::pin((&vm.uuid, &id), pinned, world, options)
    };
    let (command, word) = if pinned {
        ("backup pin", "pinned")
    } else {
        ("backup unpin", "not pinned")
    };
    let told = (command, id.as_str());
    let finished = at_once::carry_out(session, &basis, told, args.patience, draw_up).await?;
    finished.conclude(session, json, || format!("{id} of {} is {word}\n", vm.name))
}
