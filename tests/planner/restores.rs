//! Restores: what a chain and its backup must be like, and the room that is reckoned with.

use std::collections::BTreeMap;
use std::sync::Arc;

use camino::Utf8Path;
use insta::assert_snapshot;
use knib::model::bytes::Bytes;
use knib::model::digest::Digest;
use knib::model::ground::Ground;
use knib::model::id::BackupId;
use knib::model::id::Target;
use knib::model::layout;
use knib::model::machine::Format;
use knib::model::op::Op;
use knib::model::op::Stopping;
use knib::model::reason::Block;
use knib::model::world::Guest;
use knib::model::world::Space;
use knib::planner::restore;
use knib::planner::restore::How;
use knib::planner::restore::InPlace;
use knib::planner::restore::NewVm;

use super::make;

const NIGHTLY: &str = "schedules: { nightly: { cron: \"0 2 * * *\" } }";

/// Restores the second of two backups after something was changed in the record.
fn restored(change: impl FnOnce(&mut Guest, &BackupId, &BackupId)) -> String {
    restored_so(How::default(), change)
}

fn restored_so(how: How, change: impl FnOnce(&mut Guest, &BackupId, &BackupId)) -> String {
    let mut guest = make::vm("db-01", &["vda"]);
    let first = make::backed_up(&mut guest, "2026-11-22T02:00:00Z", 1);
    let second = make::backed_up(&mut guest, "2026-11-23T02:00:00Z", 2);
    change(&mut guest, &first, &second);
    let asked = NewVm {
        from: guest.vm.uuid.clone(),
        backup: second,
        name: "copy".to_owned(),
        dir: None,
        format: Format::Qcow2,
        keep_mac: false,
        network: None,
        start: false,
        how,
    };
    let mut world = make::world("2026-11-23T12:00:00Z");
    make::add(&mut world, guest);
    make::lines(&restore::new_vm(
        &asked,
        &Ground::default(),
        &world,
        &make::options(),
    ))
}

#[test]
fn a_chain_that_fits_is_restored() {
    assert_snapshot!(restored(|_, _, _| {}), @"restore_new restore.copy");
}

#[test]
fn a_parent_that_is_another_file_than_the_one_continued_is_refused() {
    let swapped = restored(|guest, first, _| {
        let backup = guest.record.backups.get_mut(first).expect("it is there");
        let disk = Arc::make_mut(backup).disks.get_mut(&Target::new("vda"));
        disk.expect("it is there").birth = Digest::of(b"another");
    });
    assert_snapshot!(swapped, @"restore_new restore.copy !chain_broken");
}

#[test]
fn a_parent_that_is_gone_is_refused() {
    let gone = restored(|guest, first, _| {
        guest.record.backups.remove(first);
    });
    assert_snapshot!(gone, @"restore_new restore.copy !unusable !chain_broken");
}

#[test]
fn a_chain_that_runs_in_a_circle_is_refused() {
    let circle = restored(|guest, first, second| {
        let edge = guest.record.backups[second].disks[&Target::new("vda")]
            .parent
            .clone();
        let backup = guest.record.backups.get_mut(first).expect("it is there");
        let disk = Arc::make_mut(backup).disks.get_mut(&Target::new("vda"));
        let mut edge = edge.expect("it continues the first");
        edge.backup = second.clone();
        disk.expect("it is there").parent = Some(edge);
    });
    assert_snapshot!(circle, @"restore_new restore.copy !chain_broken");
}

#[test]
fn one_that_was_let_go_is_refused_unless_somebody_insists() {
    let let_go = |removed| {
        let how = How {
            removed,
            ..How::default()
        };
        restored_so(how, |guest, _, second| {
            let backup = guest.record.backups.get_mut(second).expect("it is there");
            Arc::make_mut(backup).marks.removed = Some(make::at("2026-11-23T03:00:00Z"));
        })
    };
    assert_snapshot!(let_go(false), @"restore_new restore.copy !removed");
    assert_snapshot!(let_go(true), @"restore_new restore.copy");
}

#[test]
fn room_is_reckoned_uncompressed_and_for_all_that_one_command_restores() {
    let mut world = make::world("2026-11-23T12:00:00Z");
    let mut backups = Vec::new();
    for name in ["db-01", "db-02"] {
        let mut guest = make::vm(name, &["vda"]);
        let id = make::backed_up(&mut guest, "2026-11-22T02:00:00Z", 1);
        let backup = guest.record.backups.get_mut(&id).expect("it is there");
        let disk = Arc::make_mut(backup).disks.get_mut(&Target::new("vda"));
        // 1 GiB on the storage.
        disk.expect("it is there").uncompressed = Some(Bytes(6 << 30));
        backups.push((guest.vm.uuid.clone(), id));
        make::add(&mut world, guest);
    }
    let asked = InPlace {
        backups,
        stop: Some(Stopping {
            ask: None,
            pull: true,
        }),
        discard: false,
        dir: None,
        how: How::default(),
    };
    let plan = |free: u64| {
        let space = Space {
            free: Bytes(free),
            ..make::space(1)
        };
        let ground = Ground {
            room: BTreeMap::from([("/images".into(), space)]),
            ..Ground::default()
        };
        restore::vms(&asked, &ground, &world, &make::options())
    };
    assert_snapshot!(make::lines(&plan(12 << 30)), @r"
    restore_vm restore.db-01
    restore_vm restore.db-02
    ");
    let blocked = plan((12 << 30) - 1);
    assert_snapshot!(make::lines(&blocked), @r"
    restore_vm restore.db-01
    restore_vm restore.db-02 !no_room
    ");
    let Some(Block::Blocked(refusal)) = blocked.actions[1].blocked_by.first() else {
        panic!("it is blocked");
    };
    assert_snapshot!(refusal.text, @"/images has 12 GiB free, and the VMs restored before it take 6 GiB; the disks may take 6 GiB");
}

/// Two restores in one second would otherwise want the same file.
#[test]
fn an_id_that_a_disk_in_use_is_named_after_is_not_given_again() {
    let id = |disk: &Utf8Path| {
        let mut guest = make::vm("db-01", &["vda"]);
        make::cover(&mut guest, "vda", disk.as_str(), 1 << 20);
        let mut world = make::world("2026-11-23T12:00:00Z");
        make::add(&mut world, guest);
        let plan = make::plan(&make::one_policy(NIGHTLY), &world);
        let backup = plan.actions.iter().find_map(|action| match &action.op {
            Op::Backup(backup) => Some(backup.id.clone()),
            _ => None,
        });
        backup.expect("the first backup is due")
    };
    let disk = Utf8Path::new("/images/other.qcow2");
    let given = id(disk);
    assert_eq!(id(disk), given);
    assert_ne!(id(&layout::restored(disk, &given)), given);
}
