//! Disk-only snapshots: a tree with branches, on its own and between backups, running and stopped, two disks at once.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::Disk;
use crate::support::KIB;
use crate::support::MIB;
use crate::support::Vm;
use crate::support::oracle;
use crate::support::tool::qemu_img;
use crate::support::tool::virsh;

use super::judge::assert_holds;
use super::site::Backup;
use super::site::Site;

const DISKS: [&str; 2] = ["vda", "vdb"];

/// What both disks held at an instant.
type Truths = BTreeMap<&'static str, PathBuf>;

/// A VM with two disks, and what each of its snapshots must hold.
struct Bench {
    site: Site,
    vm: Vm,
    running: bool,
    backed_up: bool,
    kept: BTreeMap<String, Truths>,
    /// The next byte to write, another one each time.
    next: u8,
}

impl Bench {
    /// `running`: whenever it can be.
    #[track_caller]
    fn new(site: Site, running: bool) -> Self {
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

    fn power_on(&self) {
        if self.running {
            self.vm.start_paused();
        }
    }

    fn power_off(&self) {
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
    fn snapshot(&mut self, name: &str) {
        self.knib("create", name, 0);
        self.kept.insert(name.to_owned(), self.truths());
        self.write();
    }

    #[track_caller]
    fn delete(&mut self, name: &str) {
        self.knib("delete", name, 0);
        let gone = self.list().iter().all(|one| one["name"] != name);
        if gone {
            self.kept.remove(name);
        }
    }

    /// Goes back, and has the VM on again.
    #[track_caller]
    fn revert(&mut self, name: &str) {
        self.power_off();
        self.knib("revert", name, 0);
        for target in DISKS {
            self.vm.goes_back_to(target, &self.kept[name][target]);
            assert_holds(&self.vm.source(target), &self.kept[name][target]);
        }
        self.power_on();
        self.check();
    }

    fn list(&self) -> Vec<Value> {
        let list = ["snapshot", "list", &self.vm.name, "--format", "json"];
        let listed = self.site.knib(list).exits(0).json();
        listed.as_array().expect("a list is an array").clone()
    }

    /// Names of snapshots, with a star where one was deleted.
    fn names(&self) -> Vec<String> {
        let name = |one: &Value| {
            let star = if one["removed"] == true { "*" } else { "" };
            format!("{}{star}", one["name"].as_str().expect("it has a name"))
        };
        self.list().iter().map(name).collect()
    }

    /// Every snapshot holds its instant; and the disks of a VM that is off what they must.
    #[track_caller]
    fn check(&self) {
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
    fn backup(&mut self, kind: &str) -> (Backup, Truths) {
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
    fn end(self) {
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

#[test]
fn sizes_go_back_with_a_snapshot_and_old_bytes_stay_away() {
    let mut bench = Bench::new(Site::new(), false);
    bench.snapshot("s1");
    bench.vm.resize("vda", 12 * MIB);
    bench.vm.write("vda", 11 * MIB, 0x77, MIB);
    bench.snapshot("s2");
    bench.vm.resize("vda", 5 * MIB);
    bench.snapshot("s3");
    bench.vm.resize("vda", 9 * MIB);
    bench.check();
    bench.revert("s2");
    assert_eq!(oracle::virtual_size(&bench.vm.source("vda")), 12 * MIB);
    bench.revert("s3");
    bench.vm.resize("vda", 10 * MIB);
    bench.power_on();
    bench.delete("s2");
    bench.check();
    bench.revert("s1");
    bench.delete("s3");
    bench.check();
    bench.delete("s1");
    bench.site.assert_no_delta(&bench.vm);
    bench.end();
}

#[test]
fn a_layer_that_shrank_is_merged_once_the_vm_is_off() {
    let mut bench = Bench::new(Site::new(), true);
    bench.snapshot("s1");
    bench.vm.resize("vda", 5 * MIB);
    let delete = ["snapshot", "delete", &bench.vm.name, "s1"];
    let words = ["was made smaller", "stop"];
    bench.site.refuses(&bench.vm, &delete, 3, &words);
    bench.power_off();
    bench.delete("s1");
    bench.site.assert_no_delta(&bench.vm);
    bench.end();
}

#[test]
fn snapshots_outlive_the_state_and_an_older_definition() {
    let mut bench = Bench::new(Site::new(), false);
    let before = bench.site.path("before.xml");
    fs::write(&before, bench.vm.xml(crate::support::vm::Xml::Inactive)).expect("writable");
    bench.snapshot("s1");
    bench.snapshot("s2");
    let lost = bench.site.make_dir("lost");
    for entry in fs::read_dir(bench.site.root()).expect("it is there") {
        let entry = entry.expect("it can be read");
        if entry.file_name().to_string_lossy().starts_with("state.db") {
            let moved = fs::rename(entry.path(), lost.join(entry.file_name()));
            moved.expect("the sandbox is the test's own");
        }
    }
    assert_eq!(bench.names(), ["s1", "s2"]);
    bench.check();
    bench.snapshot("s3");
    assert_eq!(bench.names(), ["s1", "s2", "s3"]);

    // A definition from before all of them writes below them.
    let newest = bench.vm.xml(crate::support::vm::Xml::Inactive);
    virsh(["define", before.to_str().expect("text")]).must();
    assert_eq!(bench.names(), ["s1", "s2", "s3"]);
    for (verb, name) in [("create", "s4"), ("delete", "s2"), ("revert", "s1")] {
        let args = ["snapshot", verb, &bench.vm.name, name];
        let words = ["writes to the file that snapshot s1 keeps", "older XML"];
        bench.site.refuses(&bench.vm, &args, 3, &words);
    }
    fs::write(&before, newest).expect("writable");
    virsh(["define", before.to_str().expect("text")]).must();
    bench.delete("s1");
    bench.check();
    bench.end();
}

#[test]
fn a_users_snapshot_is_left_alone_and_works_beside_knibs() {
    let site = Site::new();
    let vm = site.vm("a").disk(Disk::qcow2("vda", 8 * MIB)).define();
    vm.write("vda", 0, 0x11, MIB);
    let full = (site.first(&vm), vm.truth("vda"));
    site.knib(["snapshot", "create", &vm.name, "mine"]).exits(0);
    let mine = vm.truth("vda");
    vm.write("vda", MIB, 0x22, MIB);
    virsh(["snapshot-create-as", &vm.name, "theirs"]).must();
    let theirs = vm.truth("vda");
    vm.write("vda", 2 * MIB, 0x33, MIB);

    for (verb, name) in [("create", "more"), ("delete", "mine"), ("revert", "mine")] {
        let args = ["snapshot", verb, &vm.name, name];
        let words = ["snapshots that knib did not make", "virsh snapshot-list"];
        site.refuses(&vm, &args, 3, &words);
    }
    let isolated = (site.backup(&vm, &[]), vm.truth("vda"));
    assert_eq!(isolated.0.kind(), "full");
    virsh(["snapshot-revert", &vm.name, "theirs"]).must();
    assert_holds(&vm.source("vda"), &theirs);
    virsh(["snapshot-delete", &vm.name, "theirs"]).must();
    vm.goes_back_to("vda", &theirs);

    site.knib(["snapshot", "revert", &vm.name, "mine"]).exits(0);
    vm.goes_back_to("vda", &mine);
    assert_holds(&vm.source("vda"), &mine);
    site.knib(["snapshot", "delete", &vm.name, "mine"]).exits(0);
    assert_holds(&vm.source("vda"), &mine);
    vm.write("vda", 3 * MIB, 0x44, MIB);
    let last = (site.backup(&vm, &[]), vm.truth("vda"));
    for (backup, truth) in [full, isolated, last] {
        assert_holds(&backup.file("vda"), &truth);
    }
    assert_holds(&vm.source("vda"), &vm.truth("vda"));
}

#[test]
fn a_copy_that_lies_on_a_snapshot_keeps_what_it_lies_on() {
    let mut bench = Bench::new(Site::new(), false);
    bench.snapshot("s1");
    bench.snapshot("s2");
    let kept = bench.list()[1]["disks"][0]["path"].clone();
    let copy = bench
        .site
        .vm("b")
        .disk(Disk::qcow2("vda", 8 * MIB))
        .define();
    let create = ["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"].map(Path::new);
    let kept = Path::new(kept.as_str().expect("a path"));
    qemu_img(create.into_iter().chain([kept, &copy.disks["vda"]])).must();
    for verb in ["delete", "revert"] {
        let args = ["snapshot", verb, &bench.vm.name, "s2"];
        let words = ["lies on a layer", &copy.name];
        bench.site.refuses(&bench.vm, &args, 3, &words);
    }
    assert_holds(&copy.disks["vda"], &bench.kept["s2"]["vda"]);
    virsh(["undefine", &copy.name]).must();
    bench.delete("s2");
    bench.end();
}

#[test]
fn a_disk_that_was_taken_away_or_replaced_stays_whole() {
    let mut bench = Bench::new(Site::new(), false);
    bench.snapshot("s1");
    bench.snapshot("s2");
    let (away, truth) = (bench.vm.source("vdb"), bench.vm.truth("vdb"));
    let name = bench.vm.name.clone();
    virsh(["detach-disk", &name, "vdb", "--config"]).must();
    let revert = ["snapshot", "revert", &name, "s1"];
    let words = ["has no vdb any more"];
    bench.site.refuses(&bench.vm, &revert, 3, &words);
    let other = bench.site.primary().join("other.qcow2");
    let create = ["create", "-q", "-f", "qcow2"].map(Path::new).into_iter();
    qemu_img(create.chain([other.as_path(), Path::new("1M")])).must();
    let attach = ["attach-disk", &name, other.to_str().expect("text"), "vdb"];
    virsh(attach.iter().chain(&["--subdriver", "qcow2", "--config"])).must();
    let words = ["another disk than snapshot s1 keeps"];
    bench.site.refuses(&bench.vm, &revert, 3, &words);

    for snapshot in ["s1", "s2"] {
        bench
            .site
            .knib(["snapshot", "delete", &name, snapshot])
            .exits(0);
    }
    assert_eq!(bench.names(), [] as [String; 0]);
    assert_holds(&away, &truth);
    assert_holds(&bench.vm.disks["vda"], &bench.vm.truth("vda"));
    assert_eq!(oracle::chain(&away).len(), 3);
}

#[test]
fn names_that_are_wrong_and_a_vm_that_runs_change_nothing() {
    let mut bench = Bench::new(Site::new(), true);
    bench.snapshot("before-upgrade");
    let name = bench.vm.name.clone();
    let refuses = |args: [&str; 2], code, words: &[&str]| {
        let args = ["snapshot", args[0], &name, args[1], "--lock-timeout", "1s"];
        bench.site.refuses(&bench.vm, &args, code, words);
    };
    refuses(
        ["revert", "before-upgrad"],
        1,
        &["did you mean before-upgrade"],
    );
    refuses(["delete", "after"], 1, &["there is before-upgrade"]);
    refuses(
        ["create", "before-upgrade"],
        3,
        &["has a snapshot before-upgrade already"],
    );
    let help = format!("virsh shutdown {name}");
    refuses(["revert", "before-upgrade"], 3, &["runs", &help]);
    let unknown = bench.site.knib(["snapshot", "list", "nobody"]).exits(1);
    assert!(unknown.stderr.contains("there is no VM"), "{unknown}");

    // Its own name says when.
    bench.site.knib(["snapshot", "create", &name]).exits(0);
    let human = bench.site.knib(["snapshot", "list", &name]).exits(0).stdout;
    let tree: Vec<_> = human
        .lines()
        .map(|line| line.trim_end().chars().take(6).collect::<String>())
        .collect();
    assert_eq!(tree[1], "before", "{human}");
    assert!(tree[2].starts_with("└─ 20"), "{human}");
    assert_eq!(tree[3], "   └─ ", "{human}");
    let status = bench
        .site
        .knib(["status", "--format", "json"])
        .exits(0)
        .json();
    assert_eq!(status[0]["snapshots"], 2);
}
