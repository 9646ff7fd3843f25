//! Asked to stop: once after the step, twice now, three times at once, and a hangup not at all. The next apply carries on.

use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use crate::support::Disk;
use crate::support::KIB;
use crate::support::MIB;
use crate::support::Vm;
use crate::support::deadline::wait_for;
use crate::support::deadline::wait_until;
use crate::support::knib::Knib;
use crate::support::knib::Running;
use crate::support::oracle;
use crate::support::tool::virsh;

use super::judge::assert_holds;
use super::killed::children;
use super::killed::interrupted;
use super::killed::is_over;
use super::killed::path_with;
use super::quick::in_the_middle_of;
use super::site::Site;

/// In the copy that it was asked to end knib waits so long for `qemu-img` before it kills it.
const GRACE: Duration = Duration::from_secs(10);

/// A running VM with a backup, and what its guest wrote since.
fn written(size: u64) -> (Site, Vm, PathBuf) {
    let site = Site::new();
    let vm = site.vm("a").disk(Disk::qcow2("vda", size)).start_paused();
    site.first(&vm);
    vm.write("vda", 0, 0x11, size / 2);
    let truth = vm.truth("vda");
    (site, vm, truth)
}

fn backup(site: &Site, vm: &Vm) -> Knib {
    site.knib_with(["backup", "run", &vm.name])
}

/// Asks a second time when the first is heard.
fn twice(knib: &Running) {
    knib.signal("-INT");
    knib.says("Stopping after the current step.");
    knib.signal("-INT");
}

/// The guest writes on, and the next apply brings what was begun.
fn is_carried_on(site: &Site, vm: &Vm, truth: &Path) {
    vm.write("vda", 0, 0x22, 64 * KIB);
    site.apply().exits(0);
    assert_eq!(interrupted(site, vm), None);
    assert_holds(&site.newest(vm).file("vda"), truth);
    assert_eq!(site.leftovers(), [] as [String; 0]);
    site.assert_one_delta_each(vm);
    vm.destroy();
    assert_holds(&vm.source("vda"), &vm.truth("vda"));
}

#[test]
fn interrupted_twice_a_copy_ends_and_is_made_again() {
    let (site, vm, truth) = written(MIB);
    let path = path_with(&site, "convert", "exec sleep 600");
    let knib = backup(&site, &vm).env("PATH", path).start();
    let started = wait_for("the copy", 60, || children(knib.pid()).first().copied());
    twice(&knib);
    let stopped = knib.finish().exits(130);
    let carries_on = stopped.stdout.contains("the next knib apply carries on");
    assert!(carries_on, "{stopped}");
    assert!(is_over(started));
    let doing = interrupted(&site, &vm).expect("it was interrupted");
    assert!(doing.contains("copy vda"), "{doing}");
    is_carried_on(&site, &vm, &truth);
}

#[test]
fn interrupted_three_times_knib_ends_at_once_whatever_its_copy_does() {
    let (site, vm, truth) = written(MIB);
    let path = path_with(&site, "convert", "trap '' TERM; exec sleep 600");
    let knib = backup(&site, &vm).env("PATH", path).start();
    let started = wait_for("the copy", 60, || children(knib.pid()).first().copied());
    twice(&knib);
    knib.says("Ending the current step now.");
    let asked = Instant::now();
    knib.signal("-INT");
    let _stopped = knib.finish().exits(130);
    assert!(asked.elapsed() < GRACE / 2, "{:?}", asked.elapsed());
    wait_until("the end of the copy", 5, || is_over(started));
    assert!(interrupted(&site, &vm).is_some());
    is_carried_on(&site, &vm, &truth);
}

#[test]
fn interrupted_twice_a_merge_of_a_running_vm_ends_and_is_made_again() {
    let (site, vm, truth) = written(4 * MIB);
    let knib = backup(&site, &vm).env("KNIB_JOB_RATE", "20000").start();
    in_the_middle_of(&vm, "vda");
    twice(&knib);
    let _stopped = knib.finish().exits(130);
    wait_until("the end of the job", 60, || {
        let job = virsh(["blockjob", &vm.name, "vda", "--raw"]).must();
        job.trim().is_empty()
    });
    assert_eq!(oracle::deltas(&site.primary()).len(), 2);
    let doing = interrupted(&site, &vm).expect("it was interrupted");
    assert!(doing.contains("merge"), "{doing}");
    is_carried_on(&site, &vm, &truth);
}

#[test]
fn a_terminal_that_goes_away_stops_nothing() {
    let (site, vm, truth) = written(MIB);
    let (begun, go_on) = (site.path("begun"), site.path("go-on"));
    let wait = format!(
        "touch {}; until [ -e {} ]; do sleep 0.05; done",
        begun.display(),
        go_on.display()
    );
    let path = path_with(&site, "convert", &wait);
    let knib = backup(&site, &vm).env("PATH", path).start();
    wait_until("the copy", 60, || begun.exists());
    knib.signal("-HUP");
    std::fs::write(&go_on, "").expect("the directory is the test's own");
    knib.finish().exits(0);
    assert_eq!(interrupted(&site, &vm), None);
    is_carried_on(&site, &vm, &truth);
}
