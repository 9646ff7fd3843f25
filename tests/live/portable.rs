//! Backups outlive knib: what README.txt says works with `qemu-img` and `virsh` alone, wherever the storage lies.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use crate::support::Disk;
use crate::support::KIB;
use crate::support::MIB;
use crate::support::Vm;
use crate::support::oracle;
use crate::support::tool::run;
use crate::support::tool::virsh;
use crate::support::vm::Builder;

use super::judge::assert_holds;
use super::judge::assert_sums_to;
use super::site::Backup;
use super::site::Site;

/// Where README.txt's commands write to, as it says it.
const PLACE: &str = "/new/place";

/// The commands of a backup's README.txt, one a line, continued lines joined.
fn commands(dir: &Path) -> Vec<String> {
    let text = fs::read_to_string(dir.join("README.txt")).expect("each backup has a README.txt");
    let text = text.replace("\\\n", " ");
    let indented = text.lines().filter_map(|line| line.strip_prefix("    "));
    let commands =
        indented.filter(|line| line.starts_with("qemu-img ") || line.starts_with("sed "));
    commands.map(str::to_owned).collect()
}

/// Does word for word what README.txt says, from the backup's directory, with a place of our own.
fn follow(dir: &Path, place: &Path) {
    fs::create_dir(place).expect("the directory is the test's own");
    let commands = commands(dir);
    assert!(commands.iter().any(|command| command.starts_with("sed ")));
    for command in commands {
        let there = command.replace(PLACE, &place.display().to_string());
        let script = format!("cd '{}' && {there}", dir.display());
        run("sh", ["-c", &script]).must();
    }
}

#[test]
fn readme_and_qemu_img_alone_give_the_same_bytes_wherever_the_storage_is() {
    let site = Site::new();
    let disks = [Disk::qcow2("vda", 8 * MIB), Disk::raw("vdb", 4 * MIB)];
    let vm = disks
        .into_iter()
        .fold(site.vm("a"), Builder::disk)
        .start_paused();
    let mut taken: Vec<(Backup, [PathBuf; 2])> = Vec::new();
    for n in 0..3 {
        vm.write("vda", n * 64 * KIB, 0x11, 128 * KIB);
        vm.write("vdb", n * 256 * KIB, 0x22, 64 * KIB);
        vm.zero("vda", n * 32 * KIB, 16 * KIB);
        let truths = ["vda", "vdb"].map(|disk| vm.truth(disk));
        let backup = if n == 0 {
            site.first(&vm)
        } else {
            site.backup(&vm, &[])
        };
        taken.push((backup, truths));
    }
    let elsewhere = site.path("elsewhere");
    run("cp", [Path::new("-r"), &site.storage(), &elsewhere]).must();
    let before = oracle::listing(&site.storage());

    for (n, (backup, truths)) in taken.iter().enumerate() {
        let below = backup.dir();
        let below = below
            .strip_prefix(site.storage())
            .expect("it is on the storage");
        for (name, storage) in [("here", site.storage()), ("copied", elsewhere.clone())] {
            let place = site.path(&format!("{name}{n}"));
            follow(&storage.join(below), &place);
            for (target, truth) in ["vda", "vdb"].iter().zip(truths) {
                assert_holds(&place.join(format!("{target}.qcow2")), truth);
            }
        }
    }
    assert_eq!(
        oracle::listing(&site.storage()),
        before,
        "reading changed the storage"
    );

    // The copy needs nothing of the original.
    fs::rename(site.storage(), site.path("away")).expect("the directory is the test's own");
    let (backup, truths) = &taken[2];
    let below = backup.dir();
    let below = below
        .strip_prefix(site.storage())
        .expect("it is on the storage");
    assert_holds(&elsewhere.join(below).join("vda.qcow2"), &truths[0]);
}

/// The edits that README.txt asks a person for: new places, qcow2, another name, uuid and MAC addresses.
fn edit(xml: &str, vm: &Vm, name: &str, place: &Path, sources: &[(&str, PathBuf)]) -> String {
    assert!(!xml.contains("backingStore"), "{xml}");
    let mut text = xml.replace(
        &format!("<name>{}</name>", vm.name),
        &format!("<name>{name}</name>"),
    );
    text = text.replace(
        &vm.uuid(),
        &vm.uuid().replace(|c: char| c == 'a' || c == '1', "b"),
    );
    text = text.replace("type='raw'", "type='qcow2'");
    for (target, source) in sources {
        let new = place.join(format!("{target}.qcow2"));
        text = text.replace(&source.display().to_string(), &new.display().to_string());
    }
    text
}

#[test]
fn the_definition_that_readme_makes_boots_with_the_disks_that_it_makes() {
    let site = Site::new();
    let disks = [Disk::qcow2("vda", 16 * MIB), Disk::raw("vdb", 16 * MIB)].map(Disk::ext4);
    let (vm, guest) = disks.into_iter().fold(site.vm("a"), Builder::disk).boot();
    site.first(&vm);
    let targets = ["vda", "vdb"];
    for target in targets {
        guest.write_file(target, "file", 512);
        guest.stop_writes(target);
    }
    let sums = targets.map(|target| guest.disk_sha256(target));
    let backup = site.backup(&vm, &[]);
    vm.destroy();

    let place = site.path("place");
    follow(&backup.dir(), &place);
    let xml = fs::read_to_string(place.join(format!("{}.xml", vm.name))).expect("sed made it");
    let sources = targets.map(|target| (target, vm.source(target)));
    let file = place.join("edited.xml");
    let name = format!("{}-again", site.run);
    fs::write(&file, edit(&xml, &vm, &name, &place, &sources)).expect("it is the test's own");
    for (target, sum) in targets.iter().zip(&sums) {
        assert_sums_to(&place.join(format!("{target}.qcow2")), sum);
    }
    virsh([Path::new("define"), &file]).must();
    virsh(["start", &name]).must();
    let again = crate::support::guest::Guest::answering(&name);
    assert_eq!(
        again.run("sha256sum </mnt/vda/file"),
        again.run("sha256sum </mnt/vda/file")
    );
    again.run("test -s /mnt/vda/file && test -s /mnt/vdb/file");
}
