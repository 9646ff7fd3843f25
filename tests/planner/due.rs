//! When a backup is due, held, missed or superseded.

use insta::assert_snapshot;
use knib::model::backup::Slot;
use knib::model::fault::Fault;
use knib::model::id::BackupId;
use knib::model::program::StepError;
use knib::model::record::Failed;
use knib::model::world::World;

use super::make;

/// One VM with a backup of yesterday noon, under a policy applied then, some time later.
fn later(policy: &str, now: &str) -> (World, knib::model::policy::Policy) {
    let policy = make::one_policy(policy);
    let mut world = make::world("2026-11-22T12:00:00Z");
    let mut guest = make::vm("db-01", &["vda"]);
    make::backed_up(&mut guest, "2026-11-22T12:00:00Z", 1);
    make::add(&mut world, guest);
    (make::applied(&policy, &world, now), policy)
}

fn planned(policy: &str, now: &str) -> String {
    let (world, policy) = later(policy, now);
    make::lines(&make::plan(&policy, &world))
}

const NIGHTLY: &str = "schedules:\n  nightly: { cron: \"0 2 * * *\" }";

#[test]
fn nothing_is_due_before_its_slot() {
    assert_eq!(planned(NIGHTLY, "2026-11-23T01:59:59Z"), "");
    assert_snapshot!(planned(NIGHTLY, "2026-11-23T02:00:00Z"), @"backup backup.db-01/nightly@2026-11-23T02:00Z chain 1 at 2, vda incremental");
}

#[test]
fn many_slots_that_passed_are_made_up_for_once() {
    let (world, policy) = later(NIGHTLY, "2026-11-27T09:00:00Z");
    let plan = make::plan(&policy, &world);
    assert_eq!(plan.actions.len(), 1);
    let reason = serde_json::to_value(&plan.actions[0].reason).expect("a reason");
    assert_eq!(reason["superseded_slots"], 4);
    assert_eq!(reason["slot"], "2026-11-27T02:00:00Z");
    assert_eq!(reason["late_by_seconds"], 7 * 3600);
}

#[test]
fn a_deadline_that_is_over_is_missed_and_said() {
    let policy = "schedules:\n  nightly: { cron: \"0 2 * * *\", deadline: 6h }";
    let (world, policy) = later(policy, "2026-11-23T08:00:01Z");
    let plan = make::plan(&policy, &world);
    assert!(plan.actions.is_empty());
    assert!(
        plan.findings.iter().any(|finding| finding.code == "missed"),
        "{:#?}",
        plan.findings
    );
}

#[test]
fn an_edited_schedule_does_not_fire_for_the_past() {
    let (world, _) = later(NIGHTLY, "2026-11-23T10:00:00Z");
    let edited = make::one_policy("schedules:\n  nightly: { cron: \"0 3 * * *\" }");
    assert_snapshot!(make::lines(&make::plan(&edited, &world)), @"policy_update policy.all");
}

#[test]
fn two_schedules_share_one_backup() {
    let policy = "schedules:\n  nightly: { cron: \"0 2 * * *\" }\n  hourly: { cron: \"@hourly\" }";
    assert_snapshot!(planned(policy, "2026-11-23T02:10:00Z"), @"backup backup.db-01/hourly+nightly@2026-11-23T02:00Z chain 1 at 2, vda incremental");
}

#[test]
fn a_slot_that_failed_waits_longer_each_time() {
    let (mut world, policy) = later(NIGHTLY, "2026-11-23T02:20:00Z");
    let failed = |at: &str, n: u32| Failed {
        backup: BackupId::allot(make::at(at), &knib::model::id::VmId::new("x"), n),
        at: make::at(at),
        slots: vec![Slot {
            schedule: "nightly".to_owned(),
            at: make::at("2026-11-23T02:00:00Z"),
        }],
        error: StepError {
            fault: Fault::NoSpace,
            text: "full".to_owned(),
            hint: None,
        },
    };
    let guest = world.guests.values_mut().next().expect("a guest");
    guest
        .record
        .failures
        .push(failed("2026-11-23T02:16:00Z", 0));
    assert_snapshot!(make::lines(&make::plan(&policy, &world)), @"backup backup.db-01/nightly@2026-11-23T02:00Z chain 1 at 2, vda incremental held until 2026-11-23T02:21:00Z");
    let guest = world.guests.values_mut().next().expect("a guest");
    guest
        .record
        .failures
        .push(failed("2026-11-23T02:18:00Z", 1));
    assert_snapshot!(make::lines(&make::plan(&policy, &world)), @"backup backup.db-01/nightly@2026-11-23T02:00Z chain 1 at 2, vda incremental held until 2026-11-23T02:33:00Z");
}

#[test]
fn jitter_is_the_same_every_time_and_differs_by_vm() {
    let policy = make::one_policy("schedules:\n  nightly: { cron: \"0 2 * * *\", jitter: 2h }");
    let mut world = make::world("2026-11-22T12:00:00Z");
    for name in ["db-01", "db-02", "db-03"] {
        make::add(&mut world, make::vm(name, &["vda"]));
    }
    let plan = make::plan(&policy, &world);
    assert_eq!(plan.upcoming, make::plan(&policy, &world).upcoming);
    let due: std::collections::BTreeSet<_> = plan.upcoming.iter().map(|next| next.due_at).collect();
    assert_eq!(due.len(), 3);
    let slot = make::at("2026-11-23T02:00:00Z");
    assert!(
        plan.upcoming
            .iter()
            .all(|next| next.slot == slot && next.due_at >= slot)
    );
    assert!(
        plan.upcoming
            .iter()
            .all(|next| next.due_at < make::at("2026-11-23T04:00:00Z"))
    );
}

#[test]
fn a_paused_policy_asks_for_nothing() {
    let policy = format!("paused: true\n{NIGHTLY}");
    assert_eq!(planned(&policy, "2026-11-23T02:10:00Z"), "");
}

/// Protecting a VM in the morning copies nothing before the night, where that is said.
#[test]
fn a_first_backup_waits_for_its_slot_where_that_is_said() {
    let policy = make::one_policy(&format!("first: nextSlot\n{NIGHTLY}"));
    let mut world = make::world("2026-11-22T12:00:00Z");
    make::add(&mut world, make::vm("db-01", &["vda"]));
    assert!(!make::lines(&make::plan(&policy, &world)).contains("backup"));
    let morning = make::applied(&policy, &world, "2026-11-23T01:59:00Z");
    assert_snapshot!(make::lines(&make::plan(&policy, &morning)), @"");
    let night = make::applied(&policy, &morning, "2026-11-23T02:00:00Z");
    assert_snapshot!(make::lines(&make::plan(&policy, &night)), @"backup backup.db-01/nightly@2026-11-23T02:00Z chain 1 at 1, vda full: first_of_chain");
}
