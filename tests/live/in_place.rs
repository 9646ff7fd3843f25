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
use crate::support::tool::virsh;
use crate::support::vm::Builder;

use super::compression;
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
    // A guest that does not heed it: nothing is replaced, and it runs on.
    virsh(["resume", &vm.name]).must();
    let asked = restore(first.id(), "--stop=1s").exits(5);
    assert!(asked.stderr.contains("did not shut down within"), "{asked}");
    assert_eq!(vm.state(), "running");
    assert_eq!(replaced(&site), [] as [PathBuf; 0]);

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

/// Attaches one more disk to a VM that is off.
fn attach(site: &Site, vm: &Vm, target: &str) {
    let disk = Disk::qcow2(target, 2 * MIB);
    let file = disk.file(&site.primary(), &vm.name);
    disk.create(&file, &vm.truth_file(target));
    let path = file.to_str().expect("a plain path");
    let attach = ["attach-disk", &vm.name, path, target, "--config"];
    virsh(attach.into_iter().chain(["--subdriver", "qcow2"])).must();
}

#[test]
fn a_detached_disk_comes_back_and_one_that_was_attached_since_keeps_what_it_holds() {
    let site = Site::new();
    let disks = ["vda", "vdb"].map(|target| Disk::qcow2(target, 4 * MIB));
    let vm = disks.into_iter().fold(site.vm("a"), Builder::disk).define();
    vm.write("vda", 0, 0x11, MIB);
    vm.write("vdb", MIB, 0x12, MIB);
    let (first, at_first) = (site.first(&vm), ["vda", "vdb"].map(|of| (of, vm.truth(of))));
    attach(&site, &vm, "vdc");
    vm.write("vdc", 0, 0x21, 256 * KIB);
    vm.write("vda", 0, 0x22, 64 * KIB);
    site.backup(&vm, &[]);
    vm.write("vdc", 64 * KIB, 0x31, 128 * KIB);
    vm.write("vdb", 0, 0x32, 64 * KIB);
    let (detached, kept) = (vm.source("vdb"), vm.truth("vdb"));
    virsh(["detach-disk", &vm.name, "vdb", "--config"]).must();
    let since = vm.truth("vdc");

    let plan = site.knib(["restore", "vm", first.id(), "--plan"]).exits(0);
    for said in ["vdb is attached again", "vdc is not in the backup"] {
        assert!(plan.stdout.contains(said), "{plan}");
    }
    site.knib(["restore", "vm", first.id()]).exits(0);
    assert_all_hold(&vm, &at_first);
    assert_holds(&detached, &kept);
    assert_ne!(vm.source("vdb"), detached);
    assert_holds(&vm.source("vdc"), &since);
    assert_eq!(vm.source("vdc").extension(), Some("qcow2".as_ref()));
    vm.start_paused();
    let next = site.backup(&vm, &[]);
    assert_eq!(next.kind(), "full");
    assert_holds(&next.file("vdc"), &since);
    assert_holds(&next.file("vdb"), &at_first[1].1);
}

#[test]
fn every_link_of_a_chain_of_eight_comes_back_byte_for_byte() {
    let site = Site::new();
    let vm = site.vm("a").disk(Disk::qcow2("vda", 4 * MIB)).define();
    let mut taken = Vec::new();
    for n in 0..8 {
        vm.write("vda", u64::from(n) * 200 * KIB, n + 1, 300 * KIB);
        vm.zero("vda", u64::from(n) * 100 * KIB, 16 * KIB);
        if n == 4 {
            vm.resize("vda", 5 * MIB);
        }
        let backup = if n == 0 {
            site.first(&vm)
        } else {
            site.backup(&vm, &[])
        };
        taken.push((backup, vm.truth("vda")));
    }
    let positions: Vec<_> = taken
        .iter()
        .map(|(one, _)| one.0["position"].clone())
        .collect();
    assert_eq!(positions, (1..=8).collect::<Vec<_>>());
    let storage = oracle::listing(&site.storage());
    let kept = vm.truth("vda");
    // In no order, and the files that are replaced go at once.
    for n in [7, 0, 3, 5, 1, 6, 2, 4] {
        let (backup, truth) = &taken[n];
        let restore = ["restore", "vm", backup.id(), "--discard-old", "--verify"];
        site.knib(restore).exits(0);
        assert_holds(&vm.source("vda"), truth);
        assert_eq!(replaced(&site), [] as [PathBuf; 0]);
    }
    assert_unchanged(&storage, &oracle::listing(&site.storage()));
    assert_holds(&taken[7].0.file("vda"), &kept);
}

#[test]
fn killed_at_every_step_the_vm_starts_with_what_it_had_or_with_the_backup() {
    let site = Site::new();
    let vm = site.vm("a").disk(Disk::qcow2("vda", 2 * MIB)).define();
    vm.write("vda", 0, 0x11, 512 * KIB);
    let (first, at_first) = (site.first(&vm), vm.truth("vda"));
    vm.write("vda", 0, 0x22, 256 * KIB);
    let had = vm.truth("vda");
    let mut ends = 0;
    // Every change: `live::kills`.
    for at in (1..).step_by(14) {
        let known = replaced(&site);
        let restore = site.knib_with(["restore", "vm", first.id()]);
        let output = restore.env("KNIB_CRASH_AT", at.to_string()).run();
        let whole = output.code() == Some(0);
        let shows = oracle::difference(&vm.source("vda"), &had).is_none();
        let restored = oracle::difference(&vm.source("vda"), &at_first).is_none();
        assert!(shows || restored, "killed at {at} it shows something else");
        vm.start_paused();
        vm.destroy();
        if whole {
            break;
        }
        ends += 1;
        // The next apply goes on to the end, or had nothing to go on with.
        site.knib(["apply", "--auto-approve"]).exits(0);
        assert!(site.leftovers().is_empty(), "killed at {at}");
        let back = replaced(&site)
            .into_iter()
            .find(|path| !known.contains(path) && path.extension() == Some("xml".as_ref()));
        if let Some(xml) = &back {
            assert_holds(&vm.source("vda"), &at_first);
            virsh([Path::new("define"), xml]).must();
        }
        assert_holds(&vm.source("vda"), &had);
    }
    assert!(ends > 2, "it was killed {ends} times");
}

#[test]
fn a_disk_that_is_full_half_way_leaves_the_vm_what_it_had() {
    let site = Site::new();
    let vm = site.vm("a").disk(Disk::qcow2("vda", 4 * MIB)).define();
    vm.write("vda", 0, 0x11, 3 * MIB);
    let first = site.first(&vm);
    vm.write("vda", 0, 0x22, 64 * KIB);
    let had = vm.truth("vda");
    let small = site.mount_small("small", 8 * MIB);
    let dir = small.display().to_string();
    // Killed where the copy begins; then somebody else takes the room.
    let restore = ["restore", "vm", first.id(), "--disk-dir", &dir];
    let killed = site
        .knib_with(restore)
        .env("KNIB_CRASH_AT", "2 intended")
        .run();
    assert_ne!(killed.code(), Some(0), "{killed}");
    fs::write(small.join("theirs"), vec![1; 6 << 20]).expect("there is room");
    let failed = site.knib(["apply", "--auto-approve", "--only", "backup"]);
    let failed = failed.exits(5);
    assert!(failed.stderr.contains("No space left"), "{failed}");
    assert_eq!(run("ls", [&small]).must().trim(), "theirs");
    assert!(site.leftovers().is_empty() && replaced(&site).is_empty());
    assert_holds(&vm.source("vda"), &had);
    vm.start_paused();
    site.assert_one_delta_each(&vm);
}

#[test]
fn a_write_that_fails_half_way_leaves_the_vm_what_it_had() {
    let site = Site::new();
    let vm = site.vm("a").disk(Disk::qcow2("vda", 4 * MIB));
    let vm = vm.disk(Disk::raw("vdb", MIB)).define();
    vm.write("vda", 0, 0x11, 3 * MIB);
    vm.write("vdb", 0, 0x12, MIB);
    let first = site.first(&vm);
    vm.write("vda", 0, 0x22, 64 * KIB);
    vm.write("vdb", 0, 0x23, 64 * KIB);
    let had = ["vda", "vdb"].map(|target| vm.truth(target));
    // Without the directory, whose time is another one.
    let files = || {
        let listing = oracle::listing(&site.primary());
        listing
            .lines()
            .skip(1)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let before = files();
    // The system takes 1 MiB of each of its files, and answers the next write with an error.
    compression::told(
        &site,
        "[ \"$1\" = convert ] && trap '' XFSZ && ulimit -f 2048",
    );
    let failed = compression::knib(&site, &["restore", "vm", first.id()]).run();
    assert_eq!(failed.code(), Some(5), "{failed}");
    let text = failed.stdout.split_whitespace().collect::<Vec<_>>();
    assert!(text.join(" ").contains("File too large"), "{failed}");
    assert_eq!(files(), before);
    assert!(site.leftovers().is_empty() && replaced(&site).is_empty());
    for (target, had) in ["vda", "vdb"].iter().zip(&had) {
        assert_holds(&vm.source(target), had);
    }
    vm.start_paused();
    site.assert_one_delta_each(&vm);
    vm.destroy();
    site.knib(["restore", "vm", first.id()]).exits(0);
    assert_ne!(oracle::difference(&vm.source("vda"), &had[0]), None);
}

#[test]
fn what_stands_in_the_way_is_said_before_anything_is_written() {
    let site = Site::new();
    let vm = site.vm("a").disk(Disk::qcow2("vda", 4 * MIB)).define();
    vm.write("vda", 0, 0x11, 2 * MIB);
    let first = site.first(&vm);
    vm.write("vda", 0, 0x22, 64 * KIB);
    let second = site.backup(&vm, &[]);
    let small = site.mount_small("small", MIB);
    let small = small.display().to_string();
    let id = second.id();
    let nearest = format!("{}-b@latest", site.run);
    site.refuses(
        &vm,
        &["restore", "vm", &nearest],
        1,
        &["did you mean", &vm.name],
    );
    let words = ["free", "the disks may take"];
    site.refuses(&vm, &["restore", "vm", id, "--disk-dir", &small], 3, &words);
    let to = ["--to", &vm.name];
    let unknown = [&["restore", "disk", id, "vdx"], &to[..]].concat();
    site.refuses(&vm, &unknown, 1, &["no disk in", "vda"]);
    let taken = [&["restore", "disk", id, "vda", "--as", "vda"], &to[..]].concat();
    site.refuses(&vm, &taken, 3, &["has a disk vda already"]);
    let twice = ["restore", "vm", first.id(), id];
    site.refuses(&vm, &twice, 64, &["named twice"]);

    let file = first.file("vda");
    let size = fs::metadata(&file).expect("it is there").len();
    super::judge::flip(&file, size - 1);
    let words = ["is damaged", "its digest is"];
    let before = oracle::listing(&site.primary());
    let names = || run("ls", [site.primary()]).must();
    let there = names();
    for flags in [&["--verify"][..], &[]] {
        let args = [&["restore", "vm", id][..], flags].concat();
        let output = site.knib(args).exits(5);
        for word in words {
            assert!(output.stdout.contains(word), "{output}");
        }
        assert_eq!(names(), there);
        if !flags.is_empty() {
            assert_unchanged(&before, &oracle::listing(&site.primary()));
        }
    }
    super::judge::flip(&file, size - 1);

    site.knib(["snapshot", "create", &vm.name, "before-upgrade"])
        .exits(0);
    site.refuses(&vm, &["restore", "vm", id], 3, &["before-upgrade"]);
    site.knib(["snapshot", "delete", &vm.name, "before-upgrade"])
        .exits(0);
    let snapshot = ["snapshot-create-as", &vm.name, "theirs", "--disk-only"];
    virsh(snapshot).must();
    site.refuses(&vm, &["restore", "vm", id], 3, &["theirs"]);
}
