//! What the tests of the real host share: one sandbox, images of any shape, calls without a run around them.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::FileExt;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use knib::host::Host;
use knib::host::Local;
use knib::host::NewOverlay;
use knib::host::Stop;
use knib::host::StopLevel;
use knib::host::Task;
use knib::model::id::Target;
use knib::model::id::VmId;
use knib::model::machine::Format;
use knib::model::machine::Machine;
use knib::model::step::Image;
use tokio::sync::watch;

pub(crate) use crate::support::KIB;
use crate::support::Live;
pub(crate) use crate::support::MIB;
use crate::support::deadline;
use crate::support::tool;
pub(crate) use crate::support::tool::URI;

/// Runs a program that must succeed.
#[track_caller]
pub(crate) fn run(program: &str, args: &[&str]) -> String {
    tool::run(program, args).must()
}

/// Runs a program: its output, or what it said on stderr.
pub(crate) fn attempt(program: &str, args: &[&str]) -> Result<String, String> {
    let ran = tool::run(program, args);
    if ran.ok {
        Ok(ran.stdout)
    } else {
        Err(ran.stderr)
    }
}

#[track_caller]
pub(crate) fn virsh(args: &[&str]) -> String {
    tool::virsh(args).must()
}

#[track_caller]
pub(crate) fn qemu_img(args: &[&str]) -> String {
    tool::qemu_img(args).must()
}

/// Asks again and again until `look` finds something.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    deadline::wait_for(what, 60, look)
}

pub(crate) async fn host() -> Local {
    Local::connect(URI).await.expect("libvirtd answers")
}

/// Gives a call the surroundings of a run that nobody stops.
pub(crate) struct Quiet {
    _sender: watch::Sender<StopLevel>,
    stop: Stop,
}

impl Quiet {
    pub(crate) fn new() -> Self {
        let (sender, receiver) = watch::channel(StopLevel::No);
        Self {
            _sender: sender,
            stop: Stop::new(receiver),
        }
    }

    pub(crate) fn task(&self) -> Task<'_> {
        Task {
            report: &|_, _| (),
            stop: &self.stop,
            limit: None,
        }
    }
}

/// A sandbox of one test, with paths as knib wants them.
pub(crate) struct Lab {
    live: Live,
}

impl Lab {
    pub(crate) fn new() -> Self {
        Self { live: Live::new() }
    }

    pub(crate) fn dir(&self) -> Utf8PathBuf {
        Utf8Path::from_path(self.live.root())
            .expect("it is UTF-8")
            .to_owned()
    }

    /// A small file system.
    pub(crate) fn mount(&self, name: &str, size: u64) -> Utf8PathBuf {
        self.live.mount_small(name, size);
        self.path(name)
    }

    pub(crate) fn path(&self, name: &str) -> Utf8PathBuf {
        self.dir().join(name)
    }

    /// A path as an argument of another program.
    pub(crate) fn at(&self, name: &str) -> String {
        self.path(name).into_string()
    }

    /// An empty image.
    pub(crate) fn image(&self, name: &str, format: &str, size: u64) -> Image {
        qemu_img(&[
            "create",
            "-q",
            "-f",
            format,
            &self.at(name),
            &size.to_string(),
        ]);
        Image {
            path: self.path(name),
            format: Format::named(format),
        }
    }

    /// An empty overlay.
    pub(crate) fn overlay(&self, name: &str, below: &Image) -> Image {
        let (format, path) = (below.format.as_str(), below.path.as_str());
        qemu_img(&[
            "create",
            "-q",
            "-f",
            "qcow2",
            "-F",
            format,
            "-b",
            path,
            &self.at(name),
        ]);
        Image {
            path: self.path(name),
            format: Format::Qcow2,
        }
    }

    /// A VM of these disks, not started.
    pub(crate) fn vm(&self, disks: &[(&str, &Image)]) -> Vm {
        self.vm_with(disks, "")
    }

    /// The same with further devices.
    pub(crate) fn vm_with(&self, disks: &[(&str, &Image)], devices: &str) -> Vm {
        let name = format!("{}-vm", self.live.run);
        let mut all = String::new();
        for (target, Image { path, format }) in disks {
            let path = path.as_str().replace('&', "&amp;").replace('\'', "&apos;");
            let _ = write!(
                all,
                "<disk type='file' device='disk'><driver name='qemu' type='{format}'/>\
                 <source file='{path}'/><target dev='{target}' bus='virtio'/>\
                 <alias name='ua-{target}'/></disk>"
            );
        }
        let xml = format!(
            "<domain type='qemu'><name>{name}</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>\
             <os><type arch='x86_64' machine='q35'>hvm</type></os>\
             <features><acpi/></features><devices>{all}{devices}</devices></domain>"
        );
        let file = self.at("vm.xml");
        fs::write(&file, xml).expect("written");
        virsh(&["define", &file]);
        Vm::named(&name)
    }
}

/// A VM. It goes with its [`Lab`].
pub(crate) struct Vm {
    pub(crate) name: String,
    pub(crate) id: VmId,
}

impl Vm {
    /// One that is defined already.
    pub(crate) fn named(name: &str) -> Self {
        let id = VmId::new(virsh(&["domuuid", name]).trim());
        Self {
            name: name.to_owned(),
            id,
        }
    }

    pub(crate) fn start(&self) {
        virsh(&["start", "--paused", &self.name]);
    }

    pub(crate) fn stop(&self) {
        virsh(&["destroy", &self.name]);
    }

    /// Writes as the guest would.
    pub(crate) fn write(&self, target: &str, pattern: u8, at: u64, length: u64) {
        let order = format!("write -P {pattern} {at} {length}");
        self.qemu_io(target, &order);
    }

    pub(crate) fn qemu_io(&self, target: &str, order: &str) {
        let device = format!("/machine/peripheral/ua-{target}/virtio-backend");
        let order = format!("qemu-io -d {device} \"{order}\"");
        let said = virsh(&["qemu-monitor-command", &self.name, "--hmp", &order]);
        assert!(!said.contains("rror") && !said.contains("failed"), "{said}");
    }

    /// The file a disk names: live, or with `--inactive` at its next start.
    pub(crate) fn source(&self, target: &str, flags: &[&str]) -> String {
        let list = virsh(&[&["domblklist", &self.name], flags].concat());
        let line = list
            .lines()
            .find(|line| line.split_whitespace().next() == Some(target));
        let line = line.unwrap_or_else(|| panic!("no {target} in {list}"));
        line.trim_start()[target.len()..].trim().to_owned()
    }

    pub(crate) async fn machine(&self, host: &Local) -> Machine {
        host.machine(&self.id).await.expect("it is there")
    }
}

/// What a guest must see, kept as a plain file by plain writes: the oracle.
pub(crate) struct Truth {
    path: Utf8PathBuf,
    file: fs::File,
}

impl Truth {
    pub(crate) fn new(lab: &Lab, size: u64) -> Self {
        let path = lab.path("truth/disk");
        let file = fs::File::options()
            .create_new(true)
            .read(true)
            .write(true)
            .open(&path);
        let file = file.expect("made");
        file.set_len(size).expect("sized");
        Self { path, file }
    }

    pub(crate) fn write(&self, pattern: u8, at: u64, length: u64) {
        let bytes = vec![pattern; usize::try_from(length).expect("small")];
        self.file.write_all_at(&bytes, at).expect("written");
    }

    pub(crate) fn resize(&self, size: u64) {
        self.file.set_len(size).expect("sized");
    }

    /// An image of which no VM is the user holds exactly this, its size included.
    #[track_caller]
    pub(crate) fn is(&self, image: &Image) {
        let (truth, path) = (self.path.as_str(), image.path.as_str());
        let format = image.format.as_str();
        let info = qemu_img(&["info", "-U", "--output=json", "-f", format, path]);
        let info: serde_json::Value = serde_json::from_str(&info).expect("JSON");
        assert_eq!(
            info["virtual-size"],
            self.file.metadata().expect("there").len(),
            "{path}"
        );
        qemu_img(&["compare", "-U", "-f", "raw", "-F", format, truth, path]);
    }
}

/// Writes to an image that no VM uses.
pub(crate) fn qemu_io(image: &Image, orders: &[&str]) {
    let mut args = vec!["-t", "unsafe", "-f", image.format.as_str()];
    for order in orders {
        args.extend(["-c", order]);
    }
    args.push(image.path.as_str());
    let said = run("qemu-io", &args);
    assert!(!said.contains("failed"), "{said}");
}

pub(crate) fn target(name: &str) -> Target {
    Target::new(name)
}

pub(crate) fn new_overlay(name: &str, path: &Utf8Path) -> NewOverlay {
    NewOverlay {
        target: target(name),
        path: path.to_owned(),
    }
}

pub(crate) fn qcow2(path: &Utf8Path) -> Image {
    Image {
        path: path.to_owned(),
        format: Format::Qcow2,
    }
}
