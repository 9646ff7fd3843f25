//! Commands that name their object: they wait for it, plan on what is there then, and do it.

use std::time::Duration;
use std::time::Instant;

use crate::action;
use crate::cli::basis::Basis;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::failure::Result;
use crate::cli::session::Session;
use crate::cli::times;
use crate::cli::work;
use crate::cli::work::Finished;
use crate::cli::work::Work;
use crate::model::op::Op;
use crate::model::plan::Plan;
use crate::model::seconds::Seconds;
use crate::model::world::Open;
use crate::model::world::World;
use crate::planner::Options;

/// How long a command that names its object waits for it.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Patience {
    /// Wait so long for another run to let go of what is needed
    #[arg(long, value_name = "D", default_value = "30s", value_parser = times::length)]
    lock_timeout: Seconds,
}

impl Default for Patience {
    /// As where nothing is said.
    fn default() -> Self {
        let lock_timeout = Seconds(30);
        Self { lock_timeout }
    }
}

impl Patience {
    /// So long.
    pub(super) fn limit(self) -> Duration {
        self.lock_timeout.duration()
    }
}

/// Does what a command asks for: `draw_up` plans it on the world as it is, again when somebody else
/// had what it needs. `what` is how people call that.
pub(super) async fn carry_out(
    session: &Session,
    basis: &Basis,
    (command, what): (&'static str, &str),
    patience: Patience,
    draw_up: impl Fn(&mut World, &Options) -> Plan,
) -> Result<Finished> {
    // Counted from when something was first in the way: to look takes time as well.
    let mut deadline = None;
    let mut until = || *deadline.get_or_insert_with(|| Instant::now() + patience.limit());
    loop {
        let mut seen = session.see(basis).await?;
        let plan = draw_up(&mut seen.world, &basis.options()?);
        let world = &seen.world;
        let leases = |op: &Op| {
            let guest = op.guest().and_then(|vm| world.guests.get(&vm.uuid));
            guest.map_or_else(Vec::new, |guest| action::leases(op, &guest.record))
        };
        let wanted: Vec<_> = plan
            .actions
            .iter()
            .flat_map(|action| leases(&action.op))
            .collect();
        let mut opens = world.guests.values().flat_map(|guest| &guest.open);
        let clashes = |open: &&Open| {
            let held = leases(&open.op);
            let mut pairs = held
                .iter()
                .flat_map(|held| wanted.iter().map(move |one| (held, one)));
            open.alive && pairs.any(|(held, wanted)| !held.agrees_with(wanted))
        };
        if let Some(open) = opens.find(clashes) {
            let of_it = |other: &Open| other.action == open.action;
            if let Some(holder) = work::wait(session, basis, until(), of_it).await? {
                return Err(Failure::held(what, &holder));
            }
            // Whoever let go changed what was seen.
            continue;
        }
        let finished = Work::new(command)
            .carry_out(session, basis, &seen, plan)
            .await?;
        // Another run may have come in between the look and the beginning.
        let overtaken = match finished.exit() {
            Exit::Busy => true,
            Exit::Blocked => was_changed(&finished, &seen.world)?,
            _ => false,
        };
        if !overtaken || Instant::now() >= until() {
            return Ok(finished);
        }
    }
}

/// Whether a VM was changed by knib since it was looked at: what stood in the way may be the other half of that.
fn was_changed(finished: &Finished, world: &World) -> Result<bool> {
    let Some(state) = &finished.state else {
        return Ok(false);
    };
    for vm in finished
        .plan
        .actions
        .iter()
        .filter_map(|action| action.op.guest())
    {
        let seen = world.guests.get(&vm.uuid).map(|guest| guest.record.serial);
        let now = state.record(&vm.uuid)?.map(|(_, record)| record.serial);
        if now != seen {
            return Ok(true);
        }
    }
    Ok(false)
}
