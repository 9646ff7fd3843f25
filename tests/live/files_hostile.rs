//! `knib files` and a guest that means harm, or is broken: what can be had of it comes out, nothing lands anywhere
//! else, and what went wrong is said.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use serde_json::Value;

use crate::cli::schemas;
use crate::support::Disk;
use crate::support::MIB;
use crate::support::Vm;

use crate::support::deadline::wait_for;
use crate::support::deadline::wait_until;
use crate::support::knib::Output;
use crate::support::oracle;
use crate::support::tool::qemu_img;
use crate::support::tool::run;

use super::files;
use super::files::assert_same_tree;
use super::files::sh;
use super::site::Site;

const MANY: usize = 100_000;

/// An ext4 file system with what a directory holds.
fn ext4(site: &Site, name: &str, dir: &Path, size: u64) -> PathBuf {
    let raw = site.path(name);
    let file = fs::File::create(&raw).expect("the sandbox is the test's own");
    file.set_len(size).expect("a sparse file takes any size");
    let args = ["-q", "-F", "-m", "0", "-d"].map(Path::new);
    run("mkfs.ext4", args.into_iter().chain([dir, &raw])).must();
    raw
}

fn disk(target: &str, raw: &Path) -> Disk {
    Disk::qcow2(target, 0).holding(raw)
}

/// knib says these words, whatever line breaks are between them, and exits with this code.
#[track_caller]
fn fails(output: Output, code: i32, words: &[&str]) {
    let output = output.exits(code);
    let said = output
        .stderr
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    for word in words {
        assert!(said.contains(word), "{word:?} is not said in:\n{output}");
    }
}

/// A guest's tree that would lead out of wherever it is unpacked, were it believed.
fn hostile(site: &Site) -> PathBuf {
    let tree = site.make_dir("hostile");
    sh(
        &tree,
        r#"mkdir d 'd/ -o -' ; printf 1 >$'line\nbreak'; printf 2 >$'\x1b[2J'; printf 3 >$'not\xff\xfetext'
        printf 4 >"quotes ' \" and \\"; printf 5 >'-rf'; printf 6 >'d/ -o -/$(touch evil)'; printf 7 >'a:b|c;d'
        ln -s /etc/passwd absolute; ln -s ../../../../../etc/shadow up; ln -s loop loop; ln -s loop-b loop-a; ln -s loop-a loop-b
        ln -s / everything; ln d/../line* hard
        mknod null c 1 3; mknod disk b 8 0; mkfifo pipe
        printf '#!/bin/sh\n' >root; chmod 6755 root; printf x >sticky; chmod 1644 sticky
        head -c 2097152 /dev/urandom >big
        printf leads >d/file
        find . -exec touch -h -d '2021-02-03 04:05:06' {} +"#,
    );
    tree
}

#[test]
fn a_hostile_guest_is_listed_and_taken_and_reaches_nothing_else() {
    let site = files::site();
    let tree = hostile(&site);
    // A disk that looks like an image whose backing file is one of this host.
    let secret = ext4(&site, "secret.raw", &tree, 16 * MIB);
    let evil = site.path("evil.raw");
    let image = ["create", "-q", "-f", "qcow2", "-F", "raw", "-b"].map(Path::new);
    qemu_img(image.into_iter().chain([secret.as_path(), &evil])).must();
    let locked = site.path("locked.raw");
    let file = fs::File::create(&locked).expect("the sandbox is the test's own");
    file.set_len(8 * MIB).expect("a sparse file takes any size");
    sh(
        site.root(),
        "printf key | cryptsetup luksFormat -q --type luks1 --pbkdf-force-iterations 1000 locked.raw -",
    );
    let broken = ext4(&site, "broken.raw", &tree, 16 * MIB);
    sh(
        site.root(),
        "head -c 200k /dev/urandom | dd of=broken.raw bs=1k seek=2 conv=notrunc status=none",
    );
    let vda = ext4(&site, "vda.raw", &tree, 16 * MIB);
    let vm = site
        .vm("a")
        .disk(disk("vda", &vda))
        .disk(disk("vdb", &broken));
    let vm = vm
        .disk(disk("vdc", &locked))
        .disk(disk("vdd", &evil))
        .start_paused();
    let id = site.first(&vm).id().to_owned();
    let outside = oracle::listing(&site.primary());

    let listed = site
        .knib(["files", "list", &id, "--format", "json"])
        .exits(0)
        .json();
    let short = |one: &Value| format!("{} {}", one["device"], one["type"]).replace('"', "");
    let all: Vec<_> = listed
        .as_array()
        .expect("a list")
        .iter()
        .map(short)
        .collect();
    // What the last disk seems to lie on is not read, nor is it taken for an image.
    assert_eq!(
        all,
        ["/dev/vda ext4", "/dev/vdb ext4", "/dev/vdc crypto_LUKS"]
    );

    let args = ["files", "list", &id, "vda", "/", "-r", "--format", "json"];
    let listed = site.knib(args).exits(0).json();
    schemas::assert_all_valid("file", &listed);
    assert_eq!(names(&listed), real_names(&tree));

    let out = site.path("out");
    let there = out.display().to_string();
    let taken = site.knib([
        "files", "get", &id, "vda", "/", "-o", &there, "--format", "json",
    ]);
    let taken = taken.exits(0).json();
    schemas::assert_valid("taken", &taken);
    let left_out = taken["left_out"].as_array().expect("a list");
    let mut left_out: Vec<_> = left_out
        .iter()
        .map(|one| format!("{}: {}", one["path"], one["what"]))
        .collect();
    left_out.sort();
    let wanted = [
        r#""disk": "special file""#,
        r#""null": "special file""#,
        r#""pipe": "special file""#,
        r#""root": "setuid or setgid""#,
    ];
    assert_eq!(left_out, wanted);
    sh(&tree, "rm null disk pipe; chmod 755 root");
    fs::remove_dir(out.join("lost+found")).expect("the file system has one");
    for dir in [&out, &tree] {
        sh(dir, "touch -d 2020-01-01 .");
    }
    assert_same_tree(&out, &tree);

    // All that is wrong with paths is told before any is taken.
    let get = |what: &[&str], to: &str| {
        let args = ["files", "get", &id]
            .into_iter()
            .chain(what.iter().copied());
        site.knib(args.chain(["-o", to]))
    };
    let wrong = [
        "Too many levels of symbolic links",
        "there is no path",
        "/d/flie",
        "/d/file",
    ];
    fails(get(&["vda", "/big", "/loop", "/d/flie"], "x"), 1, &wrong);
    fails(get(&["vdb", "/"], "x"), 1, &["could not mount /dev/vdb"]);
    let small = site.mount_small("small", MIB);
    let full = small.join("new").display().to_string();
    fails(
        get(&["vda", "/big"], &full),
        1,
        &["No space left on device"],
    );
    assert_eq!(fs::read_dir(&small).expect("it is there").count(), 0);
    assert!(!site.path("x").exists());
    assert_eq!(oracle::listing(&site.primary()), outside);

    refused_at_once(&site, &vm, &id);
}

/// What needs no appliance to be refused, and makes nothing.
fn refused_at_once(site: &Site, vm: &Vm, id: &str) {
    let before = site.picture(vm);
    let get = ["files", "get", id, "vda", "/d", "-o", "out"];
    fails(
        site.knib(get),
        1,
        &["there is something in it", "--overwrite"],
    );
    fails(
        site.knib(["files", "list", id, "vdx", "/"]),
        1,
        &["there is no disk", "vda"],
    );
    fails(site.knib(["files", "list", id, "/a/../b"]), 64, &[".."]);
    fails(
        site.knib(["files", "get", id, "/d", "/a/d", "-o", "y"]),
        64,
        &["a name that another path gets"],
    );
    fails(
        site.knib(["files", "get", id, "-o", "y", "vda"]),
        64,
        &["no path is given"],
    );
    let absent = site
        .knib_with(["files", "list", id])
        .env("PATH", site.make_dir("bin"))
        .run();
    fails(
        absent,
        1,
        &[
            "find guestfish",
            "install it: guestfish on Debian and Ubuntu",
        ],
    );
    site.change_policy("allowExtractFile: true", "allowExtractFile: false");
    for command in [
        &["files", "list", id][..],
        &["files", "get", id, "/d", "-o", "y"],
    ] {
        fails(
            site.knib(command),
            3,
            &["does not allow files to be taken out", "allowExtractFile"],
        );
    }
    assert!(!site.path("y").exists());
    assert_eq!(site.picture(vm), before);
}

/// Every name of a listing but `lost+found`, as the bytes they are.
fn names(listed: &Value) -> Vec<Vec<u8>> {
    let bytes = |hex: &str| {
        let digits = hex
            .as_bytes()
            .chunks(2)
            .map(|two| std::str::from_utf8(two).expect("digits"));
        digits
            .map(|two| u8::from_str_radix(two, 16).expect("hexadecimal"))
            .collect::<Vec<_>>()
    };
    let name = |one: &Value| match one["name_hex"].as_str() {
        Some(hex) => bytes(hex),
        None => one["name"].as_str().expect("a name").as_bytes().to_vec(),
    };
    let mut names: Vec<_> = listed
        .as_array()
        .expect("a list")
        .iter()
        .map(name)
        .collect();
    names.retain(|name| name != b"lost+found");
    names.sort();
    names
}

fn real_names(tree: &Path) -> Vec<Vec<u8>> {
    let args = ["-mindepth", "1", "-printf", "%P\\0"];
    let find = std::process::Command::new("find")
        .arg(tree)
        .args(args)
        .output();
    let printed = find.expect("find is there").stdout;
    let mut names: Vec<_> = printed
        .split(|byte| *byte == 0)
        .map(<[u8]>::to_vec)
        .collect();
    names.retain(|name| !name.is_empty());
    names.sort();
    names
}

#[test]
fn a_huge_directory_is_listed_in_little_memory_and_a_killed_reader_lets_go() {
    let site = files::site();
    let mut recipe = "x\n0 0\nd--755 0 0\nmany d--755 0 0\n".to_owned();
    for n in 0..MANY {
        recipe += &format!("file-{n:06} ---644 0 0 /dev/null\n");
    }
    fs::write(site.path("recipe"), recipe + "$\n$\n").expect("the sandbox is the test's own");
    sh(
        site.root(),
        "truncate -s 310M many.raw && mkfs.xfs -q -p recipe many.raw",
    );
    let vm = site
        .vm("a")
        .disk(disk("vda", &site.path("many.raw")))
        .start_paused();
    let id = site.first(&vm).id().to_owned();

    // The limit is knib's alone: what it starts has begun before.
    let listing = site
        .knib_with(["files", "list", &id, "vda", "/many", "--format", "json"])
        .start();
    guestfish_of(listing.pid());
    run(
        "prlimit",
        ["--pid", &listing.pid().to_string(), "--data=209715200"],
    )
    .must();
    let delete = ["backup", "delete", &id, "--force", "--lock-timeout", "0s"];
    fails(site.knib(delete), 6, &["files list"]);
    let listed = listing.finish().exits(0).json();
    let all = listed.as_array().expect("a list");
    assert_eq!(all.len(), MANY);
    for (n, one) in all.iter().enumerate() {
        assert_eq!(one["name"], format!("file-{n:06}"));
    }

    // What it leaves while it starts goes with the sandbox.
    let killed = site.knib_with(["files", "list", &id, "vda", "/many"]);
    let mut killed = killed.env("TMPDIR", site.root()).start();
    let guestfish = guestfish_of(killed.pid());
    killed.kill();
    drop(killed);
    wait_until("the end of its guestfish", 120, || {
        !Path::new(&format!("/proc/{guestfish}")).exists()
    });
    site.knib(delete).exits(0);
    assert!(!site.storage().join(vm.uuid()).join(&id).exists());
}

/// The guestfish that a knib has started.
fn guestfish_of(knib: u32) -> u32 {
    wait_for("guestfish", 60, || {
        let children = fs::read_to_string(format!("/proc/{knib}/task/{knib}/children")).ok()?;
        let tasks = fs::read_dir(format!("/proc/{knib}/task")).ok()?;
        let of_others = tasks
            .flatten()
            .filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
        let all: Vec<_> = of_others.chain([children]).collect();
        let mut pids = all.iter().flat_map(|line| line.split_whitespace());
        let is = |pid: &&str| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm"));
            name.is_ok_and(|name| name.trim() == "guestfish")
        };
        pids.find(is).and_then(|pid| pid.parse().ok())
    })
}
