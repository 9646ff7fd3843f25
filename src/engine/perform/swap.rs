//! A VM that is off gets other disks, all in one redefinition; what it had is kept under other names.
//!
//! The redefinition is never taken back. So whatever stands in its way is told as what left the VM
//! untouched, once that was seen; what could not be seen is left open.

use std::collections::BTreeMap;

use camino::Utf8Path;

use crate::engine::Engine;
use crate::engine::perform::Performed;
use crate::engine::perform::claimed;
use crate::engine::perform::conflict;
use crate::engine::perform::heads;
use crate::engine::perform::overlay;
use crate::engine::perform::place;
use crate::engine::perform::point;
use crate::engine::perform::untouched;
use crate::host::Exchange;
use crate::host::Head;
use crate::host::Host;
use crate::model::id::BackupId;
use crate::model::id::Target;
use crate::model::id::VmId;
use crate::model::layout;
use crate::model::machine::Machine;
use crate::model::machine::Source;
use crate::model::receipt::Receipt;
use crate::model::step::Image;
use crate::model::step::Turn;

/// What a VM gets instead of what it has.
pub(super) struct Swap<'a> {
    pub(super) vm: &'a VmId,
    pub(super) claim: u64,
    pub(super) turns: &'a BTreeMap<Target, Turn>,
    pub(super) added: &'a BTreeMap<Target, Image>,
    pub(super) definition: &'a Utf8Path,
    pub(super) backing: &'a BTreeMap<Target, Vec<Image>>,
}

impl Swap<'_> {
    pub(super) async fn perform<H: Host>(&self, engine: &Engine<H>) -> Performed {
        let machine = engine.host.machine(self.vm).await?;
        claimed(&machine, self.claim)?;
        if self.is_made(&machine) {
            return Ok(Receipt::Done);
        }
        if machine.power.is_on() {
            return self.take_back(engine, &machine).await;
        }
        if !self.is_to_be_made(&machine) {
            return Err(untouched(conflict(
                format!("the disks of {} are not what they were", machine.name),
                "look at virsh domblklist; nothing was touched",
            )));
        }
        for turn in self.turns.values() {
            let idle = overlay::in_nobodys_hands(engine, &machine, &turn.from).await;
            idle.map_err(untouched)?;
        }
        let definition = if self.added.is_empty() {
            Vec::new()
        } else {
            let read = engine.host.read(self.definition).await;
            read.map_err(|error| untouched(error.into()))?
        };
        let exchange = Exchange {
            heads: heads(
                self.turns.iter().map(|(target, turn)| (target, &turn.to)),
                self.backing,
            ),
            added: heads(self.added, self.backing),
            definition: String::from_utf8_lossy(&definition).into_owned(),
            removed: Vec::new(),
        };
        let swapped = engine.host.swap(self.vm, &exchange).await;
        let after = engine.host.machine(self.vm).await?;
        if self.is_made(&after) {
            return Ok(Receipt::Done);
        }
        if after.power.is_on() {
            return self.take_back(engine, &after).await;
        }
        if self.is_to_be_made(&after) {
            swapped.map_err(|error| untouched(error.into()))?;
        }
        Err(conflict(
            format!("{} was defined again meanwhile", after.name),
            "look at virsh domblklist",
        ))
    }

    /// It was started a moment before it was redefined: it runs on what it had, and so shall its next
    /// start.
    async fn take_back<H: Host>(&self, engine: &Engine<H>, machine: &Machine) -> Performed {
        let is_new = |target: &Target, image: &Image| {
            let disk = machine.disk(target);
            let inactive = disk.and_then(|disk| disk.inactive.as_ref());
            inactive.and_then(Source::file) == Some(&image.path)
        };
        let turned = self
            .turns
            .iter()
            .filter(|(target, turn)| is_new(target, &turn.to));
        let added = self
            .added
            .iter()
            .filter(|(target, image)| is_new(target, image));
        let exchange = Exchange {
            heads: heads(
                turned.map(|(target, turn)| (target, &turn.from)),
                &BTreeMap::new(),
            ),
            removed: added.map(|(target, _)| target.clone()).collect(),
            ..Exchange::default()
        };
        if exchange != Exchange::default() {
            engine.host.swap(self.vm, &exchange).await?;
        }
        Err(untouched(point::started(machine)))
    }

    /// Whether the persistent definition has the new disks, and nothing runs with others.
    fn is_made(&self, machine: &Machine) -> bool {
        let added = self.added.iter();
        point::all(machine, self.turns, |turn| &turn.to)
            && added.into_iter().all(|(target, image)| {
                let disk = machine.disk(target);
                let file = disk
                    .and_then(|disk| disk.inactive.as_ref())
                    .and_then(Source::file);
                file == Some(&image.path)
            })
    }

    fn is_to_be_made(&self, machine: &Machine) -> bool {
        let mut added = self.added.keys();
        point::all(machine, self.turns, |turn| &turn.from)
            && added.all(|target| machine.disk(target).is_none())
    }
}

/// A disk that a VM gets besides.
pub(super) struct Attach<'a> {
    pub(super) vm: &'a VmId,
    pub(super) claim: u64,
    pub(super) definition: &'a Utf8Path,
    pub(super) disk: &'a Target,
    pub(super) target: &'a Target,
    pub(super) image: &'a Image,
    pub(super) backing: &'a [Image],
}

impl Attach<'_> {
    pub(super) async fn perform<H: Host>(&self, engine: &Engine<H>) -> Performed {
        let machine = engine.host.machine(self.vm).await?;
        claimed(&machine, self.claim)?;
        if self.is_made(&machine) {
            return Ok(Receipt::Done);
        }
        if machine.disk(self.target).is_some() {
            return Err(untouched(conflict(
                format!("{} has a disk {} by now", machine.name, self.target),
                "say another one: --as TARGET",
            )));
        }
        let read = engine.host.read(self.definition).await;
        let text = read.map_err(|error| untouched(error.into()))?;
        let text = String::from_utf8_lossy(&text);
        let head = Head {
            target: self.target.clone(),
            image: self.image.clone(),
            backing: self.backing.to_owned(),
        };
        let attached = engine.host.attach(self.vm, &text, self.disk, &head).await;
        let after = engine.host.machine(self.vm).await?;
        if self.is_made(&after) {
            return Ok(Receipt::Done);
        }
        if after.disk(self.target).is_none() {
            attached.map_err(|error| untouched(error.into()))?;
        }
        Err(conflict(
            format!(
                "{} has {} only until its next stop, or from its next start",
                after.name, self.target
            ),
            "look at virsh domblklist",
        ))
    }

    fn is_made(&self, machine: &Machine) -> bool {
        machine.disk(self.target).is_some_and(|disk| {
            let sources = [&disk.source, &disk.inactive];
            let mut files = sources
                .iter()
                .map(|source| source.as_ref().and_then(Source::file));
            files.all(|file| file == Some(&self.image.path))
        })
    }
}

/// The definition that leads back.
pub(super) async fn describe<H: Host>(
    engine: &Engine<H>,
    vm: &VmId,
    claim: u64,
    kept: &BTreeMap<Target, Image>,
    to: &Utf8Path,
) -> Performed {
    claimed(&engine.host.machine(vm).await?, claim)?;
    let text = engine
        .host
        .described(vm, &heads(kept, &BTreeMap::new()))
        .await?;
    engine.host.write(to, text.as_bytes()).await?;
    Ok(Receipt::Done)
}

/// Renames the files of a disk that was replaced, from the lowest up, and tells each where the one below
/// it is.
pub(super) async fn keep<H: Host>(
    engine: &Engine<H>,
    vm: &VmId,
    claim: u64,
    target: &Target,
    files: &[Image],
    restore: &BackupId,
) -> Performed {
    let machine = engine.host.machine(vm).await?;
    claimed(&machine, claim)?;
    if let Some(used) = files.iter().find(|file| {
        machine
            .disk(target)
            .is_some_and(|disk| disk.uses(&file.path))
    }) {
        return Err(conflict(
            format!(
                "{} uses {} again, which was not planned",
                machine.name, used.path
            ),
            "look at virsh domblklist; nothing was renamed",
        ));
    }
    let mut below: Option<Image> = None;
    for file in files.iter().rev() {
        let kept = Image::new(layout::before(&file.path, restore), file.format.clone());
        place::rename(engine, &file.path, &kept.path).await?;
        if let Some(below) = &below {
            engine.host.rebase(&kept, below).await?;
            engine.host.sync(&kept.path).await?;
        }
        below = Some(kept);
    }
    Ok(Receipt::Done)
}
