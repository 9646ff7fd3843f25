//! The calendar played forward, against arithmetic and against living through it.

use knib::cli::render::Look;
use knib::cli::render::forecast as render;
use knib::model::bytes::Bytes;
use knib::model::op::Op;
use knib::model::policy::Policy;
use knib::model::world::World;
use knib::planner::forecast;
use knib::planner::forecast::Forecast;

use super::make;

fn nightly(more: &str) -> Policy {
    make::one_policy(&format!(
        "schedules: {{ nightly: {{ cron: \"0 2 * * *\" }} }}\n{more}"
    ))
}

/// One VM with its first backup, under the policy.
fn begun(policy: &Policy, vms: &[&str]) -> World {
    let mut world = make::world("2026-11-22T12:00:00Z");
    for name in vms {
        let mut guest = make::vm(name, &["vda"]);
        make::backed_up(&mut guest, "2026-11-22T12:00:00Z", 1);
        make::add(&mut world, guest);
    }
    make::applied(policy, &world, "2026-11-22T13:00:00Z")
}

fn play(policy: &Policy, world: &World, until: &str) -> Forecast {
    forecast::play(policy, world, &make::options(), make::at(until))
}

#[test]
fn days_are_what_the_schedule_says() {
    let policy = nightly("retention: { keepDaily: 7 }");
    let world = begun(&policy, &["db-01", "db-02"]);
    let played = play(&policy, &world, "2026-12-22T12:00:00Z");
    let nas = &played.storages[0];
    assert_eq!(
        (played.vms, nas.days.len(), nas.used),
        (2, 31, Bytes(2 << 30))
    );
    let sum = |of: fn(&forecast::Day) -> u32| nas.days.iter().map(of).sum::<u32>();
    // 30 nights of two VMs. The first chain has one backup already and eight in all: it ends on the 7th night.
    assert_eq!(sum(|day| day.full) + sum(|day| day.incremental), 60);
    let fulls: Vec<_> = nas
        .days
        .iter()
        .filter(|day| day.full > 0)
        .map(|day| day.date.day())
        .collect();
    assert_eq!(fulls, [30, 8, 16]);
    // Seven days stay of each, and a chain goes when the last of it has gone.
    let gone: Vec<_> = nas
        .days
        .iter()
        .filter(|day| day.deleted > 0)
        .map(|day| day.date.day())
        .collect();
    assert_eq!(gone, [6, 14, 22]);
    assert!(
        nas.days
            .iter()
            .all(|day| day.written > Bytes(0) || day.date.day() == 22)
    );
    let used = |day: usize| nas.days[day].used;
    assert!(
        used(14) < used(13),
        "the first chain is gone: {:?}",
        nas.days[14]
    );
}

/// Each day's backups and removals are those of an apply at that instant, one after another.
#[test]
fn it_foresees_what_applies_will_do() {
    let policy = nightly("retention: { keepLast: 2 }");
    let mut world = make::world("2026-11-22T12:00:00Z");
    make::add(&mut world, make::vm("db-01", &["vda"]));
    let played = play(&policy, &world, "2026-11-22T13:00:00Z");
    let day = &played.storages[0].days[0];
    let plan = make::plan(&policy, &world);
    let backups = plan
        .actions
        .iter()
        .filter(|action| matches!(action.op, Op::Backup(_)));
    assert_eq!(backups.count(), usize::try_from(day.full).expect("few"));
    assert_eq!(day.written, plan.summary.bytes_written);
}

#[test]
fn it_is_drawn_within_eighty_columns() {
    let policy = nightly("retention: { keepDaily: 3 }");
    let world = begun(&policy, &["db-01", "db-02", "db-03"]);
    let played = play(&policy, &world, "2026-12-06T12:00:00Z");
    let drawn = render::human(&played, Look::PLAIN);
    assert!(
        drawn.lines().all(|line| line.chars().count() <= 80),
        "{drawn}"
    );
    insta::assert_snapshot!(drawn);
}
