//! A VM is started on layers that lie on a backup.

use std::collections::BTreeMap;

use crate::engine::Engine;
use crate::engine::perform::Performed;
use crate::engine::perform::Scene;
use crate::host::Host;
use crate::model::fault::Fault;
use crate::model::id::Target;
use crate::model::id::VmId;
use crate::model::program::StepError;
use crate::model::receipt::Receipt;
use crate::model::step::Image;

/// One that cannot be started and never ran is as it was. One that ran before has its guest's writes in
/// its layers: it stays off, and gets the rest all the same.
pub(super) async fn start<H: Host>(
    engine: &Engine<H>,
    scene: &Scene,
    vm: &VmId,
    heads: &BTreeMap<Target, Image>,
) -> Performed {
    if engine.host.machine(vm).await?.power.is_on() {
        return Ok(Receipt::Done);
    }
    let Err(error) = engine.host.start(vm).await else {
        return Ok(Receipt::Done);
    };
    let machine = engine.host.machine(vm).await?;
    if machine.power.is_on() {
        return Ok(Receipt::Done);
    }
    for head in heads.values() {
        if !engine.host.is_blank(head).await? {
            let text = format!(
                "{} cannot be started and stays off: {}",
                machine.name, error.cause
            );
            engine.tell(scene, text);
            return Ok(Receipt::Done);
        }
    }
    Err(StepError {
        fault: Fault::Untouched,
        ..error.into()
    })
}
