//! Histories that knib lives through on the simulated host, with owners who do as they like: after every apply there is
//! nothing left to do, what the plan foresaw has come about, and each slot was served once.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use jiff::SignedDuration;
use jiff::Timestamp;
use knib::engine::Report;
use knib::model::id::VmId;
use knib::model::layout;
use knib::model::op::Op;
use knib::model::plan::Outcome;
use knib::model::plan::Plan;
use knib::model::world::Guest;
use knib::model::world::World;
use knib::planner;
use proptest::prelude::*;
use proptest::sample::select;

use crate::crash::Bench;
use crate::crash::Desk;
use crate::crash::Kept;
use crate::crash::Ran;
use crate::crash::compare;
use crate::crash::foresee;
use crate::crash::scenario;
use crate::crash::tell;
use crate::props::rules;
use crate::sim::Site;

/// What happens between two applies.
#[derive(Clone, Debug)]
enum Event {
    /// So many minutes pass.
    Wait(u16),
    Start,
    Stop,
    /// A disk gets so many cells more.
    Grow(usize),
    /// Somebody's overlay.
    Cover,
    /// Somebody's snapshot, or no longer.
    Snapshot,
    /// Somebody keeps a managed save, or removes it.
    Save,
    /// The note is lost, as by an older definition that names the same files.
    Unnoted,
}

fn event() -> impl Strategy<Value = Event> {
    let wait = prop_oneof![1..90_u16, 600..3000_u16];
    prop_oneof![
        6 => wait.prop_map(Event::Wait),
        1 => Just(Event::Start),
        1 => Just(Event::Stop),
        1 => (1..4_usize).prop_map(Event::Grow),
        1 => Just(Event::Cover),
        1 => Just(Event::Snapshot),
        1 => Just(Event::Save),
        1 => Just(Event::Unnoted),
    ]
}

/// Of the VM.
const DISKS: usize = 2;

/// Schedules as a policy has them, and the hour and minute of each day that they name.
const HOURS: [(&str, &[i8]); 3] = [("nightly", &[2]), ("work", &[9, 13, 17]), ("alone", &[4])];
/// After so long a slot of `work` is missed.
const DEADLINE: SignedDuration = SignedDuration::from_hours(2);

const SCHEDULES: &str = "schedules: { nightly: { cron: \"0 2 * * *\" }, \
     work: { cron: \"0 9,13,17 * * *\", deadline: 2h }, alone: { cron: \"0 4 * * *\", isolated: true } }";

/// The latest instant of a schedule, told without a calendar of cron's.
fn latest(hours: &[i8], now: Timestamp) -> Timestamp {
    let today = now.to_zoned(jiff::tz::TimeZone::UTC).date();
    let days = [today, today.yesterday().expect("it is no first day")];
    let all = days.iter().flat_map(|day| {
        let at = |hour: &i8| day.at(*hour, 0, 0, 0).to_zoned(jiff::tz::TimeZone::UTC);
        hours.iter().map(at)
    });
    let all = all.map(|at| at.expect("there are no gaps in UTC").timestamp());
    all.filter(|at| *at <= now)
        .max()
        .expect("there is one in two days")
}

fn vm() -> VmId {
    VmId::new(scenario::DB)
}

fn happen(site: &mut Site, event: &Event, n: usize) {
    let id = vm();
    let target = scenario::target("vda");
    let vm = site.vms.get_mut(&id).expect("it is there");
    match event {
        Event::Wait(_) => (0..6).for_each(|_| site.pass()),
        // A managed save would bring back what it saved.
        Event::Start if vm.managed_save => {}
        Event::Start => {
            site.start(&id);
        }
        Event::Stop => {
            site.stop(&id);
        }
        Event::Grow(more) => {
            let cells = vm.wrote[&target].len() + more;
            site.resize(&id, &target, cells);
        }
        Event::Cover => {
            let path = format!("/images/somebodys-{n}");
            let covered = site.foreign_overlay(&id, &target, &path);
            covered.expect("nothing is in the way");
        }
        Event::Snapshot if vm.snapshots.is_empty() => vm.snapshots.push("s".to_owned()),
        Event::Snapshot => vm.snapshots.clear(),
        Event::Save => vm.managed_save = !vm.managed_save && vm.running.is_none(),
        Event::Unnoted => {
            vm.stored.note = None;
            if let Some(running) = &mut vm.running {
                running.definition.note = None;
            }
        }
    }
}

/// One apply: the world that it saw, its plan, and how it went.
struct Round {
    world: World,
    plan: Plan,
    report: Report,
}

/// Applies; as if it were still `at`, where that is given.
async fn apply(bench: &Bench<'_>, at: Option<Timestamp>) -> Result<Round, TestCaseError> {
    let mut seen = None;
    let policy = &bench.policy;
    let ran = bench
        .run(|world, options| {
            let mut world = world.clone();
            world.now = at.unwrap_or(world.now);
            let plan = planner::reconcile(policy, &world, options);
            let again = planner::reconcile(policy, &world, options);
            seen = Some((plan.clone(), again, world));
            plan
        })
        .await;
    let Ran::Through(report) = ran else {
        return Err(TestCaseError::fail("the run broke off"));
    };
    let (plan, again, world) = seen.expect("a run that went through has seen the world");
    prop_assert!(plan == again, "the same world has two plans");
    prop_assert_eq!(rules::replayed(&world), [] as [String; 0]);
    prop_assert_eq!(rules::broken(&plan, &world), [] as [String; 0]);
    Ok(Round {
        world,
        plan,
        report: *report,
    })
}

fn guest(world: &World) -> &Guest {
    &world.guests[&vm()]
}

/// knib's deltas of each disk.
fn deltas(world: &World) -> Vec<String> {
    let machine = guest(world).machine.as_ref().expect("it is defined");
    let layers = machine.disks.iter().flat_map(|disk| &disk.layers);
    layers
        .filter(|layer| layout::delta_of(&layer.path).is_some())
        .map(|layer| layer.path.to_string())
        .collect()
}

fn isolated(plan: &Plan) -> bool {
    plan.actions.iter().all(|action| match &action.op {
        Op::Backup(op) => op.link.is_none(),
        _ => false,
    })
}

/// Every slot since `since` was served once, was overtaken by a later one, or is told to be missed.
fn slots(round: &Round, after: &World, since: Timestamp) -> Result<(), TestCaseError> {
    let record = &guest(after).record;
    let mut served: BTreeMap<&str, BTreeSet<Timestamp>> = BTreeMap::new();
    for slot in record.backups.values().flat_map(|backup| &backup.slots) {
        let once = served.entry(&slot.schedule).or_default().insert(slot.at);
        prop_assert!(once, "{} at {} was served twice", slot.schedule, slot.at);
    }
    let now = round.world.now;
    let held_up = round.plan.actions.iter().any(|action| !action.is_free());
    for (schedule, hours) in HOURS {
        let mut all = served.remove(schedule).unwrap_or_default();
        for at in &all {
            prop_assert_eq!(
                latest(hours, *at),
                *at,
                "{} names no such instant",
                schedule
            );
        }
        let slot = latest(hours, now);
        if slot <= since || held_up {
            continue;
        }
        let missed = schedule == "work" && now.duration_since(slot) > DEADLINE;
        let told = round
            .plan
            .findings
            .iter()
            .any(|finding| finding.code == "missed" && finding.text.contains(schedule));
        prop_assert_eq!(
            all.remove(&slot),
            !(missed && told),
            "{} at {}",
            schedule,
            slot
        );
    }
    Ok(())
}

fn live(events: &[Event], chain_size: i64) -> Result<(), TestCaseError> {
    let policy = scenario::policy_of("db-*", chain_size, SCHEDULES);
    let kept = Kept::new(scenario::site(), policy);
    let desk = Desk::new();
    tell(async {
        let bench = Bench::from(&kept, &desk, Vec::new());
        let first = apply(&bench, None).await?;
        let since = first.world.now;
        for (n, event) in events.iter().enumerate() {
            happen(&mut bench.sim.site.borrow_mut(), event, n);
            if let Event::Wait(minutes) = event {
                bench.sim.wait(SignedDuration::from_mins((*minutes).into()));
            }
            let round = apply(&bench, None).await?;
            for action in &round.report.plan.actions {
                let done = action.result == Some(Outcome::Done) || !action.is_free();
                prop_assert!(done, "{}: {:?}", action.address, action.error);
            }
            let after = apply(&bench, Some(round.world.now)).await?;
            let left: Vec<_> = after
                .plan
                .actions
                .iter()
                .filter(|action| action.is_free())
                .collect();
            prop_assert!(left.is_empty(), "there is still something to do: {left:#?}");
            let foreseen = foresee(&round.plan, &round.world);
            prop_assert_eq!(compare(&foreseen, &after.world), [] as [String; 0]);
            slots(&round, &after.world, since)?;
            if isolated(&round.plan) {
                let (before, now) = (&round.world, &after.world);
                prop_assert_eq!(&guest(before).record.current, &guest(now).record.current);
                prop_assert_eq!(deltas(before), deltas(now));
            }
            let (current, deltas) = (&guest(&after.world).record.current, deltas(&after.world));
            let most = if current.is_some() { DISKS } else { 0 };
            prop_assert!(deltas.len() <= most, "{current:?} left {deltas:?}");
            let complaints = &bench.sim.site.borrow().complaints;
            prop_assert!(complaints.is_empty(), "{complaints:#?}");
        }
        Ok(())
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: super::cases(8),
        failure_persistence: None,
        max_shrink_iters: 400,
        rng_seed: proptest::test_runner::RngSeed::Fixed(12),
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_apply_does_what_its_plan_said_and_leaves_nothing(
        events in proptest::collection::vec(event(), 1..12),
        chain_size in select(vec![0_i64, 1, 2, 3]),
    ) {
        live(&events, chain_size)?;
    }
}
