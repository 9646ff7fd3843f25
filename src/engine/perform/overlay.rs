//! New overlays under all disks of a VM at one instant, its file systems frozen where that works.

use std::collections::BTreeMap;
use std::time::Duration;

use camino::Utf8Path;

use crate::engine::Engine;
use crate::engine::perform::Performed;
use crate::engine::perform::Scene;
use crate::engine::perform::claimed;
use crate::engine::perform::conflict;
use crate::engine::perform::freeze;
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

pub(super) struct Overlay<'a> {
    pub(super) vm: &'a VmId,
    pub(super) claim: u64,
    pub(super) disks: &'a BTreeMap<Target, OverlayAt>,
    pub(super) others: &'a [Target],
    pub(super) quiesce: Quiesce,
}

impl Overlay<'_> {
    pub(super) async fn perform<H: Host>(&self, engine: &Engine<H>, scene: &Scene) -> Performed {
        let machine = engine.host.machine(self.vm).await?;
        claimed(&machine, self.claim)?;
        match seen(&machine, self.disks)? {
            Seen::Over => return Ok(found_again(scene, self.asks(&machine))),
            Seen::Under => {}
        }
        for at in self.disks.values() {
            clear_the_way(engine, &at.path).await?;
            if !machine.power.is_on() {
                in_nobodys_hands(engine, &machine, &at.base).await?;
            }
        }
        let mut freeze = None;
        if self.asks(&machine) {
            match freeze::obstacle(engine, scene, &machine).await {
                None => freeze = Some(FREEZE),
                Some(why) => self.go_on_without(engine, scene, &machine, &why)?,
            }
        }
        let mut thaw_owed = false;
        let made = self
            .make(engine, scene, &machine, freeze, &mut thaw_owed)
            .await;
        if thaw_owed && made.is_err() {
            // What comes after it will not be done, so that nobody else would thaw the guest.
            freeze::settle(engine, scene, self.vm).await?;
        }
        made
    }

    /// One call, or a second one without a freeze. `thaw_owed` tells that the first ran out of time.
    async fn make<H: Host>(
        &self,
        engine: &Engine<H>,
        scene: &Scene,
        machine: &Machine,
        mut freeze: Option<Duration>,
        thaw_owed: &mut bool,
    ) -> Performed {
        let overlays: Vec<_> = self
            .disks
            .iter()
            .map(|(target, at)| NewOverlay {
                target: target.clone(),
                path: at.path.clone(),
            })
            .collect();
        let snapshot = |freeze| {
            engine
                .host
                .snapshot(self.vm, &overlays, self.others, freeze)
        };
        let mut instant = engine.now();
        let mut made = snapshot(freeze).await;
        if let (Some(_), Err(error)) = (freeze, &made)
            && error.fault == Fault::Agent
        {
            *thaw_owed = true;
            self.go_on_without(engine, scene, machine, &error.cause)?;
            freeze = None;
            instant = engine.now();
            made = snapshot(None).await;
        }
        let after = engine.host.machine(self.vm).await?;
        let consistency = match freeze {
            Some(_) if after.power.is_on() => Consistency::Filesystem,
            _ if machine.power.is_on() || after.power.is_on() => Consistency::Crash,
            _ => Consistency::Application,
        };
        match (seen(&after, self.disks), made) {
            (Ok(Seen::Over), Ok(())) => Ok(Receipt::Frozen {
                at: instant,
                consistency,
                thaw_owed: *thaw_owed,
            }),
            (Ok(Seen::Over), Err(_)) => Ok(found_again(scene, freeze.is_some() || *thaw_owed)),
            (_, Err(error)) => Err(refused(error, machine)),
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

    fn asks(&self, machine: &Machine) -> bool {
        self.quiesce != Quiesce::None && machine.power.is_on()
    }

    /// Nobody freezes the guest: whether that will do is for `quiesce` to say.
    fn go_on_without<H: Host>(
        &self,
        engine: &Engine<H>,
        scene: &Scene,
        machine: &Machine,
        why: &str,
    ) -> Result<(), StepError> {
        if self.quiesce == Quiesce::Required {
            let tried = format!("freeze {}, which is required", machine.name);
            return Err(refused(HostError::new(Fault::Agent, tried, why), machine));
        }
        if machine.agent != Agent::None {
            let text = format!("the guest could not be frozen, going on without: {why}");
            engine.tell(scene, text);
        }
        Ok(())
    }
}

/// What an interrupted call cannot tell any more gets the humbler answer.
fn found_again(scene: &Scene, may_be_frozen: bool) -> Receipt {
    Receipt::Frozen {
        at: scene.since,
        consistency: Consistency::Crash,
        thaw_owed: may_be_frozen,
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
    let on = |disk: &Disk, path: &Utf8Path| {
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

/// A file where an overlay is to be: removed when nothing was ever written to it.
pub(super) async fn clear_the_way<H: Host>(
    engine: &Engine<H>,
    path: &Utf8Path,
) -> Result<(), StepError> {
    let there = match engine.host.is_blank(&Image::new(path, Format::Qcow2)).await {
        Ok(true) => true,
        Err(error) if error.fault == Fault::Gone => return Ok(()),
        Ok(false) | Err(_) => false,
    };
    if there {
        engine.host.remove(path).await?;
        return Ok(());
    }
    Err(conflict(
        format!("a file that is not empty is in the way: {path}"),
        "no VM uses it; look at it with qemu-img info, then move it away",
    ))
}

/// A stopped VM's image must not be written by anybody, here or on another host.
pub(super) async fn in_nobodys_hands<H: Host>(
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
            "it may run on another host: do it there",
        )),
        Err(error) => Err(error.into()),
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
