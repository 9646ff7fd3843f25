//! Jobs in plans: what this host can do of a policy, what is held, and what ends.

use insta::assert_snapshot;
use knib::model::id::BackupId;
use knib::model::job::Job;
use knib::model::job::JobKind;
use knib::model::job::JobState;
use knib::model::op::Op;
use knib::model::op::Phase;
use knib::model::plan::Plan;
use knib::model::policy::Policy;
use knib::model::world::World;

use super::make;

/// A full backup and one that continues it, both to be compressed, under these settings.
fn waiting(settings: &str) -> (World, Policy) {
    let policy = make::policy(&format!(
        "version: 1\nsettings: {{ {settings} }}\nstorage:\n  nas: {{ path: /nas }}\nofferings:\n  plain: {{ compress: true }}\n\
         policies:\n  all:\n    select: {{ names: [\"db-*\"] }}\n    offering: plain\n    storage: nas\n    \
         schedules:\n      nightly: {{ cron: \"0 2 * * *\" }}\n"
    ));
    let mut guest = make::vm("db-01", &["vda"]);
    make::backed_up(&mut guest, "2026-11-21T02:00:00Z", 1);
    make::backed_up(&mut guest, "2026-11-22T02:00:00Z", 2);
    let mut world = make::world("2026-11-22T12:00:00Z");
    make::add(&mut world, guest);
    let mut world = make::applied(&policy, &world, "2026-11-22T13:00:00Z");
    let guest = world.guests.values_mut().next().expect("one VM");
    for backup in guest.record.backups.values() {
        let job = Job::new(backup.id.clone(), JobKind::Start, backup.created);
        guest.record.jobs.insert(job.id(), job);
    }
    (world, policy)
}

fn backups(world: &World) -> Vec<BackupId> {
    let guests = world.guests.values();
    guests
        .flat_map(|guest| guest.record.backups.keys().cloned())
        .collect()
}

fn job<'a>(world: &'a mut World, backup: &BackupId) -> &'a mut Job {
    let mut guests = world.guests.values_mut();
    let jobs = guests.find_map(|guest| {
        let mut jobs = guest.record.jobs.values_mut();
        jobs.find(|job| job.backup == *backup)
    });
    jobs.expect("there is one of each")
}

/// `start zstd 1` for each action that compresses, or why it does not.
fn told(plan: &Plan) -> String {
    let words = plan.actions.iter().map(|action| match &action.op {
        _ if !action.is_free() => format!("{:?}", action.blocked_by),
        Op::Compress(op) => match &op.phase {
            Phase::Start { how, at_once, .. } => format!("start with {how}, {at_once:?} at once"),
            Phase::Finalize => format!("finalize after {} more", action.depends_on.len()),
        },
        op => op.verb().as_str().to_owned(),
    });
    words.collect::<Vec<_>>().join("\n")
}

#[test]
fn both_phases_are_in_one_plan() {
    let (world, policy) = waiting("");
    assert_snapshot!(told(&make::plan(&policy, &world)), @r"
    start with zstd, Some(5) at once
    finalize after 1 more
    start with zstd, Some(5) at once
    finalize after 1 more
    ");
}

#[test]
fn settings_travel_with_each_attempt() {
    let settings = "backup.compression.coroutines: 16, backup.compression.rate.limit: 30MB/s, \
                    backup.compression.max.concurrent.compressions.per.host: -1";
    let (world, policy) = waiting(settings);
    let plan = told(&make::plan(&policy, &world));
    assert!(
        plan.contains("start with zstd, 16 clusters at a time, 30 MB/s at most, None at once"),
        "{plan}"
    );
    let (world, policy) = waiting("backup.compression.task.enabled: false");
    assert_snapshot!(told(&make::plan(&policy, &world)), @"");
}

/// What each attempt is bound by: places, thousandths of its size that must be free, how long, how often, and when again.
fn bounds(settings: &str) -> String {
    let (world, policy) = waiting(settings);
    let plan = make::plan(&policy, &world);
    let each = plan.actions.iter().filter_map(|action| match &action.op {
        Op::Compress(op) => Some((op, action.op.lane())),
        _ => None,
    });
    let mut words: Vec<_> = each
        .map(|(op, lane)| match &op.phase {
            Phase::Start { room, timeout, .. } => {
                format!("start: {lane:?}, {room}, {timeout:?}, {:?}", op.retry)
            }
            Phase::Finalize => format!("finalize: {lane:?}, {:?}", op.retry),
        })
        .collect();
    words.dedup();
    words.truncate(2);
    words.join("\n")
}

#[test]
fn attempts_are_bound_as_the_settings_say_and_swaps_wait_for_no_place() {
    assert_snapshot!(bounds(""), @r"
    start: Job { kind: Start, places: Some(5) }, 1000, Seconds(28800), Retry { attempts: Some(2), interval: Seconds(3600) }
    finalize: Free, Retry { attempts: None, interval: Seconds(3600) }
    ");
    let settings = "backup.compression.max.concurrent.compressions.per.host: 1, backup.compression.minimum.free.storage: 1.5, \
                    backup.compression.timeout: 30m, backup.compression.max.job.retries: 4, backup.compression.retry.interval: 5";
    assert_snapshot!(bounds(settings), @r"
    start: Job { kind: Start, places: Some(1) }, 1500, Seconds(1800), Retry { attempts: Some(4), interval: Seconds(300) }
    finalize: Free, Retry { attempts: None, interval: Seconds(300) }
    ");
}

#[test]
fn an_old_qemu_compresses_with_zlib_and_keeps_to_no_rate() {
    let (mut world, policy) = waiting("");
    world.host.qemu = "5.0.1".to_owned();
    let plan = make::plan(&policy, &world);
    assert!(
        told(&plan).starts_with("start with zlib, "),
        "{}",
        told(&plan)
    );
    let (mut world, policy) = waiting("backup.compression.rate.limit: 30MB/s");
    world.host.qemu = "5.1.0".to_owned();
    let plan = told(&make::plan(&policy, &world));
    assert!(
        plan.contains("QEMU 5.1.0 cannot compress at a limited rate"),
        "{plan}"
    );
}

#[test]
fn an_attempt_is_held_until_its_time() {
    let (mut world, policy) = waiting("");
    let first = backups(&world)[0].clone();
    let job = job(&mut world, &first);
    job.attempts = 1;
    job.ended = Some(make::at("2026-11-22T12:30:00Z"));
    let plan = told(&make::plan(&policy, &world));
    assert!(
        plan.contains("attempt 1 failed, tried again at 2026-11-22T13:30:00Z"),
        "{plan}"
    );
    world.now = make::at("2026-11-22T13:30:00Z");
    let plan = told(&make::plan(&policy, &world));
    assert!(!plan.contains("attempt 1"), "{plan}");
}

#[test]
fn what_failed_before_goes_by_the_settings_in_force() {
    let first = |settings: &str, attempts, state| {
        let (mut world, policy) = waiting(settings);
        let first = backups(&world)[0].clone();
        let job = job(&mut world, &first);
        job.attempts = attempts;
        job.state = state;
        job.ended = Some(make::at("2026-11-22T12:30:00Z"));
        job.not_before = make::at("2026-11-22T13:30:00Z");
        let plan = make::plan(&policy, &world);
        let of_first = plan.actions.iter().find(|action| match &action.op {
            Op::Compress(op) => op.of.backup == first,
            _ => false,
        });
        match of_first {
            None => "not tried".to_owned(),
            Some(action) if action.is_free() => "tried".to_owned(),
            Some(action) => format!("{:?}", action.blocked_by),
        }
    };
    let interval = |minutes| format!("backup.compression.retry.interval: {minutes}");
    assert_eq!(first(&interval(10), 1, JobState::Waiting), "tried");
    let held = first(&interval(90), 1, JobState::Waiting);
    assert!(held.contains("2026-11-22T14:00:00Z"), "{held}");

    let attempts = |most| {
        format!(
            "{}, backup.compression.max.job.retries: {most}",
            interval(10)
        )
    };
    assert_eq!(first(&attempts(2), 2, JobState::Failed), "not tried");
    assert_eq!(first(&attempts(3), 2, JobState::Failed), "tried");
    assert_eq!(first(&attempts(2), 2, JobState::Waiting), "not tried");
    assert_eq!(first(&attempts(3), 2, JobState::Cancelled), "not tried");
}

#[test]
fn what_is_over_is_not_planned_and_what_was_let_go_ends() {
    let (mut world, policy) = waiting("");
    let all = backups(&world);
    job(&mut world, &all[0]).state = JobState::Failed;
    let guest = world.guests.values_mut().next().expect("one VM");
    let second = guest.record.backups.get_mut(&all[1]).expect("the second");
    std::sync::Arc::make_mut(second).marks.removed = Some(make::at("2026-11-22T12:30:00Z"));
    let plan = make::plan(&policy, &world);
    let ends = |action: &&knib::model::plan::Action| matches!(action.op, Op::JobCancel(_));
    assert_eq!(
        plan.actions.iter().filter(ends).count(),
        0,
        "it goes with its job"
    );
    assert!(!told(&plan).contains("start with"), "{}", told(&plan));

    // One that another backup needs stays, and its job ends.
    let (mut world, policy) = waiting("");
    let guest = world.guests.values_mut().next().expect("one VM");
    let first = guest.record.backups.get_mut(&all[0]).expect("the first");
    std::sync::Arc::make_mut(first).marks.removed = Some(make::at("2026-11-22T12:30:00Z"));
    let plan = make::plan(&policy, &world);
    assert_eq!(
        plan.actions.iter().filter(ends).count(),
        1,
        "{}",
        told(&plan)
    );
}
