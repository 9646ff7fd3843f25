//! What guests and their owners do, whatever knib is at: write, start, stop, freeze late.

use knib::host::HostError;
use knib::host::Result;
use knib::model::fault::Fault;
use knib::model::id::Target;
use knib::model::id::VmId;
use knib::model::machine::JobKind;

use crate::sim::image::Image;
use crate::sim::image::ZERO;
use crate::sim::site::Site;
use crate::sim::site::is_written;
use crate::sim::vm::Running;

impl Site {
    /// Every guest that runs and is not frozen may write one cell of each disk.
    pub(crate) fn guests_write(&mut self) {
        let ids: Vec<VmId> = self.vms.keys().cloned().collect();
        for id in ids {
            let vm = self.vms.get_mut(&id).expect("it was just listed");
            let Some(running) = &mut vm.running else {
                continue;
            };
            match &mut running.freezes_in {
                Some(0) => {
                    vm.frozen = true;
                    running.freezes_in = None;
                }
                Some(ticks) => *ticks -= 1,
                None => {}
            }
            if vm.frozen {
                continue;
            }
            let targets: Vec<Target> = running.open.keys().cloned().collect();
            for target in targets {
                let (write, what) = (self.dice.below(2) == 0, self.dice.roll());
                if write {
                    let value = if what % 8 == 0 { ZERO } else { what };
                    let size = self.vms[&id].wrote[&target].len();
                    let at = self.dice.below(size);
                    self.write(&id, &target, at, value);
                }
            }
        }
    }

    /// A running guest writes.
    pub(crate) fn write(&mut self, vm: &VmId, target: &Target, at: usize, value: u64) {
        let vm = self.vms.get_mut(vm).expect("a guest that is there");
        let running = vm.running.as_mut().expect("only a running guest writes");
        let head = &running.chain(target)[0];
        let image = self.files.image_mut(head).expect("QEMU has it open");
        image.cells[at] = Some(value);
        if let Some(job) = running.jobs.get_mut(target) {
            job.written(at);
        }
        if let Some((JobKind::Pull, (_, brought))) = running.unwritten.get_mut(target) {
            brought.remove(&at);
        }
        vm.wrote.get_mut(target).expect("it has a size")[at] = value;
    }

    /// Its owner makes a disk another size, on or off.
    pub(crate) fn resize(&mut self, vm: &VmId, target: &Target, cells: usize) {
        let vm = self.vms.get_mut(vm).expect("a guest that is there");
        let disk = vm.stored.disk(target).expect("a disk that is there");
        let head = disk.path().expect("a hard disk has a file").clone();
        let chain = self.files.chain(&head).expect("it is whole");
        let below = self.files.seen(&chain[1..]).expect("it is whole");
        let image = self.files.image_mut(&head).expect("it is there");
        image.resize(cells, &below);
        let wrote = vm.wrote.get_mut(target).expect("it has a size");
        wrote.resize(cells, ZERO);
    }

    /// `virsh start`. A lock, or a VM that is on, refuses it and all stays as it is.
    pub(crate) fn start(&mut self, id: &VmId) -> bool {
        let Some(vm) = self.vms.get(id).filter(|vm| vm.running.is_none()) else {
            return false;
        };
        if !vm.stored.networks.is_empty() {
            return false;
        }
        let mut definition = vm.stored.clone();
        let mut open = std::collections::BTreeMap::new();
        for disk in definition.disks.iter_mut().filter(|disk| is_written(disk)) {
            if self.is_put_away(disk.path().expect("a hard disk has a file")) {
                return false;
            }
            match self.chain_at_start(disk) {
                Ok(chain) if self.is_open(&chain[0]) => return false,
                Ok(chain) => {
                    let format = disk.image.clone().expect("it has a file").format;
                    disk.lead(&chain, format);
                    open.insert(disk.target.clone(), chain);
                }
                Err(error) => {
                    let name = vm.stored.name.clone();
                    self.complain(format!("{name} could not be started: {error}"));
                    return false;
                }
            }
        }
        let vm = self.vms.get_mut(id).expect("it is there");
        vm.starts += 1;
        vm.running = Some(Running {
            definition,
            number: vm.starts,
            open,
            jobs: std::collections::BTreeMap::new(),
            unwritten: std::collections::BTreeMap::new(),
            renamed: std::collections::BTreeMap::new(),
            freezes_in: None,
        });
        self.watch();
        true
    }

    /// `virsh destroy`.
    pub(crate) fn stop(&mut self, id: &VmId) -> bool {
        let Some(vm) = self.vms.get_mut(id) else {
            return false;
        };
        vm.frozen = false;
        vm.frozen_by_others = false;
        vm.running.take().is_some()
    }

    /// The host loses power, and comes back with all VMs off.
    pub(crate) fn cut_power(&mut self) {
        self.programs.clear();
        self.files.cut_power();
        self.kill_qemu();
        self.watch();
    }

    /// Every QEMU is killed. What it loses by that is nobody's fault, and to be brought again.
    pub(crate) fn kill_qemu(&mut self) {
        let ids: Vec<VmId> = self.vms.keys().cloned().collect();
        for id in ids {
            let vm = self.vms.get_mut(&id).expect("it was just listed");
            let lacking = vm.die(&mut self.files);
            self.stop(&id);
            let lacking = lacking.into_iter().map(|target| (id.clone(), target));
            self.lacking.extend(lacking);
        }
    }

    /// Every block job ends where it stands, as after a write error in its base.
    pub(crate) fn lose_jobs(&mut self) {
        let running = self.vms.values_mut().filter_map(|vm| vm.running.as_mut());
        running.for_each(|running| running.jobs.clear());
    }

    /// `virsh snapshot-create-as --no-metadata --disk-only`: somebody else's overlay.
    pub(crate) fn foreign_overlay(&mut self, id: &VmId, target: &Target, path: &str) -> Result<()> {
        let vm = self.vms.get_mut(id).ok_or_else(|| {
            HostError::new(Fault::Gone, format!("find VM {id}"), "no such domain")
        })?;
        let disk = vm.stored.disk_mut(target).expect("a disk that is there");
        let head = disk.path().expect("a hard disk has a file").clone();
        let cells = self.files.image(&head).expect("it is there").cells.len();
        let image = Image::over(head.as_str(), cells);
        self.files
            .put(path, crate::sim::files::Node::Image(image.into()));
        let chain = self.files.chain(path.into())?;
        disk.lead(&chain, knib::model::machine::Format::Qcow2);
        if let Some(running) = &mut vm.running {
            let disk = running.definition.disk_mut(target);
            disk.expect("both have it")
                .lead(&chain, knib::model::machine::Format::Qcow2);
            running.open.insert(target.clone(), chain);
        }
        self.watch();
        Ok(())
    }
}
