//! Content again, where the layers of a disk are special: several since the parent, zeroes and discards, another size,
//! a template below, a disk that was not there before.

use std::fs;
use std::path::Path;

use crate::support::Disk;
use crate::support::KIB;
use crate::support::MIB;
use crate::support::Vm;
use crate::support::oracle;
use crate::support::tool::qemu_img;
use crate::support::tool::virsh;

use super::judge::assert_holds;
use super::site::Site;

/// An external snapshot without metadata, as a user makes one.
fn snapshot(vm: &Vm, name: &str) {
    let args = ["snapshot-create-as", &vm.name, name];
    virsh(args.iter().chain(&["--disk-only", "--no-metadata"])).must();
}

/// Three layers on top of what the parent's delta covers.
fn three_layers_since_the_parent(running: bool) {
    let site = Site::new();
    let disks = [Disk::qcow2("vda", 16 * MIB), Disk::raw("vdb", 8 * MIB)];
    let [a, b] = disks;
    let vm = site.vm("a").disk(a).disk(b).define();
    if running {
        vm.start_paused();
    }
    vm.write("vda", 0, 0x11, MIB);
    vm.write("vdb", 0, 0x12, MIB);
    let full = (site.first(&vm), vm.truth("vda"), vm.truth("vdb"));

    for (n, target) in [(1, "vda"), (2, "vdb"), (3, "vda")] {
        vm.write(target, n * 192 * KIB, 0x20, 256 * KIB);
        vm.zero(target, n * 64 * KIB, 64 * KIB);
        if n < 3 {
            snapshot(&vm, &format!("user{n}"));
        }
    }
    assert_eq!(oracle::chain(&vm.source("vda")).len(), 4);
    let next = (site.backup(&vm, &[]), vm.truth("vda"), vm.truth("vdb"));
    assert_eq!(next.0.parent(), Some(full.0.id()));
    for target in ["vda", "vdb"] {
        assert_eq!(next.0.disk(target)["kind"], "incremental");
        // knib's old delta went into the disk, the user's layers stay, the new delta is on top.
        let layers = oracle::chain(&vm.source(target));
        assert_eq!(layers.len(), 4, "{layers:?}");
        assert_eq!(layers[3], vm.disks[target]);
    }
    site.assert_one_delta_each(&vm);

    vm.write("vda", 5 * MIB, 0x33, 64 * KIB);
    let last = (site.backup(&vm, &[]), vm.truth("vda"), vm.truth("vdb"));
    for (backup, vda, vdb) in [full, next, last] {
        assert_holds(&backup.file("vda"), &vda);
        assert_holds(&backup.file("vdb"), &vdb);
    }
    if running {
        vm.destroy();
    }
    assert_holds(&vm.source("vda"), &vm.truth("vda"));
}

#[test]
fn three_layers_since_the_parent_of_a_running_vm() {
    three_layers_since_the_parent(true);
}

#[test]
fn three_layers_since_the_parent_of_a_stopped_vm() {
    three_layers_since_the_parent(false);
}

#[test]
fn zeroes_and_discards_over_data_come_back_as_zeroes() {
    let site = Site::new();
    let disks = [Disk::qcow2("vda", 16 * MIB), Disk::raw("vdb", 8 * MIB)];
    let [a, b] = disks;
    let vm = site.vm("a").disk(a).disk(b).start_paused();
    let mut taken = Vec::new();
    for n in 0..3 {
        for target in ["vda", "vdb"] {
            if n == 0 {
                vm.write(target, 0, 0x11, 4 * MIB);
            } else {
                let at = n * MIB;
                vm.discard(target, at, 256 * KIB);
                vm.zero(target, at + 256 * KIB, 256 * KIB);
                vm.zero(target, at + 520 * KIB + 512, 5 * KIB);
                vm.write(target, at + 700 * KIB, 0, 30 * KIB);
            }
        }
        let truths = (vm.truth("vda"), vm.truth("vdb"));
        let backup = if n == 0 {
            site.first(&vm)
        } else {
            site.backup(&vm, &[])
        };
        taken.push((backup, truths));
    }
    for (backup, (vda, vdb)) in &taken {
        assert_holds(&backup.file("vda"), vda);
        assert_holds(&backup.file("vdb"), vdb);
    }
    vm.destroy();
    assert_holds(&vm.source("vda"), &vm.truth("vda"));
}

#[test]
fn a_disk_that_grew_keeps_its_size_in_each_backup() {
    let site = Site::with("backupChainSize: 0", "backupChainSize: 3");
    let vm = site
        .vm("a")
        .disk(Disk::qcow2("vda", 4 * MIB))
        .start_paused();
    vm.write("vda", 3 * MIB, 0x11, MIB);
    let mut taken = vec![(site.first(&vm), vm.truth("vda"))];
    vm.resize("vda", 6 * MIB);
    taken.push((site.backup(&vm, &[]), vm.truth("vda")));
    vm.write("vda", 5 * MIB, 0x22, MIB);
    taken.push((site.backup(&vm, &[]), vm.truth("vda")));

    let size = |n: usize| oracle::virtual_size(&taken[n].0.file("vda"));
    assert_eq!([0, 1, 2].map(size), [4 * MIB, 6 * MIB, 6 * MIB]);
    for (backup, truth) in &taken {
        assert_holds(&backup.file("vda"), truth);
    }
    // The chain of three has ended, so all of it is in the disk again.
    site.assert_no_delta(&vm);
    vm.destroy();
    assert_holds(&vm.disks["vda"], &vm.truth("vda"));
}

#[test]
fn a_disk_that_shrank_and_grew_again_shows_no_old_bytes() {
    let site = Site::new();
    let vm = site.vm("a").disk(Disk::qcow2("vda", 4 * MIB)).define();
    vm.write("vda", 0, 0x11, 4 * MIB);
    let mut taken = vec![(site.first(&vm), vm.truth("vda"))];
    for size in [2 * MIB, 3 * MIB, 5 * MIB] {
        vm.resize("vda", size);
        taken.push((site.backup(&vm, &[]), vm.truth("vda")));
        site.assert_one_delta_each(&vm);
    }
    // The last of the chain leaves the disk alone, which is as large as it was once.
    site.change_policy("backupChainSize: 0", "backupChainSize: 5");
    vm.resize("vda", MIB);
    taken.push((site.backup(&vm, &[]), vm.truth("vda")));
    site.assert_no_delta(&vm);
    for (backup, truth) in &taken {
        assert_holds(&backup.file("vda"), truth);
    }
    assert_holds(&vm.source("vda"), &vm.truth("vda"));
}

#[test]
fn a_template_below_the_disk_is_copied_and_never_written() {
    let site = Site::new();
    let vm = site.vm("a").disk(Disk::qcow2("vda", 8 * MIB)).define();
    vm.write("vda", MIB, 0x11, MIB);
    let (disk, template) = (&vm.disks["vda"], site.primary().join("template.qcow2"));
    fs::rename(disk, &template).expect("the directory is the test's own");
    let create = ["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"].map(Path::new);
    qemu_img(
        create
            .into_iter()
            .chain([&template, disk].map(std::path::PathBuf::as_path)),
    )
    .must();
    let before = oracle::file_sha256(&template);

    vm.write("vda", 2 * MIB - 4096, 0x22, 8192);
    let full = (site.first(&vm), vm.truth("vda"));
    vm.write("vda", 4 * MIB, 0x33, 4096);
    let next = (site.backup(&vm, &[]), vm.truth("vda"));
    vm.start_paused();
    vm.write("vda", 5 * MIB, 0x44, 4096);
    let last = (site.backup(&vm, &["--full"]), vm.truth("vda"));

    for (backup, truth) in [&full, &next, &last] {
        assert_holds(&backup.file("vda"), truth);
    }
    assert_eq!(oracle::chain(&full.0.file("vda")).len(), 1);
    assert_eq!(oracle::chain(&last.0.file("vda")).len(), 1);
    assert_eq!(oracle::file_sha256(&template), before);
}

#[test]
fn a_new_disk_is_whole_in_an_incremental_backup() {
    let site = Site::new();
    let vm = site
        .vm("a")
        .disk(Disk::qcow2("vda", 4 * MIB))
        .start_paused();
    vm.write("vda", 0, 0x11, MIB);
    let full = site.first(&vm);
    let extra = site.primary().join(format!("{}-vdb.qcow2", vm.name));
    let size = (2 * MIB).to_string();
    let create = ["create", "-q", "-f", "qcow2"].map(Path::new);
    qemu_img(
        create
            .into_iter()
            .chain([extra.as_path(), Path::new(&size)]),
    )
    .must();
    let source = extra.to_str().expect("the sandbox's path is text");
    let attach = [
        "attach-disk",
        &vm.name,
        source,
        "vdb",
        "--subdriver",
        "qcow2",
    ];
    virsh(attach.iter().chain(&["--persistent"])).must();

    vm.write("vda", MIB, 0x22, MIB);
    let next = site.backup(&vm, &[]);
    let kinds = ["vda", "vdb"].map(|disk| next.disk(disk)["kind"].clone());
    assert_eq!(kinds, ["incremental", "full"]);
    assert_eq!(next.parent(), Some(full.id()));
    let third = site.backup(&vm, &[]);
    let kinds = ["vda", "vdb"].map(|disk| third.disk(disk)["kind"].clone());
    assert_eq!(kinds, ["incremental", "incremental"]);
    assert_holds(&third.file("vda"), &vm.truth("vda"));
}

#[test]
fn a_users_snapshot_can_be_reverted_to_after_a_backup() {
    let site = Site::new();
    let vm = site.vm("a").disk(Disk::qcow2("vda", 4 * MIB)).define();
    vm.write("vda", 0, 0x11, MIB);
    let then = vm.truth("vda");
    virsh(["snapshot-create-as", &vm.name, "before"]).must();
    for n in 0..2 {
        vm.write("vda", n * MIB, 0x22, 512 * KIB);
        let backup = if n == 0 {
            site.first(&vm)
        } else {
            site.backup(&vm, &[])
        };
        assert_eq!(backup.kind(), "full");
        assert_holds(&backup.file("vda"), &vm.truth("vda"));
        // A delta on top would be lost by a revert.
        site.assert_no_delta(&vm);
    }
    virsh(["snapshot-revert", &vm.name, "before"]).must();
    assert_holds(&vm.disks["vda"], &then);
    virsh(["snapshot-delete", &vm.name, "before"]).must();
}
