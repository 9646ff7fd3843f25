//! What retention makes of a plan: rotation, what wants a human, and the retention in force.

use insta::assert_snapshot;
use knib::model::id::BackupId;
use knib::model::op::Op;
use knib::model::plan::Class;
use knib::model::plan::Plan;
use knib::model::policy::Policy;
use knib::model::record::Assigned;
use knib::model::retention::Rules;
use knib::model::world::World;
use knib::planner;

use super::make;

/// No slot is due: what happens is retention's.
const POLICY: &str = "schedules: { yearly: { cron: \"@yearly\" } }\nretention: { keepDaily: 7 }";

fn seven_to(days: &str) -> Policy {
    make::one_policy(&POLICY.replace("keepDaily: 7", days))
}

/// A VM with so many dailies up to 2026-11-22, in chains of `chain`, under `POLICY` with its retention in force.
pub(crate) fn dailies(days: usize, chain: usize) -> World {
    let mut world = make::world("2026-11-22T12:00:00Z");
    let mut guest = make::vm("db-01", &["vda"]);
    let first = make::at("2026-11-22T02:00:00Z");
    let mut last: Option<BackupId> = None;
    for n in 0..days {
        let back = jiff::SignedDuration::from_hours(24 * i64::try_from(days - 1 - n).expect("few"));
        let parent = last.filter(|_| n % chain > 0);
        last = Some(make::past(
            &mut guest,
            first - back,
            "nightly",
            parent.as_ref(),
        ));
    }
    let policy = make::one_policy(POLICY);
    guest.record.assigned = Some(Assigned {
        policy: "all".to_owned(),
        since: make::at("2026-01-01T00:00:00Z"),
    });
    let (name, spec) = policy.policies.iter().next().expect("there is one");
    guest.record.retention = Some(Box::new(Rules::of(name, spec, &policy.timezone)));
    make::add(&mut world, guest);
    for (name, spec) in &policy.policies {
        world.learn(&knib::model::change::Change::Policy {
            name: name.clone(),
            spec: Box::new(spec.clone()),
            since: [("yearly".to_owned(), make::at("2026-01-01T00:00:00Z"))].into(),
        });
    }
    for (name, spec) in &policy.offerings {
        let (name, spec) = (name.clone(), spec.clone());
        world.learn(&knib::model::change::Change::Offering { name, spec });
    }
    world
}

/// Each action in short: `delete 11-15 destructive !`.
fn told(plan: &Plan) -> String {
    let line = |action: &knib::model::plan::Action| {
        let what = match &action.op {
            Op::Expire(of) | Op::Delete(of) => of.backup.as_str()[4..8].to_owned(),
            Op::Retain(op) => op.rules.to_string(),
            _ => action.address.clone(),
        };
        let class = match action.class {
            Class::Destructive => " destructive",
            _ => "",
        };
        let free = if action.is_free() { "" } else { " !" };
        format!("{} {what}{class}{free}", action.verb.as_str())
    };
    plan.actions.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// What an apply of all that is free leaves.
fn after(policy: &Policy, world: &World) -> World {
    make::applied(policy, world, "2026-11-22T12:05:00Z")
}

#[test]
fn what_both_let_go_is_rotation() {
    let policy = seven_to("keepDaily: 7");
    assert_snapshot!(told(&make::plan(&policy, &dailies(9, 1))), @r"
    delete 1114
    delete 1115
    ");
    assert_snapshot!(told(&make::plan(&policy, &dailies(7, 1))), @"");
}

/// Files stay while a backup that is kept needs them, and go with it.
#[test]
fn a_chain_goes_when_nothing_needs_it() {
    let policy = seven_to("keepDaily: 7");
    let world = dailies(16, 4);
    let plan = make::plan(&policy, &world);
    assert_snapshot!(told(&plan), @r"
    expire 1107
    expire 1111
    expire 1115
    expire 1108
    expire 1112
    expire 1109
    expire 1113
    delete 1110
    delete 1114
    delete 1109
    delete 1113
    delete 1108
    delete 1112
    delete 1107
    delete 1111
    ");
    assert_snapshot!(plan.summary.bytes_freed.to_string(), @"8 GiB");
    // Then nothing is left to do.
    assert_eq!(told(&make::plan(&policy, &after(&policy, &world))), "");
}

/// The edit is blocked at the first apply and at the tenth, and undoing it leaves every backup.
#[test]
fn an_edit_waits_for_a_human_however_often_it_is_applied() {
    let three = seven_to("keepDaily: 3");
    let before = dailies(8, 1);
    let mut world = before.clone();
    for n in 0..10 {
        let plan = make::plan(&three, &world);
        let destructive = plan
            .actions
            .iter()
            .filter(|one| one.class == Class::Destructive);
        assert_eq!(
            destructive.filter(|one| one.is_blocked()).count(),
            4,
            "apply {n}"
        );
        world = after(&three, &world);
        let record = &world.guests.values().next().expect("it is there").record;
        assert_eq!(record.backups.len(), 7, "only the eighth went, by rotation");
    }
    assert_snapshot!(told(&make::plan(&three, &world)), @r"
    delete 1116 destructive !
    delete 1117 destructive !
    delete 1118 destructive !
    delete 1119 destructive !
    ");
    let seven = seven_to("keepDaily: 7");
    world = after(&seven, &world);
    assert_eq!(
        told(&make::plan(&seven, &world)),
        "",
        "as if nothing had been"
    );
}

/// With leave they go, and the retention in force moves with them.
#[test]
fn what_is_allowed_goes_and_the_retention_moves() {
    let three = seven_to("keepDaily: 3");
    let world = dailies(7, 7);
    let mut options = make::options();
    let blocked = planner::reconcile(&three, &world, &options);
    assert_snapshot!(told(&blocked), @r"
    policy_update policy.all
    expire 1116 destructive !
    expire 1117 destructive !
    expire 1118 destructive !
    expire 1119 destructive !
    ");
    options.allowed = knib::planner::spared(&blocked);
    let plan = planner::reconcile(&three, &world, &options);
    assert_snapshot!(told(&plan), @r"
    policy_update policy.all
    expire 1116 destructive
    expire 1117 destructive
    expire 1118 destructive
    expire 1119 destructive
    retain daily 3
    ");
    // One is not in what was allowed: it stays, and so does the retention in force.
    options.allowed.pop_first();
    assert_snapshot!(told(&planner::reconcile(&three, &world, &options)), @r"
    policy_update policy.all
    expire 1116 destructive !
    expire 1117 destructive
    expire 1118 destructive
    expire 1119 destructive
    ");
}

/// Whatever makes a VM keep less: another zone, a renamed schedule, another policy.
#[test]
fn every_way_to_keep_less_wants_a_human() {
    let count = |policy: &Policy, world: &World| {
        let plan = make::plan(policy, world);
        let destructive = plan
            .actions
            .iter()
            .filter(|one| one.class == Class::Destructive);
        assert!(
            !plan
                .actions
                .iter()
                .any(|one| one.is_free() && matches!(one.op, Op::Retain(_)))
        );
        destructive.filter(|one| one.is_blocked()).count()
    };
    // Backups at 02:00 and 23:30 UTC of each day are of two days in UTC, and mostly of one in Tokyo.
    let mut world = dailies(7, 1);
    let guest = world.guests.values_mut().next().expect("it is there");
    let late =
        |day: i64| make::at("2026-11-21T16:00:00Z") - jiff::SignedDuration::from_hours(24 * day);
    for day in 0..2 {
        make::past(guest, late(day), "nightly", None);
    }
    let tokyo = make::policy(&format!(
        "version: 1\ntimezone: Asia/Tokyo\nstorage: {{ nas: {{ path: /nas }} }}\nofferings: {{ plain: {{}} }}\npolicies:\n  all:\n    \
         select: {{ names: [\"db-*\"] }}\n    offering: plain\n    storage: nas\n    {}\n",
        POLICY.replace('\n', "\n    ")
    ));
    let utc = seven_to("keepDaily: 7");
    let rotated = after(&utc, &world);
    assert!(
        count(&tokyo, &rotated) > 0,
        "{}",
        told(&make::plan(&tokyo, &rotated))
    );

    // A schedule whose backups were a group of their own is called otherwise.
    let own = "schedules: { nightly: { cron: \"@yearly\", retention: { keepDaily: 7 } } }\nretention: { keepLast: 1 }";
    let world = after(&make::one_policy(own), &dailies(7, 1));
    let named = make::one_policy(&own.replace("nightly:", "daily:"));
    assert_eq!(count(&named, &world), 6);
}

/// The same as an edit: blocked as often as it is applied, and without the tag it is as if nothing had been.
#[test]
fn a_tag_that_moves_a_vm_waits_for_a_human_as_well() {
    let two = make::policy(
        &"version: 1\nstorage: { nas: { path: /nas } }\nofferings: { plain: {} }\npolicies:\n  all:\n    \
         select: { names: [\"db-*\"] }\n    offering: plain\n    storage: nas\n    {SCHEDULES}\n    retention: { keepDaily: 7 }\n  \
         lean:\n    select: { tags: { tier: lean } }\n    priority: 10\n    offering: plain\n    storage: nas\n    {SCHEDULES}\n    \
         retention: { keepLast: 1 }\n"
            .replace("{SCHEDULES}", "schedules: { yearly: { cron: \"@yearly\" } }"),
    );
    let tag = |world: &mut World, tier: Option<&str>| {
        let guest = world.guests.values_mut().next().expect("it is there");
        let machine = guest.machine.as_mut().expect("a VM");
        machine.tags.remove("tier");
        let tier = tier.map(|tier| ("tier".to_owned(), tier.to_owned()));
        machine.tags.extend(tier);
    };
    let spared = |world: &World| planner::spared(&make::plan(&two, world)).len();
    let mut world = after(&two, &dailies(7, 1));
    assert_eq!(spared(&world), 0);
    tag(&mut world, Some("lean"));
    for n in 0..10 {
        assert_eq!(spared(&world), 6, "apply {n}");
        world = after(&two, &world);
        let record = &world.guests.values().next().expect("it is there").record;
        let policy = record.assigned.as_ref().map(|held| held.policy.as_str());
        assert_eq!((record.backups.len(), policy), (7, Some("lean")));
    }
    tag(&mut world, None);
    world = after(&two, &world);
    assert_eq!(told(&make::plan(&two, &world)), "");
    let record = &world.guests.values().next().expect("it is there").record;
    assert_eq!(record.backups.len(), 7);
}

/// What wants a human holds up nothing else, and says what would be freed.
#[test]
fn what_is_blocked_stops_no_backup() {
    let lines = "schedules: { nightly: { cron: \"0 2 * * *\" } }\nretention: { keepDaily: 3 }";
    let policy = make::one_policy(lines);
    let world = make::applied(&policy, &dailies(7, 4), "2026-11-23T02:10:00Z");
    let plan = make::plan(&policy, &world);
    assert_snapshot!(told(&plan), @r"
    backup backup.db-01/nightly@2026-11-23T02:00Z
    expire 1116
    expire 1120 destructive !
    expire 1117 destructive !
    expire 1118 destructive !
    delete 1119 destructive !
    ");
    // The first chain goes whole, of the second the newest is kept and needs the others.
    assert_snapshot!(blocked_bytes(&plan).to_string(), @"4 GiB");
}

/// What those that wait for a human would give back.
fn blocked_bytes(plan: &Plan) -> knib::model::bytes::Bytes {
    let waiting = plan.actions.iter().filter(|one| !one.is_free());
    waiting.map(|one| one.estimate.frees).sum()
}

/// Backups of so many days, and no retention in force.
fn forgetful(days: usize) -> World {
    let mut world = dailies(days, 1);
    let guests = world.guests.values_mut();
    guests.for_each(|guest| guest.record.retention = None);
    world
}

/// A rebuilt state knows of no retention: nothing goes until somebody says so.
#[test]
fn without_a_retention_in_force_everything_stays() {
    let policy = seven_to("keepDaily: 7");
    let world = forgetful(9);
    assert_snapshot!(told(&make::plan(&policy, &world)), @r"
    delete 1114 destructive !
    delete 1115 destructive !
    ");
    let world = forgetful(5);
    assert_snapshot!(told(&make::plan(&policy, &world)), @"retain daily 7");
}

/// A plan of yesterday moves no retention ahead of what came since.
#[test]
fn a_retention_that_would_run_ahead_is_refused_when_it_starts() {
    let three = seven_to("keepDaily: 3");
    let plan = make::plan(&three, &dailies(3, 1));
    let retain = plan
        .actions
        .iter()
        .find(|action| matches!(action.op, Op::Retain(_)));
    let retain = retain.expect("nothing goes by it");
    let meanwhile = dailies(5, 1);
    let guest = meanwhile.guests.values().next();
    let refusal = knib::action::program(&retain.op, guest).expect_err("two would go");
    assert_snapshot!(refusal.text, @"2 backups of db-01 are kept now and would go by all");
}

/// A VM that leaves keeps all, and is asked for again when it comes back to less.
#[test]
fn a_vm_that_leaves_and_comes_back() {
    let nobody = make::policy("version: 1\nstorage: { nas: { path: /nas } }\npolicies: {}\n");
    let world = after(&nobody, &dailies(7, 1));
    let record = &world.guests.values().next().expect("it is there").record;
    assert_eq!((record.backups.len(), &record.assigned), (7, &None));
    assert_snapshot!(told(&make::plan(&seven_to("keepDaily: 3"), &world)), @r"
    offering_create offering.plain
    policy_create policy.all
    assign assign.db-01
    delete 1116 destructive !
    delete 1117 destructive !
    delete 1118 destructive !
    delete 1119 destructive !
    ");
}

/// What is due is made first, and what it pushes out goes after it.
#[test]
fn what_a_due_backup_pushes_out_depends_on_it() {
    let policy = make::one_policy(
        "schedules: { nightly: { cron: \"0 2 * * *\" } }\nretention: { keepDaily: 7 }",
    );
    let mut world = make::applied(&policy, &dailies(7, 1), "2026-11-23T02:10:00Z");
    let plan = make::plan(&policy, &world);
    assert_snapshot!(told(&plan), @r"
    backup backup.db-01/nightly@2026-11-23T02:00Z
    delete 1116
    ");
    assert_eq!(plan.actions[1].depends_on, [plan.actions[0].id.clone()]);
    // While it cannot be made, nothing is pushed out.
    world
        .storages
        .get_mut("nas")
        .expect("it is there")
        .space
        .as_mut()
        .expect("seen")
        .free = knib::model::bytes::Bytes(0);
    assert_snapshot!(told(&make::plan(&policy, &world)), @"backup backup.db-01/nightly@2026-11-23T02:00Z !");
}
