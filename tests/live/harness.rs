//! The harness itself, held to what it promises, so that a failing test means a failing knib.

use std::fs;
use std::time::Duration;
use std::time::Instant;

use crate::support::Disk;
use crate::support::KIB;
use crate::support::Live;
use crate::support::MIB;
use crate::support::Sandbox;
use crate::support::Vm;
use crate::support::deadline::wait_until;
use crate::support::oracle;
use crate::support::tool::run;
use crate::support::tool::virsh;
use crate::support::vm::Builder;
use crate::support::vm::Xml;

/// An external snapshot of one disk by libvirt itself; the file below is frozen afterwards.
fn snapshot(vm: &Vm, target: &str) {
    let overlay = vm.disks[target].with_extension("knib-1");
    let disk = format!("{target},file={}", overlay.display());
    virsh([
        "snapshot-create-as",
        &vm.name,
        "--disk-only",
        "--no-metadata",
        "--diskspec",
        &disk,
    ])
    .must();
    assert_eq!(vm.source(target), overlay);
}

#[test]
fn writes_to_a_paused_vm_land_on_its_disks() {
    let live = Live::new();
    live.make_dir("pool");
    let vm = live
        .vm("a")
        .disk(Disk::qcow2("vda", 8 * MIB))
        .disk(Disk::raw("vdb", 4 * MIB).at(live.path("pool/b.raw")))
        .device("<disk type='file' device='cdrom'><target dev='sda' bus='sata'/><readonly/></disk>")
        .start_paused();
    assert!(vm.xml(Xml::Live).contains(&vm.uuid()));
    assert_eq!(live.defined("a").disks, vm.disks);
    assert_eq!(vm.source("vdb"), live.path("pool/b.raw"));
    assert_eq!(vm.state(), "paused");
    for target in ["vda", "vdb"] {
        vm.write(target, 64 * KIB, 0x22, 256 * KIB);
        vm.write(target, 1000, 0x33, 3000);
        vm.zero(target, 128 * KIB, 4 * KIB);
        vm.discard(target, 192 * KIB, 64 * KIB);
    }
    let before = vm.truth("vda");

    snapshot(&vm, "vda");
    vm.write("vda", 0, 0x44, KIB);
    vm.discard("vda", 64 * KIB, 64 * KIB);
    vm.resize("vda", 9 * MIB);
    oracle::assert_same(&vm.disks["vda"], &before);
    let layers = oracle::chain(&vm.source("vda"));
    assert_eq!(layers, [vm.source("vda"), vm.disks["vda"].clone()]);
    assert_eq!(oracle::deltas(&live.primary()), [vm.source("vda")]);

    vm.destroy();
    for target in ["vda", "vdb"] {
        vm.write(target, 2 * MIB, 0x55, KIB);
        oracle::assert_same(&vm.source(target), &vm.truth(target));
    }
    vm.resize("vda", 2 * MIB);
    vm.resize("vda", 3 * MIB);
    oracle::assert_same(&vm.source("vda"), &vm.truth("vda"));
}

#[test]
fn the_oracle_sees_one_wrong_byte_and_a_wrong_size() {
    let live = Live::new();
    let vm = live.vm("a").disk(Disk::qcow2("vda", MIB)).define();
    let truth = vm.truth("vda");
    assert_eq!(oracle::difference(&vm.disks["vda"], &truth), None);

    vm.resize("vda", 2 * MIB);
    assert!(oracle::difference(&vm.disks["vda"], &truth).is_some_and(|why| why.contains("sizes")));
    vm.resize("vda", MIB);
    vm.write("vda", MIB - 1, 1, 1);
    assert!(
        oracle::difference(&vm.disks["vda"], &truth).is_some_and(|why| why.contains("mismatch"))
    );
    assert_ne!(
        oracle::disk_sha256(&vm.disks["vda"]),
        oracle::file_sha256(&truth)
    );
    assert_eq!(
        oracle::disk_sha256(&vm.disks["vda"]),
        oracle::file_sha256(&vm.truth("vda"))
    );
}

#[test]
fn a_listing_shows_every_change() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("storage/a"), "one").expect("the directory is the test's own");
    let before = oracle::listing(&sandbox.storage());
    assert_eq!(oracle::listing(&sandbox.storage()), before);

    fs::write(sandbox.path("storage/a"), "two").expect("the directory is the test's own");
    assert_ne!(oracle::listing(&sandbox.storage()), before);
}

#[test]
fn knib_runs_in_a_sandbox() {
    let sandbox = Sandbox::new();
    sandbox.policy("state: $DIR/state.db\n");
    let output = sandbox.knib(["--version"]).exits(0);
    assert_eq!(output.to_string(), output.stdout);

    if cfg!(feature = "test-hooks") {
        sandbox.set_clock("2026-03-01T02:00:00Z");
    }
    let mut running = sandbox
        .knib_with(["--version"])
        .env("KNIB_IDS", "1")
        .start();
    assert!(fs::exists(format!("/proc/{}", running.pid())).is_ok_and(|there| there));
    running.kill();
    let _ended = running.finish();
}

#[test]
fn a_guest_boots_writes_and_is_checked() {
    let live = Live::new();
    let disks = [Disk::qcow2("vda", 16 * MIB), Disk::raw("vdb", 16 * MIB)].map(Disk::ext4);
    let (vm, guest) = disks.into_iter().fold(live.vm("a"), Builder::disk).boot();
    let boot = guest.boot_id();

    let mut sums = Vec::new();
    for target in ["vda", "vdb"] {
        guest.write_file(target, "first", 2048);
        guest.stop_writes(target);
        sums.push(guest.disk_sha256(target));
        assert_ne!(guest.try_run(&format!("touch /mnt/{target}/x")).code, 0);
    }
    for target in ["vda", "vdb"] {
        snapshot(&vm, target);
        guest.resume_writes(target);
        guest.write_file(target, "second", 512);
    }
    for (target, sum) in ["vda", "vdb"].iter().zip(&sums) {
        assert_eq!(oracle::disk_sha256(&vm.disks[*target]), *sum);
        oracle::assert_clean_ext4(&vm.disks[*target]);
        guest.stop_writes(target);
        assert_ne!(guest.disk_sha256(target), *sum);
    }

    assert!(!guest.is_frozen());
    guest.run("touch /tmp/freeze-fails");
    assert!(!virsh(["domfsfreeze", &vm.name]).ok && !guest.is_frozen());
    guest.run("rm /tmp/freeze-fails && echo 1 >/tmp/freeze-seconds");
    let slow = Instant::now();
    virsh(["domfsfreeze", &vm.name]).must();
    assert!(guest.is_frozen() && slow.elapsed() > Duration::from_secs(1));
    virsh(["domfsthaw", &vm.name]).must();
    assert_eq!(guest.boot_id(), boot);

    virsh(["shutdown", "--mode", "agent", &vm.name]).must();
    wait_until("the guest's end", 60, || vm.state() == "shut off");
    assert_ne!(vm.boot().boot_id(), boot);
}

#[test]
fn a_panicking_test_leaves_nothing() {
    let gone = std::panic::catch_unwind(|| {
        let live = Live::new();
        let vm = live.vm("a").disk(Disk::qcow2("vda", MIB)).start_paused();
        live.vm("b").disk(Disk::qcow2("vda", MIB)).define();
        live.mount_small("small", MIB);
        live.mount_read_only("storage");
        assert!(fs::write(live.path("storage/a"), "").is_err());
        live.unmount("storage");
        assert!(fs::write(live.path("storage/a"), "").is_ok());
        live.mount_read_only("storage");
        std::panic::panic_any((live.root().to_owned(), vm.name.clone()));
    });
    let gone = gone
        .expect_err("the test panics")
        .downcast::<(std::path::PathBuf, String)>();
    let (root, name) = *gone.expect("it panics with this");

    assert!(!root.exists());
    let known = virsh(["list", "--all", "--name"]).must();
    let run = name.strip_suffix("-a").expect("the name was made above");
    assert!(!known.contains(run), "{known}");
    let logs = run_logs(run);
    assert!(logs.is_empty(), "{logs}");
}

/// The files that libvirt keeps about virtual machines whose names contain this.
fn run_logs(vm: &str) -> String {
    run(
        "find",
        [
            "/var/log/libvirt/qemu",
            "/var/lib/libvirt",
            "/run/libvirt",
            "-name",
            &format!("*{vm}*"),
        ],
    )
    .stdout
}
