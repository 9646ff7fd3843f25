//! Quick restores whose VM goes down again and again, by its guest, or that does not start at all.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::support::Disk;
use crate::support::MIB;
use crate::support::Vm;
use crate::support::deadline::wait_until;
use crate::support::oracle;
use crate::support::tool::run;
use crate::support::tool::virsh;

use super::judge::assert_holds;
use super::quick::assert_consolidated;
use super::quick::in_the_middle_of;
use super::quick::owners;
use super::quick::readable;
use super::quick::slowly;
use super::quick::start_again;
use super::site::Site;

/// So often the guest goes down before the end: `KNIB_QUICK_ENDS=10`.
fn ends() -> u16 {
    let given = std::env::var("KNIB_QUICK_ENDS").ok();
    given.map_or(1, |given| given.parse().expect("a number"))
}

const SECTOR: usize = 512;

/// A guest of one sector: it counts its boots in the second sector, writes that sector to the beginning of the MiB of
/// that number, and goes down when somebody presses the power button.
const GUEST: &[u8] = &[
    0x31, 0xc0, // xor ax, ax
    0x8e, 0xd8, // mov ds, ax
    0x8e, 0xd0, // mov ss, ax
    0xbc, 0x00, 0x7c, // mov sp, 0x7c00
    0xfb, // sti
    0xbe, 0x50, 0x7c, // mov si, the packet below
    0xb4, 0x42, // mov ah, read
    0xcd, 0x13, // int disk
    0xff, 0x06, 0x00, 0x80, // inc word [0x8000]
    0xb8, 0x00, 0x43, // mov ax, write
    0xcd, 0x13, // int disk
    0xa1, 0x00, 0x80, // mov ax, [0x8000]
    0xc1, 0xe0, 0x0b, // shl ax, 11: sectors of a MiB
    0xa3, 0x58, 0x7c, // mov [the packet's sector], ax
    0xb8, 0x00, 0x43, // mov ax, write
    0xcd, 0x13, // int disk
    0xba, 0x02, 0x06, // mov dx, what the power button may do
    0xb8, 0x00, 0x01, // mov ax, tell
    0xef, // out dx, ax
    0xba, 0x00, 0x06, // mov dx, what happened
    0xf4, // hlt: until the next tick
    0xed, // in ax, dx
    0xf6, 0xc4, 0x01, // test ah, the power button
    0x74, 0xf9, // jz back to hlt
    0xba, 0x04, 0x06, // mov dx, the power
    0xb8, 0x00, 0x20, // mov ax, off
    0xef, // out dx, ax
    0xf4, // hlt
    0xeb, 0xfd, // jmp back to hlt
];

/// A packet for the disk: one sector, to or from 0x8000, the second one of the disk.
const PACKET: [u8; 16] = [16, 0, 1, 0, 0, 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];

/// The sector that the guest boots from.
fn boot_sector() -> [u8; SECTOR] {
    let mut sector = [0; SECTOR];
    assert!(GUEST.len() <= 0x50, "the packet is at 0x7c50");
    sector[..GUEST.len()].copy_from_slice(GUEST);
    sector[0x50..0x60].copy_from_slice(&PACKET);
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

/// What a disk must hold has other bytes in one sector.
fn holds(vm: &Vm, sector: u64, bytes: &[u8]) {
    let truth = File::options().write(true).open(vm.truth_file("vda"));
    let truth = truth.expect("it has a disk");
    let written = truth.write_all_at(bytes, sector * SECTOR as u64);
    written.expect("the truth can be written");
}

/// What the guest leaves of one boot.
fn booted(vm: &Vm, time: u16) {
    let mut sector = [0; SECTOR];
    sector[..2].copy_from_slice(&time.to_le_bytes());
    for at in [1, u64::from(time) << 11] {
        holds(vm, at, &sector);
    }
}

/// Somebody presses the power button until the guest goes down: it hears that once it is up.
#[track_caller]
fn press(vm: &Vm) {
    wait_until("the guest's end", 120, || {
        virsh(["shutdown", "--mode", "acpi", &vm.name]);
        vm.state() == "shut off"
    });
}

fn site() -> Site {
    let offering = "backupChainSize: 0, allowQuickRestore: true";
    let site = Site::with("backupChainSize: 0", offering);
    readable(&site);
    site
}

#[test]
fn its_guest_goes_down_again_and_again_and_finds_what_it_wrote() {
    let site = site();
    let disk = Disk::qcow2("vda", 64 * MIB);
    let vm = site.vm("a").disk(disk).define();
    vm.write("vda", 12 * MIB, 0x11, 48 * MIB);
    let sector = site.path("boot-sector");
    std::fs::write(&sector, boot_sector()).expect("the directory is the test's own");
    let write = format!("write -s {} 0 {SECTOR}", sector.display());
    let disk = vm.source("vda").display().to_string();
    run("qemu-io", ["-f", "qcow2", "-c", &write, &disk]).must();
    holds(&vm, 0, &boot_sector());
    let backup = site.first(&vm);

    let name = format!("{}-new", site.run);
    let restore = ["restore", "new", backup.id(), "--name", &name];
    let quick = restore.iter().copied().chain(["--quick", "--detach"]);
    slowly(&site, &quick.collect::<Vec<_>>()).run().exits(0);
    let new = site.defined("new");
    new.goes_back_to("vda", &vm.truth("vda"));
    let ends = ends();
    for time in 1..=ends {
        in_the_middle_of(&new, "vda");
        press(&new);
        booted(&new, time);
        start_again(&new);
        let resume = ["restore", "resume", &name, "--detach"];
        slowly(&site, &resume).run().exits(0);
    }
    in_the_middle_of(&new, "vda");
    press(&new);
    booted(&new, ends + 1);
    site.knib(["restore", "resume", &name]).exits(0);
    assert_consolidated(&site, &new);
}

#[test]
fn one_that_cannot_be_started_is_whole_and_off_or_not_there_at_all() {
    let site = site();
    let network = format!("{}-nowhere", site.run);
    let card = format!("<interface type='network'><source network='{network}'/></interface>");
    let vm = site.vm("a").device(&card).disk(Disk::qcow2("vda", 4 * MIB));
    let vm = vm.define();
    vm.write("vda", 0, 0x11, MIB);
    let (backup, truth) = (site.first(&vm), vm.truth("vda"));
    vm.write("vda", MIB, 0x22, MIB);
    let (later, before) = (vm.truth("vda"), owners(&site));

    // In place: as if it were not quick, and the way back is said.
    let restore = ["restore", "vm", backup.id(), "--quick"];
    let told = site.knib(restore).exits(5);
    let told = told.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(told.contains("cannot be started and stays off"), "{told}");
    assert!(told.contains(&network), "{told}");
    assert_eq!(vm.state(), "shut off");
    vm.goes_back_to("vda", &truth);
    assert_consolidated(&site, &vm);
    let back = told.split('\'').find(|part| part.contains(".xml"));
    virsh(["define", back.expect("it says how to go back")]).must();
    assert_holds(&vm.source("vda"), &later);

    // One disk more: it is there.
    let restore = ["restore", "disk", backup.id(), "vda", "--to", &vm.name];
    site.knib(restore.iter().chain(&["--quick"])).exits(5);
    let came = vm.source("vdb");
    assert_eq!(oracle::info(&came).get("backing-filename"), None);
    assert_holds(&came, &truth);
    let detach = ["detach-disk", &vm.name, "vdb", "--config"];
    virsh(detach).must();

    // Where there was no VM there is none.
    let there = site.leftovers();
    let name = format!("{}-new", site.run);
    let restore = ["restore", "new", backup.id(), "--name", &name, "--quick"];
    site.knib(restore).exits(5);
    assert!(!virsh(["domuuid", &name]).ok);
    virsh(["undefine", &vm.name]).must();
    let disks = site.primary().join("anew").display().to_string();
    std::fs::create_dir(&disks).expect("the directory is the test's own");
    let restore = [
        "restore",
        "vm",
        backup.id(),
        "--quick",
        "--disk-dir",
        &disks,
    ];
    site.knib(restore).exits(5);
    assert!(!virsh(["domuuid", &vm.name]).ok);
    let left = std::fs::read_dir(Path::new(&disks)).expect("it is there");
    assert_eq!(left.count(), 0);
    assert_eq!(site.leftovers(), there);
    assert_eq!(owners(&site), before);
}
