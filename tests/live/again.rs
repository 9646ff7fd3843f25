//! An unattended apply that has long work to do: what becomes due meanwhile does not wait for it.

use std::fs;

use crate::support::Disk;
use crate::support::MIB;
use crate::support::Vm;
use crate::support::deadline::wait_for;
use crate::support::deadline::wait_until;
use crate::support::tool::run;

use super::judge::assert_holds;
use super::site::Site;

const SIZE: u64 = 64 * MIB;

/// The program that copies a disk of this VM.
fn copying(vm: &Vm) -> Option<String> {
    let all = fs::read_dir("/proc").expect("there is a /proc");
    let found = all.filter_map(Result::ok).find(|process| {
        let line = fs::read_to_string(process.path().join("cmdline")).unwrap_or_default();
        line.contains("convert") && line.contains(&vm.name)
    })?;
    found.file_name().into_string().ok()
}

/// Whether the storage holds a whole backup of this VM.
fn published(site: &Site, vm: &Vm) -> bool {
    let Ok(backups) = fs::read_dir(site.storage().join(vm.uuid())) else {
        return false;
    };
    let mut paths = backups.filter_map(|entry| Some(entry.ok()?.path()));
    paths.any(|path| path.extension().is_none() && path.join("backup.json").exists())
}

#[test]
fn a_vm_that_appears_while_an_apply_copies_is_backed_up_by_the_same_apply() {
    let site = Site::new();
    let slow = site
        .vm("slow")
        .disk(Disk::qcow2("vda", SIZE))
        .start_paused();
    slow.write("vda", 0, 0x5a, SIZE);
    let apply = site.knib_with(["apply", "--auto-approve", "--format", "json"]);
    let running = apply.env("KNIB_AGAIN", "200").start();
    let copy = wait_for("the copy", 30, || copying(&slow));
    run("kill", ["-STOP", &copy]).must();

    let late = site.vm("late").disk(Disk::raw("vda", MIB)).define();
    late.write("vda", 0, 0x17, MIB / 2);
    wait_until("a backup of the VM that came late", 60, || {
        published(&site, &late)
    });
    assert!(!published(&site, &slow), "it is still being copied");
    run("kill", ["-CONT", &copy]).must();

    let plan = running.finish().exits(0).json();
    let actions = plan["actions"].as_array().expect("a plan has actions");
    for vm in [&slow, &late] {
        let of_vm = actions
            .iter()
            .filter(|action| action["verb"] == "backup" && action["vm"]["name"] == vm.name);
        let results: Vec<_> = of_vm.map(|action| &action["result"]).collect();
        assert_eq!(results, ["done"], "{} is backed up once", vm.name);
        assert_holds(&site.newest(vm).file("vda"), &vm.truth("vda"));
    }
}
