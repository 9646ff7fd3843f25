//! Programs that are not knib, run as child processes in a plain locale: `virsh`, `qemu-img` and friends.

use std::ffi::OsStr;
use std::process::Command;
use std::process::Output;

/// The daemon that all live tests use.
pub(crate) const URI: &str = "qemu:///system";

/// What a program said, and whether it succeeded.
pub(crate) struct Ran {
    pub(crate) ok: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    what: String,
}

impl Ran {
    /// Standard output of a program that must have succeeded.
    #[track_caller]
    pub(crate) fn must(self) -> String {
        assert!(
            self.ok,
            "{} failed:\n{}{}",
            self.what, self.stdout, self.stderr
        );
        self.stdout
    }
}

/// Runs a program with `LC_ALL=C` and waits for it.
///
/// # Panics
/// When the program cannot be started, that is, when it is not installed.
#[track_caller]
pub(crate) fn run<S: AsRef<OsStr>>(program: &str, args: impl IntoIterator<Item = S>) -> Ran {
    let mut command = Command::new(program);
    command.args(args).env("LC_ALL", "C");
    let what = format!("{command:?}");
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap_or_else(|error| {
        panic!("{program} cannot be run ({error}): tests/run.sh installs it")
    });
    Ran {
        ok: status.success(),
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
        what,
    }
}

/// `virsh` on the tests' daemon.
#[track_caller]
pub(crate) fn virsh<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Ran {
    let args = args.into_iter().map(|arg| arg.as_ref().to_owned());
    run(
        "virsh",
        ["-q", "-c", URI].into_iter().map(Into::into).chain(args),
    )
}

/// `qemu-img`.
#[track_caller]
pub(crate) fn qemu_img<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Ran {
    run("qemu-img", args)
}

/// The group that libvirt runs QEMU as, as a number.
#[track_caller]
pub(crate) fn qemu_group() -> String {
    let capabilities = virsh(["capabilities"]).must();
    let tree = roxmltree::Document::parse(&capabilities).expect("libvirt writes XML");
    let mut labels = tree.descendants().filter(|node| {
        let model = node.parent().and_then(|model| model.first_element_child());
        node.has_tag_name("baselabel") && model.and_then(|model| model.text()) == Some("dac")
    });
    let label = labels.next().and_then(|label| label.text());
    let (_, group) = label
        .and_then(|label| label.split_once(":+"))
        .expect("QEMU has a user of its own");
    group.to_owned()
}
