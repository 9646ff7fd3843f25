//! Freezing, with the real guest and its agent.

use std::time::Duration;
use std::time::Instant;

use camino::Utf8PathBuf;
use knib::host::Host;
use knib::model::fault::Fault;
use knib::model::id::VmId;
use knib::model::machine::Agent;
use knib::model::machine::Power;

use crate::host::lab::*;
use crate::support::Disk;
use crate::support::Live;
use crate::support::deadline::wait_until;
use crate::support::guest::Guest;
use crate::support::vm::Vm;

const LIMIT: Duration = Duration::from_secs(3);

/// A VM with one disk and a guest that runs.
struct Booted {
    live: Live,
    vm: Vm,
    id: VmId,
    guest: Guest,
}

impl Booted {
    fn new() -> Self {
        let live = Live::new();
        let (vm, guest) = live
            .vm("a")
            .disk(Disk::qcow2("vda", 16 * MIB).ext4())
            .boot();
        let id = VmId::new(vm.uuid());
        Self {
            live,
            vm,
            id,
            guest,
        }
    }

    fn overlay(&self) -> Utf8PathBuf {
        Utf8PathBuf::from_path_buf(self.live.path("primary/a.1")).expect("it is UTF-8")
    }

    async fn snapshot(&self, freeze: Option<Duration>) -> knib::host::Result<()> {
        let overlays = [new_overlay("vda", &self.overlay())];
        host()
            .await
            .snapshot(&self.id, &overlays, &[], freeze)
            .await
    }
}

#[tokio::test]
async fn a_guest_is_frozen_for_the_snapshot_alone() {
    let (booted, host) = (Booted::new(), host().await);
    let machine = host.machine(&booted.id).await.expect("there");
    assert_eq!(
        (machine.power, machine.agent),
        (Power::Running, Agent::Connected)
    );
    // The hook leaves a trace inside of the frozen instant.
    booted
        .guest
        .run("printf '#!/bin/busybox sh\\necho $1 >>/tmp/hook\\n' >/sbin/fsfreeze-hook");
    assert!(!host.is_frozen(&booted.id).await.expect("asked"));
    booted.snapshot(Some(LIMIT)).await.expect("taken");
    assert_eq!(booted.vm.source("vda"), booted.overlay());
    assert_eq!(booted.guest.run("cat /tmp/hook"), "freeze\nthaw\n");
    assert!(!host.is_frozen(&booted.id).await.expect("asked"));
    booted.guest.write_file("vda", "after", 64);
}

#[tokio::test]
async fn without_a_wish_nobody_is_frozen() {
    let booted = Booted::new();
    booted
        .guest
        .run("printf '#!/bin/busybox sh\\necho $1 >>/tmp/hook\\n' >/sbin/fsfreeze-hook");
    booted.snapshot(None).await.expect("taken");
    assert_eq!(booted.guest.run("cat /tmp/hook || true"), "");
}

/// The guest freezes after everybody stopped waiting, and has to be thawed then.
#[tokio::test]
async fn a_freeze_that_takes_too_long_is_a_debt() {
    let (booted, host) = (Booted::new(), host().await);
    booted.guest.run("echo 8 >/tmp/freeze-seconds");
    let begun = Instant::now();
    let error = booted
        .snapshot(Some(LIMIT))
        .await
        .expect_err("its hook is slow");
    assert_eq!(error.fault, Fault::Agent, "{error}");
    assert!(begun.elapsed() >= LIMIT && begun.elapsed() < Duration::from_secs(8));
    assert_eq!(booted.vm.source("vda"), booted.vm.disks["vda"]);
    assert!(!booted.overlay().exists());
    let frozen = wait_frozen(&host, &booted.id).await;
    assert!(frozen, "the hook is over and the guest is frozen");
    host.thaw(&booted.id).await.expect("thawed");
    assert!(!host.is_frozen(&booted.id).await.expect("asked"));
    booted.guest.write_file("vda", "after", 64);
}

async fn wait_frozen(host: &knib::host::Local, vm: &VmId) -> bool {
    let end = Instant::now() + Duration::from_secs(60);
    while Instant::now() < end {
        // While the hook runs the agent does not answer.
        if host.is_frozen(vm).await.is_ok_and(|frozen| frozen) {
            return true;
        }
    }
    false
}

#[tokio::test]
async fn a_freeze_that_fails_leaves_the_vm_as_it_was() {
    let (booted, host) = (Booted::new(), host().await);
    booted.guest.run("touch /tmp/freeze-fails");
    let error = booted
        .snapshot(Some(LIMIT))
        .await
        .expect_err("its hook fails");
    assert_eq!(error.fault, Fault::Agent, "{error}");
    assert_eq!(booted.vm.source("vda"), booted.vm.disks["vda"]);
    assert!(!booted.overlay().exists());
    assert!(!host.is_frozen(&booted.id).await.expect("asked"));
    // The agent's time limit is libvirt's own again: a hook slower than knib's is waited for.
    booted
        .guest
        .run("rm /tmp/freeze-fails; echo 5 >/tmp/freeze-seconds");
    virsh(&["domfsfreeze", &booted.vm.name]);
    assert!(booted.guest.is_frozen());
    host.thaw(&booted.id).await.expect("thawed");
    assert!(!booted.guest.is_frozen());
}

/// The overlays are there then: whoever asked must look again.
#[tokio::test]
async fn a_thaw_that_takes_too_long_comes_after_the_snapshot() {
    let (booted, host) = (Booted::new(), host().await);
    booted.guest.run(
        "printf '#!/bin/busybox sh\\n[ $1 = thaw ] && sleep 6\\nexit 0\\n' >/sbin/fsfreeze-hook",
    );
    let error = booted
        .snapshot(Some(LIMIT))
        .await
        .expect_err("its hook is slow");
    assert_eq!(error.fault, Fault::Agent, "{error}");
    assert_eq!(booted.vm.source("vda"), booted.overlay());
    wait_until("the guest to thaw", 60, || {
        booted
            .guest
            .ask("guest-ping", &serde_json::json!({}))
            .is_ok()
    });
    assert!(!host.is_frozen(&booted.id).await.expect("asked"));
}

#[tokio::test]
async fn a_failed_snapshot_leaves_the_guest_thawed() {
    let (booted, host) = (Booted::new(), host().await);
    let nowhere = [new_overlay("vda", &booted.overlay().join("nowhere"))];
    let error = host.snapshot(&booted.id, &nowhere, &[], Some(LIMIT)).await;
    assert_eq!(error.expect_err("no directory").fault, Fault::Conflict);
    assert!(!booted.guest.is_frozen());
}

#[tokio::test]
async fn a_guest_without_an_agent_cannot_be_frozen() {
    let lab = Lab::new();
    let vm = lab.vm(&[("vda", &lab.image("a.qcow2", "qcow2", MIB))]);
    let host = host().await;
    let overlay = [new_overlay("vda", &lab.path("a.1"))];
    for running in [false, true] {
        vm.start();
        if running {
            virsh(&["resume", &vm.name]);
        }
        let error = host
            .snapshot(&vm.id, &overlay, &[], Some(LIMIT))
            .await
            .expect_err("no agent");
        assert_eq!(error.fault, Fault::Agent, "{error}");
        assert_eq!(
            host.is_frozen(&vm.id).await.expect_err("no agent").fault,
            Fault::Agent
        );
        assert_eq!(
            host.thaw(&vm.id).await.expect_err("no agent").fault,
            Fault::Agent
        );
        assert_eq!(vm.source("vda", &[]), lab.at("a.qcow2"));
        vm.stop();
    }
    // Off, there is nothing to freeze.
    host.snapshot(&vm.id, &overlay, &[], Some(LIMIT))
        .await
        .expect("taken");
    assert_eq!(vm.source("vda", &[]), lab.at("a.1"));
}
