//! A VM that is off is pointed at other files, all its disks in one redefinition.
//!
//! libvirt redefines a VM that was started a moment before without a word, and its next start would
//! be from other files than it runs on. So it is looked at again, and pointed back where it was.

use std::collections::BTreeMap;

use crate::engine::Engine;
use crate::engine::perform::Performed;
use crate::engine::perform::Scene;
use crate::engine::perform::claimed;
use crate::engine::perform::conflict;
use crate::engine::perform::overlay;
use crate::host::Head;
use crate::host::Host;
use crate::model::id::Target;
use crate::model::id::VmId;
use crate::model::machine::Machine;
use crate::model::machine::Source;
use crate::model::program::StepError;
use crate::model::receipt::Receipt;
use crate::model::step::Image;
use crate::model::step::Turn;

pub(super) async fn perform<H: Host>(
    engine: &Engine<H>,
    scene: &Scene,
    vm: &VmId,
    claim: u64,
    heads: &BTreeMap<Target, Turn>,
    back: bool,
) -> Performed {
    let machine = engine.host.machine(vm).await?;
    claimed(&machine, claim)?;
    if all(&machine, heads, |turn| &turn.to) {
        return Ok(Receipt::Done);
    }
    if back && all(&machine, heads, |turn| &turn.from) && is_used(engine, &machine, heads).await? {
        let name = &machine.name;
        let text = format!("{name} stays on its new layers, for it was started on them");
        engine.tell(scene, text);
        return Ok(Receipt::Done);
    }
    if machine.power.is_on() {
        return Err(started(&machine));
    }
    if !all(&machine, heads, |turn| &turn.from) {
        return Err(conflict(
            format!("the disks of {} are not where they were", machine.name),
            "look at virsh domblklist; nothing was touched",
        ));
    }
    for turn in heads.values() {
        overlay::in_nobodys_hands(engine, &machine, &turn.from).await?;
    }
    let aim = |which: fn(&Turn) -> &Image| -> Vec<Head> {
        let aimed = heads
            .iter()
            .map(|(target, turn)| Head::new(target.clone(), which(turn).clone()));
        aimed.collect()
    };
    let pointed = engine.host.point(vm, &aim(|turn| &turn.to)).await;
    let after = engine.host.machine(vm).await?;
    if all(&after, heads, |turn| &turn.to) {
        return Ok(Receipt::Done);
    }
    pointed?;
    if after.power.is_on() {
        engine.host.point(vm, &aim(|turn| &turn.from)).await?;
        return Err(started(&after));
    }
    Err(conflict(
        format!("{} was defined again meanwhile", after.name),
        "look at virsh domblklist",
    ))
}

/// Whether a guest may have written to what it was pointed at.
async fn is_used<H: Host>(
    engine: &Engine<H>,
    machine: &Machine,
    heads: &BTreeMap<Target, Turn>,
) -> Result<bool, StepError> {
    if machine.power.is_on() {
        return Ok(true);
    }
    for turn in heads.values() {
        if !engine.host.is_blank(&turn.from).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether every disk is on a file, live and persistent definition alike.
pub(super) fn all(
    machine: &Machine,
    heads: &BTreeMap<Target, Turn>,
    which: impl Fn(&Turn) -> &Image,
) -> bool {
    heads.iter().all(|(target, turn)| {
        let path = Some(which(turn).path.as_path());
        machine.disk(target).is_some_and(|disk| {
            let sources = [&disk.source, &disk.inactive];
            let mut files = sources
                .iter()
                .map(|source| source.as_ref().and_then(Source::file));
            files.all(|file| file == path)
        })
    })
}

pub(super) fn started(machine: &Machine) -> StepError {
    let name = &machine.name;
    conflict(
        format!("{name} was started meanwhile; it runs on the disks it had"),
        format!("stop it, then once more: virsh shutdown {name}"),
    )
}
