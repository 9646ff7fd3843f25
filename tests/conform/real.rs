//! libvirt and QEMU, with a VM whose processors never run.

use std::any::Any;
use std::fs;
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Child;
use std::process::Command;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use knib::host::Local;
use knib::model::id::VmId;

use crate::conform::ground::CELLS;
use crate::conform::ground::Ground;
use crate::conform::ground::format_of;
use crate::support::Disk;
use crate::support::KIB;
use crate::support::Live;
use crate::support::Vm;
use crate::support::deadline::wait_until;
use crate::support::tool::URI;
use crate::support::tool::qemu_img;
use crate::support::tool::virsh;
use crate::support::vm::Xml;

const CELL: u64 = 64 * KIB;

pub(super) struct Real {
    host: Local,
    vm: Vm,
    id: VmId,
    // Goes last, with all that is in it.
    live: Live,
}

impl Real {
    pub(super) async fn new() -> Self {
        let host = Local::connect(URI).await.expect("libvirtd answers");
        let live = Live::new();
        let size = CELLS as u64 * CELL;
        let vda = Disk::qcow2("vda", size).at(live.primary().join("a.qcow2"));
        let vdb = Disk::raw("vdb", size).at(live.primary().join("b.raw"));
        let vm = live.vm("a").disk(vda).disk(vdb).define();
        let id = VmId::new(vm.uuid());
        Self { host, vm, id, live }
    }
}

struct Reader(Child);

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Ground for Real {
    type Host = Local;

    fn host(&self) -> &Local {
        &self.host
    }

    fn dir(&self) -> Utf8PathBuf {
        Utf8PathBuf::from_path_buf(self.live.primary()).expect("it is UTF-8")
    }

    fn vm(&self) -> VmId {
        self.id.clone()
    }

    fn start(&self) -> bool {
        virsh(["start", "--paused", &self.vm.name]).ok
    }

    fn stop(&self) {
        self.vm.destroy();
    }

    fn write(&self, target: &str, cells: Range<usize>, value: u8) {
        let length = cells.len() as u64 * CELL;
        // A disk that came later has none yet, and nobody asks for it.
        let truth = self.vm.truth_file(target);
        let made = fs::File::options().create(true).append(true).open(truth);
        drop(made.expect("the directory is the test's own"));
        self.vm
            .write(target, cells.start as u64 * CELL, value, length);
    }

    fn lose(&self, image: &Utf8Path) {
        fs::remove_file(image).expect("it is there");
    }

    fn reader(&self, image: &Utf8Path) -> Box<dyn Any> {
        let socket = self.live.path("nbd.sock");
        let reader = Command::new("qemu-nbd")
            .args(["-r", "-t", "-f", "qcow2", "-k"])
            .args([socket.as_path(), image.as_std_path()])
            .spawn()
            .expect("qemu-nbd is installed");
        let reader = Box::new(Reader(reader));
        wait_until("the reader", 60, || socket.exists());
        reader
    }

    fn resize(&self, image: &Utf8Path, cells: usize) {
        let format = format_of(image);
        let size = (cells as u64 * CELL).to_string();
        let args = [
            "resize",
            "-q",
            "--shrink",
            "-f",
            format.as_str(),
            image.as_str(),
            &size,
        ];
        qemu_img(args).must();
    }

    fn cells(&self, image: &Utf8Path) -> Option<Vec<u8>> {
        let raw = self.live.path("cells.raw");
        let format = format_of(image);
        let args = ["convert", "-f", format.as_str(), "-O", "raw"].map(Path::new);
        let read = qemu_img(args.into_iter().chain([image.as_std_path(), &raw]));
        if !read.ok {
            return None;
        }
        let bytes = fs::read(&raw).expect("it was just written");
        let cells = bytes.chunks(usize::try_from(CELL).expect("it is small"));
        let uniform = |cell: &[u8]| {
            assert!(
                cell.iter().all(|byte| *byte == cell[0]),
                "half a cell in {image}"
            );
            cell[0]
        };
        Some(cells.map(uniform).collect())
    }

    fn definition(&self) -> String {
        self.vm.xml(Xml::Inactive)
    }

    fn bring_back(&self, definition: &str) {
        let file = self.live.path("older.xml");
        fs::write(&file, definition).expect("the directory is the test's own");
        virsh([Path::new("define"), &file]).must();
    }

    fn in_network(&self, definition: &str, network: &str) -> String {
        let card = format!("<interface type='network'><source network='{network}'/></interface>");
        definition.replace("</devices>", &(card + "</devices>"))
    }

    fn shut(&self, image: &Utf8Path, shut: bool) {
        let mode = fs::Permissions::from_mode(if shut { 0o600 } else { 0o644 });
        fs::set_permissions(image, mode).expect("the test's own");
    }
}
