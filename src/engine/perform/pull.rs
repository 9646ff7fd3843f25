//! All that a disk shows comes into its own file, while its VM runs or while it is off.
//!
//! Consolidated means: nothing is below the file in its header, in what runs, and in the definition.
//! Everything that ends it half way, in the guest, in QEMU, here, leaves a disk that shows what it
//! showed, so it is begun again. QEMU takes the file below out of the header before all that it brought is in the file,
//! so a header alone proves nothing: one that was not seen written out is put on that file again, and what it lacks is
//! brought once more. No time limit: a job is followed to its end, now or by the next run.

use std::time::Duration;

use crate::engine::Engine;
use crate::engine::perform::Performed;
use crate::engine::perform::Scene;
use crate::engine::perform::conflict;
use crate::host::Head;
use crate::host::Host;
use crate::host::StopLevel;
use crate::host::Task;
use crate::model::bytes::Bytes;
use crate::model::event::Event;
use crate::model::fault::Fault;
use crate::model::id::Target;
use crate::model::id::VmId;
use crate::model::machine::Disk;
use crate::model::machine::JobKind;
use crate::model::machine::Machine;
use crate::model::program::StepError;
use crate::model::receipt::Receipt;
use crate::model::step::Image;

/// The first wait between two looks at a job; doubled up to `LONGEST_WAIT`.
const SHORTEST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// So often what found the file locked is tried again.
const TRIES: u32 = 60;
/// So often a pull is begun that comes to nothing.
const PULLS: u32 = 5;

pub(super) struct Pull<'a> {
    pub(super) vm: &'a VmId,
    pub(super) target: &'a Target,
    pub(super) head: &'a Image,
    /// What it lay on at first.
    pub(super) below: Option<&'a Image>,
}

/// What this run did so far.
#[derive(Default)]
struct Done {
    /// So many pulls were begun.
    pulls: u32,
    /// The run of QEMU that was asked for the last of them.
    run: Option<u32>,
    /// Everything was written by a program that ended well.
    flat: bool,
}

/// What a look found.
enum Looked {
    /// Nothing is below the file.
    Alone,
    /// Something was done: look again.
    Changed,
    /// QEMU is at it.
    Working,
}

impl Pull<'_> {
    pub(super) async fn perform<H: Host>(&self, engine: &Engine<H>, scene: &Scene) -> Performed {
        let mut wait = SHORTEST_WAIT;
        let (mut tries, mut done) = (0, Done::default());
        loop {
            match self.look(engine, scene, &mut done).await {
                Ok(Looked::Alone) => return Ok(Receipt::Done),
                Ok(Looked::Changed) => wait = SHORTEST_WAIT,
                Ok(Looked::Working) if engine.stop.level() >= StopLevel::Detach => {
                    return Err(left_to_qemu(self.target));
                }
                Ok(Looked::Working) => {}
                Err(error) if error.fault.is_transient() && tries < TRIES => tries += 1,
                Err(error) => return Err(error),
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = engine.stop.reached(StopLevel::AfterStep) => {
                    return Err(left_to_qemu(self.target));
                }
            }
            wait = LONGEST_WAIT.min(wait * 2);
        }
    }

    async fn look<H: Host>(
        &self,
        engine: &Engine<H>,
        scene: &Scene,
        done: &mut Done,
    ) -> Result<Looked, StepError> {
        let machine = match engine.host.machine(self.vm).await {
            Err(error) if error.fault == Fault::Gone => {
                let text = format!(
                    "the VM is not defined any more; {} is as it was",
                    self.head.path
                );
                engine.tell(scene, text);
                return Ok(Looked::Alone);
            }
            machine => machine?,
        };
        if let Some(job) = engine.host.job(self.vm, self.target).await? {
            if job.kind != JobKind::Pull {
                return Err(StepError {
                    fault: Fault::Busy,
                    text: format!("{}: another job works on {}", machine.name, self.target),
                    hint: Some(format!("virsh blockjob {} {}", machine.name, self.target)),
                });
            }
            engine.say(&Event::Progress {
                action: scene.action.clone(),
                what: "consolidate",
                target: Some(self.target.clone()),
                done: job.done,
                total: job.total,
            });
            return Ok(Looked::Working);
        }
        let disk = machine.disk(self.target);
        let Some(disk) = disk.filter(|disk| disk.head() == Some(&self.head.path)) else {
            return self.no_longer_used(engine, &machine).await;
        };
        if machine.power.is_on() {
            self.look_at_running(engine, &machine, disk, done).await
        } else {
            self.look_at_stopped(engine, scene, &machine, done).await
        }
    }

    async fn look_at_running<H: Host>(
        &self,
        engine: &Engine<H>,
        machine: &Machine,
        disk: &Disk,
        done: &mut Done,
    ) -> Result<Looked, StepError> {
        if disk.live.len() > 1 {
            if done.pulls == PULLS {
                return Err(given_up(machine, self.target));
            }
            done.run = engine.host.run(self.vm).await?;
            engine.host.pull(self.vm, self.target).await?;
            done.pulls += 1;
            return Ok(Looked::Changed);
        }
        if self.is_below(engine).await? {
            // Who defined it so hid the backup from the guest; its header still knows better.
            return Err(conflict(
                format!(
                    "{} runs {} without the files below {}",
                    machine.name, self.target, self.head.path
                ),
                format!(
                    "stop {} and take <backingStore/> out of its definition: virsh edit {}",
                    machine.name, machine.name
                ),
            ));
        }
        engine.host.flush(self.vm, self.target).await?;
        engine.host.sync(&self.head.path).await?;
        // The QEMU that this run had pull has it all, if it is still the one that runs; of any other the content tells.
        let same_run = done.run.is_some() && done.run == engine.host.run(self.vm).await?;
        if !same_run && self.lacks(engine).await? > Bytes(0) {
            return Err(self.started_too_early(machine));
        }
        self.forget_chain(engine).await
    }

    async fn look_at_stopped<H: Host>(
        &self,
        engine: &Engine<H>,
        scene: &Scene,
        machine: &Machine,
        done: &mut Done,
    ) -> Result<Looked, StepError> {
        if machine.managed_save {
            let name = &machine.name;
            return Err(conflict(
                format!("{name} has a managed save, which goes on from the backup's files"),
                format!("virsh start {name}, then apply"),
            ));
        }
        if !self.is_below(engine).await? {
            let Some(below) = self.below.filter(|_| !done.flat) else {
                return self.forget_chain(engine).await;
            };
            engine.host.layers(below).await?;
            let lacking = self.lacks(engine).await?;
            if lacking > Bytes(0) {
                let (target, name) = (self.target, &machine.name);
                let text = format!(
                    "{target} lacks {lacking} that QEMU had not written down when it was ended, and gets them now; if {name} was started since, check the guest's file systems"
                );
                engine.tell(scene, text);
            }
            // First the definition, which may say that nothing is below: a start would believe it.
            self.forget_chain(engine).await?;
            engine.host.rebase(self.head, below).await?;
        }
        let report = engine.reporter(scene, "consolidate", self.target);
        let task = Task {
            report: &report,
            stop: &engine.stop,
            limit: None,
        };
        engine.host.flatten(self.head, &task).await?;
        engine.host.sync(&self.head.path).await?;
        done.flat = true;
        Ok(Looked::Changed)
    }

    /// What QEMU brought and did not come to write down in the file, which lies on nothing by now. Nothing that is
    /// still needed lacks in a pull that came to its end: it brings all that is data below, zeroes that a guest
    /// writes over it take its place, and a copy that knib made has no data that is all zeroes.
    async fn lacks<H: Host>(&self, engine: &Engine<H>) -> Result<Bytes, StepError> {
        match self.below {
            Some(below) => Ok(engine.host.lacks(self.head, below).await?),
            None => Ok(Bytes(0)),
        }
    }

    /// QEMU was ended in the moment between header and tables, and the VM started again before anybody looked.
    fn started_too_early(&self, machine: &Machine) -> StepError {
        let (name, target) = (&machine.name, self.target);
        conflict(
            format!(
                "{name} runs without a part of {target}: QEMU had not written down all that it had brought when it was ended; the backup is whole"
            ),
            format!(
                "stop {name}, then knib restore resume {name} brings it and keeps what the guest wrote; check the guest's file systems afterwards"
            ),
        )
    }

    /// Whether the header names a file below.
    async fn is_below<H: Host>(&self, engine: &Engine<H>) -> Result<bool, StepError> {
        Ok(engine.host.layers(self.head).await?.len() > 1)
    }

    /// The definition says nothing of files below any more, not even that there are none: that would be
    /// believed when the disk gets another file.
    async fn forget_chain<H: Host>(&self, engine: &Engine<H>) -> Result<Looked, StepError> {
        let head = Head::new(self.target.clone(), self.head.clone());
        engine.host.point(self.vm, &[head]).await?;
        Ok(Looked::Alone)
    }

    /// Whatever the VM uses instead, nobody reads the backup through a file that stands alone.
    async fn no_longer_used<H: Host>(
        &self,
        engine: &Engine<H>,
        machine: &Machine,
    ) -> Result<Looked, StepError> {
        let path = &self.head.path;
        match engine.host.layers(self.head).await {
            Ok(layers) if layers.len() == 1 => Ok(Looked::Alone),
            Err(error) if error.fault == Fault::Gone => Ok(Looked::Alone),
            Err(error) => Err(error.into()),
            Ok(_) => Err(conflict(
                format!(
                    "{} of {} is not {path} any more, which lies on a backup",
                    self.target, machine.name
                ),
                format!(
                    "give the disk that file again, or make it stand alone: qemu-img rebase -f qcow2 -b '' {path}"
                ),
            )),
        }
    }
}

/// A pull that ends early leaves the chain as it is and says nothing.
fn given_up(machine: &Machine, target: &Target) -> StepError {
    let name = &machine.name;
    StepError {
        fault: Fault::Io,
        text: format!(
            "QEMU began {PULLS} times to consolidate {target} of {name} and ended early; the VM goes on"
        ),
        hint: Some(format!(
            "a full disk, or a storage that is gone, is the usual cause; /var/log/libvirt/qemu/{name}.log may say more"
        )),
    }
}

fn left_to_qemu(target: &Target) -> StepError {
    StepError {
        fault: Fault::Stopped,
        text: format!("QEMU goes on with {target}"),
        hint: None,
    }
}
