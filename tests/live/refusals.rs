//! VMs that are not as a backup needs them: the message names VM, disk and what to do, the exit code is 3, and nothing
//! is touched until a person has mended it.

use std::fs;
use std::path::Path;

use crate::support::Disk;
use crate::support::KIB;
use crate::support::MIB;
use crate::support::Vm;
use crate::support::deadline::wait_until;
use crate::support::tool::qemu_img;
use crate::support::tool::virsh;
use crate::support::vm::Xml;

use super::judge::assert_holds;
use super::site::Site;

const APPLY: [&str; 2] = ["apply", "--auto-approve"];

/// Storage, offering, policy and assignment are on record, and the VM has a backup to stand on.
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

/// `backup run` and, after a change that makes a first backup due, `plan` and `apply` refuse alike.
#[track_caller]
fn backup_refuses(site: &Site, vm: &Vm, words: &[&str]) {
    site.refuses(vm, &["backup", "run", &vm.name], 3, words);
}

/// The next backup is the next in the chain, as if nothing had been.
#[track_caller]
fn backup_goes_on(site: &Site, vm: &Vm) {
    let next = site.backup(vm, &[]);
    assert_eq!(next.kind(), "incremental");
    assert_holds(&next.file("vda"), &vm.truth("vda"));
    site.assert_one_delta_each(vm);
}

#[test]
fn a_managed_save() {
    let (site, vm) = with_a_backup();
    virsh(["managedsave", &vm.name]).must();
    let mend = format!("virsh start {}", vm.name);
    backup_refuses(&site, &vm, &[&vm.name, "managed save", &mend]);

    virsh(["start", "--paused", &vm.name]).must();
    backup_goes_on(&site, &vm);
}

#[test]
fn a_managed_save_before_the_first_backup() {
    let site = Site::new();
    let vm = site.vm("a").disk(Disk::qcow2("vda", MIB)).start_paused();
    site.knib(["apply", "--auto-approve", "--only", "config"])
        .exits(0);
    virsh(["managedsave", &vm.name]).must();
    let words = [vm.name.as_str(), "managed save"];
    site.refuses(&vm, &["plan", "--detailed-exitcode"], 3, &words);
    site.refuses(&vm, &APPLY, 3, &words);
    virsh(["managedsave-remove", &vm.name]).must();
    assert_holds(&site.first(&vm).file("vda"), &vm.truth("vda"));
}

/// Defines the VM again with one thing of its persistent definition said otherwise.
fn redefine(site: &Site, vm: &Vm, before: &str, after: &str) {
    let xml = vm.xml(Xml::Inactive);
    assert!(xml.contains(before), "{xml}");
    let file = site.path("redefined.xml");
    fs::write(&file, xml.replace(before, after)).expect("the directory is the test's own");
    virsh([Path::new("define"), &file]).must();
}

#[test]
fn a_definition_that_names_another_file_than_what_runs() {
    let (site, vm) = with_a_backup();
    let runs = vm.source("vda").display().to_string();
    let other = site.primary().join("other.qcow2").display().to_string();
    qemu_img(["create", "-q", "-f", "qcow2", &other, "4M"]).must();
    redefine(&site, &vm, &runs, &other);
    backup_refuses(&site, &vm, &[&vm.name, "vda", &runs, &other]);

    redefine(&site, &vm, &other, &runs);
    backup_goes_on(&site, &vm);
}

#[test]
fn a_block_job_of_somebody_else() {
    let (site, vm) = with_a_backup();
    vm.write("vda", 0, 0x33, 4 * MIB);
    let copy = site.primary().join("copy.qcow2").display().to_string();
    let args = ["blockcopy", &vm.name, "vda", &copy, "--transient-job"];
    virsh(args).must();
    wait_until("the copy", 60, || vm.xml(Xml::Live).contains("ready='yes'"));
    backup_refuses(
        &site,
        &vm,
        &[&vm.name, "vda", "block job", "virsh blockjob"],
    );
    virsh(["blockjob", &vm.name, "vda", "--abort"]).must();
    backup_goes_on(&site, &vm);
}

#[test]
fn a_block_device_until_it_is_excluded() {
    let site = Site::new();
    let device = "<disk type='block' device='disk'><driver name='qemu' type='raw'/>\
                  <source dev='/dev/knib-no-such-device'/><target dev='vdb' bus='virtio'/></disk>";
    let vm = site
        .vm("a")
        .disk(Disk::qcow2("vda", MIB))
        .device(device)
        .define();
    site.knib(["apply", "--auto-approve", "--only", "config"])
        .exits(0);
    vm.write("vda", 0, 0x11, 64 * KIB);
    let words = [vm.name.as_str(), "vdb", "block device", "exclude"];
    site.refuses(&vm, &["plan", "--detailed-exitcode"], 3, &words);
    site.refuses(&vm, &APPLY, 3, &words);

    site.change_policy(
        "offering: plain\n",
        "offering: plain\n    disks: { exclude: [\"vdb\"] }\n",
    );
    let backup = site.first(&vm);
    assert_eq!(backup.0["disks"].as_array().map(Vec::len), Some(1));
    assert_holds(&backup.file("vda"), &vm.truth("vda"));
    assert!(vm.xml(Xml::Inactive).contains("/dev/knib-no-such-device"));
    site.assert_one_delta_each(&vm);
}

#[test]
fn one_file_that_is_two_disks_until_one_is_detached() {
    let site = Site::new();
    let twin = "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>\
                <source file='$DIR/primary/twin.qcow2'/><target dev='vdb' bus='virtio'/></disk>";
    let disk = Disk::qcow2("vda", MIB).at(site.primary().join("twin.qcow2"));
    let vm = site.vm("a").disk(disk).device(twin).define();
    site.knib(["apply", "--auto-approve", "--only", "config"])
        .exits(0);
    vm.write("vda", 0, 0x11, 64 * KIB);
    let mend = format!("virsh detach-disk {} vdb", vm.name);
    let words = ["vda and vdb are the same file", &mend];
    site.refuses(&vm, &["plan", "--detailed-exitcode"], 3, &words);
    site.refuses(&vm, &APPLY, 3, &words);

    virsh(["detach-disk", &vm.name, "vdb", "--config"]).must();
    assert_holds(&site.first(&vm).file("vda"), &vm.truth("vda"));
}

#[test]
fn a_vm_that_is_gone_when_the_saved_plan_is_applied() {
    let (site, vm) = with_a_backup();
    let other = site.vm("b").disk(Disk::qcow2("vda", MIB)).define();
    let plan = site.path("plan.json").display().to_string();
    site.knib(["plan", "-o", &plan]).exits(0);
    virsh(["undefine", &other.name]).must();
    let words = [other.name.as_str(), "not defined here any more"];
    site.refuses(&vm, &["apply", &plan, "--auto-approve"], 3, &words);
    assert!(!site.storage().join("x").exists());
}

#[test]
fn a_vm_that_starts_or_stops_between_plan_and_apply_is_backed_up_all_the_same() {
    for starts in [true, false] {
        let site = Site::new();
        let vm = site.vm("a").disk(Disk::qcow2("vda", MIB)).define();
        vm.write("vda", 0, 0x11, 64 * KIB);
        if !starts {
            vm.start_paused();
        }
        let plan = site.path("plan.json").display().to_string();
        site.knib(["plan", "-o", &plan]).exits(0);
        if starts {
            vm.start_paused();
        } else {
            vm.destroy();
        }
        site.knib(["apply", &plan, "--auto-approve"]).exits(0);
        assert_holds(&site.newest(&vm).file("vda"), &vm.truth("vda"));
        site.assert_one_delta_each(&vm);
    }
}

#[test]
fn no_libvirt() {
    let (site, vm) = with_a_backup();
    let dead = format!("qemu+unix:///system?socket={}", site.path("dead").display());
    for command in ["plan", "status", "apply --auto-approve", "vm list"] {
        let words: Vec<_> = command.split(' ').chain(["--connect", &dead]).collect();
        site.refuses(
            &vm,
            &words,
            1,
            &["could not connect to libvirt", "is libvirtd running"],
        );
    }
    // What the record holds can be read all the same.
    let listed = site.knib(["backup", "list", "--connect", &dead]).exits(0);
    assert!(listed.stdout.contains(site.newest(&vm).id()), "{listed}");
}
