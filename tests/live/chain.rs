//! How long chains get, what stands outside of them, and that nothing is done when nothing is due.

use crate::support::Disk;
use crate::support::KIB;
use crate::support::MIB;
use crate::support::oracle;

use super::judge::assert_holds;
use super::site::Backup;
use super::site::Site;
use super::site::assert_unchanged;

#[test]
fn a_chain_of_three_is_full_incremental_incremental_and_then_full() {
    let site = Site::with("backupChainSize: 0", "backupChainSize: 3");
    let disks = [Disk::qcow2("vda", 8 * MIB), Disk::raw("vdb", 4 * MIB)];
    let [a, b] = disks;
    let vm = site.vm("a").disk(a).disk(b).start_paused();
    let mut taken: Vec<(Backup, _)> = Vec::new();
    for n in 0..4 {
        vm.write("vda", n * 64 * KIB, 0x11, 64 * KIB);
        vm.write("vdb", n * 128 * KIB, 0x22, 64 * KIB);
        let truths = ["vda", "vdb"].map(|disk| vm.truth(disk));
        let backup = if n == 0 {
            site.first(&vm)
        } else {
            site.backup(&vm, &[])
        };
        if n == 2 {
            site.assert_no_delta(&vm);
            assert!(
                !vm.xml(crate::support::vm::Xml::Inactive)
                    .contains("backingStore type")
            );
        } else {
            site.assert_one_delta_each(&vm);
        }
        taken.push((backup, truths));
    }
    let kinds: Vec<_> = taken.iter().map(|(backup, _)| backup.kind()).collect();
    assert_eq!(kinds, ["full", "incremental", "incremental", "full"]);
    let places = taken
        .iter()
        .map(|(backup, _)| (backup.0["chain"].clone(), backup.0["position"].clone()));
    let places: Vec<_> = places.map(|(chain, at)| format!("{chain}.{at}")).collect();
    assert_eq!(places, ["1.1", "1.2", "1.3", "2.1"]);
    let listed = site.backups(&vm);
    let ended: Vec<_> = listed
        .iter()
        .map(|one| one.0["end_of_chain"] == true)
        .collect();
    assert_eq!(ended, [false, false, true, false]);
    let current: Vec<_> = listed.iter().map(|one| one.0["current"] == true).collect();
    assert_eq!(current, [false, false, false, true]);
    for (backup, truths) in &taken {
        assert_holds(&backup.file("vda"), &truths[0]);
        assert_holds(&backup.file("vdb"), &truths[1]);
    }
}

#[test]
fn an_isolated_backup_leaves_the_chain_as_it_was() {
    for running in [true, false] {
        let site = Site::new();
        let vm = site.vm("a").disk(Disk::qcow2("vda", 8 * MIB)).define();
        if running {
            vm.start_paused();
        }
        vm.write("vda", 0, 0x11, 256 * KIB);
        let full = (site.first(&vm), vm.truth("vda"));
        vm.write("vda", 128 * KIB, 0x22, 256 * KIB);
        let before = oracle::chain(&vm.source("vda"));
        let alone = (site.backup(&vm, &["--isolated"]), vm.truth("vda"));
        assert_eq!(oracle::chain(&vm.source("vda")), before);
        assert_eq!((alone.0.kind(), alone.0.parent()), ("full", None));
        assert_eq!(alone.0.0["isolated"], true);
        assert_eq!(oracle::chain(&alone.0.file("vda")).len(), 1);

        vm.write("vda", MIB, 0x33, 64 * KIB);
        let next = (site.backup(&vm, &[]), vm.truth("vda"));
        assert_eq!(next.0.parent(), Some(full.0.id()));
        site.assert_one_delta_each(&vm);
        for (backup, truth) in [full, alone, next] {
            assert_holds(&backup.file("vda"), &truth);
        }
    }
}

#[test]
fn a_chain_that_is_finished_by_hand_leaves_nothing_on_primary() {
    for running in [true, false] {
        let site = Site::new();
        let disks = [Disk::qcow2("vda", 8 * MIB), Disk::raw("vdb", 4 * MIB)];
        let [a, b] = disks;
        let vm = site.vm("a").disk(a).disk(b).define();
        if running {
            vm.start_paused();
        }
        vm.write("vda", 0, 0x11, 256 * KIB);
        let full = (site.first(&vm), vm.truth("vda"));
        vm.write("vda", 128 * KIB, 0x22, 256 * KIB);
        let last = (site.backup(&vm, &[]), vm.truth("vda"));
        vm.write("vda", MIB, 0x33, 64 * KIB);
        vm.write("vdb", MIB, 0x44, 64 * KIB);
        let finish = ["chain", "finish", &vm.name];
        site.knib(finish).exits(0);
        site.assert_no_delta(&vm);
        let ended = site.newest(&vm);
        assert_eq!(
            (&ended.0["end_of_chain"], &ended.0["current"]),
            (&true.into(), &false.into())
        );
        site.refuses(&vm, &finish, 0, &["no chain under way"]);

        let next = (site.backup(&vm, &[]), vm.truth("vda"));
        assert_eq!((next.0.kind(), &next.0.0["chain"]), ("full", &2.into()));
        site.assert_one_delta_each(&vm);
        if running {
            vm.destroy();
        }
        for (backup, truth) in [full, last, next] {
            assert_holds(&backup.file("vda"), &truth);
        }
        assert_holds(&vm.source("vdb"), &vm.truth("vdb"));
    }
}

#[test]
fn another_storage_ends_the_chain() {
    let nas = "nas: { path: $DIR/storage, minFree: 1MiB }";
    let two =
        "nas: { path: $DIR/storage, minFree: 1MiB }\n  new: { path: $DIR/new, minFree: 1MiB }";
    let site = Site::new();
    site.make_dir("new");
    let vm = site
        .vm("a")
        .disk(Disk::qcow2("vda", 8 * MIB))
        .start_paused();
    vm.write("vda", 0, 0x11, 256 * KIB);
    let old = (site.first(&vm), vm.truth("vda"));
    vm.write("vda", 128 * KIB, 0x22, 256 * KIB);
    site.change_policy(nas, two);
    site.change_policy("storage: nas", "storage: new");
    site.apply().exits(0);
    let new = (site.backup(&vm, &[]), vm.truth("vda"));
    assert_eq!((new.0.kind(), &new.0.0["storage"]), ("full", &"new".into()));
    assert!(new.0.dir().starts_with(site.path("new")));
    site.assert_one_delta_each(&vm);
    let ended = site
        .backups(&vm)
        .into_iter()
        .find(|one| one.id() == old.0.id());
    assert_eq!(ended.expect("it stays").0["end_of_chain"], true);
    vm.write("vda", MIB, 0x33, 64 * KIB);
    let next = (site.backup(&vm, &[]), vm.truth("vda"));
    assert_eq!(next.0.parent(), Some(new.0.id()));
    for (backup, truth) in [old, new, next] {
        assert_holds(&backup.file("vda"), &truth);
    }
}

#[test]
fn a_vm_without_a_policy_gets_a_backup_by_itself() {
    let site = Site::with("$RUN-*", "$RUN-a");
    let vm = site
        .vm("b")
        .disk(Disk::qcow2("vda", 4 * MIB))
        .start_paused();
    vm.write("vda", 0, 0x11, 64 * KIB);
    site.apply().exits(0);
    site.knib(["backup", "run", &vm.name]).exits(1);
    let alone = site.backup(&vm, &["--storage", "nas"]);
    assert_eq!(alone.0["isolated"], true);
    site.assert_no_delta(&vm);
    assert_holds(&alone.file("vda"), &vm.truth("vda"));
}

#[test]
fn with_nothing_due_there_are_no_changes() {
    let site = Site::new();
    let vm = site.vm("a").disk(Disk::qcow2("vda", MIB)).start_paused();
    let detailed = ["plan", "--detailed-exitcode"];
    site.knib(detailed).exits(2);
    site.first(&vm);
    let output = site.knib(detailed).exits(0);
    assert!(output.stdout.contains("No changes"), "{output}");

    let before = site.picture(&vm);
    site.apply().exits(0);
    assert_unchanged(&before, &site.picture(&vm));
}
