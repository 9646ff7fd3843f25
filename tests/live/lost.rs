//! A host that lost everything but its storage gets its VMs back as they were.

use std::fs;
use std::path::Path;

use crate::support::Disk;
use crate::support::KIB;
use crate::support::MIB;
use crate::support::oracle;
use crate::support::tool::virsh;

use super::judge::assert_holds;
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
    let site = Site::new();
    let card = "<interface type='user'><model type='virtio'/></interface>";
    let vms = ["a", "b"].map(|name| {
        let vm = site.vm(name).device(card);
        let vm = vm
            .disk(Disk::qcow2("vda", 4 * MIB))
            .disk(Disk::raw("vdb", 2 * MIB));
        vm.define()
    });
    for (n, vm) in (1..).zip(&vms) {
        vm.write("vda", 0, n, MIB);
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
    // Without a state, to a VM that comes anew, and killed half way: an apply goes on with it.
    let name = format!("{}-new", site.run);
    let from = site.storage().display().to_string();
    let other = site.path("other.db").display().to_string();
    let latest = format!("{}@latest", vms[1].name);
    let new = ["restore", "new", &latest, "--name", &name, "--from", &from];
    let killed = site.knib_with(new.iter().chain(&["--state", &other]));
    let killed = killed.env("KNIB_CRASH_AT", "3").run();
    assert_ne!(killed.code(), Some(0), "{killed}");
    assert!(site.path("other.db.restore").exists());
    let apply = ["apply", "--auto-approve", "--state", &other];
    let went_on = site.knib(apply).exits(1);
    assert!(went_on.stderr.contains("that was interrupted"), "{went_on}");
    assert!(!site.path("other.db.restore").exists());
    assert_holds(&site.defined("new").source("vda"), &truths[1][0].1);

    // Once more: they are defined, and restored in place.
    let all = format!("{}-*@latest", site.run);
    site.knib(["restore", "vm", &all]).exits(0);
    for (target, truth) in &truths[1] {
        assert_holds(&vms[1].source(target), truth);
    }
    assert!(Path::new(&state).exists());
}
