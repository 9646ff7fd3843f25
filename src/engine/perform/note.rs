//! knib's note in a domain's metadata: the claim before anything else, the current backup afterwards.

use std::collections::BTreeMap;

use crate::engine::Engine;
use crate::engine::perform::Performed;
use crate::engine::perform::claimed;
use crate::engine::perform::conflict;
use crate::host::Host;
use crate::model::id::VmId;
use crate::model::machine::Note;
use crate::model::receipt::Receipt;

pub(super) async fn perform<H: Host>(
    engine: &Engine<H>,
    vm: &VmId,
    claim: u64,
    claims: bool,
    note: Option<&Note>,
) -> Performed {
    let machine = engine.host.machine(vm).await?;
    if machine.note.as_ref() == note {
        return Ok(Receipt::Done);
    }
    if claims {
        let found = machine.note.as_ref().map_or(0, |note| note.serial);
        if found > claim {
            return Err(conflict(
                format!(
                    "{} was changed by another knib (change {found}, expected less than {claim})",
                    machine.name
                ),
                "plan again; if two state files are in use here, decide for one",
            ));
        }
    } else {
        claimed(&machine, claim)?;
    }
    engine.host.note(vm, note).await?;
    Ok(Receipt::Done)
}

/// What is written is all there is: doing it again changes nothing.
pub(super) async fn tag<H: Host>(
    engine: &Engine<H>,
    vm: &VmId,
    tags: &BTreeMap<String, String>,
) -> Performed {
    engine.host.tag(vm, tags).await?;
    Ok(Receipt::Done)
}
