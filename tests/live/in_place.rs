//! `knib restore vm`: a VM gets the disks of a backup, and the way back works.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use crate::support::Disk;
use crate::support::KIB;
use crate::support::MIB;
use crate::support::Vm;
use crate::support::oracle;
use crate::support::tool::run;

use super::judge::assert_holds;
use super::site::Site;
use super::site::assert_unchanged;

/// The files on primary whose names say that a restore replaced them.
fn replaced(site: &Site) -> Vec<PathBuf> {
    let all = fs::read_dir(site.primary()).expect("the sandbox has a primary");
    let paths = all.map(|entry| entry.expect("it can be read").path());
    let mut kept: Vec<_> = paths
        .filter(|path| path.to_string_lossy().contains(".before-"))
        .collect();
    kept.sort();
    kept
}

/// Runs the commands that the last line of a restore says lead back.
fn go_back(said: &str) {
    let last = said.trim_end().lines().last().expect("it says something");
    let (_, command) = last.split_once(": ").expect("the last line is a command");
    let command = command.replace("virsh", "virsh -c qemu:///system");
    run("sh", ["-c", &command]).must();
}

fn assert_all_hold(vm: &Vm, truths: &[(&str, PathBuf)]) {
    for (target, truth) in truths {
        assert_holds(&vm.source(target), truth);
    }
}

#[test]
fn disks_go_back_to_a_backup_and_forward_again_and_the_next_one_is_full() {
    let site = Site::new();
    let vm = site
        .vm("a")
        .disk(Disk::qcow2("vda", 8 * MIB))
        .disk(Disk::raw("vdb", 4 * MIB))
        .start_paused();
    let truths = || ["vda", "vdb"].map(|target| (target, vm.truth(target)));
    let write = |byte| {
        vm.write("vda", u64::from(byte) * 64 * KIB, byte, 256 * KIB);
        vm.write("vdb", u64::from(byte) * KIB, byte, 64 * KIB);
    };
    write(1);
    let (first, at_first) = (site.first(&vm), truths());
    write(2);
    let (second, at_second) = (site.backup(&vm, &[]), truths());
    write(3);
    let now = truths();
    let storage = oracle::listing(&site.storage());

    let restore = |id: &str, flag: &str| {
        let args = ["restore", "vm", id].into_iter().chain([flag]);
        site.knib(args.filter(|arg| !arg.is_empty()))
    };
    let words = ["it is off", "--stop"];
    let before = vm.xml(crate::support::vm::Xml::Inactive);
    site.refuses(&vm, &["restore", "vm", first.id()], 3, &words);
    assert_eq!(vm.xml(crate::support::vm::Xml::Inactive), before);

    let said = restore(first.id(), "--destroy").exits(0).stdout;
    assert_eq!(vm.state(), "shut off");
    assert_all_hold(&vm, &at_first);
    for target in ["vda", "vdb"] {
        let chain = oracle::chain(&vm.source(target));
        assert_eq!(chain.len(), 1, "{chain:?}");
    }
    assert_unchanged(&storage, &oracle::listing(&site.storage()));
    // Two deltas, two disks and the definition.
    assert_eq!(replaced(&site).len(), 5);
    assert!(site.leftovers().is_empty());

    go_back(&said);
    assert_all_hold(&vm, &now);
    vm.start_paused();
    write(4);
    let again = truths();
    vm.destroy();
    assert_all_hold(&vm, &again);

    let said = restore(second.id(), "").exits(0).stdout;
    assert_all_hold(&vm, &at_second);
    vm.start_paused();
    vm.destroy();
    go_back(&said);
    assert_all_hold(&vm, &again);
    let said = restore(second.id(), "").exits(0).stdout;
    assert_all_hold(&vm, &at_second);

    for (target, truth) in &at_second {
        vm.goes_back_to(target, truth);
    }
    write(5);
    let third = site.backup(&vm, &[]);
    assert_eq!((third.kind(), third.parent()), ("full", None));
    assert_holds(&third.file("vda"), &vm.truth("vda"));
    let plan = site.knib(["plan"]).exits(0);
    assert!(plan.stdout.contains("replaced"), "{plan}");
    site.apply().exits(0);
    let kept = replaced(&site);
    let used: Vec<_> = kept.iter().filter(|path| is_of(path, &said)).collect();
    assert!(used.is_empty(), "{kept:?}");
    site.knib(["plan", "--detailed-exitcode"]).exits(0);
    for (backup, truth) in [(&first, &at_first), (&second, &at_second)] {
        assert_holds(&backup.file("vda"), &truth[0].1);
    }
}

/// Whether a file was kept by the restore that said this.
fn is_of(path: &Path, said: &str) -> bool {
    let id = said.rsplit_once(".before-").expect("it says where").1;
    let id = id.split_once(".xml").expect("it says where").0;
    path.to_string_lossy().contains(id)
}
