//! libguestfs as the tests have it: emulated, since a host's help for virtual machines may hang, and with its appliance
//! built once below `target`. Test disks are made with it too, by a kernel of its own, as a guest would.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

/// The environment of whoever runs it.
pub(crate) fn environment() -> [(&'static str, PathBuf); 3] {
    let cache = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/appliance");
    fs::create_dir_all(&cache).expect("target can be written");
    [
        ("LIBGUESTFS_BACKEND", "direct".into()),
        ("LIBGUESTFS_BACKEND_SETTINGS", "force_tcg".into()),
        ("LIBGUESTFS_CACHEDIR", cache),
    ]
}

/// Runs a script of guestfish, which must succeed.
#[track_caller]
pub(crate) fn guestfish(script: &str) -> String {
    let mut child = Command::new("guestfish")
        .env("LC_ALL", "C")
        .envs(environment())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("guestfish cannot be run ({error}): tests/run.sh installs it")
        });
    let mut input = child.stdin.take().expect("it is a pipe");
    input
        .write_all(script.as_bytes())
        .expect("it reads its input");
    drop(input);
    let output = child
        .wait_with_output()
        .expect("the child is this test's own");
    assert!(output.status.success(), "guestfish failed:\n{script}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
