//! A host that lost everything but its storage gets its VMs back as they were.

use std::fs;
use std::path::Path;

use crate::support::Disk;
use crate::support::KIB;
use crate::support::MIB;
use crate::support::Vm;
use crate::support::oracle;
use crate::support::tool::virsh;

use super::judge::assert_holds;
use super::quick::assert_alone;
use super::quick::readable;
use super::quick::slowly;
use super::site::Site;
use super::site::assert_unchanged;

/// The addresses of network cards.
fn macs(xml: &str) -> Vec<&str> {
    let lines = xml.lines().map(str::trim);
    lines.filter(|line| line.starts_with("<mac ")).collect()
}

/// The commands that README names for a host that lost everything, with a storage of our own.
fn commands(site: &Site) -> Vec<String> {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = fs::read_to_string(readme).expect("there is a README");
    let (_, section) = readme
        .split_once("## A host rebuilt from its storage")
        .expect("it has the section");
    let (_, block) = section.split_once("```sh\n").expect("it has commands");
    let (block, _) = block.split_once("```").expect("they end");
    let storage = site.storage().display().to_string();
    let plain = |line: &str| {
        let command = line.split('#').next().unwrap_or_default().trim();
        command.replace("/mnt/backup/nas1", &storage)
    };
    block.lines().map(plain).collect()
}

/// Runs one of them, without a question.
fn run(site: &Site, command: &str) -> String {
    let command = command
        .replace('\'', "")
        .replace("knib apply", "knib apply --auto-approve");
    let words = command.split_whitespace().skip(1);
    site.knib(words).exits(0).stdout
}

#[test]
fn vms_primary_and_state_are_gone_and_come_back_from_the_storage_alone() {
    let site = Site::with(
        "backupChainSize: 0",
        "backupChainSize: 0, allowQuickRestore: true",
    );
    readable(&site);
    let card = "<interface type='user'><model type='virtio'/></interface>";
    let vms = ["a", "b"].map(|name| {
        let vm = site.vm(name).device(card);
        let vm = vm
            .disk(Disk::qcow2("vda", 16 * MIB))
            .disk(Disk::raw("vdb", 2 * MIB));
        vm.define()
    });
    for (n, vm) in (1..).zip(&vms) {
        vm.write("vda", 0, n, 12 * MIB);
        vm.write("vdb", 64 * KIB, n + 8, 256 * KIB);
    }
    site.apply().exits(0);
    vms[0].start_paused();
    vms[0].write("vda", 128 * KIB, 0x55, 64 * KIB);
    site.backup(&vms[0], &[]);
    vms[0].destroy();
    let truths = vms
        .each_ref()
        .map(|vm| ["vda", "vdb"].map(|of| (of, vm.truth(of))));
    let were = vms
        .each_ref()
        .map(|vm| (vm.uuid(), vm.xml(crate::support::vm::Xml::Inactive)));
    let storage = oracle::listing(&site.storage());

    for vm in &vms {
        virsh(["undefine", &vm.name]).must();
    }
    let state = site.path("state.db");
    for gone in [site.primary(), state.with_extension("db.run")] {
        let _ = fs::remove_dir_all(gone);
    }
    for ending in ["db", "db-wal", "db-shm"] {
        let _ = fs::remove_file(state.with_extension(ending));
    }

    let commands = commands(&site);
    assert_eq!(commands.len(), 4, "{commands:?}");
    let plan = run(&site, &commands[0]);
    assert!(plan.contains("defined again as it was"), "{plan}");
    assert!(!site.primary().exists());
    site.mount_read_only("storage");
    run(&site, &commands[1]);
    site.unmount("storage");
    for ((vm, (uuid, xml)), truths) in vms.iter().zip(&were).zip(&truths) {
        assert_eq!(vm.uuid(), *uuid);
        let now = vm.xml(crate::support::vm::Xml::Inactive);
        assert_eq!(macs(&now), macs(xml));
        assert!(!macs(&now).is_empty());
        for (target, truth) in truths {
            assert_eq!(vm.source(target), vm.disks[*target]);
            assert_holds(&vm.source(target), truth);
        }
        vm.start_paused();
        vm.destroy();
    }
    assert_unchanged(&storage, &oracle::listing(&site.storage()));
    let states = fs::read_dir(site.root()).expect("it is there");
    let names = states.map(|entry| entry.expect("it can be read").file_name());
    let made: Vec<_> = names
        .filter(|name| name.to_string_lossy().starts_with("state"))
        .collect();
    assert!(made.is_empty(), "{made:?}");

    run(&site, &commands[2]);
    run(&site, &commands[3]);
    site.knib(["plan", "--detailed-exitcode"]).exits(0);
    let next = site.backup(&vms[0], &[]);
    assert_eq!(next.kind(), "full");
    without_a_state(&site, &vms[1], &truths[1][0].1);

    // Once more: they are defined, and restored in place.
    let all = format!("{}-*@latest", site.run);
    site.knib(["restore", "vm", &all]).exits(0);
    for (target, truth) in &truths[1] {
        assert_holds(&vms[1].source(target), truth);
    }
    assert!(Path::new(&state).exists());
}

/// Restores without a state that are interrupted: the plan and the status say so, an apply goes on with one, `resume`
/// with another, even if nothing is on record of that at all.
fn without_a_state(site: &Site, vm: &Vm, truth: &Path) {
    let from = site.storage().display().to_string();
    let other = site.path("other.db").display().to_string();
    let journal = site.path("other.db.restore");
    let latest = format!("{}@latest", vm.name);
    let name = format!("{}-new", site.run);
    let stateless = |args: &[&str]| {
        let named = [args, &["--state", &other]].concat();
        named.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    // A policy that knows nothing of the storage.
    let policy = site.path("bare.yaml").display().to_string();
    fs::write(&policy, "version: 1\npolicies: {}\n").expect("the directory is the test's own");
    let bare = |args: &[&str]| stateless(&[args, &["-f", &policy]].concat());

    let new = ["restore", "new", &latest, "--name", &name, "--from", &from];
    let killed = site.knib_with(stateless(&new));
    let killed = killed.env("KNIB_CRASH_AT", "performed").run();
    assert_ne!(killed.code(), Some(0), "{killed}");
    assert!(journal.exists());
    let plan = site.knib(bare(&["plan", "--detailed-exitcode"])).exits(2);
    assert!(plan.stdout.contains("recover"), "{plan}");
    let status = site.knib(bare(&["status"])).exits(0);
    assert!(status.stdout.contains("interrupted"), "{status}");
    let saved = site.path("saved.json").display().to_string();
    site.knib(bare(&["plan", "-o", &saved])).exits(0);
    let went_on = site.knib(bare(&["apply", &saved, "--auto-approve"]));
    let went_on = went_on.exits(0);
    assert!(went_on.stderr.contains("was interrupted"), "{went_on}");
    assert!(!journal.exists());
    assert_holds(&site.defined("new").source("vda"), truth);
    let plan = site.knib(stateless(&["plan"])).exits(1);
    assert!(!plan.stderr.contains("interrupted"), "{plan}");

    let name = format!("{}-quick", site.run);
    let new = ["restore", "new", &latest, "--name", &name, "--from", &from];
    let quick = [&new[..], &["--quick", "--detach"]].concat();
    let quick = stateless(&quick);
    slowly(site, &quick.iter().map(String::as_str).collect::<Vec<_>>())
        .run()
        .exits(0);
    virsh(["suspend", &name]).must();
    let plan = site.knib(bare(&["plan"])).exits(0);
    assert!(plan.stdout.contains("consolidate"), "{plan}");
    let plan = site.knib(stateless(&["plan"])).exits(1);
    assert!(plan.stderr.contains("restore resume"), "{plan}");
    let resume = ["restore", "resume", &name];
    let left = site.knib(stateless(&[&resume[..], &["--detach"]].concat()));
    let left = left.exits(0);
    assert!(left.stdout.contains("QEMU goes on"), "{left}");
    for gone in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{gone}", journal.display()));
    }
    let quick = site.defined("quick");
    quick.kill();
    site.knib(stateless(&[&resume[..], &["--from", &from]].concat()))
        .exits(0);
    assert!(!journal.exists());
    assert_alone(&quick);
    assert_holds(&quick.source("vda"), truth);
}
