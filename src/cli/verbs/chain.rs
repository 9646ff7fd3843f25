//! `knib chain`: backups that continue each other.

use crate::cli::at_once;
use crate::cli::at_once::Patience;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::failure::Result;
use crate::cli::find;
use crate::cli::render::lists;
use crate::cli::session::Session;
use crate::cli::view::chain;
use crate::cli::work;
use crate::model::layout;
use crate::model::world::Guest;
use crate::model::world::World;
use crate::planner::Options;
use crate::planner::request;

/// Backups that continue each other
#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum Chain {
    /// List the chains of every VM
    List,
    /// End the chain of a VM: merge its delta, so that its next backup is full
    Finish(Finish),
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Finish {
    /// Name or uuid
    #[arg(value_name = "VM")]
    vm: String,
    #[command(flatten)]
    patience: Patience,
}

pub(super) async fn run(session: &Session, args: Chain) -> Result<Exit> {
    match args {
        Chain::List => list(session),
        Chain::Finish(args) => finish(session, &args).await,
    }
}

fn list(session: &Session) -> Result<Exit> {
    let json = session.global.format.is_json()?;
    let basis = session.basis_anyhow()?;
    let recalled = basis.recall()?;
    let known = recalled.known();
    let of_each = recalled.by_name().into_iter();
    let all: Vec<_> = of_each
        .flat_map(|guest| chain::of_guest(known, guest))
        .collect();
    let when = session.when(&basis);
    session.list(json, &all, || lists::chains(&all, &when, session.look()))?;
    Ok(Exit::Done)
}

async fn finish(session: &Session, args: &Finish) -> Result<Exit> {
    let json = session.global.format.is_json()?;
    let basis = session.basis_anyhow()?;
    let seen = session.see(&basis).await?;
    let guest = find::vm(&seen.world.guests, &args.vm)?;
    let (name, uuid) = (guest.vm.name.clone(), guest.vm.uuid.clone());
    if guest.machine.is_none() {
        let text = format!("{name} ({uuid}) is not defined here any more");
        return Err(Failure::new("gone", text)
            .hint("its backups stay; what it left on primary is said by knib state check"));
    }
    let draw_up = |world: &mut World, options: &Options| {
        world.guests.retain(|vm, _| *vm == uuid);
        // Without anything to merge the plan is empty, and nothing is written.
        world.guests.retain(|_, guest| is_under_way(guest));
        request::finish(&uuid, world, options)
    };
    let told = ("chain finish", name.as_str());
    let finished = at_once::carry_out(session, &basis, told, args.patience, draw_up).await?;
    let exit = finished.exit();
    work::print(session, json, &finished.plan, || {
        match (exit, finished.plan.actions.is_empty()) {
            (_, true) => format!("{name} has no chain under way\n"),
            (Exit::Done, false) => {
                format!("the chain of {name} is ended; its next backup will be full\n")
            }
            _ => finished.report(session),
        }
    })?;
    Ok(exit)
}

/// Something would be different: a backup is current, a delta is there, or an action is open.
fn is_under_way(guest: &Guest) -> bool {
    let mut layers = guest
        .machine
        .iter()
        .flat_map(|machine| &machine.disks)
        .flat_map(|disk| &disk.layers);
    guest.record.current.is_some()
        || !guest.open.is_empty()
        || layers.any(|layer| layout::delta_of(&layer.path).is_some())
}
