//! The calendar played forward, against arithmetic and against living through it.

use std::sync::Arc;

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

const GIB: Bytes = Bytes(1 << 30);
const QUARTER: Bytes = Bytes(1 << 28);

/// What each night writes and leaves of a VM whose backups became a quarter when they were compressed: the
/// second of a chain of three comes first, after it the third and a full one.
fn packed_nights(offering: &str) -> Vec<(Bytes, Bytes)> {
    let policy = make::policy(&format!(
        "version: 1\nstorage: {{ nas: {{ path: /nas }} }}\nofferings: {{ small: {{ {offering} }} }}\n\
         settings: {{ backup.chain.size: 3 }}\npolicies:\n  all:\n    select: {{ names: [\"db-*\"] }}\n    \
         offering: small\n    storage: nas\n    schedules: {{ nightly: {{ cron: \"0 2 * * *\" }} }}\n"
    ));
    let mut world = make::world("2026-11-22T12:00:00Z");
    let mut guest = make::vm("db-01", &["vda"]);
    make::backed_up(&mut guest, "2026-11-20T12:00:00Z", 1);
    for backup in guest.record.backups.values_mut() {
        let backup = Arc::make_mut(backup);
        backup.marks.compressed = true;
        for disk in backup.disks.values_mut() {
            (disk.size, disk.uncompressed) = (QUARTER, Some(GIB));
        }
    }
    make::add(&mut world, guest);
    let world = make::applied(&policy, &world, "2026-11-22T13:00:00Z");
    let played = play(&policy, &world, "2026-11-25T12:00:00Z");
    let nas = &played.storages[0];
    let used = nas
        .days
        .windows(2)
        .map(|pair| pair[1].used.less(pair[0].used));
    let written = nas.days[1..].iter().map(|day| day.written);
    written.zip(used).collect()
}

/// A guest's changes are a fiftieth of its disks where no increment is known, and all of it is reckoned as the
/// full backup on record became.
#[test]
fn what_is_compressed_is_reckoned_as_small_as_before() {
    // Its disk and the delta on it.
    let full = Bytes(GIB.0 + (64 << 20));
    let part = Bytes(full.0 / 50);
    let quarter = |bytes: Bytes| Bytes(bytes.0 / 4);
    // Beside the copy its compressed file is written, and takes its place.
    let job = |bytes: Bytes| (bytes + quarter(bytes), quarter(bytes));
    let inline = |bytes: Bytes| (quarter(bytes), quarter(bytes));
    let plain = |bytes: Bytes| (bytes, bytes);
    assert_eq!(
        packed_nights("compress: true"),
        [job(part), job(part), job(full)]
    );
    assert_eq!(
        packed_nights("compress: true, compressMode: inline"),
        [inline(part), inline(part), inline(full)]
    );
    assert_eq!(
        packed_nights("compress: false"),
        [plain(part), plain(part), plain(full)]
    );
}

/// More than twice the median is told, twice is not.
#[test]
fn a_heavy_night_is_told() {
    let heavy = |more: &str| {
        let policy = make::policy(&format!(
            "version: 1\nstorage: {{ nas: {{ path: /nas }} }}\nofferings: {{ whole: {{ backupChainSize: 1 }} }}\n\
             policies:\n  all:\n    select: {{ names: [\"db-*\"] }}\n    offering: whole\n    storage: nas\n    \
             schedules: {{ nightly: {{ cron: \"0 2 * * *\" }}{more} }}\n"
        ));
        let played = play(&policy, &begun(&policy, &["db-01"]), "2026-11-29T12:00:00Z");
        let told = played
            .findings
            .iter()
            .filter(|one| one.code == "heavy_night");
        told.map(|one| one.text.clone()).collect::<Vec<_>>()
    };
    let saturday = ", second: { cron: \"0 3 * * 6\", isolated: true }";
    assert_eq!(heavy(saturday), [] as [String; 0]);
    let third = format!("{saturday}, third: {{ cron: \"0 4 * * 6\", isolated: true }}");
    insta::assert_snapshot!(heavy(&third).join("\n"), @"2026-11-28 writes 3.2 GiB to nas, more than twice the median of 1.1 GiB: 3 full");
}
