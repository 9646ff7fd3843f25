//! A sandbox on a hypervisor: it makes virtual machines, and takes away every one that has anything to do with it.

use std::fs;
use std::ops::Deref;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use super::oracle;
use super::sandbox::Sandbox;
use super::tool;
use super::tool::virsh;
use super::vm::Builder;
use super::vm::Vm;

/// A [`Sandbox`] with the daemon at `qemu:///system`.
pub(crate) struct Live {
    // Taken apart by hand, because virtual machines go before the directory with their disks.
    sandbox: Sandbox,
}

impl Live {
    /// A new sandbox.
    ///
    /// # Panics
    /// When the daemon does not answer: no test passes by skipping itself.
    #[track_caller]
    pub(crate) fn new() -> Self {
        static ANSWER: OnceLock<Result<(), String>> = OnceLock::new();
        let answer = ANSWER.get_or_init(|| {
            let asked = virsh(["uri"]);
            asked.ok.then_some(()).ok_or(asked.stderr)
        });
        if let Err(error) = answer {
            panic!(
                "no libvirt daemon answers at {}; tests/run.sh starts one, or: virtlogd -d; libvirtd -d\n{error}",
                tool::URI
            );
        }
        Self {
            sandbox: Sandbox::new(),
        }
    }

    /// Begins a virtual machine that will be called `$RUN-<name>`.
    pub(crate) fn vm(&self, name: &str) -> Builder<'_> {
        Builder::new(self, format!("{}-{name}", self.run))
    }

    /// A virtual machine called `$RUN-<name>` that was defined by other hands, such as knib's.
    #[track_caller]
    pub(crate) fn defined(&self, name: &str) -> Vm {
        Vm::found(self, format!("{}-{name}", self.run))
    }

    /// The guest's kernel and initramfs, as copies of this sandbox's own: libvirt changes the owner of what a VM uses.
    pub(crate) fn guest_files(&self) -> (PathBuf, PathBuf) {
        static BUILT: OnceLock<()> = OnceLock::new();
        let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/guest");
        BUILT.get_or_init(|| {
            let recipe = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/guest/build.sh");
            let status = Command::new(recipe).arg(&built).status();
            assert!(
                status.is_ok_and(|status| status.success()),
                "{recipe} could not build the guest"
            );
        });
        let own = self.path("guest");
        if !own.exists() {
            self.make_dir("guest");
            for name in ["vmlinuz", "initrd.gz"] {
                oracle::copy(&built.join(name), &own.join(name));
            }
        }
        (own.join("vmlinuz"), own.join("initrd.gz"))
    }

    /// The names of all virtual machines of this sandbox: named after it, or with any file in it.
    pub(crate) fn vms(&self) -> Vec<String> {
        let names = virsh(["list", "--all", "--name"]).stdout;
        let directory = format!("{}/", self.root().display());
        let ours = |name: &&str| {
            // To look into those of all other tests that run now costs more than the tests.
            if let Some(run) = run_of(name) {
                return run == self.run;
            }
            ["", "--inactive"].iter().any(|which| {
                let mut args = vec!["dumpxml", name];
                args.extend((!which.is_empty()).then_some(which));
                virsh(args).stdout.contains(&directory)
            })
        };
        names
            .lines()
            .filter(|name| !name.is_empty())
            .filter(ours)
            .map(str::to_owned)
            .collect()
    }
}

impl Deref for Live {
    type Target = Sandbox;

    fn deref(&self) -> &Sandbox {
        &self.sandbox
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        for name in self.vms() {
            virsh(["destroy", &name]);
            let with_all = [
                "--nvram",
                "--managed-save",
                "--snapshots-metadata",
                "--checkpoints-metadata",
            ];
            virsh(["undefine", &name].into_iter().chain(with_all));
            forget_logs(&format!("{name}.log"));
        }
        // Of those that are gone by now.
        forget_logs(&format!("{}-", self.run));
    }
}

/// The sandbox that a virtual machine is named after, as [`super::Sandbox::new`] names them.
fn run_of(vm: &str) -> Option<&str> {
    let number = vm.strip_prefix("knib-")?;
    let number = number.split_once('-').map_or(number, |(number, _)| number);
    let hex = number.len() >= 8 && number.bytes().all(|byte| byte.is_ascii_hexdigit());
    hex.then(|| &vm[.."knib-".len() + number.len()])
}

/// Removes the logs that libvirt keeps of virtual machines, with their older parts.
fn forget_logs(beginning: &str) {
    let Ok(logs) = fs::read_dir("/var/log/libvirt/qemu") else {
        return;
    };
    for log in logs.flatten() {
        if log.file_name().to_string_lossy().starts_with(beginning) {
            let _ = fs::remove_file(log.path());
        }
    }
}
