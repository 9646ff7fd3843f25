//! A VM that was changed by other hands between two backups: what is not as it was left is copied whole, the rest goes on.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use crate::support::Disk;
use crate::support::KIB;
use crate::support::MIB;
use crate::support::Vm;
use crate::support::oracle;
use crate::support::tool::qemu_img;
use crate::support::tool::virsh;
use crate::support::vm::Xml;

use super::judge::assert_holds;
use super::site::Backup;
use super::site::Site;

/// A VM with two disks and a backup of both, and writes since.
fn two_disks(running: bool) -> (Site, Vm) {
    let site = Site::new();
    let [vda, vdb] = [Disk::qcow2("vda", 4 * MIB), Disk::qcow2("vdb", 2 * MIB)];
    let builder = site.vm("a").disk(vda).disk(vdb);
    let vm = if running {
        builder.start_paused()
    } else {
        builder.define()
    };
    vm.write("vda", 0, 0x11, MIB);
    vm.write("vdb", 0, 0x12, MIB);
    site.first(&vm);
    vm.write("vda", 512 * KIB, 0x21, MIB);
    vm.write("vdb", 512 * KIB, 0x22, 256 * KIB);
    (site, vm)
}

/// One backup now: kind and reason by disk, `full delta_gone`, and each disk's content.
#[track_caller]
fn backs_up(site: &Site, vm: &Vm, kinds: [&str; 2]) -> Backup {
    let args = ["backup", "run", &vm.name, "--format", "json"];
    let plan = site.knib(args).exits(0).json();
    let actions = plan["actions"].as_array().expect("a plan has actions");
    let made = actions.iter().find(|action| action["verb"] == "backup");
    let disks = &made.expect("there is a backup")["change"]["after"]["disks"];
    let found = ["vda", "vdb"].map(|disk| {
        let said = |key: &str| disks[disk][key].as_str().unwrap_or_default().to_owned();
        format!("{} {}", said("kind"), said("because"))
            .trim()
            .to_owned()
    });
    assert_eq!(found, kinds);
    let backup = site.newest(vm);
    for disk in ["vda", "vdb"] {
        assert_holds(&backup.file(disk), &vm.truth(disk));
    }
    backup
}

fn path(site: &Site, name: &str) -> String {
    site.primary().join(name).display().to_string()
}

/// Defines the VM from another text.
#[track_caller]
pub(super) fn define(site: &Site, xml: &str) {
    let file = site.path("defined.xml");
    fs::write(&file, xml).expect("the directory is the test's own");
    virsh([Path::new("define"), &file]).must();
}

/// The one file of knib's that a disk writes into.
fn delta(vm: &Vm, disk: &str) -> PathBuf {
    vm.source(disk)
}

fn move_live(shallow: bool) {
    let (site, vm) = two_disks(true);
    let first = &site.backups(&vm)[0];
    let before = ["vda", "vdb"].map(|disk| first.file(disk));
    let before = before.map(|file| {
        let copy = site.path(
            &file
                .with_extension("raw")
                .file_name()
                .expect("a file")
                .to_string_lossy(),
        );
        qemu_img([
            "convert".as_ref(),
            "-O".as_ref(),
            "raw".as_ref(),
            file.as_os_str(),
            copy.as_os_str(),
        ])
        .must();
        copy
    });
    let moved = path(&site, "moved.qcow2");
    let mut args = vec!["blockcopy", &vm.name, "vda", &moved, "--format", "qcow2"];
    args.extend(["--transient-job", "--wait", "--pivot"]);
    args.extend(shallow.then_some("--shallow"));
    virsh(args).must();
    vm.write("vda", 2 * MIB, 0x31, 64 * KIB);

    backs_up(&site, &vm, ["full delta_gone", "incremental"]);
    vm.write("vda", 3 * MIB, 0x32, 64 * KIB);
    backs_up(&site, &vm, ["incremental", "incremental"]);
    let inside = oracle::chain(&delta(&vm, "vda"));
    assert!(inside.contains(&PathBuf::from(&moved)), "{inside:?}");
    // Back to before it was moved.
    let first = site.backups(&vm)[0].clone();
    let restore = ["restore", "vm", first.id(), "--destroy", "--discard-old"];
    site.knib(restore).exits(0);
    for (disk, truth) in ["vda", "vdb"].iter().zip(&before) {
        assert_holds(&vm.source(disk), truth);
    }
}

#[test]
fn a_disk_that_was_moved_live_is_copied_whole_and_the_other_goes_on() {
    move_live(false);
}

#[test]
fn a_disk_whose_top_alone_was_moved_is_copied_whole_and_the_other_goes_on() {
    move_live(true);
}

#[test]
fn a_disk_that_was_detached_is_left_alone_and_comes_back_whole() {
    let (site, vm) = two_disks(false);
    let left = delta(&vm, "vdb");
    let truth = vm.truth("vdb");
    virsh(["detach-disk", &vm.name, "vdb", "--config"]).must();
    let next = site.backup(&vm, &[]);
    assert_eq!(next.kind(), "incremental");
    let disks = next.0["disks"].as_array().map(Vec::len);
    assert_eq!(disks, Some(1));
    oracle::assert_same(&left, &truth);

    let file = left.display().to_string();
    let attach = [
        "attach-disk",
        &vm.name,
        &file,
        "vdb",
        "--subdriver",
        "qcow2",
    ];
    virsh(attach.iter().chain(&["--config"])).must();
    backs_up(&site, &vm, ["incremental", "full new_disk"]);
    assert_eq!(oracle::deltas(&site.primary()).len(), 2, "one delta a disk");
}

#[test]
fn a_disk_that_was_away_while_its_backup_was_deleted_is_merged_when_it_is_back() {
    let (site, vm) = two_disks(false);
    let first = site.newest(&vm);
    let left = delta(&vm, "vdb").display().to_string();
    virsh(["detach-disk", &vm.name, "vdb", "--config"]).must();
    site.knib(["backup", "delete", first.id(), "--force"])
        .exits(0);
    let attach = [
        "attach-disk",
        &vm.name,
        &left,
        "vdb",
        "--subdriver",
        "qcow2",
    ];
    virsh(attach.iter().chain(&["--config"])).must();
    site.knib(["chain", "finish", &vm.name]).exits(0);
    site.assert_no_delta(&vm);
    oracle::assert_same(&vm.source("vdb"), &vm.truth("vdb"));
}

#[test]
fn a_disk_that_was_flattened_under_its_path_is_copied_whole() {
    let (site, vm) = two_disks(false);
    let file = delta(&vm, "vda").display().to_string();
    let flat = path(&site, "flat.qcow2");
    qemu_img(["convert", "-O", "qcow2", &file, &flat]).must();
    fs::rename(&flat, &file).expect("it is the test's own");
    backs_up(&site, &vm, ["full delta_gone", "incremental"]);
    vm.write("vda", 3 * MIB, 0x32, 64 * KIB);
    backs_up(&site, &vm, ["incremental", "incremental"]);
}

#[test]
fn a_disk_that_was_committed_by_hand_is_copied_whole() {
    let (site, vm) = two_disks(false);
    let (file, base) = (delta(&vm, "vda"), vm.disks["vda"].clone());
    qemu_img([Path::new("commit"), Path::new("-q"), &file]).must();
    let xml = vm.xml(Xml::Inactive);
    let [delta, base] = [&file, &base].map(|file| file.display().to_string());
    define(&site, &without_chains(&xml.replace(&delta, &base)));
    fs::remove_file(&file).expect("it is committed");
    backs_up(&site, &vm, ["full delta_gone", "incremental"]);
}

/// Without what it says about files below.
pub(super) fn without_chains(xml: &str) -> String {
    let mut kept = String::new();
    let mut depth = 0;
    for line in xml.lines() {
        let opens = line.contains("<backingStore") && !line.contains("/>");
        depth += usize::from(opens);
        if depth == 0 && !line.contains("<backingStore/>") {
            kept += line;
            kept += "\n";
        }
        depth -= usize::from(line.contains("</backingStore>"));
    }
    kept
}

#[test]
fn a_delta_that_was_put_back_to_an_earlier_state_is_what_is_backed_up() {
    let (site, vm) = two_disks(false);
    let file = delta(&vm, "vda");
    let kept = site.path("kept.qcow2");
    oracle::copy(&file, &kept);
    let truth = vm.truth("vda");
    vm.write("vda", 0, 0x77, 2 * MIB);
    oracle::copy(&kept, &file);
    let next = site.backup(&vm, &[]);
    assert_eq!(next.kind(), "incremental");
    assert_holds(&next.file("vda"), &truth);
}

#[test]
fn an_internal_snapshot_that_was_reverted_with_qemu_img_is_what_is_backed_up() {
    let (site, vm) = two_disks(false);
    let file = delta(&vm, "vda").display().to_string();
    qemu_img(["snapshot", "-c", "users", &file]).must();
    let [vda, vdb] = ["vda", "vdb"].map(|disk| vm.truth(disk));
    vm.write("vda", 0, 0x77, 2 * MIB);
    qemu_img(["snapshot", "-a", "users", &file]).must();

    let backup = site.backup(&vm, &[]);
    let because = |disk: &str| backup.disk(disk)["kind"].clone();
    assert_eq!(["vda", "vdb"].map(because), ["full", "full"]);
    assert_eq!(backup.0["isolated"], true);
    assert_holds(&backup.file("vda"), &vda);
    assert_holds(&backup.file("vdb"), &vdb);
    let listed = qemu_img(["snapshot", "-l", &file]).must();
    assert!(listed.contains("users"), "{listed}");

    qemu_img(["snapshot", "-d", "users", &file]).must();
    let next = site.backup(&vm, &[]);
    assert_eq!(next.kind(), "incremental");
    assert_holds(&next.file("vda"), &vda);
}

#[test]
fn a_vm_with_another_name_goes_on() {
    let (site, vm) = two_disks(false);
    let name = format!("{}-renamed", vm.name);
    virsh(["domrename", &vm.name, &name]).must();
    let renamed = site.defined("a-renamed");
    let [vda, vdb] = ["vda", "vdb"].map(|disk| vm.truth(disk));
    let next = site.backup(&renamed, &[]);
    assert_eq!(next.kind(), "incremental");
    assert_holds(&next.file("vda"), &vda);
    assert_holds(&next.file("vdb"), &vdb);
    let all = site.backups(&renamed);
    assert_eq!(all.len(), 2);
}

#[test]
fn a_vm_defined_from_an_older_xml_is_not_touched_until_a_person_decides() {
    for decision in ["the newest XML again", "as it is"] {
        let site = Site::new();
        let vm = site.vm("a").disk(Disk::qcow2("vda", 2 * MIB)).define();
        let old = vm.xml(Xml::Inactive);
        vm.write("vda", 0, 0x11, MIB);
        let below = vm.truth("vda");
        site.first(&vm);
        vm.write("vda", MIB, 0x22, 64 * KIB);
        let newest = vm.xml(Xml::Inactive);
        let file = delta(&vm, "vda").display().to_string();
        define(&site, &old);

        let mend = format!("knib vm adopt {}", vm.name);
        let words = [&vm.name, "older XML", "vda", file.as_str(), mend.as_str()];
        site.refuses(&vm, &["backup", "run", &vm.name], 3, &words);
        site.refuses(&vm, &["chain", "finish", &vm.name], 3, &words);

        if decision == "as it is" {
            site.knib(["vm", "adopt", &vm.name]).exits(0);
            let full = site.backup(&vm, &[]);
            assert_eq!(full.kind(), "full");
            assert_holds(&full.file("vda"), &below);
            assert!(
                Path::new(&file).exists(),
                "nobody asked for the newest writes to go"
            );
        } else {
            define(&site, &newest);
            let next = site.backup(&vm, &[]);
            assert_eq!(next.kind(), "incremental");
            assert_holds(&next.file("vda"), &vm.truth("vda"));
        }
    }
}

#[test]
fn a_note_that_is_gone_or_old_makes_the_next_backup_full_and_loses_nothing() {
    let (site, vm) = two_disks(true);
    let uri = "urn:knib:vm:1";
    virsh(["metadata", &vm.name, uri, "--remove", "--live", "--config"]).must();
    backs_up(&site, &vm, ["full note_disagrees", "full note_disagrees"]);
    vm.write("vda", 3 * MIB, 0x32, 64 * KIB);
    backs_up(&site, &vm, ["incremental", "incremental"]);
    let old = "<vm serial='1' current='20200101-000000-00000000'/>";
    let set = ["metadata", &vm.name, uri, "--key", "knib", "--set", old];
    virsh(set.iter().chain(&["--live", "--config"])).must();
    vm.write("vdb", MIB, 0x33, 64 * KIB);
    backs_up(&site, &vm, ["full note_disagrees", "full note_disagrees"]);
    site.assert_one_delta_each(&vm);
}

#[test]
fn a_vm_with_another_uuid_is_another_vm_and_loses_nothing() {
    let (site, vm) = two_disks(false);
    let old = vm.uuid();
    let new = format!("{}{}", &old[..old.len() - 4], "0001");
    let xml = vm.xml(Xml::Inactive).replace(&old, &new);
    virsh(["undefine", &vm.name]).must();
    define(&site, &xml);
    // Its name alone does not say any more which of the two is meant.
    let newest = || {
        let list = ["backup", "list", "--vm", &new, "--format", "json"];
        let listed = site.knib(list).exits(0).json();
        let all = listed.as_array().expect("a list is an array").clone();
        (
            all.len(),
            Backup(all.last().expect("it has a backup").clone()),
        )
    };
    site.apply().exits(0);
    vm.write("vda", 3 * MIB, 0x32, 64 * KIB);
    site.knib(["backup", "run", &new]).exits(0);
    let (count, backup) = newest();
    assert_eq!((count, backup.kind()), (2, "incremental"));
    for disk in ["vda", "vdb"] {
        assert_holds(&backup.file(disk), &vm.truth(disk));
    }
    assert_eq!(oracle::deltas(&site.primary()).len(), 2, "one delta a disk");
    let list = ["backup", "list", "--vm", &old, "--format", "json"];
    let left = site.knib(list).exits(0).json();
    assert_eq!(left.as_array().map(Vec::len), Some(1), "its backups stay");
}
