//! Storages, offerings, policies and assignments that are new or changed.

use insta::assert_snapshot;
use knib::model::finding::Severity;
use knib::model::id::StorageId;
use knib::model::world::StorageFound;

use super::make;

const NIGHTLY: &str = "schedules:\n  nightly: { cron: \"0 2 * * *\" }";

#[test]
fn an_empty_directory_becomes_a_storage_and_is_used_at_once() {
    let policy = make::one_policy(NIGHTLY);
    let mut world = make::world("2026-11-22T12:00:00Z");
    world.applied.storages.clear();
    let seen = world.storages.get_mut("nas").expect("nas");
    seen.known = None;
    seen.found = StorageFound::Unmarked { empty: true };
    make::add(&mut world, make::vm("db-01", &["vda"]));
    assert_snapshot!(make::lines(&make::plan(&policy, &world)), @r"
    storage_create storage.nas
    offering_create offering.plain
    policy_create policy.all
    assign assign.db-01
    backup backup.db-01/first chain 1 at 1, vda full: first_of_chain
    retain retention.db-01
    ");
}

#[test]
fn a_storage_that_lost_its_marker_blocks_only_what_needs_it() {
    let policy = make::one_policy(NIGHTLY);
    let mut world = make::world("2026-11-22T12:00:00Z");
    world.storages.get_mut("nas").expect("nas").found = StorageFound::Unmarked { empty: true };
    make::add(&mut world, make::vm("db-01", &["vda"]));
    assert_snapshot!(make::lines(&make::plan(&policy, &world)), @r"
    offering_create offering.plain
    policy_create policy.all
    assign assign.db-01
    backup backup.db-01/first chain 1 at 1, vda full: first_of_chain !storage_missing
    ");
    world.storages.get_mut("nas").expect("nas").found =
        StorageFound::Marked(StorageId::new("another"));
    let swapped = make::lines(&make::plan(&policy, &world));
    assert!(swapped.ends_with("!storage_swapped"), "{swapped}");
}

#[test]
fn a_directory_that_holds_other_things_is_no_storage() {
    let policy = make::one_policy(NIGHTLY);
    let mut world = make::world("2026-11-22T12:00:00Z");
    world.applied.storages.clear();
    let seen = world.storages.get_mut("nas").expect("nas");
    seen.known = None;
    seen.found = StorageFound::Unmarked { empty: false };
    make::add(&mut world, make::vm("db-01", &["vda"]));
    assert_snapshot!(make::lines(&make::plan(&policy, &world)), @r"
    storage_create storage.nas !storage_not_empty
    offering_create offering.plain
    policy_create policy.all
    assign assign.db-01
    backup backup.db-01/first chain 1 at 1, vda full: first_of_chain !storage_unmarked
    ");
}

#[test]
fn a_full_storage_blocks_before_any_snapshot() {
    let policy = make::one_policy(NIGHTLY);
    let mut world = make::world("2026-11-22T12:00:00Z");
    let seen = world.storages.get_mut("nas").expect("nas");
    seen.space.as_mut().expect("space").free = knib::model::bytes::Bytes(100 << 20);
    make::add(&mut world, make::vm("db-01", &["vda"]));
    let lines = make::lines(&make::plan(&policy, &world));
    assert!(lines.ends_with("!storage_full"), "{lines}");
}

#[test]
fn a_tie_is_an_error_with_both_places() {
    let policy = make::policy(
        "version: 1\nstorage: { nas: { path: /nas } }\nofferings: { plain: {} }\npolicies:\n  one:\n    select: { names: [\"db-*\"] }\n    \
         offering: plain\n    storage: nas\n    schedules: { nightly: { cron: \"0 2 * * *\" } }\n  two:\n    select: { names: [\"*-01\"] }\n    \
         offering: plain\n    storage: nas\n    schedules: { nightly: { cron: \"0 2 * * *\" } }\n",
    );
    let mut world = make::world("2026-11-22T12:00:00Z");
    make::add(&mut world, make::vm("db-01", &["vda"]));
    let plan = make::plan(&policy, &world);
    let tie = plan
        .findings
        .iter()
        .find(|finding| finding.code == "tie")
        .expect("a tie");
    assert_eq!(tie.severity, Severity::Error);
    assert_eq!(
        tie.labels
            .iter()
            .map(|label| label.origin.line)
            .collect::<Vec<_>>(),
        [6, 11]
    );
    assert!(!make::lines(&plan).contains("assign"));
}

#[test]
fn the_higher_priority_wins_and_the_other_is_named() {
    let policy = make::policy(
        "version: 1\nstorage: { nas: { path: /nas } }\nofferings: { plain: {} }\npolicies:\n  one:\n    select: { names: [\"db-*\"] }\n    \
         offering: plain\n    storage: nas\n    schedules: { nightly: { cron: \"0 2 * * *\" } }\n  two:\n    priority: 5\n    select: { names: [\"*-01\"] }\n    \
         offering: plain\n    storage: nas\n    schedules: { nightly: { cron: \"0 2 * * *\" } }\n",
    );
    let mut world = make::world("2026-11-22T12:00:00Z");
    make::add(&mut world, make::vm("db-01", &["vda"]));
    make::add(&mut world, make::vm("web-02", &["vda"]));
    let plan = make::plan(&policy, &world);
    let assign = plan
        .actions
        .iter()
        .find(|action| action.address == "assign.db-01")
        .expect("an assignment");
    let reason = serde_json::to_value(&assign.reason).expect("a reason");
    assert_eq!(
        reason,
        serde_json::json!({ "code": "selected", "by": "names *-01", "also": ["one"], "before": null })
    );
    assert_eq!(plan.unprotected, ["web-02"]);
}

#[test]
fn once_applied_nothing_is_left_to_configure() {
    let policy = make::one_policy(&format!("first: nextSlot\n{NIGHTLY}"));
    let mut world = make::world("2026-11-22T12:00:00Z");
    make::add(&mut world, make::vm("db-01", &["vda"]));
    let world = make::applied(&policy, &world, "2026-11-22T12:05:00Z");
    let plan = make::plan(&policy, &world);
    assert_eq!(make::lines(&plan), "");
    assert!(plan.is_empty());
}
