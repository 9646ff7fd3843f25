//! Worlds that nobody would make.

use std::sync::OnceLock;

use knib::cli::saved;
use knib::model::ground::Ground;
use knib::model::machine::Format;
use knib::model::plan::Plan;
use knib::model::policy::Policy;
use knib::model::world::World;
use knib::planner::request;
use knib::planner::request::BackupRun;
use knib::planner::restore;
use knib::planner::restore::How;
use knib::planner::restore::InPlace;
use knib::planner::restore::NewVm;
use proptest::prelude::*;

use crate::planner::make;
use crate::props::mischief::Mischief;
use crate::props::mischief::mischief;
use crate::props::rules;

const POLICIES: [&str; 6] = [
    "schedules:\n  nightly: { cron: \"0 2 * * *\" }",
    "schedules:\n  nightly: { cron: \"0 2 * * *\", jitter: 1h, deadline: 6h }\n  often: { cron: \"* * * * *\" }\n  \
     alone: { cron: \"0 3 * * *\", isolated: true }",
    "first: nextSlot\ndisks: { exclude: [\"vdb\"] }\nschedules:\n  leap: { cron: \"0 0 29 2 *\", quiesce: required }",
    "schedules:\n  yearly: { cron: \"@yearly\", isolated: true, timezone: America/New_York }",
    "schedules:\n  nightly: { cron: \"0 2 * * *\" }\nretention: { keepLast: 1 }",
    "schedules:\n  nightly: { cron: \"0 2 * * *\" }\n  alone: { cron: \"0 3 * * *\", isolated: true, retention: { keepWithin: 1d } }\n\
     retention: { keepHourly: 1, keepWeekly: 1 }\nprotect: { minBackups: 2 }",
];

/// A policy, and a world in which it was applied.
fn begun(policy: usize) -> &'static (Policy, World) {
    static ALL: OnceLock<Vec<(Policy, World)>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let policies = POLICIES.iter().map(|lines| make::one_policy(lines));
        let begun = policies.map(|policy| {
            let world = sound(&policy);
            (policy, world)
        });
        begun.collect()
    });
    &all[policy]
}

/// A VM with a chain of three, one with an isolated backup to come, one that no policy selects any more.
fn sound(policy: &Policy) -> World {
    let mut world = make::world("2026-11-22T12:00:00Z");
    let mut chained = make::vm("db-01", &["vda", "vdb"]);
    for (n, created) in ["20", "21", "22"].iter().enumerate() {
        let position = u32::try_from(n + 1).expect("it is small");
        make::backed_up(
            &mut chained,
            &format!("2026-11-{created}T02:00:00Z"),
            position,
        );
    }
    make::cover(&mut chained, "vda", "/images/somebodys", 1 << 20);
    let mut leaving = make::vm("web-01", &["vda"]);
    make::backed_up(&mut leaving, "2026-11-22T02:00:00Z", 1);
    make::add(&mut world, chained);
    make::add(&mut world, make::vm("db-02", &["vda"]));
    make::add(&mut world, leaving);
    make::applied(policy, &world, "2026-11-23T02:30:00Z")
}

fn world() -> impl Strategy<Value = (usize, Vec<Mischief>)> {
    (
        0..POLICIES.len(),
        proptest::collection::vec(mischief(), 0..7),
    )
}

/// Every kind of plan there is.
fn plans(policy: &Policy, world: &World) -> Vec<Plan> {
    let mut plans = vec![make::plan(policy, world)];
    let nobody = make::policy("version: 1\nstorage: { nas: { path: /nas } }\npolicies: {}\n");
    plans.push(make::plan(&nobody, world));
    for (id, guest) in &world.guests {
        for (isolated, full) in [(false, false), (true, false), (false, true)] {
            let asked = BackupRun {
                vm: id.clone(),
                isolated,
                full,
                quiesce: None,
                storage: Some("nas".to_owned()),
            };
            let options = make::options();
            plans.push(request::backup(&asked, Some(policy), world, &options));
        }
        for backup in guest.record.backups.keys() {
            let asked = NewVm {
                from: id.clone(),
                backup: backup.clone(),
                name: "copy".to_owned(),
                dir: None,
                format: Format::Raw,
                keep_mac: false,
                network: None,
                start: false,
                how: How::default(),
            };
            plans.push(restore::new_vm(
                &asked,
                &Ground::default(),
                world,
                &make::options(),
            ));
            let asked = InPlace {
                backups: vec![(id.clone(), backup.clone())],
                stop: None,
                discard: false,
                dir: None,
                how: How {
                    verify: true,
                    quick: true,
                    removed: false,
                },
            };
            plans.push(restore::vms(
                &asked,
                &Ground::default(),
                world,
                &make::options(),
            ));
        }
    }
    plans
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: super::cases(60),
        failure_persistence: None,
        max_shrink_iters: 4000,
        rng_seed: proptest::test_runner::RngSeed::Fixed(11),
        ..ProptestConfig::default()
    })]

    /// Whatever is seen, there is a plan, it is the same twice, and it keeps the rules.
    #[test]
    fn every_world_has_a_plan((policy, mischief) in world()) {
        let (policy, world) = begun(policy);
        let mut world = world.clone();
        for change in &mischief {
            change.make(&mut world);
        }
        prop_assert_eq!(rules::replayed(&world), [] as [String; 0]);
        let once = plans(policy, &world);
        for plan in &once {
            prop_assert_eq!(rules::broken(plan, &world), [] as [String; 0]);
        }
        let again = plans(policy, &world);
        prop_assert!(once == again, "the same world has two plans");
        prop_assert_eq!(saved::text(&once[0]), saved::text(&again[0]));
    }

    /// A VM's plan depends on no other VM, but for the room that they share.
    #[test]
    fn a_vm_more_changes_nothing_for_the_others((policy, mischief) in world(), gone in 0..3_usize) {
        let (policy, world) = begun(policy);
        let mut world = world.clone();
        for change in &mischief {
            change.make(&mut world);
        }
        let id = world.guests.keys().nth(gone).expect("there are three").clone();
        let all = make::plan(policy, &world);
        world.guests.remove(&id);
        let without = make::plan(policy, &world);
        let of_others = |plan: &Plan| {
            let of = plan.actions.iter().filter(|action| {
                action.vm.as_ref().is_some_and(|vm| vm.uuid != id)
            });
            let mut plan = plan.clone();
            plan.actions = of.cloned().collect();
            make::lines(&plan)
        };
        let room = |plan: &Plan| make::lines(plan).contains("!storage_full");
        if !room(&all) {
            prop_assert_eq!(of_others(&all), of_others(&without));
        }
    }
}
