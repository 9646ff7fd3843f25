//! Backups that are read again: what is not what was written is found, named, and takes nothing with it
//! but what continues it.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::path::PathBuf;

use serde_json::Value;

use crate::cli::schemas::assert_all_valid;
use crate::support::Disk;
use crate::support::KIB;
use crate::support::MIB;
use crate::support::Vm;
use crate::support::deadline::wait_until;
use crate::support::knib::Output;
use crate::support::oracle;
use crate::support::tool::run;

use super::judge::assert_holds;
use super::site::Backup;
use super::site::Site;
use super::site::assert_unchanged;

/// A chain of so many backups of a VM with two disks.
fn chain(site: &Site, length: u64) -> (Vm, Vec<Backup>) {
    let vm = site
        .vm("a")
        .disk(Disk::qcow2("vda", 4 * MIB))
        .disk(Disk::qcow2("vdb", 4 * MIB))
        .start_paused();
    let taken = (0..length).map(|n| {
        vm.write("vda", n * 128 * KIB, 0x21, 192 * KIB);
        vm.write("vdb", n * 64 * KIB, 0x42, 64 * KIB);
        if n == 0 {
            site.first(&vm)
        } else {
            site.backup(&vm, &[])
        }
    });
    let taken = taken.collect();
    (vm, taken)
}

fn verify(site: &Site, args: &[&str]) -> Output {
    let first = ["backup", "verify", "--format", "json"];
    site.knib(first.iter().chain(args))
}

/// `result` of each, and its file if it is damaged, oldest first.
fn told(all: &Value) -> Vec<(String, String)> {
    assert_all_valid("verified", all);
    let all = all.as_array().expect("a list").iter();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    all.map(|one| (text(&one["result"]), text(&one["error"])))
        .collect()
}

/// The good ones among some backups, as knib lists them.
fn good(site: &Site, vm: &Vm) -> Vec<String> {
    let all = site.backups(vm);
    all.iter().map(|one| one.id().to_owned()).collect()
}

fn flip(file: &Path) {
    let open = fs::File::options().read(true).write(true).open(file);
    let open = open.expect("it can be opened");
    let at = open.metadata().expect("it is there").len() / 2;
    let mut byte = [0];
    open.read_exact_at(&mut byte, at).expect("read");
    open.write_all_at(&[byte[0] ^ 1], at).expect("written");
}

fn flip_all(files: &[PathBuf]) {
    for file in files {
        flip(file);
    }
}

/// Every file of a backup but its record, which a state knows better.
fn files(backup: &Backup) -> Vec<PathBuf> {
    let dir = fs::read_dir(backup.dir()).expect("it is there");
    let files = dir.map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = files
        .filter(|file| !file.ends_with("backup.json"))
        .collect();
    files.sort();
    files
}

#[test]
fn one_flipped_byte_in_any_file_of_a_chain_is_found_and_contained() {
    let site = Site::new();
    let (vm, taken) = chain(&site, 5);
    let ids: Vec<_> = taken.iter().map(|one| one.id().to_owned()).collect();
    let latest = format!("{}@latest", vm.name);

    // Whole: nothing is said but that, nothing is changed, and it is on record.
    let before = oracle::listing(&site.storage());
    assert_eq!(site.newest(&vm).0["verified"], Value::Null);
    let whole = verify(&site, &[&latest]).exits(0).json();
    assert_eq!(told(&whole), vec![("whole".to_owned(), String::new()); 5]);
    assert_eq!(whole[0]["without_digest"], serde_json::json!([]));
    assert_unchanged(&before, &oracle::listing(&site.storage()));
    assert!(site.newest(&vm).0["verified"].is_string());
    let shown = site.knib(["backup", "show", &ids[4]]).exits(0).stdout;
    assert!(shown.contains("last verified"), "{shown}");
    let listed = site.knib(["storage", "list"]).exits(0).stdout;
    assert!(listed.contains("all, "), "{listed}");

    // A disk of each, of the one in the middle every file; each is mended before the next is harmed.
    let mut harmed: Vec<PathBuf> = Vec::new();
    for (at, one) in taken.iter().enumerate() {
        flip_all(&harmed);
        let mended = !harmed.is_empty();
        harmed = if at == 2 {
            files(one)
        } else {
            vec![one.file("vdb")]
        };
        flip_all(&harmed);
        let found = verify(&site, &["--all"]).exits(5);
        for (n, (result, error)) in told(&found.json()).into_iter().enumerate() {
            let damaged = n == at;
            assert_eq!(result, if damaged { "damaged" } else { "whole" }, "{found}");
            for file in &harmed {
                let names = error.contains(file.to_str().expect("UTF-8"));
                assert_eq!(names, damaged, "{}: {found}", file.display());
            }
            let again = &found.json()[n]["whole_again"];
            assert_eq!(*again, mended && n + 1 == at, "{found}");
        }
        // What it continues is good, and what continues it is not.
        assert_eq!(good(&site, &vm), ids[..at]);
        // Its own record says it as well, so that a state that is made anew knows it.
        let record = |n: usize| {
            let record = fs::read_to_string(taken[n].dir().join("backup.json"));
            record.expect("it is there").contains("\"damaged\"")
        };
        assert!(record(at) && (at == 0 || !record(at - 1)));
    }
    assert!(
        files(&taken[2]).len() >= 5,
        "two disks, two definitions, a README"
    );
    flip_all(&harmed);
    verify(&site, &["--oldest", "5"]).exits(0);
    assert_eq!(good(&site, &vm), ids);

    // A file that is gone; what comes next is a full backup, and what was before is as it was.
    fs::remove_file(taken[1].file("vda")).expect("it can be removed");
    let human = site.knib(["backup", "verify", "--all"]).exits(5).stdout;
    let human = human.split_whitespace().collect::<Vec<_>>().join(" ");
    for word in ["DAMAGED", "is not there", &ids[1], "cannot be restored"] {
        assert!(human.contains(word), "{word:?} is not said: {human}");
    }
    assert_eq!(good(&site, &vm), ids[..1]);
    let status = site.knib(["status"]).exits(0).stdout;
    assert!(
        status.contains("4 of its backups cannot be restored"),
        "{status}"
    );
    let next = site.backup(&vm, &[]);
    assert_eq!((next.kind(), next.parent()), ("full", None));
    assert_holds(&next.file("vda"), &vm.truth("vda"));
    site.assert_one_delta_each(&vm);
}

#[test]
fn a_storage_is_read_again_in_turn_by_its_policy() {
    let site = Site::with(
        "nas: { path: $DIR/storage, minFree: 1MiB }",
        "nas: { path: $DIR/storage, minFree: 1MiB, verify: { interval: 10d, rateLimit: 1MB/s } }",
    );
    site.set_clock("2026-11-01T10:00:00Z");
    let (vm, mut taken) = chain(&site, 1);
    for day in ["02", "03"] {
        site.set_clock(&format!("2026-11-{day}T10:00:00Z"));
        taken.push(site.backup(&vm, &[]));
    }
    let planned = |at: &str| {
        let plan = site.knib(["plan", "--at", at, "--format", "json"]).exits(0);
        let plan = plan.json();
        let actions = plan["actions"].as_array().expect("actions").clone();
        let of = |one: &Value| one["op"]["of"]["backup"].as_str().map(str::to_owned);
        actions.iter().filter_map(of).collect::<Vec<_>>()
    };
    let ids: Vec<_> = taken.iter().map(|one| one.id().to_owned()).collect();
    assert_eq!(planned("2026-11-11T09:59:00Z"), [""; 0]);
    assert_eq!(planned("2026-11-11T10:00:01Z"), ids[..1]);
    assert_eq!(planned("2026-12-11T10:00:00Z"), ids, "the oldest first");

    // The second is damaged: it is found when its time comes, and the next backup is full.
    flip(&taken[1].file("vda"));
    site.set_clock("2026-11-11T10:00:01Z");
    site.knib(["apply", "--auto-approve", "--only", "backup"])
        .exits(0);
    site.apply().exits(0);
    assert_eq!(planned("2026-11-11T10:00:01Z"), [""; 0]);
    site.set_clock("2026-11-12T10:00:01Z");
    let found = site.apply().exits(5);
    assert!(found.stdout.contains("is damaged"), "{found}");
    assert_eq!(good(&site, &vm), ids[..1]);
    assert_eq!(
        planned("2026-11-12T10:00:02Z"),
        ids[1..2],
        "its record is told"
    );
    site.apply().exits(5);
    assert_eq!(site.backup(&vm, &[]).kind(), "full");
    assert_eq!(
        planned("2026-11-21T10:00:02Z")[..2],
        [ids[2].clone(), ids[0].clone()]
    );
}

#[test]
fn what_is_read_is_not_deleted_and_a_reader_that_dies_is_nothing() {
    let site = Site::with(
        "nas: { path: $DIR/storage, minFree: 1MiB }",
        "nas: { path: $DIR/storage, minFree: 1MiB, verify: { interval: 1h, rateLimit: 1MB/s } }",
    );
    site.set_clock("2026-11-01T10:00:00Z");
    let vm = site
        .vm("a")
        .disk(Disk::qcow2("vda", 16 * MIB))
        .start_paused();
    // So much takes a quarter of a minute to read, and stands still long before that.
    for n in 0..16 {
        vm.write("vda", n * MIB, 0x21, MIB);
    }
    let only = site.first(&vm);
    site.set_clock("2026-11-01T12:00:00Z");
    let before = site.picture(&vm);
    let mut reader = site
        .knib_with(["apply", "--auto-approve", "--only", "jobs"])
        .start();
    let reads = || {
        let shown = ["backup", "show", only.id(), "--format", "json"];
        let shown = site.knib(shown).exits(0).json();
        shown["leased_by"]
            .as_array()
            .is_some_and(|all| !all.is_empty())
    };
    wait_until("it is read", 60, reads);
    run("kill", ["-STOP", &reader.pid().to_string()]).must();
    // Others read it as well, and it is backed up meanwhile.
    verify(&site, &[only.id()]).exits(0);
    let delete = [
        "backup",
        "delete",
        only.id(),
        "--force",
        "--lock-timeout",
        "0s",
    ];
    let held = site.knib(delete).exits(6);
    assert!(held.stderr.contains("verify by knib apply"), "{held}");
    assert_unchanged(&before, &site.picture(&vm));
    site.backup(&vm, &[]);

    reader.kill();
    let status = site.knib(["status"]).exits(0).stdout;
    assert!(status.contains("verify, interrupted"), "{status}");
    // Whoever wants it next does not wait for all that is not read yet.
    site.knib(["backup", "delete", only.id()]).exits(0);
    assert!(!reads());
    let [next] = &site.backups(&vm)[..] else {
        panic!("the first is let go");
    };
    assert_holds(&next.file("vda"), &vm.truth("vda"));
    assert_eq!(site.leftovers(), [""; 0]);
}
