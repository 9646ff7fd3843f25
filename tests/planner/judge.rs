//! Which backups rules keep. The rules are those that restic and Proxmox publish for their own tools; the dates were
//! derived apart from this program, from the definition alone: the newest backup of each of the n newest buckets.

use std::sync::Arc;

use jiff::SignedDuration;
use jiff::Timestamp;
use knib::model::backup::Unusable;
use knib::model::policy::Retention;
use knib::model::retention::Rules;
use knib::model::seconds::Seconds;
use knib::model::world::Guest;

use super::make;

const NOW: &str = "2030-01-01T00:00:00Z";

/// One a day at one o'clock, the last on this day.
fn daily(last: &str, days: i64) -> Vec<Timestamp> {
    hourly(last, days * 24, 24)
}

fn hourly(last: &str, hours: i64, every: usize) -> Vec<Timestamp> {
    let last = make::at(last);
    let back = (0..hours).step_by(every).map(SignedDuration::from_hours);
    back.map(|back| last - back).collect()
}

fn guest(times: &[Timestamp]) -> Guest {
    let mut guest = make::vm("db-01", &["vda"]);
    for at in times {
        make::past(&mut guest, *at, "nightly", None);
    }
    guest
}

fn rules(retention: Retention, zone: &str) -> Rules {
    Rules {
        policy: "all".to_owned(),
        timezone: zone.to_owned(),
        min_backups: 1,
        retention: Some(retention),
        ..Rules::default()
    }
}

fn kept_of(rules: &Rules, guest: &Guest) -> Vec<String> {
    let verdicts = rules.judge(&guest.record, make::at(NOW));
    let stay = verdicts.iter().filter(|(_, verdict)| verdict.stays());
    let mut kept: Vec<_> = stay
        .map(|(id, _)| guest.record.backups[id].created)
        .collect();
    kept.sort();
    let text = |at: Timestamp| at.strftime("%Y-%m-%dT%H").to_string();
    kept.into_iter().map(text).collect()
}

fn kept(retention: Retention, zone: &str, times: &[Timestamp]) -> String {
    kept_of(&rules(retention, zone), &guest(times)).join(" ")
}

fn counts(last: u32, hourly: u32, daily: u32, weekly: u32, monthly: u32, yearly: u32) -> Retention {
    Retention {
        keep_last: last,
        keep_hourly: hourly,
        keep_daily: daily,
        keep_weekly: weekly,
        keep_monthly: monthly,
        keep_yearly: yearly,
        keep_within: None,
    }
}

#[test]
fn the_policy_of_restics_manual() {
    let times = daily("2026-11-22T01:00:00Z", 800);
    let expected = "2024-12-31T01 2025-12-31T01 2026-01-31T01 2026-02-28T01 2026-03-31T01 2026-04-30T01 2026-05-31T01 \
                    2026-06-30T01 2026-07-31T01 2026-08-31T01 2026-09-30T01 2026-10-25T01 2026-10-31T01 2026-11-01T01 \
                    2026-11-08T01 2026-11-15T01 2026-11-16T01 2026-11-17T01 2026-11-18T01 2026-11-19T01 2026-11-20T01 \
                    2026-11-21T01 2026-11-22T01";
    assert_eq!(kept(counts(0, 0, 7, 5, 12, 75), "UTC", &times), expected);
}

#[test]
fn the_policy_of_proxmoxs_manual() {
    let times = daily("2026-11-22T01:00:00Z", 800);
    let expected = "2024-12-31T01 2025-12-31T01 2026-11-10T01 2026-11-11T01 2026-11-12T01 2026-11-13T01 2026-11-14T01 \
                    2026-11-15T01 2026-11-16T01 2026-11-17T01 2026-11-18T01 2026-11-19T01 2026-11-20T01 2026-11-21T01 \
                    2026-11-22T01";
    assert_eq!(kept(counts(3, 0, 13, 0, 0, 9), "UTC", &times), expected);
}

#[test]
fn a_backup_every_hour() {
    let times = hourly("2026-11-22T01:00:00Z", 24 * 40, 1);
    let expected = "2026-10-31T23 2026-11-01T23 2026-11-08T23 2026-11-15T23 2026-11-16T23 2026-11-17T23 2026-11-18T23 \
                    2026-11-19T23 2026-11-20T23 2026-11-21T18 2026-11-21T19 2026-11-21T20 2026-11-21T21 2026-11-21T22 \
                    2026-11-21T23 2026-11-22T00 2026-11-22T01";
    assert_eq!(kept(counts(0, 8, 7, 4, 12, 5), "UTC", &times), expected);
}

/// 120 days; then none for 45 days, and one more; then ten on one day by hand.
#[test]
fn silence_and_a_busy_day() {
    let retention = counts(3, 0, 7, 4, 3, 0);
    let mut times = daily("2026-11-22T01:00:00Z", 120);
    let expected = "2026-09-30T01 2026-10-31T01 2026-11-01T01 2026-11-08T01 2026-11-15T01 2026-11-16T01 2026-11-17T01 \
                    2026-11-18T01 2026-11-19T01 2026-11-20T01 2026-11-21T01 2026-11-22T01";
    assert_eq!(kept(retention.clone(), "UTC", &times), expected);

    let busy = (10..20).map(|hour| make::at(&format!("2026-11-21T{hour}:00:00Z")));
    let busy: Vec<_> = times.iter().copied().chain(busy).collect();
    let expected = "2026-09-30T01 2026-10-31T01 2026-11-01T01 2026-11-08T01 2026-11-15T01 2026-11-16T01 2026-11-17T01 \
                    2026-11-18T01 2026-11-19T01 2026-11-20T01 2026-11-21T18 2026-11-21T19 2026-11-22T01";
    assert_eq!(kept(retention.clone(), "UTC", &busy), expected);

    times.push(make::at("2027-01-07T01:00:00Z"));
    let expected = "2026-10-31T01 2026-11-08T01 2026-11-15T01 2026-11-17T01 2026-11-18T01 2026-11-19T01 2026-11-20T01 \
                    2026-11-21T01 2026-11-22T01 2027-01-07T01";
    assert_eq!(kept(retention, "UTC", &times), expected);
}

#[test]
fn the_days_are_those_of_the_zone() {
    let times = [1, 13, 22, 23].map(|hour| make::at(&format!("2026-11-22T{hour:02}:00:00Z")));
    let times = [&times[..], &[make::at("2026-11-23T01:00:00Z")]].concat();
    let three = counts(0, 0, 3, 0, 0, 0);
    assert_eq!(
        kept(three.clone(), "UTC", &times),
        "2026-11-22T23 2026-11-23T01"
    );
    assert_eq!(
        kept(three, "Europe/Paris", &times),
        "2026-11-22T22 2026-11-23T01"
    );
    // ISO weeks at the end of a year.
    let times = daily("2027-01-10T01:00:00Z", 30);
    let expected = "2026-12-20T01 2026-12-27T01 2027-01-03T01 2027-01-10T01";
    assert_eq!(kept(counts(0, 0, 0, 4, 0, 0), "UTC", &times), expected);
    // An hour that comes twice is two hours.
    let times =
        ["00:10", "00:40", "01:10", "01:40"].map(|at| make::at(&format!("2026-10-25T{at}:00Z")));
    let expected = "2026-10-25T00 2026-10-25T01";
    assert_eq!(
        kept(counts(0, 9, 0, 0, 0, 0), "Europe/Paris", &times),
        expected
    );
}

#[test]
fn within_counts_from_the_newest_good_one() {
    let within = Retention {
        keep_within: Some(Seconds(14 * 86_400)),
        ..Retention::default()
    };
    let mut guest = guest(&daily("2026-11-22T01:00:00Z", 120));
    assert_eq!(kept_of(&rules(within.clone(), "UTC"), &guest).len(), 15);
    // Three damaged ones: the fourth is the newest good one, and they stay while older ones do.
    for at in daily("2026-11-22T01:00:00Z", 3) {
        let id = knib::model::id::BackupId::allot(at, &guest.vm.uuid, 0);
        let backup = guest.record.backups.get_mut(&id).expect("it is there");
        Arc::make_mut(backup).marks.unusable = Some(Unusable {
            code: "missing".to_owned(),
            file: None,
        });
    }
    let kept = kept_of(&rules(within, "UTC"), &guest);
    assert_eq!(kept.first().map(String::as_str), Some("2026-11-05T01"));
    assert_eq!(kept.len(), 18);
}

/// What takes no place: a pin does, a damaged one and one by hand do not, and one of a later date neither.
#[test]
fn what_always_stays() {
    let mut guest = guest(&daily("2026-11-22T01:00:00Z", 10));
    let ids: Vec<_> = guest.record.backups.keys().cloned().collect();
    let marks = |guest: &mut Guest, n: usize, change: &dyn Fn(&mut knib::model::backup::Backup)| {
        change(Arc::make_mut(
            guest.record.backups.get_mut(&ids[n]).expect("it is there"),
        ));
    };
    marks(&mut guest, 0, &|backup| backup.marks.pinned = true);
    marks(&mut guest, 1, &|backup| backup.policy = None);
    marks(&mut guest, 9, &|backup| {
        backup.created = make::at("2031-01-01T00:00:00Z");
    });
    guest.record.current = Some(ids[4].clone());
    let mut rules = rules(counts(2, 0, 0, 0, 0, 0), "UTC");
    rules.min_backups = 3;
    let verdicts = rules.judge(&guest.record, make::at(NOW));
    let told: Vec<_> = verdicts
        .values()
        .map(|verdict| {
            let passed = verdict.passed.iter().map(ToString::to_string);
            let why = verdict.reasons().into_iter().chain(passed);
            why.collect::<Vec<_>>().join("; ")
        })
        .collect();
    insta::assert_snapshot!(told.join("\n"), @r"
    pinned; last: newer ones have all 2 places
    made by hand
    last: newer ones have all 2 places
    last: newer ones have all 2 places
    current; last: newer ones have all 2 places
    last: newer ones have all 2 places
    minimum 3 of 3; last: newer ones have all 2 places
    minimum 2 of 3; last 2 of 2
    minimum 1 of 3; last 1 of 2
    dated in the future
    ");
}

#[test]
fn a_schedule_can_be_a_group_of_its_own() {
    let mut guest = guest(&daily("2026-11-22T01:00:00Z", 5));
    for month in 1..=11 {
        let at = make::at(&format!("2026-{month:02}-01T22:30:00Z"));
        make::past(&mut guest, at, "month-end", None);
    }
    let mut rules = rules(counts(0, 0, 3, 0, 0, 0), "UTC");
    let own = counts(0, 0, 0, 0, 2, 0);
    rules.schedules.insert("month-end".to_owned(), own);
    let expected = [
        "2026-10-01T22",
        "2026-11-01T22",
        "2026-11-20T01",
        "2026-11-21T01",
        "2026-11-22T01",
    ];
    assert_eq!(kept_of(&rules, &guest), expected);
    // Without it they are in the policy's group, where nothing keeps them.
    rules.schedules.clear();
    assert_eq!(kept_of(&rules, &guest), expected[2..]);
}

/// A backup counts for the slot it served, not for the day that jitter moved it to.
#[test]
fn a_late_backup_counts_for_its_slot() {
    let mut guest = make::vm("db-01", &["vda"]);
    for day in 1..=3 {
        let late = make::at(&format!("2026-11-{:02}T00:20:00Z", day + 1));
        let id = make::past(&mut guest, late, "nightly", None);
        let backup = Arc::make_mut(guest.record.backups.get_mut(&id).expect("it is there"));
        backup.slots[0].at = make::at(&format!("2026-11-{day:02}T23:30:00Z"));
    }
    // By hand on the 4th, after that of the 3rd.
    let id = make::past(
        &mut guest,
        make::at("2026-11-04T10:00:00Z"),
        "nightly",
        None,
    );
    Arc::make_mut(guest.record.backups.get_mut(&id).expect("it is there"))
        .slots
        .clear();
    let kept = kept_of(&rules(counts(0, 0, 2, 0, 0, 0), "UTC"), &guest);
    assert_eq!(kept, ["2026-11-04T00", "2026-11-04T10"]);
}
