//! Freezing the guest's file systems: without an agent, with one that is slow, with one that fails.

use std::time::Instant;

use crate::support::Disk;
use crate::support::KIB;
use crate::support::MIB;
use crate::support::Vm;
use crate::support::deadline::wait_until;
use crate::support::guest::Guest;
use crate::support::oracle;
use crate::support::tool::virsh;

use super::judge::assert_holds;
use super::judge::assert_sums_to;
use super::site::Site;

fn booted(site: &Site) -> (Vm, Guest) {
    let disk = Disk::qcow2("vda", 16 * MIB).ext4();
    site.vm("a").disk(disk).boot()
}

#[test]
fn required_without_an_agent_is_blocked() {
    let site = Site::new();
    let silent = site.vm("a").agent().disk(Disk::qcow2("vda", MIB));
    let silent = silent.start_paused();
    let none = site.vm("b").disk(Disk::qcow2("vda", MIB)).start_paused();
    let off = site.vm("c").disk(Disk::qcow2("vda", MIB)).define();
    site.knib(["apply", "--auto-approve", "--only", "config"])
        .exits(0);
    for vm in [&silent, &none] {
        vm.write("vda", 0, 0x11, 64 * KIB);
        let run = ["backup", "run", &vm.name, "--quiesce", "required"];
        site.refuses(
            vm,
            &run,
            3,
            &[&vm.name, "no guest agent", "qemu-guest-agent"],
        );
        let backup = site.backup(vm, &["--quiesce", "preferred"]);
        assert_eq!(backup.0["consistency"], "crash");
        assert_holds(&backup.file("vda"), &vm.truth("vda"));
    }
    // There is nothing to freeze in a VM that is off.
    let backup = site.backup(&off, &["--quiesce", "required"]);
    assert_eq!(backup.0["consistency"], "application");
}

#[test]
fn a_guest_with_an_agent_is_frozen_for_the_snapshot_alone() {
    let site = Site::new();
    let (vm, guest) = booted(&site);
    let first = site.first(&vm);
    assert_eq!(first.0["consistency"], "filesystem");
    assert!(!guest.is_frozen());
    let next = site.backup(&vm, &["--quiesce", "none"]);
    assert_eq!(next.0["consistency"], "crash");
    oracle::assert_clean_ext4(&first.file("vda"));
}

#[test]
fn a_freeze_that_is_too_slow_is_gone_on_without_and_thawed_afterwards() {
    let site = Site::new();
    let (vm, guest) = booted(&site);
    site.first(&vm);
    guest.write_file("vda", "file", 256);
    guest.stop_writes("vda");
    let sum = guest.disk_sha256("vda");
    // Longer than the ten seconds that knib gives it.
    guest.run("echo 13 >/tmp/freeze-seconds");
    let started = Instant::now();
    let run = ["backup", "run", &vm.name, "--quiesce", "preferred"];
    let output = site.knib(run).exits(0);
    assert!(started.elapsed().as_secs() >= 10, "{output}");
    assert!(output.stderr.contains("could not be frozen"), "{output}");

    let backup = site.newest(&vm);
    assert_eq!(backup.0["consistency"], "crash");
    assert_sums_to(&backup.file("vda"), &sum);
    // When knib ended the hook had ended, the guest had frozen after all, and knib had thawed it.
    guest.run("rm /tmp/freeze-seconds");
    assert!(!guest.is_frozen());
    guest.resume_writes("vda");
    guest.write_file("vda", "after", 64);
    site.assert_one_delta_each(&vm);
}

#[test]
fn a_freeze_that_fails_is_no_backup_where_it_is_required() {
    let site = Site::new();
    let (vm, guest) = booted(&site);
    site.first(&vm);
    let before = oracle::chain(&vm.source("vda"));
    guest.run("touch /tmp/freeze-fails");
    let run = ["backup", "run", &vm.name, "--quiesce", "required"];
    let failed = site.knib(run).exits(5);
    assert!(
        failed.to_string().contains("froze") || failed.to_string().contains("freeze"),
        "{failed}"
    );
    assert_eq!(oracle::chain(&vm.source("vda")), before);
    assert_eq!(site.leftovers(), [] as [String; 0]);
    assert!(!guest.is_frozen());

    guest.run("rm /tmp/freeze-fails");
    let next = site.backup(&vm, &["--quiesce", "required"]);
    assert_eq!(next.0["consistency"], "filesystem");
}

#[test]
fn a_guest_that_somebody_else_froze_is_not_thawed() {
    let site = Site::new();
    let (vm, guest) = booted(&site);
    site.first(&vm);
    virsh(["domfsfreeze", &vm.name]).must();
    let run = ["backup", "run", &vm.name, "--quiesce", "preferred"];
    let output = site.knib(run).exits(0);
    assert!(output.stderr.contains("frozen"), "{output}");
    assert!(guest.is_frozen(), "knib thawed what it had not frozen");
    virsh(["domfsthaw", &vm.name]).must();
    wait_until("the guest to run commands again", 30, || {
        guest.try_run("true").code == 0
    });
}
