//! Retention over records that anything may have made: it reads no clock, a stricter one keeps no more, what is in
//! force is never left behind by an edit, and once applied there is nothing left to do.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::LazyLock;

use jiff::SignedDuration;
use jiff::Timestamp;
use knib::model::backup::Unusable;
use knib::model::id::BackupId;
use knib::model::op::Op;
use knib::model::policy::Policy;
use knib::model::policy::Retention;
use knib::model::record::Record;
use knib::model::retention::Rules;
use knib::model::retention::Verdict;
use knib::model::seconds::Seconds;
use knib::model::world::Guest;
use knib::model::world::World;
use proptest::prelude::*;
use proptest::sample::select;

use crate::planner::make;

/// One backup: so many hours after the one before, and what became of it.
#[derive(Clone, Debug)]
struct Past {
    hours: i64,
    continues: bool,
    fate: Fate,
    monthly: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Good,
    Pinned,
    Unusable,
    Removed,
}

fn past() -> impl Strategy<Value = Past> {
    let hours = prop_oneof![Just(1_i64), Just(24), Just(25), 2..200_i64];
    let fate = prop_oneof![
        7 => Just(Fate::Good),
        1 => Just(Fate::Pinned),
        1 => Just(Fate::Unusable),
        1 => Just(Fate::Removed),
    ];
    let monthly = prop::bool::weighted(0.1);
    (hours, any::<bool>(), fate, monthly).prop_map(|(hours, continues, fate, monthly)| Past {
        hours,
        continues,
        fate,
        monthly,
    })
}

fn retention() -> impl Strategy<Value = Retention> {
    let within = prop::option::of((0..40_u64).prop_map(|days| Seconds(days * 86_400)));
    let count = || 0..5_u32;
    (count(), count(), count(), count(), count(), count(), within).prop_map(
        |(last, hourly, daily, weekly, monthly, yearly, within)| Retention {
            keep_last: last,
            keep_hourly: hourly,
            keep_daily: daily,
            keep_weekly: weekly,
            keep_monthly: monthly,
            keep_yearly: yearly,
            keep_within: within,
        },
    )
}

fn rules() -> impl Strategy<Value = Rules> {
    let zone = select(vec!["UTC", "Asia/Tokyo", "America/New_York"]);
    let own = prop::option::weighted(0.3, retention());
    (retention(), zone, 1..4_u32, own).prop_map(|(retention, zone, min_backups, own)| Rules {
        policy: "all".to_owned(),
        timezone: zone.to_owned(),
        min_backups,
        retention: Some(retention),
        schedules: own
            .map(|own| ("monthly".to_owned(), own))
            .into_iter()
            .collect(),
    })
}

const FIRST: &str = "2025-11-22T02:00:00Z";

fn guest(pasts: &[Past]) -> (Guest, Timestamp) {
    let mut guest = make::vm("db-01", &["vda"]);
    let mut at = make::at(FIRST);
    let mut last: Option<BackupId> = None;
    for past in pasts {
        at += SignedDuration::from_hours(past.hours);
        let parent = last.filter(|_| past.continues);
        let schedule = if past.monthly { "monthly" } else { "nightly" };
        let id = make::past(&mut guest, at, schedule, parent.as_ref());
        let backup = guest.record.backups.get_mut(&id).expect("it was made");
        let marks = &mut Arc::make_mut(backup).marks;
        marks.pinned = past.fate == Fate::Pinned;
        marks.removed = (past.fate == Fate::Removed).then_some(at);
        marks.unusable = (past.fate == Fate::Unusable).then(|| Unusable {
            code: "missing".to_owned(),
            file: None,
        });
        last = Some(id);
    }
    (guest, at)
}

fn stay(rules: &Rules, record: &Record, now: Timestamp) -> BTreeSet<BackupId> {
    let verdicts = rules.judge(record, now).into_iter();
    let stay = verdicts.filter(|(_, verdict)| Verdict::stays(verdict));
    stay.map(|(id, _)| id).collect()
}

fn good(record: &Record) -> Vec<&BackupId> {
    let all = record.backups.iter();
    let good = all.filter(|(id, one)| one.marks.removed.is_none() && record.is_usable(id));
    good.map(|(id, _)| id).collect()
}

/// A policy that says what the rules say.
fn policy_of(rules: &Rules) -> Policy {
    static BARE: LazyLock<Policy> = LazyLock::new(|| {
        make::one_policy(
            "schedules:\n  nightly: { cron: \"0 0 1 1 *\" }\n  monthly: { cron: \"0 0 1 1 *\" }\nretention: {}",
        )
    });
    let mut policy = BARE.clone();
    policy.timezone.clone_from(&rules.timezone);
    let spec = policy.policies.get_mut("all").expect("it is there");
    spec.retention.clone_from(&rules.retention);
    spec.min_backups = rules.min_backups;
    spec.first = knib::model::policy::First::NextSlot;
    let monthly = spec.schedules.get_mut("monthly").expect("it is there");
    monthly.retention = rules.schedules.get("monthly").cloned();
    policy
}

fn world(pasts: &[Past], rules: &Rules) -> World {
    let (guest, newest) = guest(pasts);
    let mut world = make::world(FIRST);
    make::add(&mut world, guest);
    world.now = newest;
    let (guest, _) = self::guest(pasts);
    // The policy is applied, and its retention is in force whatever is there.
    let mut world = make::applied(&policy_of(rules), &world, &newest.to_string());
    let here = world.guests.get_mut(&guest.vm.uuid).expect("it is there");
    here.record.backups = guest.record.backups;
    here.record.retention = Some(Box::new(rules.clone()));
    world
}

fn record(world: &World) -> &Record {
    &world.guests.values().next().expect("it is there").record
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: super::cases(150),
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(13),
        ..ProptestConfig::default()
    })]

    #[test]
    fn waiting_lets_nothing_go(pasts in prop::collection::vec(past(), 0..30), rules in rules(), days in 0..4000_i64) {
        let (guest, now) = guest(&pasts);
        let later = now + SignedDuration::from_hours(24 * days);
        prop_assert_eq!(stay(&rules, &guest.record, now), stay(&rules, &guest.record, later));
    }

    #[test]
    fn a_stricter_one_keeps_no_more(
        pasts in prop::collection::vec(past(), 0..30), rules in rules(), less in 0..6_usize, min in 1..4_u32,
    ) {
        let mut strict = rules.clone();
        let retention = strict.retention.as_mut().expect("it has one");
        let count = [
            &mut retention.keep_last, &mut retention.keep_hourly, &mut retention.keep_daily,
            &mut retention.keep_weekly, &mut retention.keep_monthly, &mut retention.keep_yearly,
        ];
        let count = count.into_iter().nth(less).expect("there are six");
        *count = count.saturating_sub(1);
        if let Some(within) = &mut retention.keep_within {
            within.0 /= 2;
        }
        strict.min_backups = strict.min_backups.min(min);
        // None at all is not the strictest: it keeps everything.
        prop_assume!(!retention.keeps_everything());
        let (guest, now) = guest(&pasts);
        let (more, fewer) = (stay(&rules, &guest.record, now), stay(&strict, &guest.record, now));
        prop_assert!(fewer.is_subset(&more), "{:?}", fewer.difference(&more));
    }

    #[test]
    fn the_newest_good_ones_stay(pasts in prop::collection::vec(past(), 0..30), rules in rules()) {
        let (guest, now) = guest(&pasts);
        let stay = stay(&rules, &guest.record, now);
        let good = good(&guest.record);
        let least = usize::try_from(rules.min_backups).expect("it is small").min(good.len());
        prop_assert!(good[good.len() - least..].iter().all(|id| stay.contains(*id)));
        let pinned = guest.record.backups.iter().filter(|(_, one)| one.marks.pinned && one.marks.removed.is_none());
        prop_assert!(pinned.map(|(id, _)| id).all(|id| stay.contains(id)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: super::cases(40),
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(13),
        ..ProptestConfig::default()
    })]

    /// Whatever the edit: what is in force keeps its backups, and what needs no human is done at once.
    #[test]
    fn an_edit_costs_nothing_that_was_not_allowed(
        pasts in prop::collection::vec(past(), 0..20), before in rules(), after in rules(),
    ) {
        let policy = policy_of(&after);
        let now = world(&pasts, &before);
        let instant = now.now.to_string();
        let mut now = make::applied(&policy_of(&before), &now, &instant);
        let safe = stay(&before, record(&now), now.now);
        for _ in 0..3 {
            let instant = now.now.to_string();
            let plan = make::plan(&policy, &now);
            prop_assert_eq!(super::rules::broken(&plan, &now), [] as [String; 0]);
            now = make::applied(&policy, &now, &instant);
            let kept = stay(&before, record(&now), now.now);
            prop_assert!(safe.is_subset(&kept), "lost {:?}", safe.difference(&kept));
        }
        let left = make::plan(&policy, &now);
        let free = left.actions.iter().filter(|action| action.is_free());
        prop_assert_eq!(free.map(|action| &action.address).collect::<Vec<_>>(), [] as [&String; 0]);
        // It moves exactly when nothing is left that it would keep.
        let waits = left.actions.iter().any(|action| !action.is_free());
        let in_force = record(&now).retention.as_deref() == Some(&after);
        prop_assert_eq!(in_force, !waits);
        for action in &left.actions {
            prop_assert!(matches!(action.op, Op::Expire(_) | Op::Delete(_)), "{}", action.address);
        }
        // Undone, it is as if nothing had been.
        if !in_force {
            let plan = make::plan(&policy_of(&before), &now);
            let gone = plan.actions.iter().filter(|one| matches!(one.op, Op::Expire(_) | Op::Delete(_)));
            prop_assert_eq!(gone.count(), 0);
        }
    }
}
