//! `knib restore disk`: a disk of a backup comes to a VM, the same or another one, on or off.

use crate::support::Disk;
use crate::support::KIB;
use crate::support::MIB;
use crate::support::oracle;
use crate::support::tool::virsh;

use super::judge::assert_holds;
use super::site::Site;
use super::site::assert_unchanged;

#[test]
fn to_the_same_vm_and_to_another_one_on_and_off_and_when_its_own_is_gone() {
    let site = Site::new();
    let port = |n| format!("<controller type='pci' index='{n}' model='pcie-root-port'/>");
    let ports: String = (1..7).map(port).collect();
    let ports = format!("<controller type='pci' index='0' model='pcie-root'/>{ports}");
    let disks = |name| {
        let vm = site.vm(name).device(&ports);
        vm.disk(Disk::qcow2("vda", 4 * MIB))
    };
    let vm = disks("a").disk(Disk::raw("vdb", 2 * MIB)).define();
    let other = disks("b").define();
    vm.write("vda", 0, 0x11, MIB);
    vm.write("vdb", 64 * KIB, 0x12, MIB);
    let backup = site.first(&vm);
    let truths = ["vda", "vdb"].map(|target| vm.truth(target));
    vm.write("vda", 0, 0x21, 64 * KIB);
    let now = vm.truth("vda");
    let before = vm.source("vda");
    let storage = oracle::listing(&site.storage());

    let restore = |disk: &str, to: &str, flags: &[&str]| {
        let args = ["restore", "disk", backup.id(), disk, "--to", to];
        let args: Vec<_> = args.iter().chain(flags).copied().collect();
        site.knib(args)
    };
    let plan = restore("vda", &vm.name, &["--plan"]).exits(0);
    assert!(plan.stdout.contains("vdc"), "{plan}");
    // Off, to itself: the next name that is free.
    restore("vda", &vm.name, &[]).exits(0);
    assert_holds(&vm.source("vdc"), &truths[0]);
    assert_eq!(vm.source("vda"), before);
    assert_holds(&vm.source("vda"), &now);
    // On, to itself.
    vm.start_paused();
    restore("vdb", &vm.name, &["--disk-format", "raw", "--verify"]).exits(0);
    // On, to another one.
    other.start_paused();
    restore("vdb", &other.name, &[]).exits(0);
    vm.destroy();
    assert_holds(&vm.source("vdd"), &truths[1]);
    assert_eq!(oracle::info(&vm.source("vdd"))["format"], "raw");
    // The VM it was of is gone.
    virsh(["undefine", &vm.name]).must();
    restore("vda", &other.name, &["--as", "vdf"]).exits(0);
    other.destroy();
    assert_holds(&other.source("vdb"), &truths[1]);
    assert_holds(&other.source("vdf"), &truths[0]);
    other.start_paused();
    assert_unchanged(&storage, &oracle::listing(&site.storage()));
    // The chain of the VM that got them goes on, and takes them whole.
    let next = site.backup(&other, &[]);
    assert_eq!(next.kind(), "incremental");
    assert_eq!(next.disk("vdb")["kind"], "full");
    assert_holds(&next.file("vdf"), &truths[0]);
}
