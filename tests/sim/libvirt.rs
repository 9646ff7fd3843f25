//! What libvirt does when it is asked, each call at one instant.

use std::time::Duration;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use knib::host::Exchange;
use knib::host::Head;
use knib::host::HostError;
use knib::host::NewOverlay;
use knib::host::Renewal;
use knib::host::Result;
use knib::model::fault::Fault;
use knib::model::id::Target;
use knib::model::id::VmId;
use knib::model::layout;
use knib::model::machine::Agent;
use knib::model::machine::Device;
use knib::model::machine::Format;
use knib::model::machine::Layer;
use knib::model::machine::Machine;
use knib::model::machine::Note;

use crate::sim::files::Node;
use crate::sim::image::Image;
use crate::sim::jobs::BlockJob;
use crate::sim::site::Moment;
use crate::sim::site::Site;
use crate::sim::site::is_written;
use crate::sim::vm::Definition;
use crate::sim::vm::DiskDef;
use crate::sim::vm::Vm;

impl Site {
    pub(crate) fn vm(&self, id: &VmId) -> Result<&Vm> {
        self.vms.get(id).ok_or_else(|| no_domain(id))
    }

    fn vm_mut(&mut self, id: &VmId) -> Result<&mut Vm> {
        self.vms.get_mut(id).ok_or_else(|| no_domain(id))
    }

    pub(crate) fn snapshot(
        &mut self,
        id: &VmId,
        overlays: &[NewOverlay],
        others: &[Target],
        freeze: Option<Duration>,
    ) -> Result<()> {
        self.may_snapshot(id, overlays, others)?;
        if freeze.is_some() {
            self.freeze(id)?;
        }
        if self.vm(id)?.managed_save {
            self.complain(format!("{id} was given overlays above its managed save"));
        }
        for overlay in overlays {
            self.cover(id, overlay)?;
        }
        let moment = self.vm(id)?.wrote.clone();
        self.instant.clone_from(&moment);
        if let Some(backup) = overlays
            .first()
            .and_then(|overlay| layout::delta_of(&overlay.path))
            && self.moments.insert(backup.clone(), moment).is_some()
        {
            self.complain(format!("{backup} has two instants"));
        }
        Ok(())
    }

    fn may_snapshot(&self, id: &VmId, overlays: &[NewOverlay], others: &[Target]) -> Result<()> {
        let vm = self.vm(id)?;
        let no = |fault, cause: String| Err(HostError::new(fault, "snapshot", cause));
        if vm
            .running
            .as_ref()
            .is_some_and(|running| !running.jobs.is_empty())
        {
            return no(Fault::Busy, "already in active block job".to_owned());
        }
        for disk in &vm.stored.disks {
            let overlaid = overlays.iter().any(|one| one.target == disk.target);
            if !overlaid && !others.contains(&disk.target) && disk.device == Device::Disk {
                return no(
                    Fault::Conflict,
                    format!("{} was not there before", disk.target),
                );
            }
        }
        for overlay in overlays {
            let disk = vm.stored.disk(&overlay.target);
            let Some(head) = disk.and_then(|disk| disk.path()) else {
                return no(Fault::Conflict, format!("no disk {}", overlay.target));
            };
            if self.files.node(&overlay.path).is_some() {
                return no(Fault::Conflict, format!("{} already exists", overlay.path));
            }
            let dir = overlay.path.parent().and_then(|dir| self.files.node(dir));
            if dir != Some(&Node::Dir) {
                return no(
                    Fault::Conflict,
                    format!("{}: no such directory", overlay.path),
                );
            }
            if vm.running.is_none()
                && let Err(error) = self.chain_at_start(disk.expect("it has a path"))
            {
                return no(Fault::Conflict, error.cause);
            }
            if self.is_open(head) && self.programs.iter().any(|(open, w)| *w && open == head) {
                return no(Fault::Busy, format!("{head} is locked"));
            }
        }
        Ok(())
    }

    fn freeze(&mut self, id: &VmId) -> Result<()> {
        let vm = self.vm_mut(id)?;
        let silent = |cause| Err(HostError::new(Fault::Agent, "freeze", cause));
        let Some(running) = &mut vm.running else {
            return Ok(());
        };
        if vm.agent != Agent::Connected {
            return silent("the agent is not connected");
        }
        if vm.frozen || running.freezes_in.is_some() {
            return silent("guest-fsfreeze-freeze has been disabled");
        }
        if let Some(ticks) = vm.slow_freeze.take() {
            running.freezes_in = Some(ticks);
            return silent("didn't respond to command within '10' seconds");
        }
        Ok(())
    }

    fn cover(&mut self, id: &VmId, overlay: &NewOverlay) -> Result<()> {
        let (target, path) = (&overlay.target, &overlay.path);
        let stored = self.vm(id)?.stored.disk(target).cloned();
        let stored = stored.expect("it was just asked for");
        let now = match &self.vm(id)?.running {
            Some(running) => running.open[target].clone(),
            None => self.chain_at_start(&stored)?,
        };
        let cells = self
            .files
            .image(&now[0])
            .map_or(0, |image| image.cells.len());
        let image = Image::over(now[0].as_str(), cells);
        self.files.put(path.clone(), Node::Image(image.into()));
        let chain: Vec<_> = std::iter::once(path.clone()).chain(now.clone()).collect();
        let vm = self.vm_mut(id)?;
        if let Some(running) = &mut vm.running {
            running.open.insert(target.clone(), chain.clone());
            let disk = running.definition.disk_mut(target);
            disk.expect("it runs with it").lead(&chain, Format::Qcow2);
        }
        // Of a definition that names another file libvirt keeps its hands off.
        if stored.path() == Some(&now[0]) {
            let disk = vm.stored.disk_mut(target);
            disk.expect("it is stored").lead(&chain, Format::Qcow2);
        }
        Ok(())
    }

    pub(crate) fn is_frozen(&self, id: &VmId) -> Result<bool> {
        let vm = self.vm(id)?;
        match vm.running.as_ref() {
            Some(running) if running.freezes_in.is_none() && vm.agent == Agent::Connected => {
                Ok(vm.frozen)
            }
            _ => Err(HostError::new(Fault::Agent, "ask the agent", "no answer")),
        }
    }

    pub(crate) fn thaw(&mut self, id: &VmId) -> Result<()> {
        self.is_frozen(id)?;
        let vm = self.vm_mut(id)?;
        vm.frozen = false;
        if vm.frozen_by_others {
            let name = vm.stored.name.clone();
            self.complain(format!("{name} was thawed, which somebody else had frozen"));
        }
        Ok(())
    }

    pub(crate) fn note(&mut self, id: &VmId, note: Option<&Note>) -> Result<()> {
        let named = note.into_iter().flat_map(|note| note.snapshots.all.keys());
        for name in named {
            let instant = self.instant.clone();
            self.kept.entry(name.clone()).or_insert(instant);
        }
        let vm = self.vm_mut(id)?;
        vm.stored.note = note.cloned();
        if let Some(running) = &mut vm.running {
            running.definition.note = note.cloned();
        }
        Ok(())
    }

    pub(crate) fn point(&mut self, id: &VmId, heads: &[Head]) -> Result<()> {
        let mut shown = Moment::new();
        for Head {
            target,
            image,
            backing,
        } in heads
        {
            let seen = self
                .files
                .chain(&image.path)
                .and_then(|chain| self.files.seen(&chain));
            shown.insert(target.clone(), seen.unwrap_or_default());
            let vm = self.vm_mut(id)?;
            let disk = vm.stored.disk_mut(target);
            let disk = disk.ok_or_else(|| {
                HostError::new(Fault::Conflict, "change the disks", format!("no {target}"))
            })?;
            disk.image = Some(image.clone());
            disk.below = named(backing);
        }
        if heads.is_empty() {
            return Ok(());
        }
        for disk in &mut self.vm_mut(id)?.stored.disks {
            disk.below.take_if(|below| below.is_empty());
        }
        // One that runs is not hurt yet. Whether it is when it stops, the watch will tell.
        if self.vm(id)?.running.is_none() {
            self.go_on_from(id, shown);
        }
        Ok(())
    }

    pub(crate) fn described(&self, id: &VmId, heads: &[Head]) -> Result<String> {
        let mut definition = self.vm(id)?.stored.clone();
        for Head { target, image, .. } in heads {
            let disk = definition.disk_mut(target).expect("a disk that is there");
            disk.image = Some(image.clone());
            disk.below = None;
        }
        Ok(serde_json::to_string(&definition).expect("a definition is plain data"))
    }

    pub(crate) fn missing(definition: &str) -> Result<Vec<String>> {
        let networks = understood(definition)?.networks.into_iter();
        Ok(networks.map(|name| format!("network {name}")).collect())
    }

    pub(crate) fn stored(definition: &str) -> Result<Machine> {
        let stored = understood(definition)?;
        let layers = |disk: &DiskDef| -> Vec<Layer> {
            let below = disk.below.iter().flatten();
            let layer = |path: &Utf8PathBuf| Layer {
                path: path.clone(),
                format: Format::Qcow2,
                ..Layer::default()
            };
            disk.path().into_iter().chain(below).map(layer).collect()
        };
        let below: Vec<_> = stored.disks.iter().map(layers).collect();
        let mut machine = Vm::off(stored).machine();
        for (disk, layers) in machine.disks.iter_mut().zip(below) {
            disk.layers = layers;
        }
        Ok(machine)
    }

    /// A VM gets a disk of its own, in both its definitions.
    pub(crate) fn attach(
        &mut self,
        id: &VmId,
        definition: &str,
        from: &Target,
        head: &Head,
    ) -> Result<()> {
        let no = |cause: String| HostError::new(Fault::Conflict, "attach", cause);
        let stored: Definition =
            serde_json::from_str(definition).map_err(|error| no(error.to_string()))?;
        let mut disk = stored.disk(from).expect("it is described").clone();
        disk.target = head.target.clone();
        disk.image = Some(head.image.clone());
        disk.below = named(&head.backing);
        let chain = self.files.chain(&head.image.path)?;
        let shown = self.files.seen(&chain)?;
        let vm = self.vm_mut(id)?;
        if vm.stored.disk(&head.target).is_some() {
            return Err(no(format!("it has a disk {} already", head.target)));
        }
        vm.stored.disks.push(disk.clone());
        vm.wrote.insert(head.target.clone(), shown);
        if let Some(running) = &mut vm.running {
            disk.lead(&chain, head.image.format.clone());
            running.definition.disks.push(disk);
            running.open.insert(head.target.clone(), chain);
        }
        Ok(())
    }

    /// Disks that come show what their file holds; what is gone nobody watches any more.
    pub(crate) fn swap(&mut self, id: &VmId, exchange: &Exchange) -> Result<()> {
        let no = |cause: String| HostError::new(Fault::Conflict, "change the disks", cause);
        for head in &exchange.added {
            let stored: Definition = serde_json::from_str(&exchange.definition)
                .map_err(|error| no(error.to_string()))?;
            let mut disk = stored.disk(&head.target).expect("it is described").clone();
            disk.image = Some(head.image.clone());
            disk.below = named(&head.backing);
            let chain = self.files.chain(&head.image.path)?;
            let shown = self.files.seen(&chain)?;
            let vm = self.vm_mut(id)?;
            if vm.stored.disk(&head.target).is_some() {
                return Err(no(format!("it has a disk {} already", head.target)));
            }
            vm.stored.disks.push(disk);
            vm.wrote.insert(head.target.clone(), shown);
        }
        let vm = self.vm_mut(id)?;
        vm.stored
            .disks
            .retain(|disk| !exchange.removed.contains(&disk.target));
        self.point(id, &exchange.heads)
    }

    pub(crate) fn started(&mut self, id: &VmId) -> Result<()> {
        if self.vm(id)?.running.is_some() {
            return Err(HostError::new(Fault::Conflict, "start", "it is on already"));
        }
        if self.start(id) {
            return Ok(());
        }
        Err(HostError::new(Fault::Io, "start", "it does not start"))
    }

    pub(crate) fn shut_down(&mut self, id: &VmId) -> Result<()> {
        match self.vm(id)?.running {
            None => Err(HostError::new(Fault::Conflict, "shut down", "it is off")),
            Some(_) => self.destroyed(id),
        }
    }

    pub(crate) fn destroyed(&mut self, id: &VmId) -> Result<()> {
        self.vm(id)?;
        self.stop(id);
        Ok(())
    }

    /// A VM that is off was pointed at files that show this: what it had, a snapshot of it whole, or
    /// again what it had before it was pointed at one.
    fn go_on_from(&mut self, id: &VmId, shown: Moment) {
        let vm = self.vms.get_mut(id).expect("it is there");
        let agrees = |with: &Moment| {
            let mut shown = shown.iter();
            shown.all(|(target, seen)| with.get(target) == Some(seen))
        };
        let lacks = |target: &Target| self.lacking.contains(&(id.clone(), target.clone()));
        let mut as_it_was = shown.iter();
        if as_it_was.all(|(target, seen)| vm.wrote.get(target) == Some(seen) || lacks(target)) {
            return;
        }
        let snapshots = self
            .kept
            .iter()
            .map(|(name, moment)| (name.as_str(), moment));
        let backups = self
            .moments
            .iter()
            .map(|(id, moment)| (id.as_str(), moment));
        let mut known = snapshots.chain(backups);
        if let Some((name, _)) = known.find(|(_, moment)| agrees(moment)) {
            vm.left.push((vm.wrote.clone(), name.to_owned()));
            vm.wrote.extend(shown);
        } else if let Some((before, _)) = vm.left.pop_if(|(before, _)| agrees(before)) {
            vm.wrote = before;
        } else {
            let name = vm.stored.name.clone();
            self.complain(format!("{name} was pointed at other content"));
        }
    }

    pub(crate) fn commit(
        &mut self,
        id: &VmId,
        target: &Target,
        top: &Utf8Path,
        base: &Utf8Path,
    ) -> Result<()> {
        let no = |fault, cause: &str| Err(HostError::new(fault, format!("commit {top}"), cause));
        let locked = self.is_open(base);
        let vm = self.vms.get_mut(id).ok_or_else(|| no_domain(id))?;
        let Some(running) = &mut vm.running else {
            return no(Fault::Conflict, "domain is not running");
        };
        if running.jobs.contains_key(target) {
            return no(Fault::Busy, "already in active block job");
        }
        let Some(open) = running.open.get(target) else {
            return no(Fault::Conflict, "no such disk");
        };
        let place = |path: &Utf8Path| open.iter().position(|open| open == path);
        let (Some(top), Some(base)) = (place(top), place(base)) else {
            return no(Fault::Conflict, "could not find image in chain");
        };
        if base <= top {
            return no(Fault::Conflict, "the second is not below the first");
        }
        if locked {
            return no(Fault::Busy, "Failed to get \"write\" lock");
        }
        let cells = self
            .files
            .image(&open[top])
            .map_or(0, |image| image.cells.len());
        let below = self.files.seen(&open[base + 1..]).unwrap_or_default();
        let image = self.files.image_mut(&open[base]).expect("QEMU has it open");
        if image.cells.len() < cells {
            image.resize(cells, &below);
        }
        let job = BlockJob::commit(open, top, base, cells);
        running.jobs.insert(target.clone(), job);
        Ok(())
    }

    pub(crate) fn pull(&mut self, id: &VmId, target: &Target) -> Result<()> {
        let no = |fault, cause: &str| Err(HostError::new(fault, "pull", cause));
        let vm = self.vms.get_mut(id).ok_or_else(|| no_domain(id))?;
        let Some(running) = &mut vm.running else {
            return no(Fault::Conflict, "domain is not running");
        };
        if running.jobs.contains_key(target) {
            return no(Fault::Busy, "already in active block job");
        }
        let Some(open) = running.open.get(target) else {
            return no(Fault::Conflict, "no such disk");
        };
        let cells = self.files.image(&open[0]).map_or(0, |top| top.cells.len());
        let job = BlockJob::pull(open, cells);
        running.jobs.insert(target.clone(), job);
        Ok(())
    }

    /// What a pull brought is written down.
    pub(crate) fn flush(&mut self, id: &VmId, target: &Target) -> Result<()> {
        let vm = self.vms.get_mut(id).ok_or_else(|| no_domain(id))?;
        let Some(running) = &mut vm.running else {
            let cause = "domain is not running";
            return Err(HostError::new(Fault::Conflict, "flush", cause));
        };
        running.unwritten.remove(target);
        Ok(())
    }

    pub(crate) fn end_job(&mut self, id: &VmId, target: &Target, pivot: bool) -> Result<()> {
        let no = |fault, cause: &str| Err(HostError::new(fault, "end the job", cause));
        let vm = self.vms.get_mut(id).ok_or_else(|| no_domain(id))?;
        let Some(running) = &mut vm.running else {
            return no(Fault::Conflict, "domain is not running");
        };
        match running.jobs.get(target) {
            None => return no(Fault::Conflict, "no active block job"),
            Some(_) if !pivot => {
                running.jobs.remove(target);
            }
            Some(job) if job.is_ready() => vm.pivot(&mut self.files, target),
            Some(_) => return no(Fault::Busy, "not ready for pivot yet"),
        }
        Ok(())
    }

    pub(crate) fn define(&mut self, text: &str, renewal: &Renewal) -> Result<()> {
        let no = |cause: String| HostError::new(Fault::Conflict, "define", cause);
        let mut definition: Definition =
            serde_json::from_str(text).map_err(|error| no(error.to_string()))?;
        if self.vms.contains_key(&renewal.id)
            || self.vms.values().any(|vm| vm.stored.name == renewal.name)
        {
            return Err(no("it is defined already".to_owned()));
        }
        definition.id = renewal.id.clone();
        definition.name.clone_from(&renewal.name);
        definition.note = None;
        let mut wrote = Moment::new();
        let mut kept = Vec::new();
        for mut disk in definition.disks {
            match renewal.heads.iter().find(|head| head.target == disk.target) {
                Some(head) => {
                    let chain = self.files.chain(&head.image.path)?;
                    wrote.insert(disk.target.clone(), self.files.seen(&chain)?);
                    disk.image = Some(head.image.clone());
                    disk.below = named(&head.backing);
                    kept.push(disk);
                }
                None if is_written(&disk) => {}
                None => kept.push(disk),
            }
        }
        definition.disks = kept;
        let mut vm = Vm::off(definition);
        vm.born.clone_from(&wrote);
        vm.wrote = wrote;
        self.vms.insert(renewal.id.clone(), vm);
        Ok(())
    }

    pub(crate) fn undefine(&mut self, id: &VmId) -> Result<()> {
        if self.vm(id)?.running.is_some() {
            return Err(HostError::new(Fault::Conflict, "undefine", "it is on"));
        }
        self.vms.remove(id);
        Ok(())
    }
}

fn understood(definition: &str) -> Result<Definition> {
    serde_json::from_str(definition)
        .map_err(|error| HostError::new(Fault::Conflict, "read", error.to_string()))
}

/// What a definition says of the files below a disk.
fn named(backing: &[knib::model::step::Image]) -> Option<Vec<camino::Utf8PathBuf>> {
    let paths: Vec<_> = backing.iter().map(|image| image.path.clone()).collect();
    (!paths.is_empty()).then_some(paths)
}

fn no_domain(id: &VmId) -> HostError {
    HostError::new(Fault::Gone, format!("find VM {id}"), "no such domain")
}
