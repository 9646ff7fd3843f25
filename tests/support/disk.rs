//! A disk as a test asks for it: target, size, format, and whether an ext4 file system is on it from the start.

use std::fs;
use std::fs::File;
use std::path::Path;
use std::path::PathBuf;

use super::oracle;
use super::tool;
use super::tool::qemu_img;

/// 1024 bytes.
pub(crate) const KIB: u64 = 1024;
/// 1024 KiB.
pub(crate) const MIB: u64 = 1024 * KIB;

/// One disk of a virtual machine that is to be made.
#[derive(Clone)]
pub(crate) struct Disk {
    pub(crate) target: String,
    pub(crate) format: &'static str,
    size: u64,
    ext4: bool,
    file: Option<PathBuf>,
    content: Option<PathBuf>,
}

impl Disk {
    /// An empty qcow2 disk of `size` bytes, called `target` (`vda`) by libvirt and by the guest.
    pub(crate) fn qcow2(target: &str, size: u64) -> Self {
        Self {
            target: target.to_owned(),
            format: "qcow2",
            size,
            ext4: false,
            file: None,
            content: None,
        }
    }

    /// An empty raw disk.
    pub(crate) fn raw(target: &str, size: u64) -> Self {
        Self {
            format: "raw",
            ..Self::qcow2(target, size)
        }
    }

    /// Puts an empty ext4 file system on it; the guest mounts it under `/mnt/<target>`.
    pub(crate) fn ext4(self) -> Self {
        Self { ext4: true, ..self }
    }

    /// Lets it begin with the content of a raw file, whose size it has.
    pub(crate) fn holding(self, raw: impl Into<PathBuf>) -> Self {
        let content = Some(raw.into());
        Self { content, ..self }
    }

    /// Puts the file here instead of `<primary>/<vm>-<target>.<format>`.
    pub(crate) fn at(self, file: impl Into<PathBuf>) -> Self {
        Self {
            file: Some(file.into()),
            ..self
        }
    }

    /// Where the disk lies when the VM's disks lie in `primary`.
    pub(crate) fn file(&self, primary: &Path, vm: &str) -> PathBuf {
        let name = format!("{vm}-{}.{}", self.target, self.format);
        self.file.clone().unwrap_or_else(|| primary.join(name))
    }

    /// Makes the disk, and `truth`: a raw file with the same content that no virtual machine ever touches.
    pub(crate) fn create(&self, file: &Path, truth: &Path) {
        if let Some(content) = &self.content {
            oracle::copy(content, truth);
        } else {
            let raw = File::create_new(truth).expect("the truth's directory is the test's own");
            raw.set_len(self.size)
                .expect("a sparse file takes any size");
        }
        if self.ext4 {
            // Without lazy initialisation the guest's kernel writes nothing by itself later.
            let eager = "lazy_itable_init=0,lazy_journal_init=0";
            tool::run(
                "mkfs.ext4",
                ["-q", "-F", "-m", "0", "-E", eager]
                    .map(Path::new)
                    .into_iter()
                    .chain([truth]),
            )
            .must();
        }
        if self.format == "raw" {
            oracle::copy(truth, file);
        } else {
            let convert = ["convert", "-f", "raw", "-O", self.format].map(Path::new);
            qemu_img(convert.into_iter().chain([truth, file])).must();
        }
        fs::metadata(file).expect("the disk was made");
    }
}
