//! Disk-only snapshots: a tree with branches, on its own and between backups, running and stopped, two disks at once.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::Disk;
use crate::support::KIB;
use crate::support::MIB;
use crate::support::Vm;
use crate::support::oracle;
use crate::support::tool::virsh;

use super::judge::assert_holds;
use super::site::Backup;
use super::site::Site;

const DISKS: [&str; 2] = ["vda", "vdb"];

/// What both disks held at an instant.
pub(super) type Truths = BTreeMap<&'static str, PathBuf>;

/// A VM with two disks, and what each of its snapshots must hold.
pub(super) struct Bench {
    pub(super) site: Site,
    pub(super) vm: Vm,
    running: bool,
    backed_up: bool,
    pub(super) kept: BTreeMap<String, Truths>,
    /// The next byte to write, another one each time.
    next: u8,
}

impl Bench {
    /// `running`: whenever it can be.
    #[track_caller]
    pub(super) fn new(site: Site, running: bool) -> Self {
        let disks = site.vm("a").disk(Disk::qcow2("vda", 8 * MIB));
        let vm = disks.disk(Disk::raw("vdb", 4 * MIB)).define();
        let mut bench = Self {
            site,
            vm,
            running,
            backed_up: false,
            kept: BTreeMap::new(),
            next: 1,
        };
        bench.power_on();
        bench.write();
        bench
    }

    pub(super) fn power_on(&self) {
        if self.running {
            self.vm.start_paused();
        }
    }

    pub(super) fn power_off(&self) {
        if self.vm.state() != "shut off" {
            self.vm.destroy();
        }
    }

    /// Something new on both disks, over parts of what was written the last times.
    fn write(&mut self) {
        for target in DISKS {
            let at = u64::from(self.next) * 96 * KIB;
            self.vm.write(target, at, self.next, 256 * KIB);
            self.vm.zero(target, at - 64 * KIB, 64 * KIB);
        }
        self.next += 1;
    }

    fn truths(&self) -> Truths {
        let truths = DISKS.map(|target| (target, self.vm.truth(target)));
        truths.into_iter().collect()
    }

    #[track_caller]
    fn knib(&self, verb: &str, name: &str, code: i32) -> String {
        let output = self.site.knib(["snapshot", verb, &self.vm.name, name]);
        let output = output.exits(code);
        format!("{}{}", output.stdout, output.stderr)
    }

    /// A snapshot, and something new on top of it.
    #[track_caller]
    pub(super) fn snapshot(&mut self, name: &str) {
        self.knib("create", name, 0);
        self.kept.insert(name.to_owned(), self.truths());
        self.write();
    }

    #[track_caller]
    pub(super) fn delete(&mut self, name: &str) {
        self.knib("delete", name, 0);
        let gone = self.list().iter().all(|one| one["name"] != name);
        if gone {
            self.kept.remove(name);
        }
    }

    /// Goes back, and has the VM on again.
    #[track_caller]
    pub(super) fn revert(&mut self, name: &str) {
        self.power_off();
        self.knib("revert", name, 0);
        for target in DISKS {
            self.vm.goes_back_to(target, &self.kept[name][target]);
            assert_holds(&self.vm.source(target), &self.kept[name][target]);
        }
        self.power_on();
        self.check();
    }

    pub(super) fn list(&self) -> Vec<Value> {
        let list = ["snapshot", "list", &self.vm.name, "--format", "json"];
        let listed = self.site.knib(list).exits(0).json();
        listed.as_array().expect("a list is an array").clone()
    }

    /// Names of snapshots, with a star where one was deleted.
    pub(super) fn names(&self) -> Vec<String> {
        let name = |one: &Value| {
            let star = if one["removed"] == true { "*" } else { "" };
            format!("{}{star}", one["name"].as_str().expect("it has a name"))
        };
        self.list().iter().map(name).collect()
    }

    /// Every snapshot holds its instant; and the disks of a VM that is off what they must.
    #[track_caller]
    pub(super) fn check(&self) {
        let listed = self.list();
        assert_eq!(listed.len(), self.kept.len(), "{:?}", self.names());
        for one in &listed {
            let truths = &self.kept[one["name"].as_str().expect("it has a name")];
            for disk in one["disks"].as_array().expect("it has disks") {
                let [target, path] = ["target", "path"].map(|key| disk[key].as_str());
                let (target, path) = (target.expect("a name"), path.expect("a path"));
                assert_holds(Path::new(path), &truths[target]);
            }
        }
        if self.vm.state() == "shut off" {
            for target in DISKS {
                assert_holds(&self.vm.source(target), &self.vm.truth(target));
            }
        }
    }

    /// So many files of each disk are on primary, all in all.
    #[track_caller]
    fn assert_files(&self, each: usize) {
        let ours = oracle::deltas(&self.site.primary());
        assert_eq!(ours.len(), (each - 1) * DISKS.len(), "{ours:#?}");
    }

    /// So many files are in the chain that each disk uses.
    #[track_caller]
    fn assert_chain(&self, length: usize) {
        for target in DISKS {
            let chain = oracle::chain(&self.vm.source(target));
            assert_eq!(chain.len(), length, "{chain:#?}");
        }
    }

    #[track_caller]
    pub(super) fn backup(&mut self, kind: &str) -> (Backup, Truths) {
        let backup = if self.backed_up {
            self.site.backup(&self.vm, &[])
        } else {
            self.site.first(&self.vm)
        };
        self.backed_up = true;
        assert_eq!(backup.kind(), kind);
        let truths = self.truths();
        self.write();
        (backup, truths)
    }

    #[track_caller]
    pub(super) fn end(self) {
        self.power_off();
        self.check();
        assert_eq!(self.site.leftovers(), [] as [String; 0]);
    }
}

#[track_caller]
fn assert_all_hold(taken: &[(Backup, Truths)]) {
    for (backup, truths) in taken {
        for (target, truth) in truths {
            assert_holds(&backup.file(target), truth);
        }
    }
}

/// Two snapshots, back to the second, back to the first, a third; the first is only marked, the third merged, and with the
/// second the first goes as well.
fn eight_steps(running: bool) {
    let mut bench = Bench::new(Site::new(), running);
    bench.snapshot("s1");
    bench.check();
    bench.snapshot("s2");
    bench.check();
    bench.assert_chain(3);
    bench.revert("s2");
    bench.assert_chain(3);
    bench.revert("s1");
    bench.assert_chain(2);
    // The disk, what s2 keeps, and the layer in use.
    bench.assert_files(3);
    bench.write();
    bench.snapshot("s3");
    bench.assert_chain(3);

    bench.delete("s1");
    assert_eq!(bench.names(), ["s1*", "s2", "s3"]);
    bench.assert_files(4);
    bench.check();
    bench.delete("s3");
    assert_eq!(bench.names(), ["s1*", "s2"]);
    bench.assert_chain(2);
    bench.assert_files(3);
    bench.check();
    bench.kept.remove("s1");
    bench.delete("s2");
    assert_eq!(bench.names(), [] as [String; 0]);
    bench.site.assert_no_delta(&bench.vm);
    bench.end();
}

#[test]
fn two_snapshots_a_branch_and_deletion_in_any_order_running() {
    eight_steps(true);
}

#[test]
fn two_snapshots_a_branch_and_deletion_in_any_order_stopped() {
    eight_steps(false);
}

/// Backups before, between and after snapshots; back to both, which are older than the current backup; all backups still
/// hold what they held, and the chain goes on with a full.
fn between_backups(running: bool) {
    let mut bench = Bench::new(Site::new(), running);
    let mut taken = vec![bench.backup("full")];
    bench.snapshot("s1");
    bench.snapshot("s2");
    // The delta that s1 keeps, what came after s1 and after s2: three layers since the parent.
    bench.assert_chain(4);
    taken.push(bench.backup("incremental"));
    bench.check();
    bench.assert_chain(4);
    taken.push(bench.backup("incremental"));
    bench.check();
    assert_all_hold(&taken);

    bench.revert("s1");
    bench.revert("s2");
    bench.write();
    bench.delete("s1");
    bench.delete("s2");
    bench.check();
    bench.site.assert_no_delta(&bench.vm);
    assert_all_hold(&taken);
    taken.push(bench.backup("full"));
    taken.push(bench.backup("incremental"));
    bench.site.assert_one_delta_each(&bench.vm);
    assert_all_hold(&taken);
    if !running {
        // In place, where the snapshots are gone.
        for (backup, truths) in &taken[..3] {
            let restore = ["restore", "vm", backup.id(), "--discard-old"];
            bench.site.knib(restore).exits(0);
            for (target, truth) in truths {
                assert_holds(&bench.vm.source(target), truth);
            }
        }
        return;
    }
    let name = format!("{}-copy", bench.vm.name);
    for (backup, truths) in &taken[..2] {
        let dir = bench.site.make_dir(&format!("copy-{}", backup.id()));
        let dir = dir.to_str().expect("the sandbox's path is text");
        let restore = [
            "restore",
            "new",
            backup.id(),
            "--name",
            &name,
            "--disk-dir",
            dir,
        ];
        bench.site.knib(restore).exits(0);
        let copy = bench.site.defined("a-copy");
        for (target, truth) in truths {
            assert_holds(&copy.source(target), truth);
        }
        virsh(["undefine", &name]).must();
    }
    bench.end();
}

#[test]
fn backups_before_between_and_after_snapshots_running() {
    between_backups(true);
}

#[test]
fn backups_before_between_and_after_snapshots_stopped() {
    between_backups(false);
}

/// Back to snapshots that are newer than the current backup: the chain goes on. A merge below lays every branch on another
/// file, be it in use or not.
fn above_the_current_backup(running: bool) {
    let mut bench = Bench::new(Site::new(), running);
    let mut taken = vec![bench.backup("full")];
    bench.snapshot("s1");
    bench.snapshot("s2");
    bench.revert("s1");
    bench.write();
    bench.snapshot("s3");
    bench.assert_files(5);
    taken.push(bench.backup("incremental"));
    // s1 keeps the disk itself now, and both branches lie on it.
    let disks = bench.list()[0]["disks"].clone();
    assert_eq!(
        disks[0]["path"],
        bench.vm.disks["vda"].to_str().expect("text")
    );
    bench.check();
    bench.revert("s2");
    bench.assert_chain(3);
    bench.write();
    taken.push(bench.backup("full"));
    bench.revert("s3");
    bench.write();
    taken.push(bench.backup("full"));
    taken.push(bench.backup("incremental"));
    assert_all_hold(&taken);
    bench.check();
    bench.end();
}

#[test]
fn the_chain_goes_on_from_a_snapshot_above_its_delta_running() {
    above_the_current_backup(true);
}

#[test]
fn the_chain_goes_on_from_a_snapshot_above_its_delta_stopped() {
    above_the_current_backup(false);
}

/// Deleting below, above and at the current backup's delta leaves the next one incremental.
fn deleted_around_a_delta(running: bool) {
    let mut bench = Bench::new(Site::new(), running);
    let mut taken = vec![bench.backup("full")];
    for name in ["s1", "s2"] {
        bench.snapshot(name);
    }
    taken.push(bench.backup("incremental"));
    for name in ["s3", "s4"] {
        bench.snapshot(name);
    }
    for name in ["s2", "s4", "s1"] {
        bench.delete(name);
        bench.check();
    }
    taken.push(bench.backup("incremental"));
    bench.check();
    bench.delete("s3");
    taken.push(bench.backup("incremental"));
    bench.site.assert_one_delta_each(&bench.vm);
    bench.assert_chain(2);
    assert_all_hold(&taken);
    bench.end();
}

#[test]
fn deleting_around_a_delta_keeps_the_chain_running() {
    deleted_around_a_delta(true);
}

#[test]
fn deleting_around_a_delta_keeps_the_chain_stopped() {
    deleted_around_a_delta(false);
}

#[test]
fn a_branch_that_is_not_in_use_is_merged_while_the_vm_runs() {
    let mut bench = Bench::new(Site::new(), true);
    for name in ["s1", "s2", "s3", "s4"] {
        bench.snapshot(name);
    }
    bench.revert("s1");
    bench.write();
    // In the middle of the branch that is left, at its beginning, and its end.
    for (name, files) in [("s3", 4), ("s2", 3), ("s4", 2)] {
        bench.assert_files(files + 1);
        bench.delete(name);
        bench.check();
    }
    assert_eq!(bench.names(), ["s1"]);
    bench.assert_files(2);
    bench.end();
}
