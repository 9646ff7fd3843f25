//! A VM is started on layers that lie on a backup.

use std::collections::BTreeMap;

use crate::engine::Engine;
use crate::engine::perform::Performed;
use crate::engine::perform::Scene;
use crate::host::Host;
use crate::model::fault::Fault;
use crate::model::id::Target;
use crate::model::id::VmId;
use crate::model::program::Program;
use crate::model::program::StepError;
use crate::model::receipt::Receipt;
use crate::model::step::Image;
use crate::model::step::Step;

/// One that cannot be started and never ran is as it was, while all else can still be taken back. Otherwise it stays
/// off, and gets the rest of its disks all the same: nothing it can be started with later depends on the storage.
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
    if can_turn_back(&scene.program) && is_untouched(engine, heads).await? {
        return Err(StepError {
            fault: Fault::Untouched,
            ..error.into()
        });
    }
    let text = format!(
        "{} cannot be started and stays off: {}",
        machine.name, error.cause
    );
    engine.tell(scene, text.clone());
    Ok(Receipt::StaysOff { text })
}

/// Whether nothing before it is there to stay.
fn can_turn_back(program: &Program) -> bool {
    let stage = program.stages.get(program.no_return);
    stage.is_some_and(|stage| stage.iter().any(|step| matches!(step, Step::Start { .. })))
}

/// Whether no guest wrote to its layers.
async fn is_untouched<H: Host>(
    engine: &Engine<H>,
    heads: &BTreeMap<Target, Image>,
) -> Result<bool, StepError> {
    for head in heads.values() {
        if !engine.host.is_blank(head).await? {
            return Ok(false);
        }
    }
    Ok(true)
}
