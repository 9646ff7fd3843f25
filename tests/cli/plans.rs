//! Plans, drawn. The worlds are made by hand; where a person would see them whole, knib itself plans over them, saved.

use std::collections::BTreeMap;
use std::fs;

use knib::cli::render::Look;
use knib::cli::render::plan;
use knib::cli::render::plan::Detail;
use knib::model::finding::Severity;
use knib::model::id::Target;
use knib::model::machine::Source;
use knib::model::plan::Plan;
use knib::model::policy::Policy;
use knib::model::program::Direction;
use knib::model::program::Mark;
use knib::model::world::Open;
use knib::model::world::StorageFound;
use knib::model::world::World;
use knib::planner;

use crate::planner::make;
use crate::planner::retention;
use crate::support::Sandbox;
use crate::support::knib::Knib;

const TWO_POLICIES: &str = r#"
version: 1
timezone: Europe/Paris
storage:
  nas: { path: /nas }
offerings:
  gold: { compress: true, validate: true, allowQuickRestore: true, backupChainSize: 2 }
  plain: {}
policies:
  databases:
    select: { names: ["db-*"] }
    priority: 10
    offering: gold
    storage: nas
    schedules:
      nightly: { cron: "0 2 * * *" }
      month-end: { cron: "30 23 L * *", isolated: true }
  everything:
    select: { names: ["*"], exclude: { names: ["ci-*"] } }
    offering: plain
    storage: nas
    schedules:
      nightly: { cron: "30 3 * * *" }
"#;

/// Plans that have between them every verb of the planner, with the worlds they were made over.
pub(crate) fn every_kind() -> Vec<(Plan, World)> {
    let (_, world, plan) = first_plan();
    vec![(plan, world), busy(), changed()]
}

/// As `knib plan` draws it in a pipe.
pub(super) fn drawn(plan: &Plan) -> String {
    plan::human(plan, Detail::Normal, Look::PLAIN)
}

/// What `knib plan` prints over a saved world.
fn printed(policy: &str, world: &World, args: &[&str]) -> String {
    let sandbox = Sandbox::new();
    sandbox.set_clock(&world.now.to_string());
    let saved = serde_json::to_string(world).expect("a world is plain data");
    for (name, text) in [("policy.yaml", policy), ("world.json", &saved)] {
        fs::write(sandbox.path(name), text).expect("the directory is the test's own");
    }
    // As a person would name them: paths are told as they were given.
    let plan = sandbox.knib_with(["plan", "-f", "policy.yaml", "--world", "world.json"]);
    let plan = args.iter().fold(plan, Knib::arg).env("KNIB_IDS", "plans");
    plan.run().exits(0).stdout
}

pub(super) fn fleet(now: &str) -> World {
    let mut world = make::world(now);
    for name in ["db-01", "db-02", "web-01", "web-02", "ci-runner"] {
        make::add(&mut world, make::vm(name, &["vda", "vdb"]));
    }
    world
}

/// The first plan of all.
pub(super) fn first_plan() -> (Policy, World, Plan) {
    let policy = make::policy(TWO_POLICIES);
    let mut world = fleet("2026-11-23T09:00:00Z");
    world.applied.storages.clear();
    if let Some(seen) = world.storages.get_mut("nas") {
        seen.known = None;
        seen.found = StorageFound::Unmarked { empty: true };
    }
    let plan = make::plan(&policy, &world);
    (policy, world, plan)
}

/// A night later: much is due, and not everything can be done.
pub(super) fn busy_plan() -> Plan {
    busy().0
}

fn busy() -> (Plan, World) {
    let policy = make::policy(TWO_POLICIES);
    let mut world = make::applied(
        &policy,
        &fleet("2026-11-20T09:00:00Z"),
        "2026-11-24T03:05:00Z",
    );
    let guests: BTreeMap<_, _> = world
        .guests
        .values()
        .map(|guest| (guest.vm.name.clone(), guest.vm.uuid.clone()))
        .collect();
    for (name, backups) in [("db-01", 2), ("db-02", 1), ("web-01", 1)] {
        let guest = world
            .guests
            .get_mut(&guests[name])
            .expect("a VM of the fleet");
        guest.record.backups.clear();
        guest.record.current = None;
        for day in 0..backups {
            let created = format!("2026-11-2{}T01:00:00Z", day + 1);
            make::backed_up(guest, &created, day + 1);
        }
    }
    // db-02: one disk was moved away from under knib.
    let moved = world
        .guests
        .get_mut(&guests["db-02"])
        .expect("a VM of the fleet");
    let machine = moved.machine.as_mut().expect("it is there");
    let disk = machine.disk_mut(&Target::new("vda")).expect("a disk");
    disk.layers = vec![make::layer("/ssd/db-02-vda.qcow2", 1 << 30)];
    let source = Source::File {
        path: "/ssd/db-02-vda.qcow2".into(),
        format: knib::model::machine::Format::Qcow2,
    };
    disk.source = Some(source.clone());
    disk.inactive = Some(source);
    // web-01: a disk that cannot be captured.
    let web = world
        .guests
        .get_mut(&guests["web-01"])
        .expect("a VM of the fleet");
    let machine = web.machine.as_mut().expect("it is there");
    let disk = machine.disk_mut(&Target::new("vdb")).expect("a disk");
    disk.source = Some(Source::Other("block device /dev/sdb".to_owned()));
    disk.inactive = disk.source.clone();
    // web-02: its last backup was interrupted.
    interrupt(&mut world, &guests["web-02"]);
    (make::plan(&policy, &world), world)
}

fn interrupt(world: &mut World, vm: &knib::model::id::VmId) {
    let policy = make::policy(TWO_POLICIES);
    let mut before = world.clone();
    before.guests.retain(|id, _| id == vm);
    let plan = make::plan(&policy, &before);
    let action = plan.actions.last().expect("a backup is due").clone();
    let program = action.program.expect("it can be done");
    let shape = |mark: Option<Mark>| {
        let stages = program.stages.iter().enumerate();
        let marks = stages.map(|(n, stage)| vec![mark.filter(|_| n < 3); stage.len()]);
        marks.collect::<Vec<_>>()
    };
    let open = Open {
        action: action.id,
        op: action.op,
        marks: shape(Some(Mark::Done)),
        receipts: program
            .stages
            .iter()
            .map(|stage| vec![None; stage.len()])
            .collect(),
        intended: program
            .stages
            .iter()
            .map(|stage| vec![None; stage.len()])
            .collect(),
        program: program.clone(),
        direction: Direction::Forward,
        error: None,
        since: make::at("2026-11-24T02:31:00Z"),
        command: "apply".to_owned(),
        pid: 4121,
        alive: false,
    };
    let guest = world.guests.get_mut(vm).expect("a VM of the fleet");
    guest.open.push(open);
}

/// Text of the policy changed, and a part of it is gone.
fn changed() -> (Plan, World) {
    let policy = make::policy(TWO_POLICIES);
    let mut world = make::applied(
        &policy,
        &fleet("2026-11-23T09:00:00Z"),
        "2026-11-23T10:00:00Z",
    );
    for guest in world.guests.values_mut() {
        guest.record.backups.clear();
        guest.record.current = None;
        make::backed_up(guest, "2026-11-23T09:00:00Z", 1);
    }
    let (kept, _) = TWO_POLICIES
        .split_once("  everything:")
        .expect("two policies");
    let later = make::policy(
        &kept
            .replace("0 2 * * *", "0 4 * * *")
            .replace("backupChainSize: 2", "backupChainSize: 9"),
    );
    (make::plan(&later, &world), world)
}

#[test]
fn a_first_plan() {
    let (_, world, _) = first_plan();
    insta::assert_snapshot!(printed(TWO_POLICIES, &world, &[]));
}

#[test]
fn a_first_plan_in_colour() {
    let (_, _, plan) = first_plan();
    let look = Look {
        width: 100,
        colour: true,
    };
    let text = plan::human(&plan, Detail::Normal, look);
    insta::assert_snapshot!(text.replace('\u{1b}', "^"));
    let dull = plan::human(
        &plan,
        Detail::Normal,
        Look {
            width: 100,
            colour: false,
        },
    );
    assert_eq!(
        without_escapes(&text),
        dull,
        "colour adds nothing but colour"
    );
}

/// Without escape sequences.
fn without_escapes(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\u{1b}') {
        plain += &rest[..at];
        let end = rest[at..].find('m').expect("colours end in m");
        rest = &rest[at + end + 1..];
    }
    plain + rest
}

#[test]
fn nothing_to_do() {
    let policy = make::policy(TWO_POLICIES);
    let mut world = make::applied(
        &policy,
        &fleet("2026-11-23T09:00:00Z"),
        "2026-11-23T09:05:00Z",
    );
    for guest in world.guests.values_mut() {
        guest.record.backups.clear();
        guest.record.current = None;
        let backup = make::backed_up(guest, "2026-11-23T09:00:00Z", 1);
        make::booted(guest, &backup, "2026-11-23T09:01:00Z", &[], false);
    }
    let plan = make::plan(&policy, &world);
    let text = drawn(&plan);
    assert!(text.starts_with("No changes."), "that is said first");
    insta::assert_snapshot!(text);
    insta::assert_snapshot!(
        "nothing_to_do_brief",
        plan::human(&plan, Detail::Brief, Look::PLAIN)
    );
}

#[test]
fn a_night_with_trouble() {
    insta::assert_snapshot!(printed(TWO_POLICIES, &busy().1, &[]));
}

#[test]
fn a_night_with_trouble_in_markdown() {
    let args = ["--format", "markdown"];
    insta::assert_snapshot!(printed(TWO_POLICIES, &busy().1, &args));
}

#[test]
fn a_changed_policy_and_one_that_goes() {
    insta::assert_snapshot!(drawn(&changed().0));
}

/// Rotation, an edit that would let more go, and every backup with its reasons.
#[test]
fn an_edited_retention() {
    let text = make::one_policy_text(
        "schedules: { nightly: { cron: \"0 2 * * *\" } }\nretention: { keepDaily: 3, keepWeekly: 4 }",
    );
    let policy = make::policy(&text);
    let mut world = retention::dailies(16, 4);
    world.now = make::at("2026-11-23T02:05:00Z");
    for guest in world.guests.values_mut() {
        let rules = guest.record.retention.as_mut().expect("it is in force");
        let retention = rules.retention.as_mut().expect("it keeps some");
        retention.keep_weekly = 4;
    }
    let mut options = make::options();
    options.show_kept = true;
    let plan = planner::reconcile(&policy, &world, &options);
    insta::assert_snapshot!(printed(&text, &world, &["--show-kept"]));
    let markdown = printed(&text, &world, &["--show-kept", "--format", "markdown"]);
    insta::assert_snapshot!("an_edited_retention_in_markdown", markdown);
    // With -v the policy is shown as it was and as it will be.
    let whole = plan::human(&plan, Detail::Steps, Look::PLAIN);
    assert!(
        whole.contains("        - retention.keepDaily: 7\n"),
        "{whole}"
    );
    assert!(
        whole.contains("        + retention.keepDaily: 3\n"),
        "{whole}"
    );
    options.allowed = planner::spared(&plan);
    options.show_kept = false;
    let plan = planner::reconcile(&policy, &world, &options);
    insta::assert_snapshot!("an_edited_retention_allowed", drawn(&plan));
}

#[test]
fn a_tie_is_an_error_of_the_plan() {
    let policy = make::policy(&TWO_POLICIES.replace("priority: 10", "priority: 0"));
    let plan = make::plan(&policy, &fleet("2026-11-23T09:00:00Z"));
    let tie = plan.findings.iter().find(|finding| finding.code == "tie");
    assert_eq!(tie.map(|finding| finding.severity), Some(Severity::Error));
    insta::assert_snapshot!(drawn(&plan));
}

#[test]
fn what_would_steer_a_terminal_does_not() {
    let policy = make::one_policy("schedules: { nightly: { cron: \"0 2 * * *\" } }");
    let mut world = make::world("2026-11-23T09:00:00Z");
    make::add(&mut world, make::vm("db-\u{1b}[31m\nred", &["vda"]));
    let plan = make::plan(&policy, &world);
    let drawn = drawn(&plan) + &plan::markdown(&plan);
    assert!(drawn.contains("db-\u{fffd}[31m red"), "{drawn}");
    assert!(!drawn.contains('\u{1b}'), "{drawn}");
}
