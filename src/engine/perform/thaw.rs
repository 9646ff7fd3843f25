//! The debt of a freeze that ran out of time: the guest may freeze when its hook ends, long after,
//! and would stay frozen. It is watched until it was seen thawed by an agent that answers again.

use std::time::Duration;

use crate::engine::Engine;
use crate::engine::perform::Performed;
use crate::engine::perform::Scene;
use crate::host::Host;
use crate::model::fault::Fault;
use crate::model::id::VmId;
use crate::model::machine::Agent;
use crate::model::receipt::Receipt;

const WAIT: Duration = Duration::from_millis(500);
/// A freeze hook that takes longer than this is given up on, and said so.
const LONGEST: Duration = Duration::from_secs(600);

pub(super) async fn perform<H: Host>(engine: &Engine<H>, scene: &Scene, vm: &VmId) -> Performed {
    let mut receipts = scene.receipts.iter().flatten().flatten();
    if !receipts.any(|receipt| {
        matches!(
            receipt,
            Receipt::Frozen {
                thaw_owed: true,
                ..
            }
        )
    }) {
        return Ok(Receipt::Done);
    }
    let watched = tokio::time::timeout(LONGEST, until_thawed(engine, vm)).await;
    if watched.is_err() {
        engine.tell(
            scene,
            "the guest agent does not answer since the freeze; see virsh domfsthaw",
        );
    }
    Ok(Receipt::Done)
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
