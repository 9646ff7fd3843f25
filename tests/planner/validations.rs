//! When backups are booted, and what comes of a guest that fails.

use std::sync::Arc;

use knib::model::id::BackupId;
use knib::model::job::Job;
use knib::model::job::JobKind;
use knib::model::job::JobState;
use knib::model::op::DiskPlan;
use knib::model::op::Op;
use knib::model::op::Trial;
use knib::model::op::WhyFull;
use knib::model::plan::Action;
use knib::model::plan::Plan;
use knib::model::policy::Policy;
use knib::model::seconds::Seconds;
use knib::model::world::Guest;
use knib::model::world::World;
use knib::planner::validations;

use super::make;
use super::retention;

/// Two backups of a VM whose offering and policy say this of validation.
fn world(offering: &str, policy: &str) -> (World, Policy, [BackupId; 2]) {
    let policy = make::policy(&format!(
        "version: 1\nstorage:\n  nas: {{ path: /nas }}\nofferings:\n  plain: {{ {offering} }}\n\
         policies:\n  all:\n    select: {{ names: [\"db-*\"] }}\n    offering: plain\n    storage: nas\n    {policy}\n    \
         schedules:\n      nightly: {{ cron: \"0 2 * * *\" }}\n"
    ));
    let mut guest = make::vm("db-01", &["vda"]);
    let first = make::backed_up(&mut guest, "2026-11-21T02:00:00Z", 1);
    let second = make::backed_up(&mut guest, "2026-11-22T02:00:00Z", 2);
    let mut world = make::world("2026-11-22T12:00:00Z");
    make::add(&mut world, guest);
    let world = make::applied(&policy, &world, "2026-11-22T13:00:00Z");
    (world, policy, [first, second])
}

fn guest(world: &mut World) -> &mut Guest {
    world.guests.values_mut().next().expect("one VM")
}

fn judge(world: &mut World, backup: &BackupId, at: &str, reasons: &[&str], ends_chain: bool) {
    make::booted(guest(world), backup, at, reasons, ends_chain);
}

/// Which backup is booted, and how.
fn booted(plan: &Plan) -> Option<(BackupId, Trial)> {
    let free = |action: &&Action| action.is_free();
    plan.actions
        .iter()
        .filter(free)
        .find_map(|action| match &action.op {
            Op::Validate(op) => Some((op.of.backup.clone(), op.trial.clone())),
            _ => None,
        })
}

#[test]
fn the_newest_good_one_is_booted_and_once_in_an_interval() {
    let (mut world, policy, [first, second]) = world("validate: true", "");
    let is_booted = |world: &World| booted(&make::plan(&policy, world)).map(|(id, _)| id);
    assert_eq!(is_booted(&world), Some(second.clone()));
    // The last one was booted less than a day ago, or more.
    judge(&mut world, &first, "2026-11-21T13:00:01Z", &[], false);
    assert_eq!(is_booted(&world), None);
    judge(&mut world, &first, "2026-11-21T13:00:00Z", &[], false);
    assert_eq!(is_booted(&world), Some(second.clone()));
    // Whoever was judged is not judged again.
    judge(&mut world, &second, "2026-11-01T00:00:00Z", &[], false);
    assert_eq!(is_booted(&world), None);
    // An invalid one is not good, so that it is the turn of the one before.
    guest(&mut world)
        .record
        .backups
        .values_mut()
        .for_each(|one| {
            Arc::make_mut(one).marks.validated = None;
        });
    judge(
        &mut world,
        &second,
        "2026-11-01T00:00:00Z",
        &["black"],
        false,
    );
    assert_eq!(is_booted(&world), Some(first));
    let (without, policy, _) = self::world("compress: true", "");
    assert_eq!(booted(&make::plan(&policy, &without)), None);
}

#[test]
fn a_backup_is_booted_as_it_will_stay() {
    let (mut world, policy, [_, second]) = world("validate: true, compress: true", "");
    let record = &mut guest(&mut world).record;
    let start = Job::new(
        second.clone(),
        JobKind::Start,
        make::at("2026-11-22T02:00:00Z"),
    );
    record.jobs.insert(start.id(), start.clone());
    let plan = make::plan(&policy, &world);
    let validate = plan
        .actions
        .iter()
        .find(|one| matches!(one.op, Op::Validate(_)));
    let waits = validate.expect("in the same plan").depends_on.len();
    assert_eq!(waits, 1, "for the compressed files to take their place");
    // Where they wait for a later attempt, so does it.
    let record = &mut guest(&mut world).record;
    let job = record.jobs.get_mut(&start.id()).expect("it is there");
    job.not_before = make::at("2026-11-22T14:00:00Z");
    assert_eq!(booted(&make::plan(&policy, &world)), None);
    let record = &mut guest(&mut world).record;
    record.jobs.get_mut(&start.id()).expect("there").state = JobState::Failed;
    assert!(booted(&make::plan(&policy, &world)).is_some());
}

#[test]
fn an_attempt_is_made_up_for_until_it_was_tried_often_enough_or_a_newer_one_is_there() {
    let (mut world, policy, [first, second]) = world("validate: true", "");
    let mut job = Job::new(second, JobKind::Validate, make::at("2026-11-22T14:00:00Z"));
    job.attempts = 1;
    job.ended = Some(make::at("2026-11-22T13:00:00Z"));
    guest(&mut world).record.jobs.insert(job.id(), job.clone());
    let held = make::plan(&policy, &world);
    let said = format!("{:?}", held.actions);
    assert!(
        said.contains("attempt 1 failed, tried again at 2026-11-22T14:00:00Z"),
        "{said}"
    );
    job.state = JobState::Failed;
    job.attempts = 2;
    guest(&mut world).record.jobs.insert(job.id(), job);
    assert_eq!(make::plan(&policy, &world).actions, []);
    let mut patient = policy.clone();
    patient.settings.validation.attempts = 3;
    let held = format!("{:?}", make::plan(&patient, &world).actions);
    assert!(held.contains("attempt 2 failed"), "{held}");

    let old = Job::new(first, JobKind::Validate, make::at("2026-11-22T14:00:00Z"));
    guest(&mut world).record.jobs.insert(old.id(), old.clone());
    let plan = make::plan(&policy, &world);
    let ops: Vec<_> = plan.actions.iter().map(|action| &action.op).collect();
    assert!(
        matches!(ops[..], [Op::JobCancel(one)] if one.id() == old.id()),
        "{ops:?}"
    );
}

#[test]
fn a_policy_says_otherwise_key_by_key_and_settings_what_nobody_says() {
    let offering = "validate: { command: /bin/health, expectedExitCode: 3, screenshotWait: 5s }";
    let policy = "validate: { screenshotWait: 9s, arguments: [\"-q\"], endChainOnFailure: false }";
    let (world, policy, _) = world(offering, policy);
    let (_, trial) = booted(&make::plan(&policy, &world)).expect("it is due");
    let command = trial.command.expect("it runs one");
    assert_eq!(trial.screenshot, Some(Seconds(9)));
    assert_eq!(
        (command.exit_code, command.arguments),
        (3, vec!["-q".to_owned()])
    );
    assert_eq!(
        (trial.boot_timeout, command.timeout),
        (Seconds(240), Seconds(60))
    );
    assert_eq!((trial.vcpus, trial.ends_chain), (Some(2), false));
    let mut off = policy.clone();
    off.settings.validation.enabled = false;
    assert_eq!(booted(&make::plan(&off, &world)), None);
}

/// Why the next backup is full, if it is.
fn next(policy: &Policy, world: &World) -> Option<WhyFull> {
    let mut later = world.clone();
    later.now = make::at("2026-11-23T02:00:00Z");
    let plan = make::plan(policy, &later);
    let backup = plan.actions.iter().find_map(|action| match &action.op {
        Op::Backup(op) => Some(op.disks.values().next().expect("a disk").clone()),
        _ => None,
    });
    match backup.expect("a slot is due") {
        DiskPlan::Full { because } => Some(because),
        DiskPlan::Incremental => None,
    }
}

#[test]
fn a_guest_that_fails_costs_one_full_backup() {
    let (mut world, policy, [first, second]) = world("validate: true", "");
    assert_eq!(next(&policy, &world), None);
    judge(&mut world, &first, "2026-11-21T12:00:00Z", &["black"], true);
    assert_eq!(next(&policy, &world), Some(WhyFull::Invalid));
    // The next one that fails ends nothing, until one did well.
    let (_, trial) = booted(&make::plan(&policy, &world)).expect("due");
    assert!(!trial.ends_chain);
    judge(&mut world, &first, "2026-11-21T12:00:00Z", &[], false);
    assert_eq!(next(&policy, &world), None);
    let (_, trial) = booted(&make::plan(&policy, &world)).expect("due");
    assert!(trial.ends_chain);
    // A VM whose only backups are invalid gets no first one again at every apply.
    judge(
        &mut world,
        &first,
        "2026-11-21T12:00:00Z",
        &["black"],
        false,
    );
    judge(
        &mut world,
        &second,
        "2026-11-22T12:00:00Z",
        &["black"],
        false,
    );
    let plan = make::plan(&policy, &world);
    assert!(
        !plan
            .actions
            .iter()
            .any(|action| matches!(action.op, Op::Backup(_))),
        "{plan:?}"
    );
}

#[test]
fn whoever_asks_is_told_whatever_was_before() {
    let (mut world, policy, [first, _]) = world("validate: true", "");
    judge(&mut world, &first, "2026-11-22T12:59:00Z", &["black"], true);
    let vm = guest(&mut world).vm.uuid.clone();
    let plan = validations::ask((&vm, &first), Some(&policy), &world, &make::options());
    let (id, trial) = booted(&plan).expect("it is asked for");
    assert_eq!(id, first);
    assert!(!trial.ends_chain, "a chain was ended already");
    let Op::Validate(op) = &plan.actions[0].op else {
        panic!("{plan:?}");
    };
    assert_eq!((op.asked, op.retry.attempts), (true, Some(1)));
}

#[test]
fn the_newest_valid_one_stays_and_an_invalid_one_takes_no_place() {
    let mut world = retention::dailies(10, 1);
    let ids: Vec<_> = guest(&mut world).record.backups.keys().cloned().collect();
    judge(&mut world, &ids[0], "2026-11-14T00:00:00Z", &[], false);
    judge(
        &mut world,
        &ids[9],
        "2026-11-22T03:00:00Z",
        &["black"],
        true,
    );
    let record = &guest(&mut world).record.clone();
    let rules = record.retention.as_deref().expect("it is in force");
    let verdicts = rules.judge(record, world.now);
    let why = |n: usize| verdicts[&ids[n]].reasons();
    assert_eq!(why(0), ["the newest valid one"]);
    assert_eq!(why(1), [] as [&str; 0]);
    assert_eq!(why(2), ["daily 7 of 7"]);
    assert_eq!(why(8), ["minimum 1 of 1", "daily 1 of 7"]);
    assert_eq!(why(9), ["invalid, where a good one would stay"]);
    // Where all of them fail they stay as if none did, and no longer.
    for id in &ids {
        judge(&mut world, id, "2026-11-22T03:00:00Z", &["black"], true);
    }
    let record = &guest(&mut world).record.clone();
    let verdicts = rules.judge(record, world.now);
    let stay = ids.iter().filter(|id| verdicts[*id].stays());
    assert!(stay.eq(&ids[3..]));
}
