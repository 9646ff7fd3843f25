//! VMs that start, stop or are backed up twice at the same moment, and definitions that say less than they should.

use std::fs;
use std::path::Path;

use crate::support::Disk;
use crate::support::KIB;
use crate::support::MIB;
use crate::support::Vm;
use crate::support::deadline::wait_until;
use crate::support::oracle;
use crate::support::tool::virsh;
use crate::support::vm::Builder;
use crate::support::vm::Xml;

use super::judge::assert_holds;
use super::judge::assert_sums_to;
use super::site::Site;

/// A moment of a backup, told by what it has made.
#[derive(Clone, Copy, Debug)]
enum Moment {
    Begun,
    Staged,
    Covered,
    Copying,
}

const MOMENTS: [Moment; 4] = [
    Moment::Begun,
    Moment::Staged,
    Moment::Covered,
    Moment::Copying,
];

/// Waits for a moment of the backup that makes the VM's `n`th delta.
fn wait_for(site: &Site, vm: &Vm, moment: Moment) {
    let of_vm = site.storage().join(vm.uuid());
    let stage = || {
        let entries = fs::read_dir(&of_vm).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.path())
            .find(|path| path.to_string_lossy().ends_with(".partial"))
    };
    let so = || match moment {
        Moment::Begun => true,
        Moment::Staged => stage().is_some(),
        Moment::Covered => stage().is_some() && !oracle::deltas(&site.primary()).is_empty(),
        Moment::Copying => stage().is_some_and(|stage| stage.join("vda.qcow2").exists()),
    };
    wait_until(&format!("{moment:?}"), 60, so);
}

/// Starts the VM. QEMU's lock may refuse that for as long as `qemu-img` works on a disk of a stopped VM.
fn start(vm: &Vm) {
    wait_until("the VM's start", 30, || {
        let started = virsh(["start", "--paused", &vm.name]);
        assert!(
            started.ok || started.stderr.contains("lock"),
            "{}",
            started.stderr
        );
        started.ok
    });
}

/// Whatever came of a backup, both definitions agree, the next one is good, and no write is lost.
#[track_caller]
fn assert_sound(site: &Site, vm: &Vm) {
    vm.source("vda");
    site.apply().exits(0);
    let next = site.backup(vm, &[]);
    assert_holds(&next.file("vda"), &vm.truth("vda"));
    site.assert_one_delta_each(vm);
    assert_eq!(site.leftovers(), [] as [String; 0]);
    if vm.state() != "shut off" {
        vm.destroy();
    }
    assert_holds(&vm.source("vda"), &vm.truth("vda"));
}

#[test]
fn a_start_at_any_moment_of_the_capture_of_a_stopped_vm() {
    for moment in MOMENTS {
        let site = Site::new();
        let vm = site.vm("a").disk(Disk::qcow2("vda", 24 * MIB)).define();
        vm.write("vda", 0, 0x11, 16 * MIB);
        let truth = vm.truth("vda");
        let running = site.knib_with(["apply", "--auto-approve"]).start();
        wait_for(&site, &vm, moment);
        start(&vm);
        let output = running.finish();
        assert_eq!(vm.sources(Xml::Live), vm.sources(Xml::Inactive), "{output}");
        if let [backup] = &site.backups(&vm)[..] {
            assert_holds(&backup.file("vda"), &truth);
        }
        vm.write("vda", MIB, 0x22, 64 * KIB);
        assert_sound(&site, &vm);
    }
}

#[test]
fn a_capture_at_the_moment_of_a_start() {
    for _ in 0..3 {
        let site = Site::new();
        let vm = site.vm("a").disk(Disk::qcow2("vda", 8 * MIB)).define();
        vm.write("vda", 0, 0x11, MIB);
        let truth = vm.truth("vda");
        std::thread::scope(|scope| {
            let started = scope.spawn(|| start(&vm));
            let output = site.apply();
            started.join().expect("the VM starts");
            assert_eq!(vm.sources(Xml::Live), vm.sources(Xml::Inactive), "{output}");
        });
        if let [backup] = &site.backups(&vm)[..] {
            assert_holds(&backup.file("vda"), &truth);
        }
        vm.write("vda", MIB, 0x22, 64 * KIB);
        assert_sound(&site, &vm);
    }
}

#[test]
fn a_vm_that_goes_off_in_its_backup() {
    for moment in [Moment::Staged, Moment::Covered, Moment::Copying] {
        let site = Site::new();
        let vm = site
            .vm("a")
            .disk(Disk::qcow2("vda", 24 * MIB))
            .start_paused();
        site.first(&vm);
        vm.write("vda", 0, 0x11, 16 * MIB);
        let truth = vm.truth("vda");
        let running = site.knib_with(["backup", "run", &vm.name]).start();
        wait_for(&site, &vm, moment);
        vm.destroy();
        let output = running.finish();
        vm.write("vda", MIB, 0x22, 64 * KIB);
        if let [_, backup] = &site.backups(&vm)[..] {
            assert_holds(&backup.file("vda"), &truth);
        }
        assert!(!output.to_string().is_empty());
        assert_sound(&site, &vm);
    }
}

#[test]
fn two_backups_of_one_vm_at_once_come_one_after_the_other() {
    let site = Site::new();
    let vm = site
        .vm("a")
        .disk(Disk::qcow2("vda", 24 * MIB))
        .start_paused();
    site.first(&vm);
    vm.write("vda", 0, 0x11, 16 * MIB);
    let run = ["backup", "run", &vm.name];
    let running = [(); 3].map(|()| site.knib_with(run).start());
    for run in running {
        run.finish().exits(0);
    }
    let backups = site.backups(&vm);
    assert_eq!(backups.len(), 4);
    let mut parents: Vec<_> = backups.iter().filter_map(|one| one.parent()).collect();
    parents.sort_unstable();
    parents.dedup();
    assert_eq!(parents.len(), 3, "two continue the same one");
    for backup in &backups[1..] {
        assert_holds(&backup.file("vda"), &vm.truth("vda"));
    }
    site.assert_one_delta_each(&vm);
}

/// The definition with an empty `<backingStore/>` in each disk, as a finished block pull leaves one.
fn say_that_nothing_is_below(site: &Site, vm: &Vm) {
    let xml = vm.xml(Xml::Inactive);
    let file = site.path("leftover.xml");
    let text = xml.replace("<target dev='vd", "<backingStore/><target dev='vd");
    fs::write(&file, text).expect("the directory is the test's own");
    virsh([Path::new("define"), &file]).must();
    assert!(vm.xml(Xml::Inactive).contains("<backingStore/>"));
}

#[test]
fn a_leftover_that_says_nothing_is_below_hides_nothing_from_the_guest() {
    let site = Site::with("backupChainSize: 0", "backupChainSize: 2");
    let disks = [Disk::qcow2("vda", 16 * MIB), Disk::raw("vdb", 16 * MIB)].map(Disk::ext4);
    let (vm, guest) = disks.into_iter().fold(site.vm("a"), Builder::disk).boot();
    let targets = ["vda", "vdb"];
    for target in targets {
        guest.write_file(target, "file", 256);
        guest.stop_writes(target);
    }
    let sums = targets.map(|target| guest.disk_sha256(target));
    vm.destroy();
    say_that_nothing_is_below(&site, &vm);

    // The first leaves a delta on each disk, the second ends the chain and merges it.
    for n in 0..2 {
        let backup = if n == 0 {
            site.first(&vm)
        } else {
            site.backup(&vm, &[])
        };
        for (target, sum) in targets.iter().zip(&sums) {
            assert_sums_to(&backup.file(target), sum);
        }
        virsh(["start", "--paused", &vm.name]).must();
        for target in targets {
            let layers = oracle::chain(&vm.source(target));
            assert_eq!(layers.len(), 2 - n);
        }
        vm.destroy();
    }
    site.assert_no_delta(&vm);
    let again = vm.boot();
    again.run("test -s /mnt/vda/file && test -s /mnt/vdb/file");
}
