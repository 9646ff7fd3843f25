//! A layer's content moves into the file below it; the layer goes last.
//!
//! Merged means: no job, and the layer is absent from the live and from the persistent chain. "No
//! job" or "100 %" alone prove nothing (experiments with killed and failed commits). No time limit:
//! a job is followed to its end, now or by the next run.

use std::time::Duration;

use camino::Utf8Path;

use crate::engine::Engine;
use crate::engine::perform::Performed;
use crate::engine::perform::Scene;
use crate::engine::perform::branch;
use crate::engine::perform::claimed;
use crate::engine::perform::conflict;
use crate::host::Head;
use crate::host::Host;
use crate::host::HostError;
use crate::host::StopLevel;
use crate::host::Task;
use crate::model::event::Event;
use crate::model::fault::Fault;
use crate::model::id::Target;
use crate::model::id::VmId;
use crate::model::layout;
use crate::model::machine::Disk;
use crate::model::machine::Job;
use crate::model::machine::JobKind;
use crate::model::machine::Layer;
use crate::model::machine::Machine;
use crate::model::machine::Source;
use crate::model::program::StepError;
use crate::model::receipt::Receipt;
use crate::model::step::Image;
use crate::model::step::Step;
use crate::sabotage;
use crate::sabotage::Sabotage;

/// The first wait between two looks at a job; doubled up to `LONGEST_WAIT`.
const SHORTEST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// So often a commit that found the file locked is tried again.
const TRIES: u32 = 60;
/// So often a commit is begun whose job comes to nothing.
const COMMITS: u32 = 5;

pub(super) struct Merge<'a> {
    pub(super) vm: &'a VmId,
    pub(super) claim: u64,
    pub(super) target: &'a Target,
    pub(super) top: &'a Image,
    pub(super) base: &'a Image,
    pub(super) above: Option<&'a Image>,
    pub(super) branches: &'a [Image],
}

impl Merge<'_> {
    pub(super) async fn perform<H: Host>(&self, engine: &Engine<H>, scene: &Scene) -> Performed {
        let mut wait = SHORTEST_WAIT;
        let mut tries = 0;
        let mut done = Done::default();
        loop {
            match self.look(engine, scene, &mut done).await {
                Ok(Looked::Merged) => return Ok(Receipt::Done),
                Ok(Looked::Changed) => wait = SHORTEST_WAIT,
                Ok(Looked::Working) => {}
                Err(error) if error.fault.is_transient() && tries < TRIES => tries += 1,
                Err(error) => return Err(error),
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = engine.stop.reached(StopLevel::Now) => return Err(self.stopped(engine).await),
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
        if let Some(job) = engine.host.job(self.vm, self.target).await? {
            engine.say(&Event::Progress {
                action: scene.action.clone(),
                what: "merge",
                target: Some(self.target.clone()),
                done: job.done,
                total: job.total,
            });
            if job.ready && job.kind == JobKind::ActiveCommit {
                claimed(&engine.host.machine(self.vm).await?, self.claim)?;
                engine.host.end_job(self.vm, self.target, true).await?;
                return Ok(Looked::Changed);
            }
            return Ok(Looked::Working);
        }
        // Only now: a job that ended a moment ago has changed the chain.
        let machine = engine.host.machine(self.vm).await?;
        claimed(&machine, self.claim)?;
        let disk = machine
            .disk(self.target)
            .ok_or_else(|| self.lost(&machine))?;
        if machine.power.is_on() {
            self.look_at_running(engine, scene, &machine, disk, done)
                .await
        } else {
            self.look_at_stopped(engine, scene, disk, done).await
        }
    }

    async fn look_at_running<H: Host>(
        &self,
        engine: &Engine<H>,
        scene: &Scene,
        machine: &Machine,
        disk: &Disk,
        done: &mut Done,
    ) -> Result<Looked, StepError> {
        let Some(at) = disk.live.iter().position(|path| *path == self.top.path) else {
            self.written_down(engine, scene, machine, done).await?;
            return self.absent(engine, scene, disk, done).await;
        };
        if disk.live.get(at + 1) != Some(&self.base.path) {
            return Err(conflict(
                format!(
                    "{}: {} no longer lies directly on {}",
                    machine.name, self.top.path, self.base.path
                ),
                "plan again",
            ));
        }
        if done.commits == COMMITS {
            return Err(self.given_up(machine));
        }
        self.not_cut(engine, machine).await?;
        let (top, base) = (&self.top.path, &self.base.path);
        done.run = engine.host.run(self.vm).await?;
        engine.host.commit(self.vm, self.target, top, base).await?;
        done.commits += 1;
        Ok(Looked::Changed)
    }

    /// A commit never makes a file smaller: the guest's disk would grow back over old bytes.
    async fn not_cut<H: Host>(
        &self,
        engine: &Engine<H>,
        machine: &Machine,
    ) -> Result<(), StepError> {
        let layers = engine.host.layers(self.top).await?;
        let size = |image: &Image| {
            let layer = layers.iter().find(|layer| layer.path == image.path);
            layer.map(|layer| layer.virtual_size)
        };
        if size(self.top) < size(self.base) {
            return Err(conflict(
                format!(
                    "{}: {} was made smaller; its delta cannot be merged while the VM runs",
                    machine.name, self.target
                ),
                format!("stop {} once; the next apply merges it", machine.name),
            ));
        }
        Ok(())
    }

    /// The file that the VM writes to, or will at its next start.
    fn head(&self, disk: &Disk) -> Result<Image, StepError> {
        disk.source.as_ref().and_then(Source::image).ok_or_else(|| {
            conflict(
                format!("{} has no file any more", self.target),
                "plan again",
            )
        })
    }

    async fn look_at_stopped<H: Host>(
        &self,
        engine: &Engine<H>,
        scene: &Scene,
        disk: &Disk,
        done: &mut Done,
    ) -> Result<Looked, StepError> {
        let head = self.head(disk)?;
        let layers = match engine.host.layers(&head).await {
            Err(gone) if gone.fault == Fault::Gone && head.path == self.top.path => {
                // An earlier run put it away and did not get to see whether a start was faster.
                let merged = layout::merged(&self.top.path);
                let back = engine.host.rename(&merged, &self.top.path).await;
                return back.map(|()| Looked::Changed).map_err(|_| gone.into());
            }
            layers => layers?,
        };
        let Some(at) = layers.iter().position(|layer| layer.path == self.top.path) else {
            self.commit_again(engine, scene, &layers, done).await?;
            return self.absent(engine, scene, disk, done).await;
        };
        self.commit_offline(engine, scene, &layers[at..]).await?;
        done.in_base = true;
        if at == 0 && !self.put_away(engine).await? {
            return Ok(Looked::Changed);
        }
        // Before any header changes.
        let image = if at == 0 { self.base.clone() } else { head };
        self.point(engine, image, done).await?;
        if let Some(above) = at.checked_sub(1).map(|above| &layers[above]) {
            let above = Image::new(above.path.clone(), above.format.clone());
            engine.host.rebase(&above, self.base).await?;
        }
        Ok(Looked::Changed)
    }

    /// QEMU takes a layer out of the chain before it writes down in the base where the merged clusters are:
    /// `bdrv_drop_intermediate` comes before the flush that is part of reopening the base for reading
    /// (QEMU 7.2, block/commit.c). Killed in between, it leaves a base without them, and the layer still has
    /// them. No guest has written to the base while the file above lies on it, so they may go there again.
    async fn commit_again<H: Host>(
        &self,
        engine: &Engine<H>,
        scene: &Scene,
        layers: &[Layer],
        done: &mut Done,
    ) -> Result<(), StepError> {
        let Some(above) = self.above.filter(|_| !done.in_base) else {
            return Ok(());
        };
        let lies = |pair: &[Layer]| pair[0].path == above.path && pair[1].path == self.base.path;
        if !layers.windows(2).any(lies) || !self.lies_on_base(engine, &self.top.path).await? {
            return Ok(());
        }
        let layers = engine.host.layers(self.top).await?;
        self.commit_offline(engine, scene, &layers).await?;
        done.in_base = true;
        Ok(())
    }

    /// Fails where a layer that left the chain of a VM that is on is not in the base: QEMU was killed as
    /// `commit_again` says, and the VM started again before anybody looked. The QEMU that this run had begin the
    /// commit has written all down, if it is still the one that runs; of any other the content tells.
    async fn written_down<H: Host>(
        &self,
        engine: &Engine<H>,
        scene: &Scene,
        machine: &Machine,
        done: &mut Done,
    ) -> Result<(), StepError> {
        if self.above.is_none() || done.in_base {
            return Ok(());
        }
        let same_run = done.run.is_some() && done.run == engine.host.run(self.vm).await?;
        if same_run || !self.lies_on_base(engine, &self.top.path).await? {
            return Ok(());
        }
        let report = engine.reporter(scene, "compare", self.target);
        let task = Task {
            report: &report,
            stop: &engine.stop,
            limit: None,
        };
        done.in_base = engine.host.compare(self.top, self.base, &task).await?;
        if done.in_base {
            return Ok(());
        }
        let name = &machine.name;
        Err(conflict(
            format!(
                "{name} runs without what {} holds: QEMU had not written its merge down when it was ended; that file is kept",
                self.top.path
            ),
            format!(
                "stop {name}, then apply merges it again and keeps what the guest wrote; check the guest's file systems afterwards"
            ),
        ))
    }

    /// The layer's content into the file below it, and no more of that file than the layer shows. `layers`
    /// begin with the layer.
    pub(super) async fn commit_offline<H: Host>(
        &self,
        engine: &Engine<H>,
        scene: &Scene,
        layers: &[Layer],
    ) -> Result<(), StepError> {
        let (top, below) = match layers {
            [top, below, ..] if below.path == self.base.path => (top, below),
            _ => return Err(apart(self.top, self.base)),
        };
        if sabotage::is(Sabotage::DeltaUnlinked) {
            return Ok(());
        }
        let report = engine.reporter(scene, "merge", self.target);
        let task = Task {
            report: &report,
            stop: &engine.stop,
            limit: None,
        };
        engine
            .host
            .commit_offline(self.top, self.base, &task)
            .await?;
        if top.virtual_size < below.virtual_size {
            // A commit never shrinks: without this old bytes would come back.
            engine.host.shrink(self.base, top.virtual_size).await?;
        }
        Ok(())
    }

    /// No start finds the layer from now on until the definition names the base: what a guest wrote
    /// to it in between would be lost. False: a start was faster, and the layer is where it was.
    async fn put_away<H: Host>(&self, engine: &Engine<H>) -> Result<bool, StepError> {
        let merged = layout::merged(&self.top.path);
        engine.host.rename(&self.top.path, &merged).await?;
        let seen = engine.host.machine(self.vm).await;
        if seen.as_ref().is_ok_and(|machine| !machine.power.is_on()) {
            return Ok(true);
        }
        engine.host.rename(&merged, &self.top.path).await?;
        seen?;
        Ok(false)
    }

    /// In no chain any more; what is left of it is the file, and perhaps its name in a definition.
    async fn absent<H: Host>(
        &self,
        engine: &Engine<H>,
        scene: &Scene,
        disk: &Disk,
        done: &mut Done,
    ) -> Result<Looked, StepError> {
        let head = self.head(disk)?;
        let inactive = disk.inactive.as_ref().and_then(Source::file);
        let named = inactive == Some(&self.top.path);
        if named || (inactive == Some(&head.path) && !done.pointed) {
            self.point(engine, head, done).await?;
            return Ok(Looked::Changed);
        }
        branch::lay(engine, self.branches, self.top, self.base).await?;
        for path in [&self.top.path, &layout::merged(&self.top.path)] {
            if self.was_there(scene) || self.lies_on_base(engine, path).await? {
                engine.host.remove(path).await?;
            }
        }
        Ok(Looked::Merged)
    }

    /// Whether the layer was in the chain for certain: it was there before the action began, or the
    /// action itself was seen to put it there.
    fn was_there(&self, scene: &Scene) -> bool {
        let made = scene.program.steps().find(|(_, _, step)| match step {
            Step::Overlay { disks, .. } => disks.values().any(|at| at.path == self.top.path),
            _ => false,
        });
        made.is_none_or(|(stage, n, _)| scene.receipts[stage][n].is_some())
    }

    /// Whether a file is what an interrupted snapshot leaves, or was merged: an overlay over the base.
    /// Anything else that has its name is somebody's, and stays.
    async fn lies_on_base<H: Host>(
        &self,
        engine: &Engine<H>,
        path: &Utf8Path,
    ) -> Result<bool, StepError> {
        let image = Image::new(path, self.top.format.clone());
        match engine.host.layers(&image).await {
            Ok(layers) => Ok(layers
                .get(1)
                .is_some_and(|below| below.path == self.base.path)),
            Err(error) if error.fault == Fault::Gone => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Lets the definition name the head alone: what it said of the files below would be believed at
    /// a start, whatever the headers say by then.
    async fn point<H: Host>(
        &self,
        engine: &Engine<H>,
        image: Image,
        done: &mut Done,
    ) -> Result<(), StepError> {
        let target = self.target.clone();
        engine
            .host
            .point(self.vm, &[Head::new(target, image)])
            .await?;
        done.pointed = true;
        Ok(())
    }

    /// Ends the job where it stands, which leaves the layer in its chain: nobody is there to follow a job to its end, and
    /// while it lasts the VM can neither be migrated nor its disk be changed. One that is over by now needs no end, and
    /// what could not be ended is found by the next run.
    async fn stopped<H: Host>(&self, engine: &Engine<H>) -> StepError {
        let job = engine.host.job(self.vm, self.target).await;
        let ours = |job: &Job| matches!(job.kind, JobKind::Commit | JobKind::ActiveCommit);
        let ended = match job {
            Ok(Some(job)) if ours(&job) => engine.host.end_job(self.vm, self.target, false).await,
            other => other.map(|_| ()),
        };
        let cause = match ended {
            Err(error) if error.fault != Fault::Conflict => {
                format!("asked to stop; QEMU may go on with it: {error}")
            }
            _ => "asked to stop; the VM goes on with its delta".to_owned(),
        };
        HostError::new(Fault::Stopped, "wait for the merge", cause).into()
    }

    /// A job that ends early leaves the layer in its chain and says nothing.
    fn given_up(&self, machine: &Machine) -> StepError {
        let name = &machine.name;
        StepError {
            fault: Fault::Io,
            text: format!(
                "QEMU began {COMMITS} times to merge {} of {name} and ended early; the VM goes on with its delta: {}",
                self.target, self.top.path
            ),
            hint: Some(format!(
                "a full disk is the usual cause; /var/log/libvirt/qemu/{name}.log may say more"
            )),
        }
    }

    fn lost(&self, machine: &Machine) -> StepError {
        conflict(
            format!(
                "{} has no disk {} any more; its delta is kept: {}",
                machine.name, self.target, self.top.path
            ),
            "attach it again with the delta as its source, then apply",
        )
    }
}

pub(super) fn apart(top: &Image, base: &Image) -> StepError {
    conflict(
        format!("{} no longer lies directly on {}", top.path, base.path),
        "plan again",
    )
}

/// What this run did for a merge.
#[derive(Default)]
struct Done {
    /// Jobs it started.
    commits: u32,
    /// The run of QEMU that was asked for the last of them.
    run: Option<u32>,
    /// The content is in the base: `qemu-img` put it there, or found it there.
    in_base: bool,
    /// The definition names the head alone.
    pointed: bool,
}

/// What a look at a merge found.
enum Looked {
    /// Nothing is left of the layer.
    Merged,
    /// Something was done: look again.
    Changed,
    /// A job is at it.
    Working,
}
