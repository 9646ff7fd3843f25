//! A directory of one test's own, with a storage, a primary, a policy file and a state, and knib run inside of it.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use insta::internals::SettingsBindDropGuard;

use super::deadline::wait_until;
use super::knib::Knib;
use super::knib::Output;
use super::tool;

static NUMBER: AtomicUsize = AtomicUsize::new(0);

/// The directory. It ends with the value, mounts below it included, also when the test panics.
pub(crate) struct Sandbox {
    /// Unique on this machine and of one length: `knib-00a1b201`. The directory's name and the prefix of all names of VMs.
    pub(crate) run: String,
    root: PathBuf,
    clock: RefCell<Option<String>>,
    masks: RefCell<Option<SettingsBindDropGuard>>,
}

/// What snapshots show instead of values that differ each time.
const MASKS: [(&str, &str); 2] = [
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "[uuid]"),
    (r"blake3:[0-9a-f]{64}", "blake3:[digest]"),
];
const MASK_OF_TIME: (&str, &str) = (
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z| UTC)?",
    "[time]",
);

/// Makes the snapshots of this thread mask what differs each time, as long as the value lives.
fn mask(times: bool) -> SettingsBindDropGuard {
    let mut settings = insta::Settings::clone_current();
    for (pattern, shown) in MASKS.into_iter().chain(times.then_some(MASK_OF_TIME)) {
        settings.add_filter(pattern, shown);
    }
    settings.bind_to_scope()
}

impl Sandbox {
    /// A new directory with an empty `storage` and an empty `primary`.
    pub(crate) fn new() -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let run = format!("knib-{:06x}{number:02x}", std::process::id());
        let root = fs::canonicalize(std::env::temp_dir())
            .expect("there is a temporary directory")
            .join(&run);
        let sandbox = Self {
            run,
            root,
            clock: RefCell::new(None),
            masks: RefCell::new(Some(mask(true))),
        };
        sandbox.make_dir("");
        for name in ["storage", "primary", "truth"] {
            sandbox.make_dir(name);
        }
        sandbox
    }

    /// The directory itself.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A path below the directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The storage's directory, `$DIR/storage`.
    pub(crate) fn storage(&self) -> PathBuf {
        self.path("storage")
    }

    /// The directory of the VMs' disks, `$DIR/primary`.
    pub(crate) fn primary(&self) -> PathBuf {
        self.path("primary")
    }

    /// Makes a directory that QEMU's user can search, whatever the umask.
    pub(crate) fn make_dir(&self, name: &str) -> PathBuf {
        let path = if name.is_empty() {
            self.root.clone()
        } else {
            self.path(name)
        };
        fs::create_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
            .expect("the directory is the test's own");
        path
    }

    /// Fills in `$DIR`, the directory, and `$RUN`, the beginning of the VMs' names; [`Output`] does the reverse.
    pub(crate) fn fill_in(&self, text: &str) -> String {
        text.replace("$DIR", &self.root.display().to_string())
            .replace("$RUN", &self.run)
    }

    /// Writes the policy file `$DIR/knib.yaml`, [filled in](Self::fill_in), that knib is then run with.
    pub(crate) fn policy(&self, yaml: &str) {
        fs::write(self.path("knib.yaml"), self.fill_in(yaml))
            .expect("the directory is the test's own");
    }

    /// Stops knib's clock at this instant (RFC 3339) for all later runs, and lets snapshots show times.
    ///
    /// # Panics
    /// When knib was built without its test hooks, where it would go by the real time.
    pub(crate) fn set_clock(&self, now: &str) {
        let hooks = cfg!(feature = "test-hooks");
        assert!(
            hooks,
            "a fixed clock needs: cargo test --features test-hooks"
        );
        *self.clock.borrow_mut() = Some(now.to_owned());
        self.masks.take();
        *self.masks.borrow_mut() = Some(mask(false));
    }

    /// knib with these arguments, with this sandbox's policy file, state and daemon, not run yet.
    pub(crate) fn knib_with<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Knib {
        let mut knib = Knib::new(self.root.clone(), self.run.clone());
        let policy = self.path("knib.yaml");
        if policy.exists() {
            knib = knib.arg("-f").arg(policy);
        }
        if let Some(now) = &*self.clock.borrow() {
            knib = knib.env("KNIB_NOW", now);
        }
        args.into_iter().fold(knib, Knib::arg)
    }

    /// Runs knib with these arguments to its end.
    #[must_use = "assert the exit code, or take a snapshot of the whole"]
    #[track_caller]
    pub(crate) fn knib<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Output {
        self.knib_with(args).run()
    }

    /// Mounts an empty file system of `size` bytes on a new directory: a storage that can be full.
    pub(crate) fn mount_small(&self, name: &str, size: u64) -> PathBuf {
        let path = self.make_dir(name);
        let options = format!("size={size},mode=755");
        let args = ["-t", "tmpfs", "-o", &options, "knib-test"].map(Path::new);
        tool::run("mount", args.into_iter().chain([path.as_path()])).must();
        path
    }

    /// Makes a directory below this one read-only, until [`Self::unmount`].
    pub(crate) fn mount_read_only(&self, name: &str) {
        let path = self.path(name);
        tool::run("mount", [Path::new("--bind"), &path, &path]).must();
        tool::run(
            "mount",
            [Path::new("-o"), Path::new("remount,bind,ro"), &path],
        )
        .must();
    }

    /// Takes the last mount off a directory. What starts beside it, in a mount namespace of its own or not, may keep it
    /// busy for a moment.
    #[track_caller]
    pub(crate) fn unmount(&self, name: &str) {
        wait_until("nobody uses the mount", 60, || {
            tool::run("umount", [self.path(name)]).ok
        });
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let below = mounts
            .lines()
            .rev()
            .filter_map(|line| line.split(' ').nth(1));
        for mount in below.filter(|mount| Path::new(mount).starts_with(&self.root)) {
            tool::run("umount", ["-l", mount]);
        }
        let removed = fs::remove_dir_all(&self.root);
        assert!(
            removed.is_ok() || std::thread::panicking(),
            "{} cannot be removed: {removed:?}",
            self.root.display()
        );
    }
}
