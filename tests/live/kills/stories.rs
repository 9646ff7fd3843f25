//! The operations that are killed, each from the same world again and again.

use std::fs;

use crate::support::Disk;
use crate::support::MIB;
use crate::support::oracle;
use crate::support::tool::virsh;

use super::Story;
use super::world::Told;
use super::world::World;

fn nothing(_: &mut World) {}

fn say(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// A backup is made from the instant before the kill or, when nothing was captured by then, from the next apply's.
pub(super) fn one_of_both(world: &mut World, told: &Told) {
    world.may_hold = vec![told.after.clone()];
    world.look_at_backups(&[&told.before, &told.after]);
}

fn backup_with(on: bool, ask: fn(&World) -> Vec<String>) -> Story {
    Story {
        verb: "backup",
        on,
        writes: true,
        changes: 30,
        begin: nothing,
        prepare: World::write,
        ask,
        check: one_of_both,
    }
}

pub(super) fn backup_running() -> Story {
    backup_with(true, |world| say(&["backup", "run", &world.vm.name]))
}

pub(super) fn backup_stopped() -> Story {
    backup_with(false, |world| say(&["backup", "run", &world.vm.name]))
}

pub(super) fn backup_full_running() -> Story {
    backup_with(true, |world| {
        say(&["backup", "run", &world.vm.name, "--full"])
    })
}

pub(super) fn backup_isolated_stopped() -> Story {
    backup_with(false, |world| {
        say(&["backup", "run", &world.vm.name, "--isolated"])
    })
}

/// A chain of two, with writes since.
fn in_a_chain(world: &mut World) {
    world.backup(&[]);
    world.write();
}

fn finish(on: bool) -> Story {
    Story {
        verb: "merge",
        on,
        writes: true,
        changes: 12,
        begin: nothing,
        prepare: in_a_chain,
        ask: |world| say(&["chain", "finish", &world.vm.name]),
        check: one_of_both,
    }
}

pub(super) fn finish_running() -> Story {
    finish(true)
}

pub(super) fn finish_stopped() -> Story {
    finish(false)
}

fn delete(on: bool) -> Story {
    Story {
        verb: "delete",
        on,
        writes: true,
        changes: 14,
        begin: nothing,
        prepare: in_a_chain,
        ask: |world| say(&["backup", "delete", &world.newest()]),
        check: one_of_both,
    }
}

pub(super) fn delete_running() -> Story {
    delete(true)
}

pub(super) fn delete_stopped() -> Story {
    delete(false)
}

/// The name of this time's snapshot.
fn snapshot(world: &World) -> String {
    format!("s{}", world.round)
}

pub(super) fn snapshots(world: &World) -> Vec<String> {
    let list = ["snapshot", "list", &world.vm.name, "--format", "json"];
    let listed = world.knib(&list).json();
    let all = listed.as_array().expect("a list is an array").iter();
    all.map(|one| one["name"].as_str().expect("a name").to_owned())
        .collect()
}

fn drop_snapshots(world: &mut World) {
    for name in snapshots(world) {
        world.knib(&["snapshot", "delete", &world.vm.name, &name]);
    }
}

pub(super) fn snapshot_create_running() -> Story {
    Story {
        verb: "snapshot_create",
        on: true,
        writes: true,
        changes: 10,
        begin: nothing,
        prepare: World::write,
        ask: |world| say(&["snapshot", "create", &world.vm.name, &snapshot(world)]),
        check: |world, told| {
            one_of_both(world, told);
            drop_snapshots(world);
        },
    }
}

pub(super) fn snapshot_delete_running() -> Story {
    Story {
        verb: "snapshot_delete",
        on: true,
        writes: true,
        changes: 10,
        begin: nothing,
        prepare: |world| {
            world.write();
            world.knib(&["snapshot", "create", &world.vm.name, &snapshot(world)]);
            world.write();
        },
        ask: |world| say(&["snapshot", "delete", &world.vm.name, &snapshot(world)]),
        check: |world, told| {
            one_of_both(world, told);
            drop_snapshots(world);
        },
    }
}

pub(super) fn snapshot_revert_stopped() -> Story {
    Story {
        verb: "snapshot_revert",
        on: false,
        writes: false,
        changes: 10,
        begin: nothing,
        prepare: |world| {
            world.write();
            world.kept = vec![world.truths()];
            world.knib(&["snapshot", "create", &world.vm.name, &snapshot(world)]);
            world.write();
        },
        ask: |world| say(&["snapshot", "revert", &world.vm.name, &snapshot(world)]),
        check: |world, told| {
            back_or_not(world, told);
            world.look_at_disks();
            drop_snapshots(world);
        },
    }
}

/// The disks hold what they are to go back to, or what they held.
fn back_or_not(world: &mut World, told: &Told) {
    world.may_hold = vec![world.kept[0].clone(), told.before.clone()];
}

/// A backup to go back to, and writes since; nothing of an earlier restore is there.
fn to_go_back_to(world: &mut World) {
    world.backup(&[]);
    world.kept = vec![world.truths()];
    world.recover();
    world.write();
}

fn restore_vm(ask: fn(&World) -> Vec<String>) -> Story {
    Story {
        verb: "restore_vm",
        on: false,
        writes: false,
        changes: 20,
        begin: nothing,
        prepare: to_go_back_to,
        ask,
        check: back_or_not,
    }
}

pub(super) fn restore_vm_stopped() -> Story {
    restore_vm(|world| say(&["restore", "vm", &world.newest()]))
}

pub(super) fn restore_vm_quick() -> Story {
    restore_vm(|world| say(&["restore", "vm", &world.newest(), "--quick"]))
}

/// What the replaced disks leave goes with the next good backup.
pub(super) fn discard_stopped() -> Story {
    Story {
        verb: "discard",
        on: false,
        writes: true,
        changes: 4,
        begin: nothing,
        prepare: |world| {
            to_go_back_to(world);
            world.knib(&["restore", "vm", &world.newest()]);
            let kept = world.kept[0].clone();
            world.goes_back_to(&kept);
            world.backup(&[]);
        },
        ask: |_| say(&["apply", "--auto-approve"]),
        check: one_of_both,
    }
}

fn restored(quick: bool) -> Story {
    Story {
        verb: "restore_new",
        on: false,
        writes: false,
        changes: if quick { 20 } else { 14 },
        // The apply that ends it is not to back the new one up as well.
        begin: |world| world.policy("$RUN-*", &format!("{}-a", world.site.run)),
        prepare: nothing,
        ask: if quick {
            |world| {
                let words = say(&["restore", "new", &world.newest(), "--name"]);
                [words, say(&[&new_name(world), "--quick"])].concat()
            }
        } else {
            |world| {
                let words = say(&["restore", "new", &world.newest(), "--name"]);
                [words, vec![new_name(world)]].concat()
            }
        },
        check: new_one_is_whole,
    }
}

fn new_name(world: &World) -> String {
    format!("{}-new{}", world.site.run, world.round)
}

/// There is no new VM and nothing of it, or it stands alone and holds what the backup does.
fn new_one_is_whole(world: &mut World, told: &Told) {
    // The name is that of the time that was just over.
    world.round -= 1;
    let name = new_name(world);
    let short = format!("new{}", world.round);
    world.round += 1;
    if virsh(["domuuid", &name]).ok {
        let new = world.site.defined(&short);
        if new.state() != "shut off" {
            new.destroy();
        }
        for (target, truth) in ["vda", "vdb"].iter().zip(&world.backups[&world.newest()]) {
            oracle::assert_same(&new.source(target), truth);
            let head = oracle::info(&new.source(target));
            assert_eq!(head.get("backing-filename"), None, "{target}");
        }
        let files: Vec<_> = new.disks.values().cloned().collect();
        virsh(["undefine", &name]).must();
        for file in files {
            fs::remove_file(file).expect("it is the test's own");
        }
    }
    let primary = oracle::listing(&world.site.primary());
    assert!(!primary.contains(&name), "{primary}");
    world.may_hold = vec![told.before.clone()];
}

pub(super) fn restore_new() -> Story {
    restored(false)
}

pub(super) fn restore_new_quick() -> Story {
    restored(true)
}

pub(super) fn restore_disk_stopped() -> Story {
    Story {
        verb: "restore_disk",
        on: false,
        writes: false,
        changes: 14,
        begin: nothing,
        prepare: nothing,
        ask: |world| {
            let disk = ["restore", "disk", &world.newest(), "vda"];
            say(&[&disk[..], &["--to", &world.vm.name, "--as", "vdc"]].concat())
        },
        check: |world, told| {
            let name = world.vm.name.clone();
            if let Some(file) = world
                .vm
                .sources(crate::support::vm::Xml::Inactive)
                .get("vdc")
            {
                oracle::assert_same(file, &world.backups[&world.newest()][0]);
                virsh(["detach-disk", &name, "vdc", "--config"]).must();
                fs::remove_file(file).expect("it is the test's own");
            }
            let files = fs::read_dir(world.site.primary()).expect("it is there");
            let names = files.map(|file| file.expect("it is read").file_name());
            let vdc = names.filter(|name| name.to_string_lossy().contains("vdc"));
            assert_eq!(vdc.count(), 0);
            world.may_hold = vec![told.before.clone()];
        },
    }
}

/// No policy selects the VM, and then one does again.
pub(super) fn leave_running() -> Story {
    Story {
        verb: "unassign",
        on: true,
        writes: true,
        changes: 14,
        begin: |world| {
            // Another one stays.
            let _other = world.site.vm("b").disk(Disk::qcow2("vda", MIB)).define();
            let other = "  other:\n    select: { names: [\"$RUN-b\"] }\n    offering: plain\n    storage: nas\n";
            world.policy(
                "policies:\n",
                &format!(
                    "policies:\n{other}    schedules: {{ leap: {{ cron: \"0 0 29 2 *\" }} }}\n"
                ),
            );
            world.policy("$RUN-*", "$RUN-a");
            world.recover();
        },
        prepare: |world| {
            // It comes back, with a full backup and a delta.
            let gone = "names: [\"gone-*\"]";
            let there = format!("names: [\"{}-a\"]", world.site.run);
            let file = world.site.path("knib.yaml");
            if fs::read_to_string(file)
                .expect("there is a policy")
                .contains(gone)
            {
                world.policy(gone, &there);
            }
            world.recover();
            world.backup(&[]);
            world.write();
            world.policy(&there, gone);
        },
        ask: |_| say(&["apply", "--auto-approve"]),
        check: |world, told| {
            one_of_both(world, told);
            let ours = oracle::deltas(&world.site.primary());
            let mut ours = ours.iter().map(|delta| delta.to_string_lossy());
            assert!(!ours.any(|delta| delta.contains(&world.vm.name)));
        },
    }
}

/// The backups belong to another host, for all that is known, and the chain goes on.
pub(super) fn adopt_stopped() -> Story {
    Story {
        verb: "adopt",
        on: false,
        writes: false,
        changes: 6,
        begin: nothing,
        prepare: |world| {
            let owner = r#"{"host_uuid":"10000000-0000-4000-8000-000000000009","hostname":"hv9",
                "state_id":"10000000-0000-4000-8000-000000000008","since":"2026-11-23T00:00:00Z"}"#;
            let dir = world.site.storage().join(world.vm.uuid());
            fs::write(dir.join("owner.json"), owner).expect("the directory is the test's own");
        },
        ask: |world| say(&["vm", "adopt", &world.vm.name]),
        check: |world, told| {
            world.may_hold = vec![told.before.clone()];
            world.knib(&["vm", "adopt", &world.vm.name]);
            world.backup(&[]);
            world.may_hold = vec![world.truths()];
        },
    }
}

pub(super) fn compress() -> Story {
    Story {
        verb: "compress",
        on: false,
        writes: true,
        changes: 16,
        begin: |world| world.policy("backupChainSize: 0", "backupChainSize: 0, compress: true"),
        prepare: |world| {
            world.backup(&[]);
        },
        ask: |_| say(&["apply", "--auto-approve", "--only", "jobs"]),
        check: |world, told| {
            one_of_both(world, told);
            for backup in world.site.backups(&world.vm) {
                for (target, truth) in ["vda", "vdb"].iter().zip(&world.backups[backup.id()]) {
                    oracle::assert_same(&backup.file(target), truth);
                }
            }
        },
    }
}

/// It is booted, and nobody can tell whether it came up.
pub(super) fn validate() -> Story {
    Story {
        verb: "validate",
        on: false,
        writes: true,
        changes: 10,
        begin: |world| {
            let how = "validate: { steps: [waitForBoot], bootTimeout: 1s, interval: 24h }";
            world.policy("backupChainSize: 0", &format!("backupChainSize: 0, {how}"));
            world.judges = true;
            world.recover();
        },
        prepare: |world| {
            world.backup(&[]);
        },
        ask: |world| say(&["backup", "validate", &world.newest()]),
        check: |world, told| {
            one_of_both(world, told);
            let name = format!("knib-validate-{}", world.vm.name);
            assert!(!virsh(["domuuid", &name]).ok, "{name} is there");
            let primary = oracle::listing(&world.site.primary());
            assert!(!primary.contains("knib-validate"), "{primary}");
        },
    }
}

pub(super) fn pin() -> Story {
    Story {
        verb: "pin",
        on: false,
        writes: true,
        changes: 4,
        begin: nothing,
        prepare: |world| {
            world.knib(&["backup", "unpin", &world.newest()]);
        },
        ask: |world| say(&["backup", "pin", &world.newest()]),
        check: |world, told| {
            one_of_both(world, told);
            let listed = &world.site.newest(&world.vm).0;
            let record = world.site.newest(&world.vm).dir().join("backup.json");
            let record = fs::read_to_string(record).expect("a record");
            let record: serde_json::Value = serde_json::from_str(&record).expect("JSON");
            let written = record["marks"]["pinned"] == true;
            assert_eq!(listed["pinned"] == true, written, "{record:#}");
        },
    }
}

/// A storage that is new in the policy.
pub(super) fn storage_create() -> Story {
    Story {
        verb: "storage_create",
        on: false,
        writes: false,
        changes: 5,
        begin: nothing,
        prepare: |world| {
            let name = format!("more{}", world.round);
            let dir = world.site.make_dir(&name);
            let line = format!(
                "storage:\n  {name}: {{ path: {}, minFree: 1MiB }}\n",
                dir.display()
            );
            world.policy("storage:\n", &line);
        },
        ask: |_| say(&["apply", "--auto-approve"]),
        check: one_of_both,
    }
}
