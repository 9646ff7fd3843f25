//! `knib files`: what a guest wrote comes out of each backup as it was then, from whatever lies between.
//!
//! Most of the guests' disks are made by another kernel, libguestfs's own run by the test; what must come out is the
//! directory they were made from, compared as archives byte for byte: names, kinds, modes, times, links, attributes,
//! content. One guest is booted and writes its files itself.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::cli::schemas;
use crate::support::Disk;
use crate::support::KIB;
use crate::support::MIB;
use crate::support::Vm;
use crate::support::appliance;
use crate::support::appliance::guestfish;
use crate::support::knib::Output;
use crate::support::tool::run;
use crate::support::vm::Builder;

use super::judge;
use super::site::Site;

/// How long the files are that change from backup to backup, and what they begin with.
const LONG: u64 = 64 * KIB;
const FIRST: u8 = 0xA1;

pub(super) fn site() -> Site {
    let allowed = "plain: { backupChainSize: 0, allowExtractFile: true }";
    Site::with("plain: { backupChainSize: 0 }", allowed)
}

/// Runs a shell script in a directory.
#[track_caller]
pub(super) fn sh(dir: &Path, script: &str) {
    let cd = format!("cd '{}' && umask 022 && {script}", dir.display());
    run("bash", ["-euc", &cd]).must();
}

/// Everything below a directory as one archive, whoever owns it.
#[track_caller]
pub(super) fn picture(dir: &Path) -> Vec<u8> {
    let options = "--create --file=- --sort=name --format=posix --pax-option=delete=atime,delete=ctime \
                   --owner=0 --group=0 --numeric-owner --xattrs --xattrs-include=user.* --no-recursion --null";
    let list = format!(
        "cd '{}' && find . -mindepth 1 -print0 | sort -z | tar {options} -T -",
        dir.display()
    );
    let output = Command::new("bash")
        .args(["-c", &list])
        .output()
        .expect("bash is there");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// Fails, naming what differs, unless two directories hold the same.
#[track_caller]
pub(super) fn assert_same_tree(found: &Path, wanted: &Path) {
    if std::env::var_os("KNIB_TEST_FLIP").is_some() {
        let list = run(
            "find",
            [
                found.as_os_str(),
                "-type".as_ref(),
                "f".as_ref(),
                "-size".as_ref(),
                "+0".as_ref(),
            ],
        );
        let first = list
            .stdout
            .lines()
            .next()
            .expect("there is a file")
            .to_owned();
        judge::flip(Path::new(&first), 0);
    }
    if picture(found) == picture(wanted) {
        return;
    }
    let differences = run(
        "diff",
        [
            "-r".as_ref(),
            "--no-dereference".as_ref(),
            wanted.as_os_str(),
            found.as_os_str(),
        ],
    );
    let about = |dir: &Path| {
        let format = "%P %y %m %T@ %n %l\n";
        run(
            "find",
            [dir.as_os_str(), "-printf".as_ref(), format.as_ref()],
        )
        .stdout
    };
    panic!(
        "{}\nwanted:\n{}found:\n{}",
        differences.stdout,
        about(wanted),
        about(found)
    );
}

/// Where the only long run of a byte begins on a disk.
#[track_caller]
fn place(disk: &Path, byte: u8) -> Option<u64> {
    let bytes = fs::read(disk).expect("the disk is the test's own");
    let mut blocks = bytes
        .chunks(4096)
        .map(|block| block.iter().all(|found| *found == byte));
    let first = blocks.position(|is| is)? as u64 * 4096;
    let last = usize::try_from(first + LONG).expect("it is small");
    assert!(
        bytes[last - 4096..last].iter().all(|found| *found == byte),
        "it lies in pieces"
    );
    Some(first)
}

/// A guest with its system on the partitions of one disk and `/srv` on a volume over two, and its tree.
fn guest(site: &Site) -> (Vm, PathBuf) {
    let tree = site.make_dir("tree");
    sh(
        &tree,
        r"mkdir -p etc bin boot/efi srv/sub data/modes
        printf '/dev/vda2 / ext4 defaults 0 1\n/dev/vda1 /boot/efi vfat defaults 0 2\n/dev/mapper/vg-data /srv xfs defaults 0 2\n' >etc/fstab
        printf 'ID=debian\nVERSION_ID=12\n' >etc/os-release
        head -c 65536 /dev/zero | tr '\0' '\241' >data/seq
        head -c 65536 /dev/zero | tr '\0' '\262' >srv/seq
        printf 'a\n' >data/modes/a; printf 'b' >data/modes/b; printf '#!/bin/sh\n' >data/modes/c
        chmod 640 data/modes/a; chmod 400 data/modes/b; chmod 755 data/modes/c
        setfattr -n user.note -v 'of the guest' data/modes/b
        ln -s modes/a data/link; ln -s /data/seq data/abs; ln data/modes/a data/hard
        truncate -s 3M data/holes; printf x | dd of=data/holes bs=1 seek=2M conv=notrunc status=none
        printf 'deep' >srv/sub/file; chmod 711 srv/sub; chmod 1777 data/modes
        touch -d '2024-05-06 07:08:09.123456789' data/modes/* data/holes etc/* srv/sub/file
        touch -h -d '2023-01-02 03:04:05' data/link data/abs
        touch -d '2022-01-02 03:04:05' data/modes srv/sub",
    );
    for (disk, size) in [("vda", 64), ("vdb", 176), ("vdc", 176)] {
        let file = fs::File::create(site.path(disk)).expect("the sandbox is the test's own");
        file.set_len(size * MIB)
            .expect("a sparse file takes any size");
    }
    let archive =
        "tar --format=posix --xattrs --xattrs-include='user.*' --sparse -cf ../tree.tar .";
    sh(&tree, archive);
    let dir = site.root().display();
    guestfish(&format!(
        "add-drive {dir}/vda format:raw\nadd-drive {dir}/vdb format:raw\nadd-drive {dir}/vdc format:raw\nrun\n\
         part-init /dev/sda gpt\npart-add /dev/sda p 2048 18431\npart-add /dev/sda p 18432 -64\n\
         mkfs vfat /dev/sda1 label:EFI\nmkfs ext4 /dev/sda2 blocksize:4096 label:root\n\
         pvcreate /dev/sdb\npvcreate /dev/sdc\nvgcreate vg \"/dev/sdb /dev/sdc\"\nlvcreate-free data vg 100\n\
         mkfs xfs /dev/vg/data label:srv\nmount /dev/sda2 /\nmkdir /srv\nmount /dev/vg/data /srv\n\
         tar-in {dir}/tree.tar / xattrs:true\nmount /dev/sda1 /boot/efi\nwrite /boot/efi/boot.txt \"of the firmware\"\n"
    ));
    let disk = |name: &str| Disk::qcow2(name, 0).holding(site.path(name));
    let disks = ["vda", "vdb", "vdc"].map(disk);
    let vm = disks
        .into_iter()
        .fold(site.vm("a"), Builder::disk)
        .start_paused();
    (vm, tree)
}

fn get<'a>(site: &Site, backup: &'a str, what: &[&'a str], to: &'a str) -> Output {
    let args = ["files", "get", backup]
        .into_iter()
        .chain(what.iter().copied());
    site.knib(args.chain(["-o", to]))
}

#[test]
#[expect(clippy::too_many_lines, reason = "one guest, one chain")]
fn backups_of_a_chain_give_what_the_guest_had_written_by_then() {
    let site = site();
    let (vm, tree) = guest(&site);
    let seq = ("vda", place(&vm.truth("vda"), FIRST).expect("it is on vda"));
    let volume = ["vdb", "vdc"].map(|disk| Some((disk, place(&vm.truth(disk), 0xB2)?)));
    let volume = volume
        .into_iter()
        .flatten()
        .next()
        .expect("it is on one of the two");
    let mut backups = vec![site.first(&vm)];
    for link in 2..=5 {
        if link == 4 {
            let plain = "allowExtractFile: true }";
            site.change_policy(
                plain,
                "allowExtractFile: true, compress: true, compressMode: inline }",
            );
            site.apply().exits(0);
        }
        vm.write(seq.0, seq.1, FIRST + link, LONG);
        vm.write(volume.0, volume.1, 0xB1 + link, LONG);
        backups.push(site.backup(&vm, &[]));
    }
    assert_eq!(backups[4].0["position"], 5);
    assert_eq!(backups[4].0["compression"], "compressed");

    let listed = site
        .knib(["files", "list", backups[0].id(), "--format", "json"])
        .exits(0)
        .json();
    schemas::assert_all_valid("filesystem", &listed);
    let short = |one: &Value| {
        format!("{} {} {}", one["device"], one["type"], one["label"]).replace('"', "")
    };
    let all: Vec<_> = listed
        .as_array()
        .expect("a list")
        .iter()
        .map(short)
        .collect();
    assert_eq!(
        all,
        [
            "/dev/vda1 vfat EFI",
            "/dev/vda2 ext4 root",
            "/dev/vg/data xfs srv"
        ]
    );

    let args = [
        "files",
        "list",
        backups[4].id(),
        "/",
        "--recursive",
        "--format",
        "json",
    ];
    let listed = site.knib(args).exits(0).json();
    schemas::assert_all_valid("file", &listed);
    assert_listed(&listed, &tree);

    // The oldest as a tree of its own: everything but what is of other file systems' making.
    let to = site.path("out");
    let there = to.display().to_string();
    get(
        &site,
        backups[0].id(),
        &["/data", "/srv/seq", "/srv/sub", "/etc"],
        &there,
    )
    .exits(0);
    fs::rename(tree.join("srv/seq"), tree.join("seq")).expect("it is the test's own");
    fs::rename(tree.join("srv/sub"), tree.join("sub")).expect("it is the test's own");
    for gone in ["srv", "boot", "bin"] {
        fs::remove_dir_all(tree.join(gone)).expect("it is the test's own");
    }
    let meta = fs::metadata(tree.join("data")).expect("it is there");
    assert_eq!(
        fs::metadata(to.join("data"))
            .expect("it is there")
            .modified()
            .ok(),
        meta.modified().ok()
    );
    assert_same_tree(&to, &tree);

    // The same paths from the later ones.
    let of = |link: usize, what: &[&str]| {
        let args = ["files", "get", backups[link].id()]
            .into_iter()
            .chain(what.iter().copied());
        raw(&site, &args.chain(["-o", "-"]).collect::<Vec<_>>())
    };
    // Through a link as the guest would follow it, to nothing of this host.
    assert_full(
        &of(2, &["vda", "/data/abs", "--fs", "/dev/vda2"]),
        FIRST + 3,
    );
    let archive = site.path("archive.tar");
    let what = ["/srv/seq", "/srv/sub", "/boot/efi/boot.txt"];
    fs::write(&archive, of(4, &what)).expect("the sandbox is the test's own");
    let out = site.make_dir("unpacked");
    sh(&out, "tar -xf ../archive.tar");
    assert_full(&fs::read(out.join("seq")).expect("it is there"), 0xB1 + 5);
    assert_same_tree(&out.join("sub"), &tree.join("sub"));
    assert_eq!(
        fs::read(out.join("boot.txt")).expect("it is there"),
        b"of the firmware"
    );
    assert!(site.leftovers().is_empty());
}

/// Prints of everything here its name, kind, mode and time, where links lead, and sums of what is in files: alike in a
/// guest and on the host.
const TOLD: &str = "find . ! -type l | sort | xargs stat -c '%n %f %Y' && find . -type l | sort | xargs -r -n 1 readlink && \
                    find . -type f | sort | xargs sha256sum";

#[test]
fn what_a_booted_guest_wrote_comes_out_as_the_guest_tells_it() {
    let site = site();
    let disk = Disk::qcow2("vda", 16 * MIB).ext4();
    let (vm, guest) = site.vm("a").disk(disk).boot();
    let night = |script: &str| {
        guest.run(&format!("cd /mnt/vda && {script}"));
        guest.stop_writes("vda");
        let told = guest.run(&format!("cd /mnt/vda/tree && {TOLD}"));
        site.apply().exits(0);
        let taken = site.backup(&vm, &[]);
        guest.resume_writes("vda");
        (taken, told)
    };
    let nights = [
        night(
            "mkdir -p tree/sub/empty && cd tree && head -c 70000 /dev/urandom >sub/random && echo a >a && \
             chmod 640 a && chmod 600 sub/random && chmod 1777 sub && ln -s ../a sub/link && ln sub/random hard && \
             touch -d '2021-02-03 04:05:06' a sub/empty",
        ),
        night(
            "cd tree && head -c 500 /dev/urandom | dd of=hard bs=1 seek=30000 conv=notrunc 2>/dev/null && \
             mv a sub/a && chmod 444 sub/a && rmdir sub/empty && rm sub/link",
        ),
    ];
    guest.run("rm -r /mnt/vda/tree && sync");
    for (n, (backup, told)) in nights.iter().enumerate() {
        let out = site.path(&format!("out{n}"));
        let there = out.display().to_string();
        get(&site, backup.id(), &["vda", "/tree"], &there).exits(0);
        let tree = out.join("tree");
        if std::env::var_os("KNIB_TEST_FLIP").is_some() {
            judge::flip(&tree.join("hard"), 0);
        }
        let found = run(
            "bash",
            ["-c", &format!("cd '{}' && {TOLD}", tree.display())],
        );
        assert_eq!(&found.must(), told);
    }
}

/// Standard output of knib as it is, which need not be text.
#[track_caller]
fn raw(site: &Site, args: &[&str]) -> Vec<u8> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_knib"));
    command
        .args(["-f", &site.path("knib.yaml").display().to_string()])
        .args(args);
    command
        .env("KNIB_STATE", site.path("state.db"))
        .envs(appliance::environment());
    let output = command.output().expect("knib is there");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// Fails unless this is all of a file that holds one byte only.
#[track_caller]
fn assert_full(content: &[u8], byte: u8) {
    let mut found = content.to_vec();
    if std::env::var_os("KNIB_TEST_FLIP").is_some() {
        found[0] ^= 1;
    }
    let same = found.iter().all(|found| *found == byte);
    assert!(
        found.len() as u64 == LONG && same,
        "it is not full of {byte:#x}"
    );
}

/// Fails unless everything in the tree is listed as it is there.
#[track_caller]
fn assert_listed(listed: &Value, tree: &Path) {
    let format = "%P\\t%y\\t%04m\\t%s\\t%T@\\n";
    let printed = run(
        "find",
        [
            tree.as_os_str(),
            "-mindepth".as_ref(),
            "1".as_ref(),
            "-printf".as_ref(),
            format.as_ref(),
        ],
    );
    let all = listed.as_array().expect("a list");
    for line in printed.must().lines() {
        let [name, kind, mode, size, at] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line:?}");
        };
        // The firmware's file system knows no modes, and its directory is another one's.
        if name.starts_with("boot/efi") || name == "srv" || name == "boot" {
            continue;
        }
        let one = all.iter().find(|one| one["name"] == name);
        let one = one.unwrap_or_else(|| panic!("{name} is not listed in {listed:#}"));
        let kind = match kind {
            "f" => "file",
            "d" => "directory",
            "l" => "symlink",
            other => panic!("{other}"),
        };
        let found = (one["type"].as_str(), one["mode"].as_str());
        assert_eq!(found, (Some(kind), Some(mode)), "{name}");
        if kind != "directory" {
            assert_eq!(one["size"].to_string(), size, "{name}");
        }
        let seconds = at.split('.').next().and_then(|at| at.parse::<i64>().ok());
        let mtime: jiff::Timestamp = one["mtime"]
            .as_str()
            .and_then(|at| at.parse().ok())
            .expect("an instant");
        assert_eq!(Some(mtime.as_second()), seconds, "{name}");
    }
    assert!(
        all.iter().any(|one| one["name"] == "boot/efi/boot.txt"),
        "{listed:#}"
    );
}
