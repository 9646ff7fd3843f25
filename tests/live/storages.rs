//! Storages that are not there, are full, or hold the backups of a state that is lost.

use std::fs;
use std::fs::File;
use std::path::Path;

use crate::support::Disk;
use crate::support::KIB;
use crate::support::MIB;
use crate::support::Vm;
use crate::support::oracle;
use crate::support::tool::qemu_img;

use super::judge::assert_holds;
use super::site::Site;
use super::site::assert_unchanged;

const APPLY: [&str; 2] = ["apply", "--auto-approve"];

fn with_a_backup() -> (Site, Vm) {
    let site = Site::new();
    let vm = site
        .vm("a")
        .disk(Disk::qcow2("vda", 4 * MIB))
        .start_paused();
    vm.write("vda", 0, 0x11, 64 * KIB);
    site.first(&vm);
    vm.write("vda", 64 * KIB, 0x22, 64 * KIB);
    (site, vm)
}

#[test]
fn a_storage_without_its_marker_is_not_mounted_and_not_empty() {
    let (site, vm) = with_a_backup();
    fs::rename(site.storage(), site.path("away")).expect("the directory is the test's own");
    site.make_dir("storage");
    let storage = site.storage().display().to_string();
    let run = ["backup", "run", &vm.name];
    site.refuses(&vm, &run, 3, &["nas", "no marker", "not mounted", &storage]);
    let plan = site.refuses(&vm, &["plan"], 0, &["nas", "not mounted"]);
    assert!(!plan.contains("+ nas"), "{plan}");
    assert!(
        fs::read_dir(site.storage())
            .expect("it is a directory")
            .next()
            .is_none()
    );

    fs::remove_dir(site.storage()).expect("it is empty");
    fs::rename(site.path("away"), site.storage()).expect("the directory is the test's own");
    let next = site.backup(&vm, &[]);
    assert_eq!(next.kind(), "incremental");
    assert_holds(&next.file("vda"), &vm.truth("vda"));
}

#[test]
fn a_directory_with_files_is_not_made_a_storage() {
    let site = Site::new();
    let vm = site.vm("a").disk(Disk::qcow2("vda", MIB)).define();
    fs::write(site.storage().join("holiday.jpg"), "").expect("the directory is the test's own");
    site.refuses(
        &vm,
        &["plan", "--detailed-exitcode"],
        3,
        &["neither empty nor a storage"],
    );
    let before = oracle::listing(&site.storage());
    site.apply().exits(3);
    assert_unchanged(&before, &oracle::listing(&site.storage()));
    site.assert_no_delta(&vm);
}

#[test]
fn a_storage_that_is_too_full_blocks_before_a_snapshot_is_taken() {
    let (site, vm) = with_a_backup();
    site.change_policy("minFree: 1MiB", "minFree: 1000TiB");
    site.refuses(
        &vm,
        &["backup", "run", &vm.name],
        3,
        &["nas", "free", "no snapshot was taken"],
    );
    site.change_policy("minFree: 1000TiB", "minFree: 1MiB");
    assert_holds(&site.backup(&vm, &[]).file("vda"), &vm.truth("vda"));
}

/// The state of primary that a failed backup must give back: no overlay but the one that was there, and all content.
#[track_caller]
fn assert_merged_back(site: &Site, vm: &Vm, before: &[std::path::PathBuf]) {
    assert_eq!(oracle::chain(&vm.source("vda")), before);
    assert_eq!(site.leftovers(), [] as [String; 0]);
}

#[test]
fn a_storage_that_fills_up_in_the_copy_fails_the_backup_and_nothing_else() {
    let site = Site::with("$DIR/storage", "$DIR/small");
    let small = site.mount_small("small", 24 * MIB);
    let vm = site
        .vm("a")
        .disk(Disk::qcow2("vda", 16 * MIB))
        .start_paused();
    vm.write("vda", 0, 0x11, 64 * KIB);
    let full = (site.first(&vm), vm.truth("vda"));
    vm.write("vda", 0, 0x22, 12 * MIB);
    let before = oracle::chain(&vm.source("vda"));

    // The plan saw room for the copy; something else took it before the plan was applied.
    let plan = site.path("plan.json").display().to_string();
    site.change_policy(
        "leap: { cron: \"0 0 29 2 *\" }",
        "leap: { cron: \"* * * * *\" }",
    );
    site.knib(["apply", "--auto-approve", "--only", "config"])
        .exits(0);
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_mins(2);
    site.set_clock(&soon.to_string());
    site.knib(["plan", "-o", &plan]).exits(0);
    let filler = small.join("filler");
    let written = fs::write(&filler, vec![1; 16 << 20]);
    written.expect("there is room for this");
    let failed = site.knib(["apply", &plan, "--auto-approve"]).exits(5);
    let said = failed.to_string();
    assert!(said.contains("No space left on device"), "{failed}");
    assert_merged_back(&site, &vm, &before);
    assert_eq!(site.backups(&vm).len(), 1);
    let log = site.knib(["log", "--failed"]).exits(0);
    assert!(log.stdout.contains("No space left on device"), "{log}");

    // Held until the first retry, then as if nothing had been.
    let held = site.apply().exits(0);
    assert_eq!(site.backups(&vm).len(), 1, "{held}");
    fs::remove_file(&filler).expect("the directory is the test's own");
    let later = soon + jiff::SignedDuration::from_mins(6);
    site.set_clock(&later.to_string());
    site.apply().exits(0);
    let next = site.newest(&vm);
    assert_eq!(next.parent(), Some(full.0.id()));
    assert_holds(&next.file("vda"), &vm.truth("vda"));
    assert_holds(&full.0.file("vda"), &full.1);
    site.assert_one_delta_each(&vm);
}

#[test]
fn a_stopped_vms_backup_that_fails_in_the_copy_is_merged_back_as_well() {
    let site = Site::with("$DIR/storage", "$DIR/small");
    site.mount_small("small", 8 * MIB);
    let vm = site.vm("a").disk(Disk::qcow2("vda", 16 * MIB)).define();
    vm.write("vda", 0, 0x11, 12 * MIB);
    compress(&vm);
    // A compressed image takes little here, and much once it is copied.
    let failed = site.apply().exits(5);
    let said = failed.to_string();
    assert!(said.contains("No space left on device"), "{failed}");
    site.assert_no_delta(&vm);
    assert_eq!(site.leftovers(), [] as [String; 0]);
    assert_holds(&vm.disks["vda"], &vm.truth("vda"));
}

/// Writes a disk anew with compressed clusters.
fn compress(vm: &Vm) {
    let disk = &vm.disks["vda"];
    let packed = disk.with_extension("packed");
    let args = ["convert", "-c", "-O", "qcow2"].map(Path::new);
    qemu_img(args.into_iter().chain([disk.as_path(), &packed])).must();
    fs::rename(&packed, disk).expect("the directory is the test's own");
}

#[test]
fn a_lost_state_is_no_first_run() {
    let (site, vm) = with_a_backup();
    for entry in fs::read_dir(site.root()).expect("it is a directory") {
        let path = entry.expect("it can be read").path();
        let name = path
            .file_name()
            .expect("an entry has a name")
            .to_string_lossy()
            .into_owned();
        if name.starts_with("state.db") {
            let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
        }
    }
    for command in [
        &["plan"][..],
        &APPLY,
        &["status"],
        &["backup", "run", &vm.name],
    ] {
        site.refuses(&vm, command, 1, &["nas", "knib state rebuild"]);
    }
    assert!(
        File::open(site.path("state.db")).is_err(),
        "a state was made"
    );
}
