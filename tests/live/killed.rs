//! knib killed while it copies: the next plan says so, the next apply carries on, and nothing is left over.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::fs::Permissions;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use serde_json::Value;

use crate::support::Disk;
use crate::support::KIB;
use crate::support::MIB;
use crate::support::Vm;
use crate::support::deadline::wait_for;
use crate::support::deadline::wait_until;
use crate::support::oracle;
use crate::support::tool::qemu_img;
use crate::support::tool::run;
use crate::support::tool::virsh;
use crate::support::vm::Xml;

use super::drift::define;
use super::drift::without_chains;
use super::judge::assert_holds;
use super::quick::assert_consolidated;
use super::quick::half_way;
use super::quick::in_the_middle;
use super::quick::with_a_chain;
use super::site::Site;

const KILLS: u64 = 20;
/// So much that a copy takes some tenths of a second, and each of the moments can be met.
const SIZE: u64 = 40 * MIB;

/// What the copy has written so far of a disk that is being staged, in bytes.
fn copied(backups: &Path, target: &str) -> Option<u64> {
    let of_vm = fs::read_dir(backups).ok()?;
    let stage = of_vm
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.to_string_lossy().ends_with(".partial"))?;
    let file = fs::metadata(stage.join(format!("{target}.qcow2"))).ok()?;
    Some(file.blocks() * 512)
}

/// Starts a backup and kills knib once its copy has come so far. Whether the copy was really under way then.
fn killed_at(site: &Site, vm: &Vm, flag: &str, bytes: u64) -> bool {
    let backups = site.storage().join(vm.uuid());
    let mut running = site.knib_with(["backup", "run", &vm.name, flag]).start();
    let end = Instant::now() + Duration::from_secs(60);
    while copied(&backups, "vda").is_none_or(|copied| copied < bytes) {
        assert!(Instant::now() < end, "the copy never came so far");
        thread::sleep(Duration::from_micros(200));
    }
    running.kill();
    let _killed = running.finish();
    interrupted(site, vm).is_some_and(|doing| doing.contains("copy vda"))
}

/// What the plan says that knib was doing when it was interrupted.
pub(super) fn interrupted(site: &Site, vm: &Vm) -> Option<String> {
    let plan = site.knib(["plan", "--format", "json"]).exits(0).json();
    let actions = plan["actions"].as_array().expect("a plan has actions");
    let of_vm = |action: &&Value| action["verb"] == "recover" && action["vm"]["name"] == vm.name;
    let recovery = actions.iter().find(of_vm)?;
    assert_eq!(recovery["reason"]["code"], "interrupted");
    Some(recovery["reason"]["doing"].to_string())
}

/// The processes whose command lines have to do with the sandbox.
fn processes(site: &Site) -> Vec<PathBuf> {
    let root = site.root().as_os_str().as_encoded_bytes();
    let all = fs::read_dir("/proc").expect("there is a /proc");
    all.filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|process| {
            let line = fs::read(process.join("cmdline")).unwrap_or_default();
            let program = line.split(|byte| *byte == 0).next().unwrap_or_default();
            !program.ends_with(b"qemu-system-x86_64")
                && line.windows(root.len()).any(|part| part == root)
        })
        .collect()
}

/// A `PATH` with a `qemu-img` that does this first when it is given that command: `exec sleep 600`, and it never comes
/// to the end of it, as on a storage that hangs.
pub(super) fn path_with(site: &Site, command: &str, first: &str) -> OsString {
    let real = run("which", ["qemu-img"]).must();
    let script = format!(
        "#!/bin/sh\nif [ \"$1\" = {command} ]; then {first}; fi\nexec {} \"$@\"\n",
        real.trim()
    );
    site.make_dir("bin");
    let file = site.path("bin/qemu-img");
    fs::write(&file, script).expect("the directory is the test's own");
    fs::set_permissions(&file, Permissions::from_mode(0o755)).expect("so is the file");
    let path = env::var_os("PATH").expect("there is a PATH");
    let before = std::iter::once(site.path("bin"));
    let path = env::join_paths(before.chain(env::split_paths(&path)));
    path.expect("no name has a colon")
}

/// The processes that a process has started and that are at work.
pub(super) fn children(of: u32) -> Vec<u32> {
    let at_work = |pid: &u32| {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline"));
        line.is_ok_and(|line| line.starts_with("sleep"))
    };
    let all = fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap_or_default();
    let pids = all.split_whitespace().filter_map(|pid| pid.parse().ok());
    pids.filter(at_work).collect()
}

/// One that has ended may wait for somebody to ask how: it has no command line then.
pub(super) fn is_over(process: u32) -> bool {
    let line = fs::read(format!("/proc/{process}/cmdline"));
    line.map_or(true, |line| line.is_empty())
}

/// What knib starts ends when it is killed, and does not stand in the way of the next run.
fn ends_with_knib(command: &str, running: bool) {
    let site = Site::new();
    let vm = site.vm("a").disk(Disk::qcow2("vda", MIB)).define();
    site.first(&vm);
    if running {
        vm.start_paused();
    }
    vm.write("vda", 0, 0x11, 64 * KIB);
    let truth = vm.truth("vda");
    let backup = site.knib_with(["backup", "run", &vm.name]);
    let mut knib = backup
        .env("PATH", path_with(&site, command, "exec sleep 600"))
        .start();
    let started = wait_for("the program", 60, || children(knib.pid()).first().copied());
    knib.kill();
    let _killed = knib.finish();
    wait_until("the end of what knib had started", 10, || is_over(started));
    vm.write("vda", 64 * KIB, 0x22, 64 * KIB);
    site.apply().exits(0);
    assert_holds(&site.newest(&vm).file("vda"), &truth);
    assert_eq!(site.leftovers(), [] as [String; 0]);
    site.assert_one_delta_each(&vm);
}

#[test]
fn a_copy_ends_with_the_knib_that_started_it() {
    ends_with_knib("convert", true);
}

#[test]
fn a_merge_of_a_stopped_vm_ends_with_the_knib_that_started_it() {
    ends_with_knib("commit", false);
}

#[test]
fn killed_twenty_times_in_a_copy_every_backup_is_good_and_nothing_is_left() {
    let site = Site::new();
    let vm = site.vm("a").disk(Disk::qcow2("vda", SIZE)).start_paused();
    site.first(&vm);
    vm.write("vda", 0, 0x5a, SIZE);

    let (mut kills, mut late) = (0, 0);
    while kills < KILLS {
        let pattern = u8::try_from(kills + 1).expect("there are few");
        vm.write("vda", kills * MIB, pattern, MIB);
        let truth = vm.truth("vda");
        let flag = ["--full", "--isolated"][usize::from(pattern) % 2];
        let in_the_copy = killed_at(&site, &vm, flag, kills * SIZE / KILLS);
        if in_the_copy && kills == 0 {
            let shown = site.knib(["plan"]).exits(0);
            assert!(shown.stdout.contains("interrupted"), "{shown}");
        }
        // What the guest writes after the backup's instant is not in it, and not lost.
        vm.write("vda", SIZE - MIB, pattern, 4096);
        site.apply().exits(0);

        assert_holds(&site.newest(&vm).file("vda"), &truth);
        fs::remove_file(&truth).expect("the directory is the test's own");
        assert_eq!(site.leftovers(), [] as [String; 0]);
        site.assert_one_delta_each(&vm);
        assert_eq!(oracle::chain(&vm.source("vda")).len(), 2);
        if in_the_copy {
            kills += 1;
        } else {
            late += 1;
            assert!(late < KILLS, "the copy is over before it can be killed");
        }
    }
    assert_eq!(interrupted(&site, &vm), None);
    let jobs = virsh(["blockjob", &vm.name, "vda", "--info"]);
    assert!(!jobs.stdout.contains("Commit"), "{}", jobs.stdout);
    wait_until("the end of knib's children", 60, || {
        processes(&site).is_empty()
    });
    vm.destroy();
    assert_holds(&vm.source("vda"), &vm.truth("vda"));
}

/// QEMU ends a merge below the active layer in this order: the header above, then the tables of the base. Killed in
/// between, the chain looks merged and the base has nothing yet.
#[test]
fn a_merge_whose_qemu_is_killed_before_the_base_is_written_down_is_made_again() {
    a_merge_that_qemu_did_not_write_down(|_, _| {});
}

#[test]
fn a_vm_that_was_started_without_what_was_merged_is_told_and_gets_it() {
    // Its definition still names the layer, and gives it back to the guest.
    a_merge_that_qemu_did_not_write_down(|_, vm| vm.start_paused());
    a_merge_that_qemu_did_not_write_down(|site, vm| {
        define(site, &without_chains(&vm.xml(Xml::Inactive)));
        vm.start_paused();
        let told = site.apply().exits(5);
        assert!(told.stdout.contains("runs without"), "{told}");
        assert_eq!(oracle::deltas(&site.primary()).len(), 2);
        vm.destroy();
    });
}

/// `meanwhile` begins with the VM off.
fn a_merge_that_qemu_did_not_write_down(meanwhile: impl Fn(&Site, &Vm)) {
    let site = Site::new();
    let vm = site
        .vm("a")
        .disk(Disk::qcow2("vda", 4 * MIB))
        .start_paused();
    vm.write("vda", 0, 0x11, 192 * KIB);
    site.first(&vm);
    vm.write("vda", 64 * KIB, 0x22, 192 * KIB);
    let base = vm.disks["vda"].clone();
    // The backup is published, and the older delta where it was.
    let backup = site.knib_with(["backup", "run", &vm.name]);
    let killed = backup.env("KNIB_CRASH_AT", "rename").run();
    assert_eq!(killed.code(), None, "{killed}");
    assert_eq!(oracle::deltas(&site.primary()).len(), 2);
    assert_eq!(site.leftovers(), [] as [String; 0]);
    let head = vm.source("vda");
    vm.write("vda", 256 * KIB, 0x33, 64 * KIB);
    let truth = vm.truth("vda");
    vm.kill();
    let below = ["rebase", "-u", "-f", "qcow2", "-F", "qcow2", "-b"].map(Path::new);
    qemu_img(below.into_iter().chain([base.as_path(), &head])).must();

    meanwhile(&site, &vm);
    site.apply().exits(0);
    if vm.state() != "shut off" {
        vm.destroy();
    }
    assert_holds(&head, &truth);
    assert_eq!(oracle::deltas(&site.primary()), [head]);
    let next = site.backup(&vm, &[]);
    assert_eq!(next.kind(), "incremental");
    assert_holds(&next.file("vda"), &truth);
}

/// The same of a pull: the header names no backup any more, and not all of it is in the file.
#[test]
fn a_vm_that_was_started_without_what_was_pulled_is_told_and_gets_it() {
    let (site, _vm, taken) = with_a_chain(4 * MIB);
    let (backup, truth) = &taken[1];
    let new = half_way(&site, backup, truth);
    in_the_middle(&new);
    new.destroy();
    let head = new.source("vda");
    let alone = ["rebase", "-u", "-f", "qcow2", "-b", ""].map(Path::new);
    qemu_img(alone.into_iter().chain([head.as_path()])).must();
    define(&site, &without_chains(&new.xml(Xml::Inactive)));
    new.start_paused();

    let resume = || site.knib(["restore", "resume", &new.name]);
    let told = resume().exits(5);
    assert!(told.stdout.contains("runs without"), "{told}");
    new.write("vda", 3 * MIB, 0x44, 64 * KIB);
    new.destroy();
    resume().exits(0);
    assert_consolidated(&site, &new);
}
