//! Backups that are let go: what loses its files and when, what is merged, what is refused.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::Disk;
use crate::support::KIB;
use crate::support::MIB;
use crate::support::Vm;
use crate::support::deadline::wait_until;
use crate::support::oracle;
use crate::support::tool::run;

use super::judge::assert_holds;
use super::site::Backup;
use super::site::Site;

/// A backup and the truth of `vda` at its instant.
type Taken = (Backup, PathBuf);

/// So many backups of a chain, each with writes of its own.
fn chain(site: &Site, vm: &Vm, length: u8) -> Vec<Taken> {
    let mut taken = Vec::new();
    for n in 0..length {
        vm.write("vda", u64::from(n) * 128 * KIB, n + 1, 192 * KIB);
        let truth = vm.truth("vda");
        let backup = if site.path("state.db").exists() {
            site.backup(vm, &[])
        } else {
            site.first(vm)
        };
        taken.push((backup, truth));
    }
    taken
}

/// `knib backup delete` of these, with flags.
#[must_use = "assert the exit code"]
fn delete(site: &Site, backups: &[&Taken], flags: &[&str]) -> crate::support::knib::Output {
    let ids = backups.iter().map(|(backup, _)| backup.id());
    let args = ["backup", "delete"].into_iter().chain(ids);
    site.knib(args.chain(flags.iter().copied()))
}

/// One backup as it is listed with `--all`, if it is.
fn listed(site: &Site, vm: &Vm, backup: &Backup) -> Option<Value> {
    let list = [
        "backup", "list", "--all", "--vm", &vm.name, "--format", "json",
    ];
    let all = site.knib(list).exits(0).json();
    let all = all.as_array().expect("a list is an array").clone();
    all.into_iter().find(|one| one["id"] == backup.id())
}

/// Fails unless nothing is left of a backup, in lists and on the storage.
#[track_caller]
fn assert_gone(site: &Site, vm: &Vm, (backup, _): &Taken) {
    assert_eq!(listed(site, vm, backup), None);
    assert!(
        !backup.dir().exists(),
        "{} is there",
        backup.dir().display()
    );
}

/// Fails unless a backup is let go and has its files, which hold what they held.
#[track_caller]
fn assert_kept((backup, truth): &Taken, site: &Site, vm: &Vm, needed_by: &[&Taken]) {
    let seen = listed(site, vm, backup).expect("its files are there");
    assert_eq!(
        (&seen["status"], &seen["frees_bytes"]),
        (&"removed".into(), &0.into())
    );
    let ids: Vec<_> = needed_by.iter().map(|(one, _)| one.id()).collect();
    assert_eq!(seen["needed_by"], Value::from(ids));
    let shown = site.backups(vm);
    assert!(
        shown.iter().all(|one| one.id() != backup.id()),
        "it is listed"
    );
    assert_holds(&backup.file("vda"), truth);
    let record = fs::read_to_string(backup.dir().join("backup.json")).expect("it is there");
    let record: Value = serde_json::from_str(&record).expect("JSON");
    assert!(record["marks"]["removed"].is_string(), "{record}");
}

#[test]
fn deleting_the_current_one_merges_its_delta_and_ends_the_chain() {
    for running in [true, false] {
        let site = Site::new();
        let vm = site.vm("a").disk(Disk::qcow2("vda", 8 * MIB)).define();
        if running {
            vm.start_paused();
        }
        let taken = chain(&site, &vm, 2);
        vm.write("vda", MIB, 0x77, 64 * KIB);
        let truth = vm.truth("vda");
        let said = delete(&site, &[&taken[1]], &[]).exits(0);
        assert!(
            said.stdout.contains("the next backup will be full"),
            "{said}"
        );
        assert_gone(&site, &vm, &taken[1]);
        site.assert_no_delta(&vm);
        assert_holds(&taken[0].0.file("vda"), &taken[0].1);
        let first = listed(&site, &vm, &taken[0].0).expect("it stays");
        assert_eq!(
            (&first["end_of_chain"], &first["current"]),
            (&true.into(), &false.into())
        );

        let next = site.backup(&vm, &[]);
        assert_eq!((next.kind(), next.parent()), ("full", None));
        assert_holds(&next.file("vda"), &truth);
        site.assert_one_delta_each(&vm);
        if running {
            vm.destroy();
        }
        assert_holds(&vm.source("vda"), &vm.truth("vda"));
        assert_eq!(site.leftovers(), [] as [String; 0]);
    }
}

#[test]
fn files_go_with_the_last_backup_that_needs_them() {
    let site = Site::with("backupChainSize: 0", "backupChainSize: 5");
    let vm = site
        .vm("a")
        .disk(Disk::qcow2("vda", 8 * MIB))
        .start_paused();
    let taken = chain(&site, &vm, 5);
    let [b1, b2, b3, b4, b5] = &taken[..] else {
        panic!("five")
    };
    let before = oracle::listing(&site.primary());
    let said = delete(&site, &[b4], &[]).exits(0);
    assert!(
        said.stdout
            .contains("its files stay while 1 backup needs them"),
        "{said}"
    );
    assert_kept(b4, &site, &vm, &[b5]);
    // Again is the same.
    delete(&site, &[b4], &[]).exits(0);
    assert_kept(b4, &site, &vm, &[b5]);
    let last = listed(&site, &vm, &b5.0).expect("it is there");
    let sizes = [b4, b5].map(|(one, _)| one.0["size"].as_u64().expect("a size"));
    assert_eq!(last["frees_bytes"], sizes[0] + sizes[1]);

    delete(&site, &[b5], &[]).exits(0);
    assert_gone(&site, &vm, b5);
    assert_gone(&site, &vm, b4);
    for (backup, truth) in [b1, b2, b3] {
        assert_holds(&backup.file("vda"), truth);
    }
    let ends = listed(&site, &vm, &b3.0).expect("it stays");
    assert_eq!(ends["end_of_chain"], true);
    assert_eq!(
        oracle::listing(&site.primary()),
        before,
        "primary was touched"
    );

    // The one in the middle stays for the sake of the third.
    delete(&site, &[b2], &[]).exits(0);
    assert_kept(b2, &site, &vm, &[b3]);
    let detailed = ["plan", "--detailed-exitcode"];
    site.knib(detailed).exits(0);
}

#[test]
fn a_batch_in_any_order_leaves_nothing() {
    let site = Site::with("backupChainSize: 0", "backupChainSize: 3");
    let vm = site
        .vm("a")
        .disk(Disk::qcow2("vda", 8 * MIB))
        .start_paused();
    let mut taken = chain(&site, &vm, 4);
    let alone = (site.backup(&vm, &["--isolated"]), vm.truth("vda"));
    taken.push(alone);
    let [b1, b2, b3, b4, alone] = &taken[..] else {
        panic!("five")
    };
    delete(&site, &[alone], &[]).exits(0);
    assert_gone(&site, &vm, alone);
    site.assert_one_delta_each(&vm);

    let all = [b2, b4, b1, b3].map(|(one, _)| one.id());
    let refused = [&["backup", "delete"][..], &all].concat();
    site.refuses(&vm, &refused, 3, &["no good backup", "--force"]);
    delete(&site, &[b2, b4, b1, b3], &["--force"]).exits(0);
    for one in &taken {
        assert_gone(&site, &vm, one);
    }
    site.assert_no_delta(&vm);
    let left = fs::read_dir(site.storage().join(vm.uuid())).expect("it is there");
    let left: Vec<_> = left
        .map(|entry| entry.expect("it can be read").file_name())
        .collect();
    assert_eq!(left, ["owner.json"]);
    vm.destroy();
    assert_holds(&vm.source("vda"), &vm.truth("vda"));
}

#[test]
fn pinned_ones_and_the_last_good_one_are_refused() {
    let site = Site::new();
    let vm = site
        .vm("a")
        .disk(Disk::qcow2("vda", 8 * MIB))
        .start_paused();
    let taken = chain(&site, &vm, 2);
    let [b1, b2] = [&taken[0].0, &taken[1].0].map(Backup::id);
    site.knib(["backup", "pin", b2]).exits(0);
    let shown = site
        .knib(["backup", "show", b2, "--format", "json"])
        .exits(0)
        .json();
    assert_eq!(
        (&shown["pinned"], &shown["kept_by"][0]),
        (&true.into(), &"pinned".into())
    );
    let record = fs::read_to_string(taken[1].0.dir().join("backup.json")).expect("it is there");
    assert!(record.contains("\"pinned\": true"), "{record}");
    site.refuses(&vm, &["backup", "pin", b2], 0, &["is pinned"]);

    // One that is forbidden forbids the others.
    for asked in [&[b2][..], &[b1, b2], &[b2, b1]] {
        let args = [&["backup", "delete"][..], asked, &["--force"]].concat();
        site.refuses(&vm, &args, 3, &[b2, "pinned", "knib backup unpin"]);
    }
    site.knib(["backup", "unpin", b2]).exits(0);
    delete(&site, &[&taken[1]], &[]).exits(0);
    site.refuses(
        &vm,
        &["backup", "delete", b1],
        3,
        &["no good backup", "--force"],
    );
    site.refuses(
        &vm,
        &["backup", "delete", "20991231"],
        1,
        &["there is no backup"],
    );
    delete(&site, &[&taken[0]], &["--force"]).exits(0);
    assert_gone(&site, &vm, &taken[0]);
}

#[test]
fn one_that_is_being_restored_is_not_deleted() {
    let site = Site::new();
    let vm = site
        .vm("a")
        .disk(Disk::qcow2("vda", 48 * MIB))
        .start_paused();
    vm.write("vda", 0, 0x3c, 48 * MIB);
    let taken = chain(&site, &vm, 2);
    let copy = format!("{}-copy", site.run);
    let restore = ["restore", "new", taken[1].0.id(), "--name", &copy];
    let restoring = site.knib_with(restore).start();
    wait_until("the restore", 60, || {
        site.leftovers()
            .iter()
            .any(|path| path.ends_with(".knib-unfinished"))
    });
    let pid = restoring.pid().to_string();
    run("kill", ["-STOP", &pid]).must();
    let before = oracle::listing(&site.storage());
    let refused = delete(&site, &[&taken[1]], &["--lock-timeout", "0s"]);
    let known = site.knib(["backup", "show", taken[1].0.id()]);
    run("kill", ["-CONT", &pid]).must();
    let refused = refused.exits(6);
    for word in ["restore new", &pid] {
        assert!(refused.stderr.contains(word), "{refused}");
    }
    assert!(known.exits(0).stdout.contains(&format!("pid {pid}")));
    assert_eq!(oracle::listing(&site.storage()), before);

    // Waiting for it is enough.
    delete(&site, &[&taken[1]], &["--lock-timeout", "60s"]).exits(0);
    restoring.finish().exits(0);
    assert_gone(&site, &vm, &taken[1]);
    assert_holds(&site.defined("copy").source("vda"), &taken[1].1);
}

#[test]
fn a_failed_attempt_hides_no_child_and_is_forgotten_when_it_is_deleted() {
    let site = Site::new();
    let vm = site
        .vm("a")
        .disk(Disk::qcow2("vda", 8 * MIB))
        .start_paused();
    let mut taken = chain(&site, &vm, 1);
    vm.write("vda", MIB, 0x66, 4 * MIB);
    // No file that knib or its qemu-img writes may become as large as this copy.
    let failing = site.knib_with(["backup", "run", &vm.name]).start();
    let pid = failing.pid().to_string();
    run("prlimit", ["--pid", &pid, "--fsize=1048576"]).must();
    failing.finish().exits(5);
    taken.extend(chain(&site, &vm, 1));
    let list = ["backup", "list", "--all", "--format", "json"];
    let all = site.knib(list).exits(0).json();
    let failed = all
        .as_array()
        .expect("a list")
        .iter()
        .find(|one| one["status"] == "failed");
    let failed = failed.expect("it failed")["id"]
        .as_str()
        .expect("an id")
        .to_owned();

    assert_eq!(taken[1].0.parent(), Some(taken[0].0.id()));
    delete(&site, &[&taken[0]], &[]).exits(0);
    assert_kept(&taken[0], &site, &vm, &[&taken[1]]);
    site.knib(["backup", "delete", &failed]).exits(0);
    let all = site.knib(list).exits(0).stdout;
    assert!(!all.contains(&failed), "{all}");
    assert_holds(&taken[1].0.file("vda"), &taken[1].1);
}
