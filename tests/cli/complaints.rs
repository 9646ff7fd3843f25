//! What people complain about in other tools of this kind, and the test that shows how it is here.

use std::fs;
use std::path::Path;

use knib::model::machine::Device;
use knib::model::plan::Plan;
use knib::model::world::World;

use crate::cli::plans;
use crate::planner::make;
use crate::planner::retention;

/// Each complaint, and where it is answered: files below `tests` with tests in them.
const ANSWERS: [(&str, &[(&str, &str)]); 13] = [
    (
        "unreadable plans",
        &[
            (
                "cli/complaints.rs",
                "a_plan_is_a_line_for_each_thing_and_ends_with_its_sum",
            ),
            ("cli/plans.rs", "a_first_plan"),
        ],
    ),
    (
        "drift noise",
        &[
            ("cli/complaints.rs", "what_changes_nothing_is_not_told"),
            ("cli/plans.rs", "nothing_to_do"),
        ],
    ),
    (
        "stale plans, a plan applied twice",
        &[
            ("cli/exits.rs", "four_is_a_saved_plan_refused"),
            ("live/retention.rs", "a_plan_made_before_a_night"),
        ],
    ),
    (
        "a lock that is stuck",
        &[
            ("cli/exits.rs", "six_is_held_by_another_run"),
            ("cli/exits.rs", "a_crash_is_carried_on"),
            (
                "state/run.rs",
                "what_a_killed_process_held_can_be_taken_up_at_once",
            ),
        ],
    ),
    (
        "half an apply",
        &[
            ("cli/reports.rs", "a_run_with_failures"),
            ("cli/reports.rs", "a_run_that_was_stopped"),
            (
                "cli/exits.rs",
                "a_signal_stops_after_the_step_and_the_next_apply_carries_on",
            ),
        ],
    ),
    (
        "apply does something else than the plan",
        &[
            ("live/retention.rs", "a_plan_made_before_a_night"),
            (
                "props/histories.rs",
                "every_apply_does_what_its_plan_said_and_leaves_nothing",
            ),
        ],
    ),
    (
        "time in plans",
        &[
            ("cli/complaints.rs", "the_time_of_a_plan_is_told_once"),
            ("props/retention.rs", "waiting_lets_nothing_go"),
        ],
    ),
    (
        "retention that surprises",
        &[
            ("cli/plans.rs", "an_edited_retention"),
            ("planner/retention.rs", "what_both_let_go_is_rotation"),
            ("planner/retention.rs", "a_chain_goes_when_nothing_needs_it"),
            ("props/retention.rs", "the_newest_good_ones_stay"),
        ],
    ),
    (
        "a run nobody asked for",
        &[
            (
                "planner/due.rs",
                "an_edited_schedule_does_not_fire_for_the_past",
            ),
            (
                "planner/due.rs",
                "a_first_backup_waits_for_its_slot_where_that_is_said",
            ),
        ],
    ),
    (
        "destruction by an edit",
        &[
            (
                "planner/retention.rs",
                "an_edit_waits_for_a_human_however_often_it_is_applied",
            ),
            (
                "planner/retention.rs",
                "a_tag_that_moves_a_vm_waits_for_a_human_as_well",
            ),
            ("planner/retention.rs", "what_is_blocked_stops_no_backup"),
            (
                "live/retention.rs",
                "rotation_and_an_edit_that_waits_for_a_human",
            ),
        ],
    ),
    (
        "secrets in the state",
        &[("cli/complaints.rs", "a_plan_holds_no_definition")],
    ),
    (
        "a damaged state",
        &[
            (
                "state/crash.rs",
                "killed_at_any_instant_the_journal_is_as_a_call_left_it",
            ),
            (
                "state/file.rs",
                "a_truncated_file_is_told_with_the_copy_beside_it",
            ),
            (
                "live/rebuild.rs",
                "a_lost_state_comes_back_and_goes_on_where_it_was",
            ),
        ],
    ),
    (
        "exit codes",
        &[
            ("cli/exits.rs", "one_is_an_error_with_nothing_done"),
            ("cli/exits.rs", "two_is_changes_pending_and_only_when_asked"),
            ("cli/exits.rs", "three_wants_a_human"),
            ("cli/exits.rs", "four_is_a_saved_plan_refused"),
            ("cli/exits.rs", "five_is_a_run_in_which_something_failed"),
            ("cli/exits.rs", "six_is_held_by_another_run"),
            ("cli/exits.rs", "sixty_four_is_usage"),
        ],
    ),
];

#[test]
fn every_complaint_has_its_answer() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    for (complaint, answers) in ANSWERS {
        for (file, name) in answers {
            let text = fs::read_to_string(tests.join(file)).expect("a test file");
            assert!(
                text.contains(&format!("fn {name}(")),
                "{complaint}: no {name} in {file}"
            );
        }
    }
}

#[test]
fn a_plan_is_a_line_for_each_thing_and_ends_with_its_sum() {
    let (_, _, plan) = plans::first_plan();
    let drawn = plans::drawn(&plan);
    let signed = |line: &&str| {
        line.starts_with("  ") && "+~-.>*!?".contains(line[2..].chars().next().unwrap_or(' '))
    };
    // Four VMs have one retention between them and two policies.
    let grouped = plan.actions.len() - 4 + 1;
    assert_eq!(drawn.lines().filter(signed).count(), grouped, "{drawn}");
    let last = drawn.rsplit("\n\n").next().unwrap_or_default();
    assert!(last.contains("Plan: "), "{last}");
    assert!(
        drawn.lines().all(|line| line.chars().count() <= 80),
        "{drawn}"
    );
}

fn quiet() -> (knib::model::policy::Policy, World) {
    let policy = make::one_policy("schedules: { nightly: { cron: \"0 2 * * *\" } }");
    let mut world = make::world("2026-11-22T12:00:00Z");
    let mut guest = make::vm("db-01", &["vda"]);
    make::backed_up(&mut guest, "2026-11-22T12:00:00Z", 1);
    make::add(&mut world, guest);
    let world = make::applied(&policy, &world, "2026-11-22T13:00:00Z");
    (policy, world)
}

#[test]
fn what_changes_nothing_is_not_told() {
    let (policy, mut world) = quiet();
    let before = plans::drawn(&make::plan(&policy, &world));
    assert!(before.starts_with("No changes."), "{before}");
    let machine = world
        .guests
        .values_mut()
        .next()
        .and_then(|guest| guest.machine.as_mut());
    let machine = machine.expect("a VM");
    machine
        .tags
        .insert("owner".to_owned(), "somebody".to_owned());
    let mut cdrom = machine.disks[0].clone();
    cdrom.device = Device::Cdrom;
    cdrom.target = knib::model::id::Target::new("sda");
    machine.disks.push(cdrom);
    assert_eq!(plans::drawn(&make::plan(&policy, &world)), before);
}

#[test]
fn the_time_of_a_plan_is_told_once() {
    let (policy, mut world) = quiet();
    let plan = |world: &World| -> Plan { make::plan(&policy, world) };
    let before = plan(&world);
    world.now = make::at("2026-11-22T15:00:00Z");
    let mut later = plan(&world);
    assert_ne!(later.clock.now, before.clock.now);
    later.clock.now = before.clock.now;
    assert_eq!(later, before);
}

#[test]
fn a_plan_holds_no_definition() {
    let (plan, _) = plans::every_kind().swap_remove(1);
    let text = serde_json::to_string(&plan).expect("JSON").to_lowercase();
    for secret in ["<domain", "passwd", "password", "secret"] {
        assert!(!text.contains(secret), "{secret}");
    }
}

/// The check of `examples/ci/policy.rego`, by hand: what it denies is what is destructive.
#[test]
fn the_check_of_a_pipeline_fits_a_real_plan() {
    let policy = make::one_policy(
        "schedules: { yearly: { cron: \"@yearly\" } }\nretention: { keepDaily: 3 }",
    );
    let plan = make::plan(&policy, &retention::dailies(7, 1));
    let plan = serde_json::to_value(&plan).expect("JSON");
    let denied: Vec<String> = plan["actions"]
        .as_array()
        .expect("an array")
        .iter()
        .filter(|action| action["class"] == "destructive")
        .map(|action| {
            let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
            format!(
                "{}: {}",
                text(&action["address"]),
                text(&action["reason"]["code"])
            )
        })
        .collect();
    insta::assert_snapshot!(denied.join("\n"), @r"
    delete.db-01/20261116-020000-e3d662d6: policy_change
    delete.db-01/20261117-020000-8bf59c74: policy_change
    delete.db-01/20261118-020000-c8664be0: policy_change
    delete.db-01/20261119-020000-ef65ad5e: policy_change
    ");
    let rego = fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/examples/ci/policy.rego"
    ));
    let rego = rego.expect("it is there");
    for line in [
        "package main",
        "deny contains m if {",
        "some a in input.actions",
        "a.class == \"destructive\"",
        "m := sprintf(\"%s: %s\", [a.address, a.reason.code])",
    ] {
        assert!(rego.contains(line), "{line}");
    }
}
