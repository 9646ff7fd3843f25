//! New overlays under all disks of a VM at one instant, its file systems frozen where that works.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::engine::Engine;
use crate::engine::perform::Performed;
use crate::engine::perform::Scene;
use crate::engine::perform::claimed;
use crate::engine::perform::conflict;
use crate::host::Host;
use crate::host::HostError;
use crate::host::NewOverlay;
use crate::model::fault::Fault;
use crate::model::id::Target;
use crate::model::id::VmId;
use crate::model::machine::Agent;
use crate::model::machine::Disk;
use crate::model::machine::Format;
use crate::model::machine::Machine;
use crate::model::machine::Source;
use crate::model::policy::Quiesce;
use crate::model::program::StepError;
use crate::model::receipt::Consistency;
use crate::model::receipt::Receipt;
use crate::model::step::Image;
use crate::model::step::OverlayAt;

/// How long the guest's agent may take to freeze; after that the guest is thawed, whenever it freezes.
const FREEZE: Duration = Duration::from_secs(10);

pub(super) async fn perform<H: Host>(
    engine: &Engine<H>,
    scene: &Scene,
    vm: &VmId,
    claim: u64,
    disks: &BTreeMap<Target, OverlayAt>,
    others: &[Target],
    quiesce: Quiesce,
) -> Performed {
    let machine = engine.host.machine(vm).await?;
    claimed(&machine, claim)?;
    let asked = quiesce != Quiesce::None && machine.power.is_on();
    match seen(&machine, disks)? {
        Seen::Over => return Ok(found_again(scene, asked)),
        Seen::Under => {}
    }
    for at in disks.values() {
        clear_the_way(engine, at).await?;
        if !machine.power.is_on() {
            in_nobodys_hands(engine, &machine, &at.base).await?;
        }
    }
    let overlays: Vec<_> = disks
        .iter()
        .map(|(target, at)| NewOverlay {
            target: target.clone(),
            path: at.path.clone(),
        })
        .collect();
    let mut freeze = (asked && machine.agent == Agent::Connected).then_some(FREEZE);
    if freeze.is_some() && matches!(engine.host.is_frozen(vm).await, Ok(true)) {
        if quiesce == Quiesce::Required {
            return Err(frozen_already(&machine));
        }
        engine.tell(
            scene,
            "the guest is frozen already, by somebody else, and is left so",
        );
        freeze = None;
    }
    let mut thaw_owed = false;
    let mut consistency = if machine.power.is_on() {
        Consistency::Crash
    } else {
        Consistency::Application
    };
    let mut instant = engine.now();
    let mut made = engine.host.snapshot(vm, &overlays, others, freeze).await;
    if freeze.is_some() {
        match &made {
            Ok(()) => consistency = Consistency::Filesystem,
            Err(error) if error.fault == Fault::Agent => {
                thaw_owed = true;
                if quiesce == Quiesce::Preferred {
                    engine.tell(
                        scene,
                        format!(
                            "the guest could not be frozen, going on without: {}",
                            error.cause
                        ),
                    );
                    instant = engine.now();
                    made = engine.host.snapshot(vm, &overlays, others, None).await;
                }
            }
            Err(_) => {}
        }
    }
    let after = engine.host.machine(vm).await?;
    match (seen(&after, disks), made) {
        (Ok(Seen::Over), Ok(())) => Ok(Receipt::Frozen {
            at: instant,
            consistency,
            thaw_owed,
        }),
        (Ok(Seen::Over), Err(_)) => Ok(found_again(scene, asked)),
        (_, Err(error)) => Err(refused(error, &machine)),
        (Err(error), Ok(())) => Err(error),
        (Ok(Seen::Under), Ok(())) => Err(conflict(
            format!(
                "libvirt reported a snapshot of {} that its definitions do not show",
                machine.name
            ),
            "look at virsh domblklist and virsh domblklist --inactive; nothing was copied",
        )),
    }
}

/// Where a VM's disks are.
enum Seen {
    /// On what is to be covered.
    Under,
    /// On the new overlays.
    Over,
}

/// All disks in one place, live and persistent definition alike, or it is not ours to go on.
fn seen(machine: &Machine, disks: &BTreeMap<Target, OverlayAt>) -> Result<Seen, StepError> {
    let on = |disk: &Disk, path: &camino::Utf8Path| {
        let both = [&disk.source, &disk.inactive];
        both.iter()
            .all(|source| source.as_ref().and_then(Source::file) == Some(path))
    };
    let mut over = 0;
    for (target, at) in disks {
        let disk = machine.disk(target).ok_or_else(|| {
            conflict(
                format!("{} has no disk {target} any more", machine.name),
                "plan again",
            )
        })?;
        if on(disk, &at.path) {
            over += 1;
        } else if !on(disk, &at.base.path) {
            return Err(conflict(
                format!(
                    "{target} of {} is on neither {} nor {}",
                    machine.name, at.base.path, at.path
                ),
                "plan again",
            ));
        }
    }
    if over == 0 {
        Ok(Seen::Under)
    } else if over == disks.len() {
        Ok(Seen::Over)
    } else {
        Err(conflict(
            format!(
                "only some disks of {} are on their new overlays",
                machine.name
            ),
            "look at virsh domblklist; nothing was copied",
        ))
    }
}

/// What an interrupted call cannot tell any more gets the humbler answer.
fn found_again(scene: &Scene, asked: bool) -> Receipt {
    Receipt::Frozen {
        at: instant_of(scene),
        consistency: Consistency::Crash,
        thaw_owed: asked,
    }
}

fn instant_of(scene: &Scene) -> Timestamp {
    scene.since
}

/// A file where an overlay is to be: removed when nothing was ever written to it.
async fn clear_the_way<H: Host>(engine: &Engine<H>, at: &OverlayAt) -> Result<(), StepError> {
    let there = match engine
        .host
        .is_blank(&Image::new(at.path.clone(), Format::Qcow2))
        .await
    {
        Ok(true) => true,
        Err(error) if error.fault == Fault::Gone => return Ok(()),
        Ok(false) | Err(_) => false,
    };
    if there {
        engine.host.remove(&at.path).await?;
        return Ok(());
    }
    Err(conflict(
        format!("a file that is not empty is in the way: {}", at.path),
        "no VM uses it; look at it with qemu-img info, then move it away",
    ))
}

/// A stopped VM's image must not be written by anybody, here or on another host.
async fn in_nobodys_hands<H: Host>(
    engine: &Engine<H>,
    machine: &Machine,
    image: &Image,
) -> Result<(), StepError> {
    match engine.host.idle(image).await {
        Ok(()) => Ok(()),
        Err(error) if error.fault == Fault::Busy => Err(conflict(
            format!(
                "{} is off here, but something has {} open",
                machine.name, image.path
            ),
            "it may run on another host: back it up there",
        )),
        Err(error) => Err(error.into()),
    }
}

/// Whoever froze it may be at work in the guest: thawing it is not for knib.
fn frozen_already(machine: &Machine) -> StepError {
    StepError {
        fault: Fault::Agent,
        text: format!(
            "the guest of {} is frozen already, by somebody else",
            machine.name
        ),
        hint: Some(format!(
            "if nobody is at work in it: virsh domfsthaw {}",
            machine.name
        )),
    }
}

fn refused(error: HostError, machine: &Machine) -> StepError {
    let hint = match error.fault {
        Fault::Agent => Some(format!(
            "virsh qemu-agent-command {} '{{\"execute\":\"guest-ping\"}}'",
            machine.name
        )),
        _ => None,
    };
    let error = StepError::from(error);
    StepError {
        hint: error.hint.clone().or(hint),
        ..error
    }
}
