//! Writes to a virtual machine's disks without a guest: through QEMU's own block layer while it runs, where they land in
//! the active layer as a guest's would, and through `qemu-io` while it is stopped.
//!
//! Each write is also made to the disk's *truth*, a raw file that no VM and no knib ever touches. So the test knows what
//! the disk holds without reading any layer that knib copies.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::path::PathBuf;

use super::disk::KIB;
use super::oracle;
use super::tool;
use super::tool::qemu_img;
use super::tool::virsh;
use super::vm::Vm;

impl Vm {
    /// Fills `length` bytes at `offset` with the byte `pattern`.
    #[track_caller]
    pub(crate) fn write(&self, target: &str, offset: u64, pattern: u8, length: u64) {
        let command = format!("write -P {pattern} {offset} {length}");
        self.change(target, &command, (offset, length), pattern);
    }

    /// Writes zeroes the way a guest's "write zeroes" request does.
    #[track_caller]
    pub(crate) fn zero(&self, target: &str, offset: u64, length: u64) {
        self.change(
            target,
            &format!("write -z {offset} {length}"),
            (offset, length),
            0,
        );
    }

    /// Discards whole clusters (64 KiB), which read as zeroes afterwards.
    #[track_caller]
    pub(crate) fn discard(&self, target: &str, offset: u64, length: u64) {
        assert_eq!(
            (offset % (64 * KIB), length % (64 * KIB)),
            (0, 0),
            "a part of a cluster is not discarded"
        );
        self.change(
            target,
            &format!("discard {offset} {length}"),
            (offset, length),
            0,
        );
    }

    /// Gives the disk another size, running or stopped. What a shrink cuts off is gone: growing again gives zeroes.
    #[track_caller]
    pub(crate) fn resize(&self, target: &str, size: u64) {
        if self.state() == "shut off" {
            let file = self.source(target);
            let format = format_of(&file);
            let args = ["resize", "--shrink", "-q", "-f", &format]
                .map(Path::new)
                .into_iter();
            qemu_img(args.chain([file.as_path(), Path::new(&size.to_string())])).must();
        } else {
            virsh(["blockresize", &self.name, target, &format!("{size}B")]).must();
        }
        self.open_truth(target)
            .set_len(size)
            .expect("a sparse file takes any size");
    }

    /// What the disk must hold at this instant: a raw file of the test's own. Only for disks that no guest writes to.
    #[track_caller]
    pub(crate) fn truth(&self, target: &str) -> PathBuf {
        let number = std::fs::read_dir(&self.truths)
            .expect("the directory is the test's own")
            .count();
        let copy = self
            .truths
            .join(format!("{}-{target}.{number}.raw", self.name));
        oracle::copy(&self.truth_file(target), &copy);
        copy
    }

    /// From here on the disk holds what it held when this truth was taken.
    #[track_caller]
    pub(crate) fn goes_back_to(&self, target: &str, truth: &Path) {
        oracle::copy(truth, &self.truth_file(target));
    }

    /// The file that has what the disk must hold now.
    pub(crate) fn truth_file(&self, target: &str) -> PathBuf {
        self.truths.join(format!("{}-{target}.raw", self.name))
    }

    fn open_truth(&self, target: &str) -> File {
        let file = File::options().write(true).open(self.truth_file(target));
        file.unwrap_or_else(|error| panic!("{} has no disk {target}: {error}", self.name))
    }

    /// Has the layer that a guest would write to changed by one command of `qemu-io`, and the truth with it.
    #[track_caller]
    fn change(&self, target: &str, command: &str, (offset, length): (u64, u64), pattern: u8) {
        let file = self.source(target);
        let format = format_of(&file);
        if self.state() == "shut off" {
            qemu_io(&["-d", "unmap", "-f", &format], &[command], &file);
        } else {
            let alias = self.alias(target);
            let device = format!("/machine/peripheral/{alias}/virtio-backend");
            for command in [command, "flush"] {
                let command = format!("qemu-io -d {device} \"{command}\"");
                let said = virsh(["qemu-monitor-command", "--hmp", &self.name, &command]).must();
                assert_eq!(said.trim(), "", "{} {target}", self.name);
            }
        }
        // The monitor does not tell whether the write succeeded, so the layer is asked.
        let check = format!("read -P {pattern} {offset} {length}");
        qemu_io(&["-U", "-r", "-f", &format], &[&check], &file);

        let bytes = vec![pattern; usize::try_from(length).expect("a test writes little")];
        self.open_truth(target)
            .write_all_at(&bytes, offset)
            .expect("the truth can be written");
    }
}

fn format_of(image: &Path) -> String {
    oracle::info(image)["format"]
        .as_str()
        .expect("every image has a format")
        .to_owned()
}

/// Runs commands of `qemu-io` on a file. It succeeds even where a command failed; only its words tell.
#[track_caller]
fn qemu_io(options: &[&str], commands: &[&str], file: &Path) {
    let commands = commands.iter().flat_map(|command| ["-c", command]);
    let args = options
        .iter()
        .copied()
        .chain(commands)
        .map(Path::new)
        .chain([file]);
    let said = tool::run("qemu-io", args).must();
    assert!(!said.contains("failed"), "{}: {said}", file.display());
}
