//! `knib restore new`: a VM of its own from a backup, and nothing at all where something is wrong with it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::path::PathBuf;

use crate::support::Disk;
use crate::support::KIB;
use crate::support::MIB;
use crate::support::Vm;
use crate::support::guest::Guest;
use crate::support::oracle;
use crate::support::tool::qemu_img;
use crate::support::tool::run;
use crate::support::tool::virsh;
use crate::support::vm::Builder;

use super::judge;
use super::judge::assert_holds;
use super::judge::assert_sums_to;
use super::site::Backup;
use super::site::Site;
use super::site::assert_unchanged;

/// A VM with a chain of two backups, and what its disk held at each.
fn with_a_chain(site: &Site) -> (Vm, [(Backup, PathBuf); 2]) {
    let vm = site
        .vm("a")
        .disk(Disk::qcow2("vda", 8 * MIB))
        .start_paused();
    vm.write("vda", 0, 0x11, MIB);
    let full = (site.first(&vm), vm.truth("vda"));
    vm.write("vda", 512 * KIB, 0x22, MIB);
    vm.zero("vda", 0, 64 * KIB);
    let next = (site.backup(&vm, &[]), vm.truth("vda"));
    (vm, [full, next])
}

/// The arguments of a restore under a new name, its disks in a directory of their own.
fn restore<'a>(backup: &'a str, name: &'a str, dir: &'a str) -> [&'a str; 7] {
    ["restore", "new", backup, "--name", name, "--disk-dir", dir]
}

fn is_defined(name: &str) -> bool {
    virsh(["domuuid", name]).ok
}

fn xml(name: &str) -> String {
    virsh(["dumpxml", "--inactive", name]).must()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("it is a directory");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("it can be read").path())
        .collect();
    files.sort();
    files
}

#[test]
fn a_restored_vm_boots_beside_the_one_that_was_backed_up() {
    let site = Site::new();
    let mac = "52:54:00:4b:4e:01";
    let card = format!("<interface type='user'><mac address='{mac}'/></interface>");
    let disks = [Disk::qcow2("vda", 16 * MIB), Disk::raw("vdb", 16 * MIB)].map(Disk::ext4);
    let builder = site.vm("a").device(&card);
    let (vm, guest) = disks.into_iter().fold(builder, Builder::disk).boot();
    site.first(&vm);
    let targets = ["vda", "vdb"];
    for target in targets {
        guest.write_file(target, "file", 512);
        guest.stop_writes(target);
    }
    let sums = targets.map(|target| guest.disk_sha256(target));
    let file = guest.run("sha256sum </mnt/vda/file");
    site.backup(&vm, &[]);
    let before = [vm.uuid(), vm.source("vda").display().to_string()];
    let storage = oracle::listing(&site.storage());

    let name = format!("{}-new", site.run);
    let latest = format!("{}@latest", vm.name);
    let output = site
        .knib(["restore", "new", &latest, "--name", &name])
        .exits(0);
    assert!(output.stdout.contains(&name), "{output}");
    let xml = xml(&name);
    assert!(!xml.contains(&vm.uuid()) && !xml.contains(mac), "{xml}");
    assert!(!xml.contains("knib:vm") && !xml.contains(".knib-"), "{xml}");
    for (target, sum) in targets.iter().zip(&sums) {
        let disk = site.primary().join(format!("{name}-{target}.qcow2"));
        assert!(xml.contains(&disk.display().to_string()), "{xml}");
        assert_eq!(oracle::chain(&disk), std::slice::from_ref(&disk));
        assert_sums_to(&disk, sum);
    }
    virsh(["start", &name]).must();
    let again = Guest::answering(&name);
    assert_eq!(again.run("sha256sum </mnt/vda/file"), file);
    again.write_file("vdb", "own", 64);

    assert_eq!([vm.uuid(), vm.source("vda").display().to_string()], before);
    assert_unchanged(&storage, &oracle::listing(&site.storage()));
    assert_eq!(guest.disk_sha256("vdb"), sums[1]);

    // The guest is asked, and goes down.
    site.knib(["restore", "vm", &latest, "--stop"]).exits(0);
    assert_eq!(vm.state(), "shut off");
    for (target, sum) in targets.iter().zip(&sums) {
        assert_sums_to(&vm.source(target), sum);
    }
}

#[test]
fn any_backup_of_a_chain_into_any_directory_and_format() {
    let site = Site::new();
    let (vm, taken) = with_a_chain(&site);
    let dir = site.make_dir("disks");
    let there = dir.display().to_string();
    for (n, (backup, truth)) in taken.iter().enumerate() {
        for format in ["qcow2", "raw"] {
            let name = format!("{}-{n}{format}", site.run);
            let args = restore(backup.id(), &name, &there);
            site.knib(args.iter().chain(&["--disk-format", format]))
                .exits(0);
            let disk = dir.join(format!("{name}-vda.{format}"));
            assert_eq!(oracle::info(&disk)["format"], format);
            assert_holds(&disk, truth);
            virsh(["start", "--paused", &name]).must();
        }
    }
    // One that was let go, whose files the other one needs.
    let [(first, truth), _] = &taken;
    site.knib(["backup", "delete", first.id()]).exits(0);
    let name = format!("{}-gone", site.run);
    let args = restore(first.id(), &name, &there);
    site.refuses(&vm, &args, 3, &["was removed", "--force"]);
    assert!(!is_defined(&name));
    site.knib(args.iter().chain(&["--force"])).exits(0);
    assert_holds(&dir.join(format!("{name}-vda.qcow2")), truth);
    assert!(site.leftovers().is_empty());
    site.assert_one_delta_each(&vm);
}

#[test]
fn a_name_or_a_file_that_is_taken_is_left_alone() {
    let site = Site::new();
    let (vm, taken) = with_a_chain(&site);
    let dir = site.make_dir("disks");
    let there = dir.display().to_string();
    let id = taken[1].0.id();
    let words = [vm.name.as_str(), "is defined here already"];
    site.refuses(&vm, &restore(id, &vm.name, &there), 3, &words);
    assert_eq!(files(&dir), [] as [PathBuf; 0]);

    let name = format!("{}-new", site.run);
    let taken = dir.join(format!("{name}-vda.qcow2"));
    fs::write(&taken, "somebody's").expect("the directory is the test's own");
    let path = taken.display().to_string();
    let said = site.refuses(&vm, &restore(id, &name, &there), 3, &["is there already"]);
    assert!(said.replace(' ', "").contains(&path), "{said}");
    assert_eq!(files(&dir), std::slice::from_ref(&taken));
    assert_eq!(fs::read(&taken).expect("it is there"), b"somebody's");
    assert!(!is_defined(&name));
}

#[test]
fn a_flipped_byte_in_an_ancestor_is_named_and_nothing_is_left_behind() {
    let site = Site::new();
    let (vm, taken) = with_a_chain(&site);
    let dir = site.make_dir("disks");
    let there = dir.display().to_string();
    let file = taken[0].0.file("vda");
    let size = fs::metadata(&file).expect("it is there").len();
    let data = first_data(&file);
    for at in [data, size - 1] {
        judge::flip(&file, at);
        for (backup, _) in &taken {
            let name = format!("{}-new", site.run);
            let said = site.refuses(&vm, &restore(backup.id(), &name, &there), 5, &["damaged"]);
            let path = file.display().to_string();
            assert!(said.replace(' ', "").contains(&path), "{said}");
            assert_eq!(files(&dir), [] as [PathBuf; 0]);
            assert!(!is_defined(&name));
        }
        judge::flip(&file, at);
    }
    let name = format!("{}-new", site.run);
    site.knib(restore(taken[1].0.id(), &name, &there)).exits(0);
    assert_holds(&dir.join(format!("{name}-vda.qcow2")), &taken[1].1);
}

/// Where in the file the first byte of the disk's data is.
fn first_data(image: &Path) -> u64 {
    let args = ["map", "--output=json"].map(Path::new);
    let map = qemu_img(args.into_iter().chain([image])).must();
    let map: serde_json::Value = serde_json::from_str(&map).expect("qemu-img prints JSON");
    let extents = map.as_array().expect("a map is an array");
    let data = extents.iter().find(|extent| extent["data"] == true);
    data.and_then(|extent| extent["offset"].as_u64())
        .expect("the disk has data")
}

#[test]
fn a_file_of_the_chain_that_is_gone_is_named_and_nothing_is_left_behind() {
    let site = Site::new();
    let (vm, taken) = with_a_chain(&site);
    let dir = site.make_dir("disks");
    let there = dir.display().to_string();
    let file = taken[0].0.file("vda");
    fs::rename(&file, site.path("away")).expect("the directory is the test's own");
    let name = format!("{}-new", site.run);
    let args = restore(taken[1].0.id(), &name, &there);
    let said = site.refuses(&vm, &args, 5, &["No such file or directory"]);
    assert!(said.replace(' ', "").contains("vda.qcow2"), "{said}");
    assert_eq!(files(&dir), [] as [PathBuf; 0]);
    assert!(!is_defined(&name));
}

#[test]
fn a_directory_without_room_is_left_empty() {
    let site = Site::new();
    let (vm, taken) = with_a_chain(&site);
    let dir = site.mount_small("small", MIB);
    let there = dir.display().to_string();
    let name = format!("{}-new", site.run);
    let args = restore(taken[1].0.id(), &name, &there);
    site.refuses(&vm, &args, 3, &["free", "the disks may take"]);
    assert_eq!(files(&dir), [] as [PathBuf; 0]);
    assert!(!is_defined(&name));
}

#[test]
fn a_new_vm_keeps_and_changes_what_it_is_told_to() {
    let site = Site::new();
    let mac = "52:54:00:4b:4e:07";
    let card = format!(
        "<interface type='network'><mac address='{mac}'/><source network='{}-lan'/></interface>",
        site.run
    );
    let disk = Disk::qcow2("vda", 2 * MIB);
    let vm = site.vm("a").device(&card).disk(disk).define();
    vm.write("vda", 0, 0x11, MIB);
    let truth = vm.truth("vda");
    let backup = site.first(&vm);
    let [kept, started] = ["kept", "started"].map(|name| format!("{}-{name}", site.run));
    let new = ["restore", "new", backup.id(), "--name"];
    let plan = site
        .knib(new.iter().chain(&[kept.as_str(), "--plan"]))
        .exits(0);
    let lacks = "network $RUN-lan";
    let said = plan
        .to_string()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    assert!(said.contains(lacks), "{plan}");
    let flags = ["--keep-mac", "--network", "other", "--verify"];
    site.knib(new.iter().chain(&[kept.as_str()]).chain(&flags))
        .exits(0);
    let xml = xml(&kept);
    assert!(
        xml.contains(mac) && xml.contains("network='other'"),
        "{xml}"
    );
    assert!(!xml.contains("-lan"), "{xml}");

    let start = [&new[..], &[started.as_str(), "--start"]].concat();
    site.refuses(&vm, &start, 3, &["network ", "-lan"]);
    // What does not start is not left behind.
    let elsewhere = [&start[..], &["--network", "not-here-either"]].concat();
    let before = files(&site.primary());
    site.knib(&elsewhere).exits(5);
    assert_eq!(files(&site.primary()), before);
    assert!(!is_defined(&started));
    let bare = site.vm("bare").disk(Disk::qcow2("vda", MIB)).define();
    let bare = site.backup(&bare, &["--storage", "nas", "--isolated"]);
    let start = ["restore", "new", bare.id(), "--name", &started, "--start"];
    site.knib(start).exits(0);
    assert_eq!(virsh(["domstate", &started]).must().trim(), "running");
    assert_holds(&site.primary().join(format!("{kept}-vda.qcow2")), &truth);
}

/// A definition may hold a password. It is in the backup, for its owner alone, and in nothing else that knib keeps.
#[test]
fn a_password_stays_in_the_definitions() {
    const PASSWORD: &str = "hunter-2";
    let site = Site::new();
    let screen = format!("<graphics type='vnc' autoport='yes' passwd='{PASSWORD}'/>");
    let disk = Disk::qcow2("vda", MIB);
    let vm = site.vm("a").device(&screen).disk(disk).define();
    let backup = site.first(&vm);
    let name = format!("{}-new", site.run);
    site.knib(["restore", "new", backup.id(), "--name", &name])
        .exits(0);
    let secret = ["dumpxml", "--security-info", &name];
    assert!(virsh(secret).must().contains(PASSWORD));

    let [plan, world] = ["plan.json", "world.json"].map(|name| site.path(name));
    let flags = [Path::new("-o"), &plan, Path::new("--world-out"), &world];
    site.knib([Path::new("plan")].iter().chain(&flags)).exits(0);
    for file in [&plan, &world, &site.path("state.db")] {
        assert!(file.is_file(), "{}", file.display());
    }
    let found = run(
        "grep",
        ["-rlF", PASSWORD, &site.root().display().to_string()],
    )
    .must();
    let mut found: Vec<_> = found.lines().collect();
    found.sort_unstable();
    let given = site.path(&format!("{}.xml", vm.name));
    let kept = ["domain.inactive.xml", "domain.xml"].map(|name| backup.dir().join(name));
    let mut holders = vec![given.display().to_string()];
    holders.extend(kept.iter().map(|file| file.display().to_string()));
    assert_eq!(found, holders);
    for file in kept {
        let found = fs::metadata(&file).expect("it is there");
        assert_eq!(found.permissions().mode() & 0o777, 0o600);
    }
}
