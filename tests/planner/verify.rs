//! Which backups are read again, when, and how much of it one plan takes up.

use std::sync::Arc;

use knib::model::bytes::Bytes;
use knib::model::change::Change;
use knib::model::id::BackupId;
use knib::model::op::Op;
use knib::model::policy::Policy;
use knib::model::verification::Found;
use knib::model::world::World;

use super::make;

/// Three backups of a VM, one a day from the 1st on, on a storage that is to be verified so.
fn three(verify: &str) -> (World, Policy, Vec<BackupId>) {
    let policy = make::policy(&format!(
        "version: 1\nstorage:\n  nas: {{ path: /nas, verify: {{ {verify} }} }}\nofferings:\n  plain: {{}}\n\
         policies:\n  all:\n    select: {{ names: [\"db-*\"] }}\n    offering: plain\n    storage: nas\n    \
         schedules:\n      leap: {{ cron: \"0 0 29 2 *\" }}\n"
    ));
    let mut guest = make::vm("db-01", &["vda"]);
    let ids = [1, 2, 3].map(|day| {
        let at = format!("2026-11-{day:02}T02:00:00Z");
        make::backed_up(&mut guest, &at, day)
    });
    let mut world = make::world("2026-11-03T12:00:00Z");
    make::add(&mut world, guest);
    let world = make::applied(&policy, &world, "2026-11-03T13:00:00Z");
    (world, policy, ids.into())
}

/// The backups that are read by a plan of an instant.
fn read(world: &World, policy: &Policy, at: &str) -> Vec<BackupId> {
    let mut world = world.clone();
    world.now = make::at(at);
    let plan = make::plan(policy, &world);
    let read = plan.actions.iter().filter_map(|action| match &action.op {
        Op::Verify(op) => Some(op.of.backup.clone()),
        _ => None,
    });
    read.collect()
}

fn learn(world: &mut World, backup: &BackupId, at: &str, found: Found) {
    let vm = world.guests.values().next().expect("one VM").vm.clone();
    world.learn(&Change::Verified {
        vm,
        backup: backup.clone(),
        at: make::at(at),
        found,
    });
}

#[test]
fn the_longest_unread_come_first_and_each_after_its_interval() {
    let (mut world, policy, ids) = three("interval: 10d");
    let none: [BackupId; 0] = [];
    assert_eq!(read(&world, &policy, "2026-11-11T01:59:59Z"), none);
    assert_eq!(read(&world, &policy, "2026-11-11T02:00:00Z"), ids[..1]);
    assert_eq!(read(&world, &policy, "2026-11-20T02:00:00Z"), ids);

    learn(&mut world, &ids[0], "2026-11-11T03:00:00Z", Found::Whole);
    let (first, others) = (&ids[..1], &ids[1..]);
    assert_eq!(read(&world, &policy, "2026-11-21T02:00:00Z"), others);
    let order = [others, first].concat();
    assert_eq!(read(&world, &policy, "2026-11-21T03:00:00Z"), order);
}

#[test]
fn one_that_could_not_be_read_is_tried_again_the_next_day() {
    let (mut world, policy, ids) = three("interval: 10d");
    learn(&mut world, &ids[0], "2026-11-11T03:00:00Z", Found::Unread);
    let none: [BackupId; 0] = [];
    assert_eq!(read(&world, &policy, "2026-11-12T01:59:00Z"), none);
    assert_eq!(read(&world, &policy, "2026-11-12T03:00:00Z")[1..], ids[..1]);
    let record = &world.guests.values().next().expect("one VM").record;
    assert_eq!(record.verified(&ids[0]), None, "nothing was shown by it");
}

#[test]
fn a_plan_takes_up_an_hour_of_reading() {
    let (mut world, policy, ids) = three("interval: 1d, rateLimit: 1MB/s");
    let guest = world.guests.values_mut().next().expect("one VM");
    for backup in guest.record.backups.values_mut() {
        for disk in Arc::make_mut(backup).disks.values_mut() {
            disk.size = Bytes(2_000_000_000);
        }
    }
    assert_eq!(read(&world, &policy, "2026-11-20T02:00:00Z"), ids[..2]);
}

#[test]
fn what_was_found_is_told_until_the_record_on_the_storage_says_it() {
    let (mut world, policy, ids) = three("interval: 10d");
    let why = knib::model::backup::Unusable {
        code: "damaged".to_owned(),
        file: Some("vda.qcow2".to_owned()),
    };
    let at = "2026-11-04T03:00:00Z";
    learn(&mut world, &ids[1], at, Found::Damaged(why));
    let usable = |world: &World| {
        let record = &world.guests.values().next().expect("one VM").record;
        ids.iter()
            .map(|id| record.is_usable(id))
            .collect::<Vec<_>>()
    };
    assert_eq!(usable(&world), [true, false, false], "at once");
    let plan = make::plan(&policy, &world);
    assert_eq!(make::lines(&plan).matches("mark_unusable.").count(), 1);

    // Put right before that was written, it is as if nothing had been.
    let mut mended = world.clone();
    learn(&mut mended, &ids[1], at, Found::Whole);
    assert_eq!(usable(&mended), [true; 3]);
    assert_eq!(make::plan(&policy, &mended).actions.len(), 0);

    let mut world = make::applied(&policy, &world, "2026-11-04T04:00:00Z");
    assert_eq!(make::plan(&policy, &world).actions.len(), 0);
    learn(&mut world, &ids[1], "2026-11-04T05:00:00Z", Found::Whole);
    let plan = make::plan(&policy, &world);
    assert_eq!(make::lines(&plan).matches("mark_unusable.").count(), 1);
}
