//! Asking a guest to freeze, and the debt of a freeze that ran out of time: the guest may freeze when
//! its hook ends, long after, and would stay frozen. It is watched until it was seen thawed by an
//! agent that answers again. What somebody else froze is left frozen.

use std::time::Duration;

use crate::engine::Engine;
use crate::engine::perform::Performed;
use crate::engine::perform::Scene;
use crate::host::Host;
use crate::host::HostError;
use crate::host::StopLevel;
use crate::model::fault::Fault;
use crate::model::id::VmId;
use crate::model::machine::Agent;
use crate::model::machine::Machine;
use crate::model::program::StepError;
use crate::model::receipt::Receipt;
use crate::sabotage;
use crate::sabotage::Sabotage;

const WAIT: Duration = Duration::from_millis(500);
/// A freeze hook that takes longer than this is given up on, and said so.
const LONGEST: Duration = Duration::from_secs(600);

/// Why the guest cannot be asked to freeze, if it cannot.
pub(super) async fn obstacle<H: Host>(
    engine: &Engine<H>,
    scene: &Scene,
    machine: &Machine,
) -> Option<String> {
    if machine.agent != Agent::Connected {
        return Some("no guest agent is connected".to_owned());
    }
    if scene.again {
        // What an earlier run asked for may have come late: it is ours to thaw.
        return None;
    }
    match engine.host.is_frozen(&machine.id).await {
        Ok(false) => None,
        Ok(true) => Some("somebody else keeps its file systems frozen".to_owned()),
        Err(error) => Some(error.cause),
    }
}

pub(super) async fn thaw<H: Host>(engine: &Engine<H>, scene: &Scene, vm: &VmId) -> Performed {
    let mut receipts = scene.receipts.iter().flatten().flatten();
    let owed =
        |receipt: &Receipt| matches!(receipt, Receipt::Frozen { thaw_owed, .. } if *thaw_owed);
    if receipts.any(owed) {
        settle(engine, scene, vm).await?;
    }
    Ok(Receipt::Done)
}

/// Returns when the guest was seen thawed, is off, or was given up on.
pub(super) async fn settle<H: Host>(
    engine: &Engine<H>,
    scene: &Scene,
    vm: &VmId,
) -> Result<(), StepError> {
    if sabotage::is(Sabotage::ThawForgotten) {
        return Ok(());
    }
    tokio::select! {
        watched = tokio::time::timeout(LONGEST, until_thawed(engine, vm)) => {
            if watched.is_err() {
                engine.tell(
                    scene,
                    "the guest agent does not answer since the freeze; see virsh domfsthaw",
                );
            }
            Ok(())
        }
        () = engine.stop.reached(StopLevel::Now) => {
            let cause = "asked to stop; the guest may be frozen, see virsh domfsthaw";
            Err(HostError::new(Fault::Stopped, "see the guest thawed", cause).into())
        }
    }
}

async fn until_thawed<H: Host>(engine: &Engine<H>, vm: &VmId) {
    loop {
        match engine.host.machine(vm).await {
            Ok(machine) if !machine.power.is_on() || machine.agent != Agent::Connected => return,
            Err(error) if error.fault == Fault::Gone => return,
            Ok(_) | Err(_) => {}
        }
        match engine.host.is_frozen(vm).await {
            Ok(false) => return,
            Ok(true) => {
                // Whether it worked is for the next look to tell.
                let _ = engine.host.thaw(vm).await;
            }
            Err(_) => {}
        }
        tokio::time::sleep(WAIT).await;
    }
}
