//! New VMs from backups: what a chain must be like.

use std::sync::Arc;

use insta::assert_snapshot;
use knib::model::digest::Digest;
use knib::model::ground::Ground;
use knib::model::id::BackupId;
use knib::model::id::Target;
use knib::model::machine::Format;
use knib::model::world::Guest;
use knib::planner::restore;
use knib::planner::restore::How;
use knib::planner::restore::NewVm;

use super::make;

/// Restores the second of two backups after something was changed in the record.
fn restored(change: impl FnOnce(&mut Guest, &BackupId, &BackupId)) -> String {
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
        how: How::default(),
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
