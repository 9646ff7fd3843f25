//! The comparison that every content test ends with, and the proof that it can fail.
//!
//! With `KNIB_TEST_FLIP=1` in the environment of a test run one byte of each restored disk is flipped before it is
//! judged, so that every test that compares content must fail.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::support::Disk;
use crate::support::KIB;
use crate::support::MIB;
use crate::support::oracle;
use crate::support::tool::qemu_img;

use super::site::Site;

/// Fails unless the disk that an image or a chain holds is the disk in a raw file, byte for byte.
#[track_caller]
pub(super) fn assert_holds(image: &Path, truth: &Path) {
    let raw = restored(image);
    oracle::assert_same(raw.path(), truth);
}

/// Fails unless the disk that an image or a chain holds has the checksum that a guest took of it.
#[track_caller]
pub(super) fn assert_sums_to(image: &Path, sha256: &str) {
    let raw = restored(image);
    let found = oracle::file_sha256(raw.path());
    assert_eq!(found, sha256, "{} holds another disk", image.display());
}

/// The disk as `qemu-img` alone writes it out.
#[track_caller]
pub(super) fn restored(image: &Path) -> tempfile::NamedTempFile {
    let raw = tempfile::Builder::new().prefix("knib-judge-").tempfile();
    let raw = raw.expect("the temporary directory can be written");
    let convert = ["convert", "-O", "raw"].map(Path::new);
    qemu_img(convert.into_iter().chain([image, raw.path()])).must();
    if std::env::var_os("KNIB_TEST_FLIP").is_some() {
        flip(raw.path(), oracle::virtual_size(image) / 2);
    }
    raw
}

/// Flips all bits of one byte.
#[track_caller]
pub(super) fn flip(file: &Path, offset: u64) {
    let file = File::options().read(true).write(true).open(file);
    let file = file.expect("the file is the test's own");
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset)
        .and_then(|()| file.write_all_at(&[!byte[0]], offset))
        .expect("the byte is in the file");
}

#[test]
fn one_flipped_byte_turns_the_judgement() {
    let site = Site::new();
    let disk = Disk::qcow2("vda", 4 * MIB);
    let vm = site.vm("a").disk(disk).start_paused();
    vm.write("vda", MIB, 0x22, 64 * KIB);
    let truth = vm.truth("vda");
    let backup = site.first(&vm);
    assert_eq!(oracle::difference(&backup.file("vda"), &truth), None);

    for at in [0, MIB, 4 * MIB - 1] {
        let raw = restored(&backup.file("vda"));
        flip(raw.path(), at);
        assert!(oracle::difference(raw.path(), &truth).is_some(), "at {at}");
    }
}
