//! Files that carry knib's mark and that nothing refers to: listed, and removed only when nothing can
//! be lost with them.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use serde_json::Value;

use crate::cli::schemas::assert_all_valid;
use crate::support::Disk;
use crate::support::KIB;
use crate::support::MIB;
use crate::support::Vm;
use crate::support::deadline::wait_until;
use crate::support::oracle;
use crate::support::tool::qemu_img;
use crate::support::tool::run;

use super::judge::assert_holds;
use super::site::Site;
use super::site::assert_unchanged;

const CHECK: [&str; 4] = ["state", "check", "--format", "json"];

/// Paths and kinds of a list, and whether they may go.
fn told(list: &Value) -> Vec<(PathBuf, String, bool)> {
    let list = list.as_array().expect("a list is an array").iter();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let one = |one: &Value| {
        let goes = one["removable"].as_bool().expect("it goes or not");
        (text(&one["path"]).into(), text(&one["kind"]), goes)
    };
    list.map(one).collect()
}

/// An overlay beside a disk, as one is there after a layer was taken out of a chain.
fn overlay(vm: &Vm, id: &str) -> PathBuf {
    let disk = &vm.disks["vda"];
    let path = PathBuf::from(format!("{}.knib-{id}", disk.display()));
    let args = ["create", "-f", "qcow2", "-F", "qcow2", "-u", "-b"].map(Path::new);
    let size = [Path::new("8M")];
    qemu_img(args.into_iter().chain([disk.as_path(), &path]).chain(size)).must();
    path
}

fn write_into(image: &Path) {
    let write = ["-f", "qcow2", "-c", "write -P 7 0 64k"].map(Path::new);
    run("qemu-io", write.into_iter().chain([image])).must();
}

#[test]
fn what_nothing_refers_to_is_listed_and_only_what_holds_nothing_goes() {
    let site = Site::new();
    let vm = site
        .vm("a")
        .disk(Disk::qcow2("vda", 8 * MIB))
        .start_paused();
    vm.write("vda", 0, 0x11, 192 * KIB);
    let ids: Vec<_> = (0..4)
        .map(|n| match n {
            0 => site.first(&vm),
            _ => site.backup(&vm, &[]),
        })
        .map(|backup| backup.id().to_owned())
        .collect();
    // Others are at work on this host as well.
    let ours = |list: &Value| -> Vec<_> {
        let all = told(list).into_iter();
        all.filter(|(path, _, _)| path.starts_with(site.root()))
            .collect()
    };
    assert_eq!(ours(&site.knib(CHECK).json()), []);

    let of_vm = site.storage().join(vm.uuid());
    let stage = of_vm.join(".20260101-010101-0a0a0a0a.partial");
    let going = of_vm.join(".20260101-010101-0b0b0b0b.deleted");
    let unknown = of_vm.join("20260101-010101-0c0c0c0c");
    for dir in [&stage, &going, &unknown] {
        fs::create_dir(dir).expect("the directory is the test's own");
        fs::write(dir.join("vda.qcow2"), "x").expect("the directory is the test's own");
    }
    let blank = overlay(&vm, &ids[0]);
    let written = overlay(&vm, &ids[1]);
    write_into(&written);
    let name = format!("knib-validate-{}.vda.qcow2", vm.uuid());
    let throwaway = blank.with_file_name(name);
    fs::write(&throwaway, "x").expect("it is the test's own");
    // Another state's, for all that is known, and what only looks like ours.
    let foreign = overlay(&vm, "20260101-010101-0d0d0d0d");
    fs::write(format!("{}.knib-notes", vm.disks["vda"].display()), "x")
        .expect("it is the test's own");
    fs::write(of_vm.join("notes"), "x").expect("it is the test's own");

    // Two VMs of another host said that they read a backup, one of them lately.
    let readers = of_vm.join(&ids[2]).join("leases");
    fs::create_dir(&readers).expect("the directory is the test's own");
    let lease = |vm: &str, since: &str| {
        let path = readers.join(vm);
        let text = format!(r#"{{"hostname":"far","vm":"{vm}","since":"{since}"}}"#);
        fs::write(&path, text).expect("the directory is the test's own");
        path
    };
    let old = lease(
        "0a0a0a0a-0000-4000-8000-000000000001",
        "2026-01-01T01:01:01Z",
    );
    let now = jiff::Timestamp::now().to_string();
    let young = lease("0a0a0a0a-0000-4000-8000-000000000002", &now);

    let mut wanted = vec![
        (old.clone(), "lease".to_owned(), false),
        (stage.clone(), "stage".to_owned(), true),
        (going.clone(), "deleted".to_owned(), true),
        (unknown.clone(), "backup".to_owned(), false),
        (blank.clone(), "delta".to_owned(), true),
        (written.clone(), "delta".to_owned(), false),
        (foreign.clone(), "delta".to_owned(), false),
        (throwaway.clone(), "throwaway".to_owned(), true),
    ];
    wanted.sort();
    let before = site.picture(&vm);
    let list = site.knib(CHECK).exits(3).json();
    assert_all_valid("orphan", &list);
    // While a disk of some VM cannot be read, no delta may go.
    wait_until("a look at all disks", 60, || {
        ours(&site.knib(CHECK).exits(3).json()) == wanted
    });
    assert_unchanged(&before, &site.picture(&vm));

    wait_until("the end of what holds nothing", 60, || {
        let said = site.knib(["state", "check", "--fix"]).exits(3);
        assert!(
            said.stdout.contains("kept: it may hold what a guest wrote"),
            "{said}"
        );
        [&stage, &going, &blank, &throwaway]
            .iter()
            .all(|gone| !gone.exists())
    });
    wanted.retain(|(_, _, goes)| !goes);
    assert_eq!(ours(&site.knib(CHECK).exits(3).json()), wanted);
    assert!(old.exists() && young.exists());
    fs::remove_dir_all(&readers).expect("the directory is the test's own");
    assert!(of_vm.join("notes").exists() && unknown.join("vda.qcow2").exists());
    let next = site.backup(&vm, &[]);
    assert_eq!(next.parent(), Some(ids[3].as_str()));
    assert_holds(&next.file("vda"), &vm.truth("vda"));
    vm.destroy();
    assert_holds(&vm.source("vda"), &vm.truth("vda"));
}

#[test]
fn branches_of_snapshots_are_referred_to_and_what_a_lost_one_left_is_kept() {
    let site = Site::new();
    let vm = site.vm("a").disk(Disk::qcow2("vda", 8 * MIB)).define();
    vm.write("vda", 0, 0x11, 192 * KIB);
    let id = site.first(&vm).id().to_owned();
    for (name, byte) in [("one", 0x22), ("two", 0x33)] {
        vm.write("vda", 0, byte, 64 * KIB);
        site.knib(["snapshot", "create", &vm.name, name]).exits(0);
    }
    let two = vm.truth("vda");
    vm.write("vda", 0, 0x44, 64 * KIB);
    site.knib(["snapshot", "revert", &vm.name, "one"]).exits(0);
    let ours = |args: &[&str]| -> Vec<_> {
        let all = told(&site.knib(args).json()).into_iter();
        all.filter(|(path, _, _)| path.starts_with(site.root()))
            .collect()
    };
    assert_eq!(ours(&CHECK), []);

    // Laid on the same disk, and named by no snapshot.
    let left = PathBuf::from(format!("{}.knib-snapshot-99", vm.disks["vda"].display()));
    fs::rename(overlay(&vm, "20260101-010101-0a0a0a0a"), &left).expect("both are the test's own");
    let delta = overlay(&vm, &id.replace(&id[..8], "20250101"));
    let wanted = [
        (delta, "delta".to_owned(), false),
        (left, "snapshot".to_owned(), false),
    ];
    for fix in [&[][..], &["--fix"]] {
        let args = [&CHECK[..], fix].concat();
        wait_until("a look at all disks", 60, || ours(&args) == wanted);
    }
    assert!(wanted.iter().all(|(path, _, _)| path.exists()));
    site.knib(["snapshot", "revert", &vm.name, "two"]).exits(0);
    assert_holds(&vm.source("vda"), &two);
}

#[test]
fn what_an_interrupted_action_has_in_hand_is_no_orphan() {
    let site = Site::new();
    let vm = site
        .vm("a")
        .disk(Disk::qcow2("vda", 8 * MIB))
        .start_paused();
    vm.write("vda", 0, 0x11, 192 * KIB);
    site.first(&vm);
    vm.write("vda", 64 * KIB, 0x22, 192 * KIB);
    let truth = vm.truth("vda");
    // Killed where the overlay is made and the stage is there.
    let run = site.knib_with(["backup", "run", &vm.name]);
    let _killed = run.env("KNIB_CRASH_AT", "snapshot").run();
    assert_eq!(site.leftovers().len(), 1, "{:?}", site.leftovers());
    assert_eq!(oracle::deltas(&site.primary()).len(), 2);
    let before = site.picture(&vm);
    let ours = |list: &Value| {
        told(list)
            .iter()
            .any(|(path, _, _)| path.starts_with(site.root()))
    };
    for args in [&CHECK[..], &["state", "check", "--fix", "--format", "json"]] {
        assert!(!ours(&site.knib(args).json()));
    }
    assert_unchanged(&before, &site.picture(&vm));
    site.apply().exits(0);
    assert_holds(&site.newest(&vm).file("vda"), &truth);
    site.assert_one_delta_each(&vm);
}
