//! knib killed while it copies: the next plan says so, the next apply carries on, and nothing is left over.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use rustix::process::Pid;
use rustix::process::Signal;
use rustix::process::kill_process;
use serde_json::Value;

use crate::support::Disk;
use crate::support::MIB;
use crate::support::Vm;
use crate::support::deadline::wait_until;
use crate::support::oracle;
use crate::support::tool::virsh;

use super::judge::assert_holds;
use super::site::Site;

const KILLS: u64 = 20;
/// So much that a copy takes some tenths of a second, and each of the moments can be met.
const SIZE: u64 = 40 * MIB;

/// What the copy has written so far of a disk that is being staged, in bytes.
fn copied(site: &Site, vm: &Vm, target: &str) -> Option<u64> {
    let of_vm = fs::read_dir(site.storage().join(vm.uuid())).ok()?;
    let stage = of_vm
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.to_string_lossy().ends_with(".partial"))?;
    let file = fs::metadata(stage.join(format!("{target}.qcow2"))).ok()?;
    Some(file.blocks() * 512)
}

/// Starts a backup and kills knib once its copy has come so far. Whether the copy was really under way then.
fn killed_at(site: &Site, vm: &Vm, flag: &str, bytes: u64) -> bool {
    let mut running = site.knib_with(["backup", "run", &vm.name, flag]).start();
    let end = Instant::now() + Duration::from_secs(60);
    while copied(site, vm, "vda").is_none_or(|copied| copied < bytes) {
        assert!(Instant::now() < end, "the copy never came so far");
        thread::sleep(Duration::from_micros(200));
    }
    running.kill();
    let _killed = running.finish();
    interrupted(site, vm).is_some_and(|doing| doing.contains("copy vda"))
}

/// What the plan says that knib was doing when it was interrupted.
fn interrupted(site: &Site, vm: &Vm) -> Option<String> {
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

/// The program of this kind that a process has started, if it has: `convert`, `commit`.
fn child(of: u32, verb: &str) -> Option<Pid> {
    let children = fs::read_to_string(format!("/proc/{of}/task/{of}/children")).ok()?;
    let of_kind = |child: &&str| {
        let line = fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0);
        words.next().is_some_and(|path| path.ends_with(b"qemu-img"))
            && words.next() == Some(verb.as_bytes())
    };
    let pid = children.split_whitespace().find(of_kind)?;
    Pid::from_raw(pid.parse().ok()?)
}

/// Whether a process is there and not only waits to be buried.
fn lives(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

/// Begins a backup and halts the program of this kind that it starts, then kills knib. None: the program was faster.
fn killed_beside(site: &Site, vm: &Vm, verb: &str) -> Option<Pid> {
    let mut running = site
        .knib_with(["backup", "run", &vm.name, "--quiesce", "none"])
        .start();
    let end = Instant::now() + Duration::from_secs(60);
    let halted = loop {
        let found = child(running.pid(), verb);
        if let Some(pid) = found
            && kill_process(pid, Signal::STOP).is_ok()
        {
            break Some(pid);
        }
        assert!(Instant::now() < end, "knib never came to its {verb}");
        if !fs::exists(format!("/proc/{}/exe", running.pid())).unwrap_or(false) {
            break None;
        }
        thread::sleep(Duration::from_micros(200));
    };
    running.kill();
    let _killed = running.finish();
    halted
}

/// A program that was halted can end by a signal only: it does not end because its work is done.
fn ends_with_knib(verb: &str, running: bool) {
    let site = Site::new();
    let vm = site.vm("a").disk(Disk::qcow2("vda", SIZE)).define();
    site.first(&vm);
    if running {
        vm.start_paused();
    }
    for pattern in 1_u8..=20 {
        vm.write("vda", 0, pattern, SIZE / 2);
        let truth = vm.truth("vda");
        let Some(orphan) = killed_beside(&site, &vm, verb) else {
            continue;
        };
        wait_until("the end of what knib had started", 10, || !lives(orphan));
        site.apply().exits(0);
        assert_holds(&site.backup(&vm, &[]).file("vda"), &truth);
        assert_eq!(site.leftovers(), [] as [String; 0]);
        site.assert_one_delta_each(&vm);
        return;
    }
    panic!("{verb} was always over before it could be halted");
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
        assert_eq!(interrupted(&site, &vm), None);

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
    let jobs = virsh(["blockjob", &vm.name, "vda", "--info"]);
    assert!(!jobs.stdout.contains("Commit"), "{}", jobs.stdout);
    wait_until("the end of knib's children", 60, || {
        processes(&site).is_empty()
    });
    vm.destroy();
    assert_holds(&vm.source("vda"), &vm.truth("vda"));
}
