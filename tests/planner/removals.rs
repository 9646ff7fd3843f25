//! What goes: policies, offerings, and VMs that no policy selects any more.

use insta::assert_snapshot;
use knib::model::op::Op;
use knib::model::world::World;

use super::make;

const NIGHTLY: &str = "schedules:\n  nightly: { cron: \"0 2 * * *\" }";

fn protected() -> World {
    let policy = make::one_policy(NIGHTLY);
    let mut world = make::world("2026-11-22T12:00:00Z");
    let mut guest = make::vm("db-01", &["vda"]);
    make::backed_up(&mut guest, "2026-11-22T12:00:00Z", 1);
    make::add(&mut world, guest);
    make::applied(&policy, &world, "2026-11-22T13:00:00Z")
}

#[test]
fn a_vm_that_leaves_has_its_delta_merged_first() {
    let empty = make::policy("version: 1\nstorage: { nas: { path: /nas } }\npolicies: {}\n");
    let plan = make::plan(&empty, &protected());
    assert_snapshot!(make::lines(&plan), @r"
    merge merge.db-01
    unassign assign.db-01
    policy_delete policy.all
    offering_delete offering.plain
    ");
    let Op::Merge(merge) = &plan.actions[0].op else {
        panic!("a merge")
    };
    assert!(merge.leave);
}

#[test]
fn a_vm_that_lost_its_note_has_its_delta_merged_all_the_same() {
    let empty = make::policy("version: 1\nstorage: { nas: { path: /nas } }\npolicies: {}\n");
    let mut world = protected();
    let guest = world.guests.values_mut().next().expect("a guest");
    guest.machine.as_mut().expect("a VM").note = None;
    let plan = make::plan(&empty, &world);
    assert!(make::lines(&plan).starts_with("merge merge.db-01\nunassign"));
}

#[test]
fn an_offering_stays_while_a_vm_cannot_leave_it() {
    let empty = make::policy("version: 1\nstorage: { nas: { path: /nas } }\npolicies: {}\n");
    let mut world = protected();
    let guest = world.guests.values_mut().next().expect("a guest");
    guest.machine.as_mut().expect("a VM").managed_save = true;
    assert_snapshot!(make::lines(&make::plan(&empty, &world)), @r"
    merge merge.db-01 !managed_save
    policy_delete policy.all !policy_held
    offering_delete offering.plain !offering_held
    ");
}

#[test]
fn a_vm_that_is_gone_keeps_its_backups() {
    let policy = make::one_policy(NIGHTLY);
    let mut world = protected();
    world.guests.values_mut().next().expect("a guest").machine = None;
    assert_snapshot!(make::lines(&make::plan(&policy, &world)), @"unassign assign.db-01");
}
