//! A virtual machine made by `virsh` from a few disks: paused without an operating system, stopped, or with the real guest.
//!
//! How the test itself writes to its disks is in `writes.rs`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use super::deadline::wait_until;
use super::disk::Disk;
use super::guest::Guest;
use super::live::Live;
use super::tool::run;
use super::tool::virsh;

/// A virtual machine that is being put together.
pub(crate) struct Builder<'a> {
    live: &'a Live,
    name: String,
    disks: Vec<Disk>,
    devices: String,
    os: String,
    agent: bool,
}

impl<'a> Builder<'a> {
    pub(crate) fn new(live: &'a Live, name: String) -> Self {
        Self {
            live,
            name,
            disks: Vec::new(),
            devices: String::new(),
            os: String::new(),
            agent: false,
        }
    }

    /// One more disk.
    pub(crate) fn disk(mut self, disk: Disk) -> Self {
        self.disks.push(disk);
        self
    }

    /// One more device, as an element of the domain's `<devices>`; `$DIR` is [filled in](super::Sandbox::fill_in).
    pub(crate) fn device(mut self, xml: &str) -> Self {
        self.devices += &self.live.fill_in(xml);
        self
    }

    /// More of what it boots from, as elements of the domain's `<os>`.
    pub(crate) fn os(mut self, xml: &str) -> Self {
        self.os += &self.live.fill_in(xml);
        self
    }

    /// Adds the channel of a guest agent. A guest that is booted has it anyway.
    pub(crate) fn agent(self) -> Self {
        Self {
            agent: true,
            ..self
        }
    }

    /// Makes the disks and defines the virtual machine, stopped.
    #[track_caller]
    pub(crate) fn define(self) -> Vm {
        let memory = 32;
        self.define_with(memory)
    }

    /// [`Self::define`], then started with its processors stopped: no guest ever runs. Takes 0.3 s.
    #[track_caller]
    pub(crate) fn start_paused(self) -> Vm {
        let vm = self.define();
        vm.start_paused();
        vm
    }

    /// [`Self::define`], then boots the real guest and waits until its agent answers. Takes 3 s.
    #[track_caller]
    pub(crate) fn boot(self) -> (Vm, Guest) {
        let (kernel, initrd) = self.live.guest_files();
        let kernel = format!(
            "<kernel>{}</kernel><initrd>{}</initrd><cmdline>console=ttyS0 quiet panic=-1</cmdline>",
            kernel.display(),
            initrd.display()
        );
        let memory = 192;
        let vm = self.os(&kernel).agent().define_with(memory);
        let guest = vm.boot();
        (vm, guest)
    }

    #[track_caller]
    fn define_with(self, memory: u32) -> Vm {
        let truths = self.live.path("truth");
        let disks = self.disks.iter().map(|disk| {
            let file = disk.file(&self.live.primary(), &self.name);
            disk.create(
                &file,
                &truths.join(format!("{}-{}.raw", self.name, disk.target)),
            );
            (disk.target.clone(), file)
        });
        let vm = Vm {
            disks: disks.collect(),
            name: self.name.clone(),
            truths: truths.clone(),
        };
        let xml = self.live.path(&format!("{}.xml", self.name));
        fs::write(&xml, self.xml(&vm, memory)).expect("the directory is the test's own");
        virsh([Path::new("define"), &xml]).must();
        vm
    }

    fn xml(&self, vm: &Vm, memory: u32) -> String {
        let mut devices = self.devices.clone();
        for Disk { target, format, .. } in &self.disks {
            let file = vm.disks[target].display();
            let _ = write!(
                devices,
                "<disk type='file' device='disk'><driver name='qemu' type='{format}' discard='unmap'/>\
                 <source file='{file}'/><target dev='{target}' bus='virtio'/><alias name='ua-{target}'/></disk>"
            );
        }
        if self.agent {
            devices += "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>";
        }
        let console = self.live.path(&format!("{}.console", self.name));
        format!(
            "<domain type='qemu'><name>{name}</name><memory unit='MiB'>{memory}</memory><vcpu>1</vcpu>\
             <os><type arch='x86_64' machine='q35'>hvm</type>{os}</os><features><acpi/></features>\
             <devices>{devices}<controller type='usb' model='none'/><memballoon model='none'/>\
             <serial type='file'><source path='{console}'/></serial><video><model type='vga'/></video></devices></domain>",
            name = self.name,
            os = self.os,
            console = console.display(),
        )
    }
}

/// A defined virtual machine. It goes with its [`Live`].
pub(crate) struct Vm {
    /// Its name in libvirt, `$RUN-<name>`.
    pub(crate) name: String,
    /// The file of each disk as it was defined, below all overlays, by target.
    pub(crate) disks: BTreeMap<String, PathBuf>,
    pub(super) truths: PathBuf,
}

/// Which of a virtual machine's two descriptions is meant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Xml {
    /// What QEMU runs with now; of a stopped VM the same as [`Xml::Inactive`].
    Live,
    /// What its next start will use.
    Inactive,
}

impl Vm {
    /// The virtual machine of this name, with the disks that it has now. It has no truths.
    #[track_caller]
    pub(super) fn found(live: &Live, name: String) -> Self {
        let truths = live.path("truth");
        let mut vm = Self {
            name,
            disks: BTreeMap::new(),
            truths,
        };
        vm.disks = vm.sources(Xml::Inactive);
        vm
    }

    /// Starts it with its processors stopped.
    #[track_caller]
    pub(crate) fn start_paused(&self) {
        virsh(["start", "--paused", &self.name]).must();
    }

    /// Starts it and waits until its guest's agent answers.
    #[track_caller]
    pub(crate) fn boot(&self) -> Guest {
        virsh(["start", &self.name]).must();
        Guest::answering(&self.name)
    }

    /// Stops it as a power cut would.
    #[track_caller]
    pub(crate) fn destroy(&self) {
        virsh(["destroy", &self.name]).must();
    }

    /// Its QEMU is killed, without a word to anybody; returns when libvirt knows.
    #[track_caller]
    pub(crate) fn kill(&self) {
        let pid = format!("/run/libvirt/qemu/{}.pid", self.name);
        let pid = fs::read_to_string(pid).expect("it runs");
        run("kill", ["-9", pid.trim()]).must();
        wait_until("libvirt knows that QEMU is gone", 60, || {
            self.state() == "shut off"
        });
    }

    /// libvirt's word for its state: `running`, `paused`, `shut off`.
    #[track_caller]
    pub(crate) fn state(&self) -> String {
        virsh(["domstate", &self.name]).must().trim().to_owned()
    }

    /// Its uuid.
    #[track_caller]
    pub(crate) fn uuid(&self) -> String {
        virsh(["domuuid", &self.name]).must().trim().to_owned()
    }

    /// Its description.
    #[track_caller]
    pub(crate) fn xml(&self, which: Xml) -> String {
        let inactive = (which == Xml::Inactive).then_some("--inactive");
        virsh(["dumpxml", &self.name].into_iter().chain(inactive)).must()
    }

    /// The file that each disk's writes go to, by target, as canonical paths.
    #[track_caller]
    pub(crate) fn sources(&self, which: Xml) -> BTreeMap<String, PathBuf> {
        let text = self.xml(which);
        let xml = roxmltree::Document::parse(&text).expect("libvirt writes XML");
        let disks = xml.descendants().filter(|node| node.has_tag_name("disk"));
        disks
            .filter_map(|disk| {
                let child = |name| disk.children().find(|child| child.has_tag_name(name));
                let file = child("source")?.attribute("file")?;
                let target = child("target")?.attribute("dev")?;
                Some((
                    target.to_owned(),
                    fs::canonicalize(file).unwrap_or_else(|_| file.into()),
                ))
            })
            .collect()
    }

    /// What QEMU calls a disk's device while it runs.
    #[track_caller]
    pub(super) fn alias(&self, target: &str) -> String {
        let text = self.xml(Xml::Live);
        let xml = roxmltree::Document::parse(&text).expect("libvirt writes XML");
        let mut targets = xml
            .descendants()
            .filter(|node| node.has_tag_name("target") && node.attribute("dev") == Some(target));
        let disk = targets.next().and_then(|target| target.parent());
        let mut parts = disk.into_iter().flat_map(|disk| disk.children());
        let alias = parts.find(|part| part.has_tag_name("alias"));
        let name = alias.and_then(|alias| alias.attribute("name"));
        name.unwrap_or_else(|| panic!("{} does not run with {target}", self.name))
            .to_owned()
    }

    /// The file that a disk's writes go to, which the live and the inactive description must agree on.
    #[track_caller]
    pub(crate) fn source(&self, target: &str) -> PathBuf {
        let [live, inactive] =
            [Xml::Live, Xml::Inactive].map(|which| self.sources(which).remove(target));
        assert_eq!(
            live, inactive,
            "{} runs {target} from another file than its next start would",
            self.name
        );
        live.unwrap_or_else(|| panic!("{} has no disk {target}", self.name))
    }
}
