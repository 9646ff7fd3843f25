//! What a backup holds is what the disk held at its instant: judged by a guest's own checksums, or by a copy of the
//! writes that no VM ever touched, and never read through a layer that knib copied.

use crate::support::Disk;
use crate::support::KIB;
use crate::support::MIB;
use crate::support::Vm;
use crate::support::guest::Guest;
use crate::support::oracle;
use crate::support::vm::Builder;
use crate::support::vm::Xml;

use super::judge::assert_holds;
use super::judge::assert_sums_to;
use super::site::Backup;
use super::site::Site;

const DISKS: [&str; 2] = ["vda", "vdb"];

/// Stops the guest's writes, takes its checksums and a backup, and lets it write again.
fn backup_of_a_quiet_guest(site: &Site, vm: &Vm, guest: &Guest) -> (Backup, [String; 2]) {
    DISKS.iter().for_each(|disk| guest.stop_writes(disk));
    let sums = DISKS.map(|disk| guest.disk_sha256(disk));
    let backup = if site.path("state.db").exists() {
        site.backup(vm, &[])
    } else {
        site.first(vm)
    };
    DISKS.iter().for_each(|disk| guest.resume_writes(disk));
    (backup, sums)
}

#[test]
fn a_guest_that_writes_on_gets_each_instant_back() {
    let site = Site::new();
    let disks = [Disk::qcow2("vda", 24 * MIB), Disk::raw("vdb", 16 * MIB)].map(Disk::ext4);
    let (vm, guest) = disks.into_iter().fold(site.vm("a"), Builder::disk).boot();
    let boot = guest.boot_id();

    let mut taken: Vec<(Backup, [String; 2])> = Vec::new();
    for n in 0..3 {
        for disk in DISKS {
            guest.write_file(disk, &format!("file{n}"), 1024);
            // What the file system lets go of is discarded, and comes back as zeroes.
            guest.write_file(disk, "passing", 2048);
            guest.run(&format!("rm /mnt/{disk}/passing && sync"));
        }
        taken.push(backup_of_a_quiet_guest(&site, &vm, &guest));
        guest.write_file("vda", "afterwards", 256);
        site.assert_one_delta_each(&vm);
        for disk in DISKS {
            let layers = oracle::chain(&vm.source(disk));
            assert_eq!(layers, [vm.source(disk), vm.disks[disk].clone()]);
        }
    }

    let kinds: Vec<_> = taken.iter().map(|(backup, _)| backup.kind()).collect();
    assert_eq!(kinds, ["full", "incremental", "incremental"]);
    for (backup, sums) in &taken {
        for (disk, sum) in DISKS.iter().zip(sums) {
            assert_sums_to(&backup.file(disk), sum);
            oracle::assert_clean_ext4(&backup.file(disk));
        }
    }
    assert_eq!(guest.boot_id(), boot, "the guest was started again");
}

#[test]
fn a_guest_in_the_middle_of_writing_gets_a_file_system_that_is_whole() {
    let site = Site::new();
    let disk = Disk::qcow2("vda", 24 * MIB).ext4();
    let (vm, guest) = site.vm("a").disk(disk).boot();
    guest.write_file("vda", "before", 512);
    let before = guest.run("sha256sum </mnt/vda/before");
    let again = "while :; do head -c 300k /dev/urandom >/mnt/vda/loop; sync; done";
    guest.run(&format!("({again}) >/dev/null 2>&1 </dev/null & echo $!"));

    for _ in 0..2 {
        let quiesce = ["--quiesce", "required"];
        let backup = match site.path("state.db").exists() {
            true => site.backup(&vm, &quiesce),
            false => site.first(&vm),
        };
        oracle::assert_clean_ext4(&backup.file("vda"));
    }
    assert_eq!(site.newest(&vm).0["consistency"], "filesystem");
    assert_eq!(guest.run("sha256sum </mnt/vda/before"), before);
    assert!(!guest.is_frozen());
}

/// A qcow2 and a raw disk.
fn two_disks<'a>(site: &'a Site, name: &str) -> Builder<'a> {
    site.vm(name)
        .disk(Disk::qcow2("vda", 16 * MIB))
        .disk(Disk::raw("vdb", 8 * MIB))
}

/// Writes something of its own to both disks, some of it over what was there before.
fn write(vm: &Vm, n: u8) {
    for disk in DISKS {
        vm.write(disk, u64::from(n) * 128 * KIB, n + 1, 192 * KIB);
        vm.write(disk, MIB + 1000, n + 0x40, 3000);
    }
}

#[test]
fn a_stopped_vm_gets_each_instant_back() {
    let site = Site::new();
    let vm = two_disks(&site, "a").define();
    let mut taken = Vec::new();
    for n in 0..3 {
        write(&vm, n);
        let truths = DISKS.map(|disk| vm.truth(disk));
        let backup = if n == 0 {
            site.first(&vm)
        } else {
            site.backup(&vm, &[])
        };
        site.assert_one_delta_each(&vm);
        taken.push((backup, truths));
    }
    // Whatever a start reads in the definition, it finds the newest content.
    write(&vm, 3);
    vm.start_paused();
    assert_eq!(vm.sources(Xml::Live), vm.sources(Xml::Inactive));
    write(&vm, 4);
    vm.destroy();

    for disk in DISKS {
        assert_holds(&vm.source(disk), &vm.truth(disk));
    }
    for (backup, truths) in &taken {
        for (disk, truth) in DISKS.iter().zip(truths) {
            assert_holds(&backup.file(disk), truth);
        }
    }
}

#[test]
fn a_vm_started_and_stopped_between_backups_stays_in_its_chain() {
    let site = Site::new();
    let vm = two_disks(&site, "a").define();
    let mut taken = Vec::new();
    for n in 0..5 {
        match n {
            1 | 3 => vm.start_paused(),
            2 | 4 => vm.destroy(),
            _ => {}
        }
        write(&vm, n);
        let truth = vm.truth("vdb");
        let backup = if n == 0 {
            site.first(&vm)
        } else {
            site.backup(&vm, &[])
        };
        site.assert_one_delta_each(&vm);
        let parent = taken
            .last()
            .map(|(backup, _): &(Backup, _)| backup.id().to_owned());
        assert_eq!(backup.parent(), parent.as_deref());
        taken.push((backup, truth));
    }
    for (backup, truth) in &taken {
        assert_holds(&backup.file("vdb"), truth);
    }
}
