//! What most live tests begin with: a sandbox with a policy over all its VMs, and backups as knib lists them.

use std::fs;
use std::ops::Deref;
use std::path::Path;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::Live;
use crate::support::Vm;
use crate::support::knib::Output;
use crate::support::oracle;
use crate::support::tool::run;
use crate::support::vm::Xml;

/// Every VM of the sandbox, chains without end, and no slot that a test could live to see.
pub(super) const POLICY: &str = r#"version: 1
storage:
  nas: { path: $DIR/storage, minFree: 1MiB }
offerings:
  plain: { backupChainSize: 0 }
policies:
  all:
    select: { names: ["$RUN-*"] }
    offering: plain
    storage: nas
    schedules: { leap: { cron: "0 0 29 2 *" } }
"#;

/// A sandbox with [`POLICY`].
pub(super) struct Site {
    live: Live,
}

impl Site {
    #[track_caller]
    pub(super) fn new() -> Self {
        let site = Self { live: Live::new() };
        site.policy(POLICY);
        site
    }

    /// With one thing said otherwise in the policy.
    #[track_caller]
    pub(super) fn with(before: &str, after: &str) -> Self {
        let site = Self::new();
        site.change_policy(before, after);
        site
    }

    /// Says one thing otherwise from here on.
    #[track_caller]
    pub(super) fn change_policy(&self, before: &str, after: &str) {
        let file = self.path("knib.yaml");
        let text = fs::read_to_string(&file).expect("the sandbox has a policy");
        let before = self.fill_in(before);
        assert!(text.contains(&before), "the policy does not say {before:?}");
        self.policy(&text.replace(&before, after));
    }

    /// Applies without a question. The first time that backs every VM up.
    #[must_use = "assert the exit code"]
    #[track_caller]
    pub(super) fn apply(&self) -> Output {
        self.knib(["apply", "--auto-approve"])
    }

    /// One backup now, which must succeed.
    #[track_caller]
    pub(super) fn backup(&self, vm: &Vm, flags: &[&str]) -> Backup {
        let args = ["backup", "run", &vm.name];
        self.knib(args.iter().chain(flags)).exits(0);
        self.newest(vm)
    }

    /// The first backup of all VMs, by `apply`, and the one of this VM.
    #[track_caller]
    pub(super) fn first(&self, vm: &Vm) -> Backup {
        self.apply().exits(0);
        self.newest(vm)
    }

    /// The good backups of a VM, oldest first.
    #[track_caller]
    pub(super) fn backups(&self, vm: &Vm) -> Vec<Backup> {
        let list = ["backup", "list", "--vm", &vm.name, "--format", "json"];
        let listed = self.knib(list).exits(0).json();
        let all = listed.as_array().expect("a list is an array").clone();
        all.into_iter()
            .map(Backup)
            .filter(|one| one.0["status"] == "backed_up")
            .collect()
    }

    /// The good backup that shows the latest instant.
    #[track_caller]
    pub(super) fn newest(&self, vm: &Vm) -> Backup {
        let created = |one: &Backup| {
            let at = one.0["created"].as_str().expect("a backup has an instant");
            at.parse::<jiff::Timestamp>().expect("in RFC 3339")
        };
        let newest = self.backups(vm).into_iter().max_by_key(created);
        newest.unwrap_or_else(|| panic!("{} has no backup", vm.name))
    }

    /// Everything that a refusal must leave alone: definitions, disks, storage. Equal texts mean that nothing changed.
    #[track_caller]
    pub(super) fn picture(&self, vm: &Vm) -> String {
        let definitions = [Xml::Live, Xml::Inactive].map(|which| vm.xml(which));
        let trees = [self.primary(), self.storage()].map(|tree| oracle::listing(&tree));
        [definitions, trees].concat().concat()
    }

    /// Runs knib where something stands in its way: it exits with this code, says all these words, and changes nothing.
    #[track_caller]
    pub(super) fn refuses(&self, vm: &Vm, args: &[&str], code: i32, words: &[&str]) -> String {
        let before = self.picture(vm);
        let output = self.knib(args).exits(code);
        // Lines are broken where the terminal ends.
        let said = format!("{}{}", output.stdout, output.stderr);
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        for word in words {
            assert!(said.contains(word), "{word:?} is not said in:\n{output}");
        }
        assert_unchanged(&before, &self.picture(vm));
        said
    }

    /// Fails unless another run, or what it left to QEMU, has what this command needs. It does not wait for that.
    #[track_caller]
    pub(super) fn is_held(&self, args: &[&str]) {
        let at_once = ["--lock-timeout", "0s"];
        self.knib(args.iter().chain(&at_once)).exits(6);
    }

    /// Fails unless each disk of the VM writes into a delta, and these are the only ones on primary.
    #[track_caller]
    pub(super) fn assert_one_delta_each(&self, vm: &Vm) {
        let tops: Vec<_> = vm.disks.keys().map(|target| vm.source(target)).collect();
        let ours = oracle::deltas(&self.primary());
        let of_vm: Vec<_> = ours
            .into_iter()
            .filter(|delta| delta.to_string_lossy().contains(&vm.name))
            .collect();
        assert_eq!(of_vm, sorted(tops));
    }

    /// Fails unless nothing of knib is on primary and each disk is the file it was defined with.
    #[track_caller]
    pub(super) fn assert_no_delta(&self, vm: &Vm) {
        assert_eq!(oracle::deltas(&self.primary()), [] as [PathBuf; 0]);
        for (target, file) in &vm.disks {
            assert_eq!(vm.source(target), *file);
        }
    }

    /// What knib only has while it works: stages, unfinished and temporary files.
    #[track_caller]
    pub(super) fn leftovers(&self) -> Vec<String> {
        const NAMES: [&str; 4] = ["*.partial", "*.knib-unfinished", "*.top", "*.tmp"];
        let name = |name| ["-o", "-name", name].into_iter().map(Path::new);
        let names = NAMES.into_iter().flat_map(name).skip(1);
        let found = run("find", [self.root()].into_iter().chain(names)).must();
        found.lines().map(str::to_owned).collect()
    }
}

/// Fails, showing the lines that differ, unless two listings are the same.
#[track_caller]
pub(super) fn assert_unchanged(before: &str, after: &str) {
    let changes = similar::TextDiff::from_lines(before, after);
    assert!(
        before == after,
        "{}",
        changes.unified_diff().context_radius(0)
    );
}

fn sorted(mut paths: Vec<PathBuf>) -> Vec<PathBuf> {
    paths.sort();
    paths
}

impl Deref for Site {
    type Target = Live;

    fn deref(&self) -> &Live {
        &self.live
    }
}

/// A backup as `knib backup list --format json` shows it.
#[derive(Clone, Debug)]
pub(super) struct Backup(pub(super) Value);

impl Backup {
    pub(super) fn id(&self) -> &str {
        self.0["id"].as_str().expect("a backup has an id")
    }

    /// `full` or `incremental`.
    pub(super) fn kind(&self) -> &str {
        self.0["kind"].as_str().expect("a backup has a kind")
    }

    pub(super) fn parent(&self) -> Option<&str> {
        self.0["parent"].as_str()
    }

    /// One entry a disk, by target.
    #[track_caller]
    pub(super) fn disk(&self, target: &str) -> &Value {
        let disks = self.0["disks"].as_array().expect("a backup has disks");
        let disk = disks.iter().find(|disk| disk["target"] == target);
        disk.unwrap_or_else(|| panic!("{} has no {target}", self.id()))
    }

    /// The file of a disk.
    #[track_caller]
    pub(super) fn file(&self, target: &str) -> PathBuf {
        let path = self.disk(target)["path"].as_str();
        Path::new(path.expect("a file has a path")).to_owned()
    }

    /// The directory of the backup.
    #[track_caller]
    pub(super) fn dir(&self) -> PathBuf {
        let disks = self.0["disks"].as_array().expect("a backup has disks");
        let path = disks[0]["path"].as_str().expect("a file has a path");
        let dir = Path::new(path).parent().expect("a file is in a directory");
        dir.to_owned()
    }
}
