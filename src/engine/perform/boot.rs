//! A backup is booted in a throwaway VM, its guest put through a trial, and nothing of both is left.
//!
//! What a guest fails at is a result. Whatever keeps a trial from being held, or makes its result doubtful,
//! is an error: nobody concludes from it that the backup is bad.

use std::collections::BTreeMap;
use std::time::Duration;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use tokio::time::timeout;

use crate::engine::Engine;
use crate::engine::perform::Performed;
use crate::engine::perform::Scene;
use crate::engine::perform::compress::ended;
use crate::engine::perform::compress::still_wished;
use crate::engine::perform::conflict;
use crate::engine::perform::heads;
use crate::engine::perform::remark::remark;
use crate::engine::perform::trial::Guest;
use crate::engine::perform::trial::Shown;
use crate::host::Host;
use crate::host::StopLevel;
use crate::host::Throwaway;
use crate::model::backup::Remark;
use crate::model::backup::Validated;
use crate::model::fault::Fault;
use crate::model::id::BackupId;
use crate::model::id::Target;
use crate::model::id::VmId;
use crate::model::layout;
use crate::model::machine::Agent;
use crate::model::op::Trial;
use crate::model::op::Wait;
use crate::model::program::StepError;
use crate::model::receipt::Receipt;
use crate::model::step::BackupAt;
use crate::model::step::Image;

/// Files besides disks that a VM boots from, each of which the throwaway VM gets a copy of.
const BESIDE: [&str; 3] = [layout::NVRAM, layout::KERNEL, layout::INITRD];
const UNREADABLE: &str = "let QEMU's group read the storage: chgrp -R GROUP DIR; find DIR -type d -exec chmod g+rxs {} +";
/// So often it is looked whether a VM is gone.
const LOOKS: u32 = 100;
/// From one look to the next.
const LOOK: Duration = Duration::from_millis(100);

pub(super) struct Boot<'a> {
    pub(super) of: &'a BackupAt,
    pub(super) ancestors: &'a [BackupId],
    pub(super) vm: &'a VmId,
    pub(super) name: &'a str,
    pub(super) dir: &'a Utf8Path,
    pub(super) heads: &'a BTreeMap<Target, Image>,
    pub(super) backing: &'a BTreeMap<Target, Vec<Image>>,
    pub(super) trial: &'a Trial,
}

/// What is known of a guest that was started.
struct Started {
    /// An agent was connected when the backup, or one that it continues, was made.
    knew_agent: bool,
    /// What it may miss.
    lacks: Vec<String>,
}

impl Boot<'_> {
    /// Always from the beginning: what an earlier run left goes first.
    pub(super) async fn perform<H: Host>(&self, engine: &Engine<H>, scene: &Scene) -> Performed {
        self.bury(engine).await?;
        still_wished(engine, scene)?;
        let at = engine.now();
        let tried = match self.start(engine, scene).await {
            Err(error) => Err(error),
            Ok(started) => tokio::select! {
                biased;
                shown = timeout(self.trial.limit.duration(), self.hold(engine, &started)) => {
                    shown.unwrap_or_else(|_| Err(self.too_long()))
                }
                error = ended(engine, scene) => Err(error),
                () = engine.stop.reached(StopLevel::AfterStep) => Err(stopped()),
            },
        };
        let buried = self.bury(engine).await;
        let Shown {
            reasons, pictured, ..
        } = tried?;
        buried?;
        Ok(Receipt::Judged(Box::new(Validated {
            at,
            ends_chain: self.trial.ends_chain && !reasons.is_empty(),
            reasons,
            pictured,
        })))
    }

    async fn bury<H: Host>(&self, engine: &Engine<H>) -> Performed {
        bury(engine, &self.of.vm, self.vm, self.name, self.dir).await
    }

    async fn start<H: Host>(
        &self,
        engine: &Engine<H>,
        scene: &Scene,
    ) -> Result<Started, StepError> {
        let definition = self.definition(engine, &self.of.backup, layout::DOMAIN_INACTIVE);
        let definition = definition.await?;
        let agent = engine.host.stored(&definition).await?.agent;
        let needs_agent = self.trial.boot == Wait::Always || self.trial.command.is_some();
        if needs_agent && agent == Agent::None {
            let text = "its definition has no channel for a guest agent";
            let hint = "leave waitForBoot and executeCommand out, or add the channel: the next backups have it";
            return Err(self.unable(text, Some(hint)));
        }
        for on in self.backing.values().filter_map(|files| files.first()) {
            let read = engine.host.readable(on).await;
            read.map_err(|error| self.unable(error.cause, Some(UNREADABLE)))?;
        }
        let knew_agent = self.knew_agent(engine).await?;
        let mut copies = BTreeMap::new();
        for entry in engine.host.list(&self.of.dir()).await? {
            if let Some(what) = BESIDE.into_iter().find(|what| entry.name == *what) {
                let to = self.beside(what);
                engine.host.copy(&self.of.dir().join(what), &to).await?;
                copies.insert(what, to);
            }
        }
        let throwaway = Throwaway {
            id: self.vm.clone(),
            name: self.name.to_owned(),
            heads: heads(self.heads, self.backing),
            nvram: copies.remove(layout::NVRAM),
            kernel: copies.remove(layout::KERNEL),
            initrd: copies.remove(layout::INITRD),
            memory: self.trial.memory,
            vcpus: self.trial.vcpus,
        };
        let started = engine.host.boot(&definition, &throwaway).await;
        let lacks = started.map_err(|error| {
            let hint = error.hint.clone();
            let text = format!("no VM could be started from it: {}", error.cause);
            self.unable(text, hint.as_deref())
        })?;
        if !lacks.is_empty() {
            let text = format!("it is booted without {}", lacks.join(", "));
            engine.tell(scene, text);
        }
        Ok(Started { knew_agent, lacks })
    }

    /// What the guest failed at, unless something else may be the cause.
    async fn hold<H: Host>(
        &self,
        engine: &Engine<H>,
        started: &Started,
    ) -> Result<Shown, StepError> {
        let guest = Guest {
            engine,
            vm: self.vm,
            name: self.name,
            trial: self.trial,
            screenshot: self.of.dir().join(layout::SCREENSHOT),
        };
        let judged = guest.judge(started.knew_agent).await;
        let shown = judged.map_err(|error| self.unable(error.text, error.hint.as_deref()))?;
        if shown.reasons.is_empty() {
            return Ok(shown);
        }
        let failed = shown.reasons.join("; ");
        if !started.lacks.is_empty() {
            let lacks = started.lacks.join(", ");
            return Err(self.unable(format!("{failed}; it was booted without {lacks}"), None));
        }
        if shown.unanswered && !started.knew_agent {
            let text = format!("{failed}, and none was connected when it was made");
            let hint = "install qemu-guest-agent in the guest, or leave waitForBoot out";
            return Err(self.unable(text, Some(hint)));
        }
        Ok(shown)
    }

    /// Whether an agent was connected when the backup, or one that it continues, was made.
    async fn knew_agent<H: Host>(&self, engine: &Engine<H>) -> Result<bool, StepError> {
        for id in std::iter::once(&self.of.backup).chain(self.ancestors) {
            match self.definition(engine, id, layout::DOMAIN).await {
                Ok(live) if engine.host.stored(&live).await?.agent == Agent::Connected => {
                    return Ok(true);
                }
                Err(error) if error.fault != Fault::Gone => return Err(error),
                _ => {}
            }
        }
        Ok(false)
    }

    async fn definition<H: Host>(
        &self,
        engine: &Engine<H>,
        backup: &BackupId,
        which: &str,
    ) -> Result<String, StepError> {
        let path = layout::backup_dir(&self.of.storage, &self.of.vm, backup).join(which);
        let text = engine.host.read(&path).await?;
        String::from_utf8(text).map_err(|_| self.unable(format!("{path} is not text"), None))
    }

    fn beside(&self, what: &str) -> Utf8PathBuf {
        layout::throwaway_file(self.dir, &self.of.vm, what)
    }

    fn unable(&self, text: impl std::fmt::Display, hint: Option<&str>) -> StepError {
        StepError {
            fault: Fault::Unsupported,
            text: format!("{} could not be judged: {text}", self.of.backup),
            hint: hint.map(str::to_owned),
        }
    }

    fn too_long(&self) -> StepError {
        let text = format!("it took longer than {}", self.trial.limit);
        let hint = "settings: backup.validation.timeout bounds all of it";
        self.unable(text, Some(hint))
    }
}

/// A throwaway VM is gone, with its log and its copies of what it booted from.
pub(super) async fn bury<H: Host>(
    engine: &Engine<H>,
    of: &VmId,
    vm: &VmId,
    name: &str,
    dir: &Utf8Path,
) -> Performed {
    let mut looks = 0;
    loop {
        match engine.host.machine(vm).await {
            Err(error) if error.fault == Fault::Gone => break,
            Err(error) if !error.fault.is_transient() || looks == LOOKS => return Err(error.into()),
            Ok(_) if looks == LOOKS => {
                return Err(conflict(
                    format!("the throwaway VM {name} does not end"),
                    format!("virsh destroy {name}, then apply"),
                ));
            }
            // One that ends by itself meanwhile cannot be ended.
            Ok(_) => _ = engine.host.destroy(vm).await,
            Err(_) => {}
        }
        looks += 1;
        tokio::time::sleep(LOOK).await;
    }
    engine.host.forget(name).await?;
    for what in BESIDE {
        let path = layout::throwaway_file(dir, of, what);
        engine.host.remove(&path).await?;
    }
    Ok(Receipt::Done)
}

/// The result goes on record on the storage.
pub(super) async fn attest<H: Host>(engine: &Engine<H>, scene: &Scene, of: &BackupAt) -> Performed {
    let mut receipts = scene.receipts.iter().flatten().flatten();
    let how = receipts.find_map(|receipt| match receipt {
        Receipt::Judged(how) => Some(how.clone()),
        _ => None,
    });
    remark(engine, of, &Remark::Validated { how }).await
}

fn stopped() -> StepError {
    StepError {
        fault: Fault::Stopped,
        text: "stopped while a backup was booted".to_owned(),
        hint: None,
    }
}
