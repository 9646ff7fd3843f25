//! The judge: what an image, a chain or a directory holds, said by `qemu-img`, `sha256sum` and `e2fsck`, never by knib.
//!
//! An image that a running VM writes to is not read here: what is still in QEMU's caches would be missing. Its content
//! is known from [`Vm::truth`](super::vm::Vm::truth) or from the guest's own checksum.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;

use super::tool;
use super::tool::qemu_img;

/// Copies a file and keeps its holes.
#[track_caller]
pub(crate) fn copy(from: &Path, to: &Path) {
    tool::run("cp", [Path::new("--sparse=always"), from, to]).must();
}

/// `qemu-img info` of one image. Also works while a VM has the image open.
#[track_caller]
pub(crate) fn info(image: &Path) -> serde_json::Value {
    let args = ["info", "-U", "--output=json"]
        .map(Path::new)
        .into_iter()
        .chain([image]);
    serde_json::from_str(&qemu_img(args).must()).expect("qemu-img prints JSON")
}

/// The size of the disk that the image holds, in bytes.
#[track_caller]
pub(crate) fn virtual_size(image: &Path) -> u64 {
    info(image)["virtual-size"]
        .as_u64()
        .expect("every image has a size")
}

/// The files that hold the image's content, the image first, as canonical paths.
#[track_caller]
pub(crate) fn chain(image: &Path) -> Vec<PathBuf> {
    let args = ["info", "-U", "--backing-chain", "--output=json"]
        .map(Path::new)
        .into_iter()
        .chain([image]);
    let layers: Vec<serde_json::Value> =
        serde_json::from_str(&qemu_img(args).must()).expect("qemu-img prints JSON");
    layers
        .iter()
        .map(|layer| layer["filename"].as_str().expect("each layer is a file"))
        .map(|file| fs::canonicalize(file).unwrap_or_else(|error| panic!("{file}: {error}")))
        .collect()
}

/// Why two images differ as disks, in size or in content; `None` when a guest could not tell them apart.
#[track_caller]
pub(crate) fn difference(a: &Path, b: &Path) -> Option<String> {
    let sizes = (virtual_size(a), virtual_size(b));
    if sizes.0 != sizes.1 {
        return Some(format!("sizes {} and {}", sizes.0, sizes.1));
    }
    let args = [Path::new("compare"), a, b];
    let compared = qemu_img(args);
    (!compared.ok).then(|| format!("{}{}", compared.stdout, compared.stderr))
}

/// Fails unless both images hold the same disk, byte for byte and of the same size.
#[track_caller]
pub(crate) fn assert_same(a: &Path, b: &Path) {
    if let Some(difference) = difference(a, b) {
        panic!(
            "{} and {} hold different disks: {difference}",
            a.display(),
            b.display()
        );
    }
}

/// Writes the disk that an image holds into a raw file.
#[track_caller]
fn flatten(image: &Path, raw: &Path) {
    let convert = ["convert", "-O", "raw"].map(Path::new);
    qemu_img(convert.into_iter().chain([image, raw])).must();
}

/// A scratch file beside `image`'s own name that ends with the value.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let file = tempfile::Builder::new().prefix("knib-oracle-").tempfile();
        let path = file.and_then(|file| Ok(file.keep()?.1));
        Self(path.expect("the temporary directory can be written"))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// SHA-256 of a file's bytes, in hex.
#[track_caller]
pub(crate) fn file_sha256(file: &Path) -> String {
    let printed = tool::run("sha256sum", [Path::new("-b"), file]).must();
    let digest = printed.trim_start_matches('\\').split(' ').next();
    digest.expect("sha256sum prints a digest").to_owned()
}

/// SHA-256 of the whole disk that an image holds, comparable to the guest's own checksum of it.
#[track_caller]
pub(crate) fn disk_sha256(image: &Path) -> String {
    let raw = Scratch::new();
    flatten(image, &raw.0);
    file_sha256(&raw.0)
}

/// Fails unless the ext4 file system that fills the image is whole once its journal was replayed.
#[track_caller]
pub(crate) fn assert_clean_ext4(image: &Path) {
    let raw = Scratch::new();
    flatten(image, &raw.0);
    tool::run("e2fsck", [Path::new("-p"), &raw.0]);
    tool::run("e2fsck", [Path::new("-fn"), &raw.0]).must();
}

/// The deltas in a directory, sorted by name.
#[track_caller]
pub(crate) fn deltas(directory: &Path) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut deltas: Vec<_> = entries
        .map(|entry| entry.expect("the directory can be read").path())
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().contains(".knib-"))
        })
        .collect();
    deltas.sort();
    deltas
}

/// Everything below a path, one line each: name, mode, owner, size, time of change and content. Two equal listings mean
/// that nothing was written in between.
#[track_caller]
pub(crate) fn listing(path: &Path) -> String {
    let meta =
        fs::symlink_metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let content = if meta.is_file() {
        file_sha256(path)
    } else if meta.is_symlink() {
        fs::read_link(path)
            .expect("it is a link")
            .display()
            .to_string()
    } else {
        String::new()
    };
    let line = format!(
        "{} {:o} {}:{} {} {}.{:09} {content}\n",
        path.display(),
        meta.mode(),
        meta.uid(),
        meta.gid(),
        meta.len(),
        meta.mtime(),
        meta.mtime_nsec(),
    );
    if !meta.is_dir() {
        return line;
    }
    let mut below: Vec<_> = fs::read_dir(path)
        .expect("the directory can be listed")
        .map(|entry| entry.expect("the directory can be read").path())
        .collect();
    below.sort();
    below
        .iter()
        .fold(line, |lines, path| lines + &listing(path))
}
