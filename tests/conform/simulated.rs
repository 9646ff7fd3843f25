//! The simulated host, with a guest that writes only when it is told to.

use std::any::Any;
use std::ops::Range;
use std::rc::Rc;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use knib::model::id::Target;
use knib::model::id::VmId;
use knib::model::machine::Format;
use knib::model::step;

use crate::conform::ground::CELLS;
use crate::conform::ground::Ground;
use crate::sim::Definition;
use crate::sim::DiskDef;
use crate::sim::Image;
use crate::sim::Node;
use crate::sim::PRIMARY;
use crate::sim::Sim;
use crate::sim::Site;
use crate::sim::Vm;

const ID: &str = "db000000-0000-4000-8000-000000000001";

pub(super) struct Simulated {
    sim: Rc<Sim>,
}

impl Simulated {
    pub(super) fn new() -> Self {
        let mut site = Site::new(1);
        let mut disks = Vec::new();
        for (target, name, format) in [
            ("vda", "a.qcow2", Format::Qcow2),
            ("vdb", "b.raw", Format::Raw),
        ] {
            let path = Utf8Path::new(PRIMARY).join(name);
            let image = Image::empty(format.clone(), CELLS);
            site.files.put(path.as_str(), Node::Image(image.into()));
            disks.push(DiskDef::hard_disk(target, step::Image::new(path, format)));
        }
        let mut vm = Vm::off(Definition {
            id: VmId::new(ID),
            name: "a".to_owned(),
            note: None,
            disks,
            networks: Vec::new(),
            channel: false,
        });
        for disk in &vm.stored.disks {
            vm.wrote.insert(disk.target.clone(), vec![0; CELLS]);
        }
        site.vms.insert(VmId::new(ID), vm);
        Self {
            sim: Sim::new(site, Vec::new()),
        }
    }
}

struct Reader(Rc<Sim>);

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.site.borrow_mut().programs.pop();
    }
}

impl Drop for Simulated {
    fn drop(&mut self) {
        let site = self.sim.site.borrow();
        if !std::thread::panicking() {
            assert!(
                site.complaints.is_empty() || site.vms.values().any(|vm| !vm.watched),
                "{:?}",
                site.complaints
            );
        }
    }
}

impl Ground for Simulated {
    type Host = Sim;

    fn host(&self) -> &Sim {
        &self.sim
    }

    fn dir(&self) -> Utf8PathBuf {
        PRIMARY.into()
    }

    fn vm(&self) -> VmId {
        VmId::new(ID)
    }

    fn start(&self) -> bool {
        let mut site = self.sim.site.borrow_mut();
        let started = site.start(&self.vm());
        if let Some(vm) = site.vms.get_mut(&self.vm()) {
            // A guest that is frozen writes nothing by itself, and nobody here asks whether it is.
            vm.frozen = vm.running.is_some();
        }
        started
    }

    fn stop(&self) {
        self.sim.site.borrow_mut().stop(&self.vm());
    }

    fn write(&self, target: &str, cells: Range<usize>, value: u8) {
        let mut site = self.sim.site.borrow_mut();
        let (vm, target) = (self.vm(), Target::new(target));
        for cell in cells {
            if site.vms[&vm].running.is_some() {
                site.write(&vm, &target, cell, value.into());
                continue;
            }
            let vm = site.vms.get_mut(&vm).expect("it is there");
            vm.wrote.get_mut(&target).expect("it has a size")[cell] = value.into();
            let head = vm.stored.disk(&target).and_then(DiskDef::path).cloned();
            let image = site.files.image_mut(&head.expect("it has a file"));
            image.expect("it is there").cells[cell] = Some(value.into());
        }
    }

    fn lose(&self, image: &Utf8Path) {
        let mut site = self.sim.site.borrow_mut();
        site.files.remove(image);
        let vm = site.vms.get_mut(&self.vm()).expect("it is there");
        vm.watched = false;
    }

    fn reader(&self, image: &Utf8Path) -> Box<dyn Any> {
        let mut site = self.sim.site.borrow_mut();
        site.programs.push((image.to_owned(), false));
        Box::new(Reader(Rc::clone(&self.sim)))
    }

    fn resize(&self, image: &Utf8Path, cells: usize) {
        let mut site = self.sim.site.borrow_mut();
        let of = |disk: &&DiskDef| disk.path().is_some_and(|path| path == image);
        let target = site.vms[&self.vm()].stored.disks.iter().find(of);
        let target = target.expect("a head of a disk").target.clone();
        site.resize(&self.vm(), &target, cells);
    }

    fn cells(&self, image: &Utf8Path) -> Option<Vec<u8>> {
        let site = self.sim.site.borrow();
        let seen = site.files.seen(&site.files.chain(image).ok()?).ok()?;
        let byte = |cell: u64| u8::try_from(cell).expect("values are small here");
        Some(seen.into_iter().map(byte).collect())
    }

    fn definition(&self) -> String {
        let site = self.sim.site.borrow();
        serde_json::to_string(&site.vms[&self.vm()].stored).expect("it is JSON")
    }

    fn bring_back(&self, definition: &str) {
        let mut site = self.sim.site.borrow_mut();
        let vm = site.vms.get_mut(&self.vm()).expect("it is there");
        vm.stored = serde_json::from_str(definition).expect("it is JSON");
        vm.watched = false;
    }

    fn in_network(&self, definition: &str, network: &str) -> String {
        let mut text: Definition = serde_json::from_str(definition).expect("it is JSON");
        text.networks.push(network.to_owned());
        serde_json::to_string(&text).expect("it is JSON")
    }

    fn shut(&self, image: &Utf8Path, shut: bool) {
        let shut_ones = &mut self.sim.site.borrow_mut().shut;
        if shut {
            shut_ones.insert(image.to_owned());
        } else {
            shut_ones.remove(image);
        }
    }
}
