//! Quick restore: the VM runs at once, on the backup's own files, and stands alone when its disks are
//! written, whatever ends in between.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::path::PathBuf;

use crate::support::Disk;
use crate::support::KIB;
use crate::support::MIB;
use crate::support::Vm;
use crate::support::deadline::wait_for;
use crate::support::deadline::wait_until;
use crate::support::guest::Guest;
use crate::support::knib::Knib;
use crate::support::oracle;
use crate::support::tool;
use crate::support::tool::run;
use crate::support::tool::virsh;
use crate::support::vm::Xml;

use super::judge;
use super::judge::assert_holds;
use super::judge::assert_sums_to;
use super::site::Backup;
use super::site::Site;

/// Bytes a second: slow enough to interrupt a pull. QEMU brings half a MiB at once, and then waits; so does each
/// pull that is begun again.
const SLOW: &str = "20000";

/// A site whose offering allows quick restore, with a VM, a chain of two backups and what each shows.
pub(super) fn with_a_chain(size: u64) -> (Site, Vm, [(Backup, PathBuf); 2]) {
    let site = Site::with(
        "backupChainSize: 0",
        "backupChainSize: 0, allowQuickRestore: true",
    );
    readable(&site);
    let vm = site.vm("a").disk(Disk::qcow2("vda", size)).start_paused();
    vm.write("vda", 0, 0x11, size / 2);
    let full = (site.first(&vm), vm.truth("vda"));
    vm.write("vda", size / 4, 0x22, MIB);
    vm.zero("vda", 0, 64 * KIB);
    let next = (site.backup(&vm, &[]), vm.truth("vda"));
    (site, vm, [full, next])
}

/// Lets QEMU's group read what will be on the storage: whatever is made below is the group's as well.
pub(super) fn readable(site: &Site) {
    let (group, storage) = (tool::qemu_group(), site.storage().display().to_string());
    run("chgrp", [&group, &storage]).must();
    run("chmod", ["g+s", &storage]).must();
}

/// Owners and modes of everything on the storage but leases.
pub(super) fn owners(site: &Site) -> Vec<(PathBuf, u32, u32, u32)> {
    let found = run("find", [site.storage()]).must();
    let paths = found.lines().filter(|path| !path.contains("/leases"));
    let one = |path: &str| {
        let meta = fs::symlink_metadata(path).expect("it is there");
        (
            path.into(),
            meta.uid(),
            meta.gid(),
            meta.permissions().mode(),
        )
    };
    let mut all: Vec<_> = paths.map(one).collect();
    all.sort();
    all
}

/// Fails unless nothing is below a disk: in its header, in what runs, in the definition.
#[track_caller]
pub(super) fn assert_alone(vm: &Vm) {
    for target in vm.disks.keys() {
        let head = vm.source(target);
        assert_eq!(
            oracle::info(&head).get("backing-filename"),
            None,
            "{target}"
        );
        for which in [Xml::Live, Xml::Inactive] {
            let xml = vm.xml(which);
            assert!(!xml.contains("/storage/"), "{xml}");
        }
        assert!(!vm.xml(Xml::Inactive).contains("<backingStore"));
    }
}

/// How far a pull is, while it is neither at its beginning nor at its end.
#[track_caller]
pub(super) fn in_the_middle(vm: &Vm) -> (u64, u64) {
    in_the_middle_of(vm, "vda")
}

/// The same of any disk.
#[track_caller]
pub(super) fn in_the_middle_of(vm: &Vm, target: &str) -> (u64, u64) {
    wait_for("the pull is in the middle", 60, || {
        let info = virsh(["blockjob", &vm.name, target, "--raw"]).stdout;
        let number = |name: &str| -> Option<u64> {
            let line = info.lines().find(|line| line.trim().starts_with(name))?;
            line.split_once('=')?.1.trim().parse().ok()
        };
        let (done, total) = (number("cur")?, number("end")?);
        (done > 0 && done < total).then_some((done, total))
    })
}

/// Starts a VM again whose guest went down during a pull. libvirt 9.0 may hear of that end once more when the VM is on
/// again, and kill it. It hears of all in turn: once it knows that another pull was ended, nothing older is to come.
#[track_caller]
pub(super) fn start_again(vm: &Vm) {
    let job = ["blockjob", &vm.name, "vda"];
    let job = |what: &[&'static str]| virsh([&job[..], what].concat());
    let pull = ["blockpull", &vm.name, "vda", "--bytes", "--bandwidth", SLOW];
    wait_until("the VM to stay on", 120, || {
        if vm.state() == "shut off" && !virsh(["start", "--paused", &vm.name]).ok {
            return false;
        }
        let begun = virsh(pull).ok;
        let _ended = job(&["--abort", "--async"]);
        wait_until("libvirt knows of the end of the pull", 60, || {
            job(&["--raw"]).stdout.trim().is_empty()
        });
        begun && vm.state() == "paused"
    });
    virsh(["resume", &vm.name]).must();
}

fn quick<'a>(backup: &'a Backup, name: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["restore", "new", backup.id(), "--name", name, "--quick"];
    args.extend(more);
    args
}

pub(super) fn slowly(site: &Site, args: &[&str]) -> Knib {
    site.knib_with(args).env("KNIB_JOB_RATE", SLOW)
}

/// A VM that was restored quickly and slowly, with QEMU at it, and what its disk must hold.
pub(super) fn half_way(site: &Site, backup: &Backup, truth: &Path) -> Vm {
    let name = format!("{}-new", site.run);
    let left = slowly(site, &quick(backup, &name, &["--detach"]))
        .run()
        .exits(0);
    assert!(left.stdout.contains("QEMU goes on"), "{left}");
    let new = site.defined("new");
    new.goes_back_to("vda", truth);
    virsh(["suspend", &name]).must();
    new
}

/// Fails unless a VM stands alone, holds what it must, and nothing is left of its restore.
#[track_caller]
pub(super) fn assert_consolidated(site: &Site, new: &Vm) {
    assert_alone(new);
    let leases = run(
        "find",
        [
            site.storage().as_path(),
            Path::new("-path"),
            Path::new("*/leases/*"),
        ],
    )
    .must();
    assert_eq!(leases, "");
    let truth = new.truth("vda");
    if new.state() != "shut off" {
        new.destroy();
    }
    assert_holds(&new.source("vda"), &truth);
    let plan = site
        .knib([
            "plan", "--only", "backup", "--vm", &new.name, "--format", "json",
        ])
        .exits(0)
        .json();
    let actions = plan["actions"].as_array().expect("actions").iter();
    let recoveries = actions.filter(|action| action["class"] == "recovery");
    assert_eq!(recoveries.count(), 0);
    assert!(site.leftovers().is_empty());
}

#[test]
fn a_vm_runs_at_once_and_stands_alone_afterwards() {
    let (site, vm, taken) = with_a_chain(4 * MIB);
    let before = owners(&site);
    for (n, (backup, truth)) in taken.iter().enumerate() {
        let name = format!("{}-new{n}", site.run);
        site.knib(quick(backup, &name, &[])).exits(0);
        let new = site.defined(&format!("new{n}"));
        assert_eq!(new.state(), "running");
        assert_alone(&new);
        assert_eq!(owners(&site), before);
        new.kill();
        assert_holds(&new.source("vda"), truth);
    }
    site.assert_one_delta_each(&vm);
    let name = format!("{}-raw", site.run);
    let raw = quick(&taken[0].0, &name, &["--disk-format", "raw"]);
    site.knib(raw).exits(64);
}

#[test]
fn an_offering_that_forbids_it_is_heeded() {
    let site = Site::new();
    let vm = site.vm("a").disk(Disk::qcow2("vda", MIB)).start_paused();
    let backup = site.first(&vm);
    let name = format!("{}-new", site.run);
    let args = quick(&backup, &name, &[]);
    site.refuses(&vm, &args, 3, &["does not allow quick restore"]);
}

#[test]
fn a_storage_that_qemu_cannot_read_is_told_before_anything_starts() {
    let (site, vm, taken) = with_a_chain(4 * MIB);
    let file = taken[0].0.file("vda");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("the test's own");
    let name = format!("{}-new", site.run);
    let args = quick(&taken[1].0, &name, &[]);
    site.refuses(&vm, &args, 5, &["as QEMU does", "Permission denied"]);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("the test's own");

    let file = fs::File::options()
        .write(true)
        .open(&file)
        .expect("the test's own");
    let length = file.metadata().expect("it is there").len();
    file.set_len(length - 512).expect("the test's own");
    site.refuses(&vm, &args, 5, &["is damaged"]);
    assert!(!virsh(["domuuid", &name]).ok);
    assert!(site.leftovers().is_empty());
}

#[test]
fn a_damaged_byte_is_found_while_the_vm_runs() {
    let (site, vm, taken) = with_a_chain(4 * MIB);
    let file = taken[0].0.file("vda");
    let at = fs::metadata(&file).expect("it is there").len() - 1;
    judge::flip(&file, at);
    let name = format!("{}-new", site.run);
    let output = site.knib(quick(&taken[1].0, &name, &[])).exits(5);
    assert!(output.stdout.contains("is damaged"), "{output}");
    assert_alone(&site.defined("new"));
    let listed = site.backups(&vm);
    assert!(
        listed.is_empty(),
        "neither of both is counted on: {listed:?}"
    );
}

#[test]
fn knib_and_qemu_are_killed_ten_times_each_and_nothing_is_lost() {
    let (site, vm, taken) = with_a_chain(32 * MIB);
    let (backup, truth) = &taken[1];
    let new = half_way(&site, backup, truth);
    for n in 0..10 {
        let mut resume = slowly(&site, &["restore", "resume", &new.name]).start();
        let before = in_the_middle(&new);
        let byte = 0x40 + u8::try_from(n).expect("ten");
        new.write("vda", n * 2 * MIB, byte, 64 * KIB);
        resume.kill();
        let _killed = resume.finish();
        // It goes on by itself.
        assert!(in_the_middle(&new) >= before);
        new.kill();
        if n == 3 {
            // Nothing of the VM is touched, and nothing goes that it reads.
            site.is_held(&["backup", "run", &new.name, "--storage", "nas"]);
            site.is_held(&["snapshot", "create", &new.name]);
            let delete = ["backup", "delete", "--force", taken[0].0.id()];
            site.is_held(&[&delete[..], &[backup.id()]].concat());
        }
        new.start_paused();
    }
    new.kill();
    let plan = site.knib(["plan"]).exits(0);
    assert!(plan.stdout.contains("consolidate"), "{plan}");
    site.knib(["apply", "--auto-approve", "--vm", &new.name])
        .exits(0);
    assert_consolidated(&site, &new);
    site.assert_one_delta_each(&vm);
}

#[test]
fn killed_at_every_step_it_is_carried_on() {
    let (site, _vm, taken) = with_a_chain(4 * MIB);
    let (backup, truth) = &taken[1];
    let mut runs = 0;
    // Every change: `live::kills`.
    for at in (1..).step_by(13) {
        let name = format!("{}-at{at}", site.run);
        let killed = site
            .knib_with(quick(backup, &name, &[]))
            .env("KNIB_CRASH_AT", at.to_string())
            .run();
        let ended = killed.code() == Some(0);
        site.knib(["apply", "--auto-approve", "--only", "backup", "--vm", &name])
            .exits(0);
        if virsh(["domuuid", &name]).ok {
            runs += 1;
            let new = site.defined(&format!("at{at}"));
            new.goes_back_to("vda", truth);
            assert_consolidated(&site, &new);
            virsh(["undefine", &name]).must();
        }
        if ended {
            break;
        }
    }
    assert!(runs > 2, "it was killed in the middle");
}

#[test]
fn what_qemu_had_not_written_when_it_was_killed_is_brought_again() {
    let (site, _vm, taken) = with_a_chain(4 * MIB);
    let (backup, truth) = &taken[1];
    let new = half_way(&site, backup, truth);
    in_the_middle(&new);
    virsh(["blockjob", &new.name, "vda", "--bandwidth", "0"]).must();
    wait_until("the end of the pull", 60, || {
        oracle::info(&new.source("vda"))
            .get("backing-filename")
            .is_none()
    });
    new.kill();
    site.knib(["restore", "resume", &new.name]).exits(0);
    assert_consolidated(&site, &new);
}

#[test]
fn without_a_state_what_a_vm_reads_is_enough_to_go_by() {
    let (site, vm, taken) = with_a_chain(4 * MIB);
    name_by_a_link(&site);
    let (backup, truth) = &taken[1];
    let new = half_way(&site, backup, truth);
    in_the_middle(&new);
    new.kill();
    goes_on_without_a_state(&site, &new, &[&taken[0].0, backup]);
    assert_consolidated(&site, &new);
    site.apply().exits(0);
    site.backup(&vm, &[]);
}

#[test]
fn without_a_state_the_end_of_one_pull_leaves_nothing_behind() {
    let site = Site::with(
        "backupChainSize: 0",
        "backupChainSize: 0, allowQuickRestore: true",
    );
    readable(&site);
    let vm = site.vm("a").disk(Disk::qcow2("vda", 4 * MIB));
    let vm = vm.disk(Disk::qcow2("vdb", 2 * MIB)).start_paused();
    vm.write("vda", 0, 0x11, 2 * MIB);
    vm.write("vdb", 0, 0x12, MIB);
    let full = site.first(&vm);
    vm.write("vda", MIB, 0x22, MIB);
    let backup = site.backup(&vm, &[]);
    name_by_a_link(&site);
    let new = half_way(&site, &backup, &vm.truth("vda"));
    new.goes_back_to("vdb", &vm.truth("vdb"));
    in_the_middle(&new);
    // QEMU ends one disk when nobody follows it, and the definition says of that one that nothing is below.
    virsh(["blockjob", &new.name, "vda", "--bandwidth", "0"]).must();
    wait_until("the end of the pull", 60, || {
        new.xml(Xml::Inactive)
            .contains("<backingStore/>\n      <target dev='vda'")
    });
    new.destroy();
    goes_on_without_a_state(&site, &new, &[&full, &backup]);
    assert_holds(&new.source("vdb"), &new.truth("vdb"));
    assert_consolidated(&site, &new);
    site.apply().exits(0);
    site.backup(&vm, &[]);
}

/// The policy names its storage by a link, QEMU what that leads to.
fn name_by_a_link(site: &Site) {
    symlink(site.storage(), site.path("link")).expect("the directory is the test's own");
    site.change_policy("$DIR/storage", "$DIR/link");
}

/// Loses the state, makes it again, and has the next apply consolidate what reads from a chain.
#[track_caller]
fn goes_on_without_a_state(site: &Site, new: &Vm, chain: &[&Backup]) {
    fs::remove_file(site.path("state.db")).expect("there is a state");
    site.knib(["state", "rebuild"]).exits(0);
    let plan = site.knib(["plan"]).exits(0);
    assert!(plan.stdout.contains("it runs from the files of"), "{plan}");
    let mut delete = vec!["backup", "delete", "--force"];
    delete.extend(chain.iter().map(|backup| backup.id()));
    site.is_held(&delete);
    let apply = ["apply", "--auto-approve", "--only", "backup"];
    site.knib(apply.iter().chain(&["--vm", &new.name])).exits(0);
}

#[test]
fn in_place_a_vm_runs_at_once_as_well_and_a_detached_disk_comes_back() {
    let site = Site::with(
        "backupChainSize: 0",
        "backupChainSize: 0, allowQuickRestore: true",
    );
    readable(&site);
    let vm = site.vm("a").disk(Disk::qcow2("vda", 4 * MIB));
    let vm = vm.disk(Disk::qcow2("vdb", 2 * MIB)).define();
    vm.write("vda", 0, 0x11, 2 * MIB);
    vm.write("vdb", 0, 0x12, MIB);
    let backup = site.first(&vm);
    let truths = ["vda", "vdb"].map(|target| vm.truth(target));
    vm.write("vda", MIB, 0x21, MIB);
    vm.write("vdb", MIB, 0x22, MIB);
    let before = ["vda", "vdb"].map(|target| vm.truth(target));
    let detached = vm.source("vdb");
    virsh(["detach-disk", &vm.name, "vdb", "--config"]).must();
    vm.start_paused();
    let restore = ["restore", "vm", backup.id(), "--quick", "--destroy"];
    let output = site.knib(restore).exits(0);
    assert_eq!(vm.state(), "running");
    virsh(["suspend", &vm.name]).must();
    assert_ne!(vm.source("vdb"), detached);
    for (target, truth) in ["vda", "vdb"].into_iter().zip(&truths) {
        vm.goes_back_to(target, truth);
    }
    vm.write("vda", MIB, 0x77, 64 * KIB);
    assert_consolidated(&site, &vm);
    assert_holds(&vm.source("vdb"), &truths[1]);
    assert_holds(&detached, &before[1]);
    let back = output
        .stdout
        .split('\'')
        .nth(1)
        .expect("it says how to go back");
    virsh(["define", back]).must();
    assert_holds(&vm.source("vda"), &before[0]);
}

#[test]
fn a_guest_answers_goes_down_and_finds_everything() {
    let site = Site::with(
        "backupChainSize: 0",
        "backupChainSize: 0, allowQuickRestore: true",
    );
    readable(&site);
    let disk = Disk::qcow2("vda", 16 * MIB).ext4();
    let (vm, guest) = site.vm("a").disk(disk).boot();
    guest.write_file("vda", "big", 4 << 10);
    site.first(&vm);
    let big = guest.run("sha256sum </mnt/vda/big");
    vm.destroy();

    let name = format!("{}-new", site.run);
    let latest = format!("{}@latest", vm.name);
    let args = [
        "restore", "new", &latest, "--name", &name, "--quick", "--detach",
    ];
    slowly(&site, &args).run().exits(0);
    let new = site.defined("new");
    let guest = Guest::answering(&name);
    guest.run("echo own >/mnt/vda/own && sync");
    in_the_middle(&new);
    virsh(["shutdown", "--mode", "agent", &name]).must();
    wait_until("the guest's end", 120, || new.state() == "shut off");
    start_again(&new);
    let guest = Guest::answering(&name);
    let resume = ["restore", "resume", &name, "--detach"];
    slowly(&site, &resume).run().exits(0);
    in_the_middle(&new);
    virsh(["blockjob", &name, "vda", "--bandwidth", "0"]).must();
    site.knib(["restore", "resume", &name]).exits(0);
    assert_alone(&new);
    assert_eq!(guest.run("sha256sum </mnt/vda/big"), big);
    assert_eq!(guest.run("cat /mnt/vda/own").trim(), "own");
    guest.stop_writes("vda");
    let sum = guest.disk_sha256("vda");
    new.destroy();
    assert_sums_to(&new.source("vda"), &sum);
    oracle::assert_clean_ext4(&new.source("vda"));
}
