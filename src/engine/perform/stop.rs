//! A VM is brought to a stop: its guest is asked, or the plug is pulled.

use std::time::Duration;

use tokio::time::Instant;

use crate::engine::Engine;
use crate::engine::perform::Performed;
use crate::engine::perform::Scene;
use crate::engine::perform::conflict;
use crate::host::Host;
use crate::host::StopLevel;
use crate::model::fault::Fault;
use crate::model::id::VmId;
use crate::model::program::StepError;
use crate::model::receipt::Receipt;
use crate::model::seconds::Seconds;

/// So often it is looked whether the guest is down.
const LOOK: Duration = Duration::from_millis(500);

pub(super) async fn stop<H: Host>(
    engine: &Engine<H>,
    scene: &Scene,
    vm: &VmId,
    ask: Option<Seconds>,
    pull: bool,
) -> Performed {
    let machine = engine.host.machine(vm).await?;
    let name = &machine.name;
    if !machine.power.is_on() {
        return Ok(Receipt::Done);
    }
    if let Some(limit) = ask {
        let deadline = Instant::now() + limit.duration();
        let asked = engine.host.shutdown(vm).await;
        // One that went down by itself could not be asked.
        if !pull && engine.host.machine(vm).await?.power.is_on() {
            asked?;
        }
        while engine.host.machine(vm).await?.power.is_on() {
            if engine.stop.level() >= StopLevel::Now {
                return Err(stopped());
            }
            if Instant::now() >= deadline {
                if pull {
                    break;
                }
                return Err(conflict(
                    format!("{name} did not shut down within {limit}; nothing was changed"),
                    format!("shut it down, then once more; --destroy pulls the plug of {name}"),
                ));
            }
            tokio::time::sleep(LOOK).await;
        }
    }
    if engine.host.machine(vm).await?.power.is_on() {
        if ask.is_some() {
            engine.tell(
                scene,
                format!("{name} did not shut down: its plug is pulled"),
            );
        }
        let destroyed = engine.host.destroy(vm).await;
        if engine.host.machine(vm).await?.power.is_on() {
            destroyed?;
        }
    }
    Ok(Receipt::Done)
}

fn stopped() -> StepError {
    StepError {
        fault: Fault::Stopped,
        text: "stopped while the guest was shutting down".to_owned(),
        hint: None,
    }
}
