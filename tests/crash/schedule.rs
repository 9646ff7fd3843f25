//! One schedule: what is asked, with trouble on the way, and then `knib apply` until there is nothing
//! left to do.

use std::collections::BTreeMap;

use knib::engine::Report;
use knib::model::bytes::Bytes;
use knib::model::id::VmId;
use knib::model::machine::Machine;
use knib::model::plan::Action;
use knib::model::plan::Outcome;
use knib::model::plan::Plan;
use knib::model::program::Direction;
use knib::model::program::Mark;
use knib::model::program::Program;
use knib::model::reason::Block;
use knib::model::step::Step;
use knib::model::world::Open;
use knib::model::world::World;

use crate::crash::bench::Bench;
use crate::crash::bench::Desk;
use crate::crash::bench::From;
use crate::crash::bench::Ran;
use crate::crash::bench::tell;
use crate::crash::scenario::Ask;
use crate::crash::scenario::Scenario;
use crate::crash::verdict;
use crate::sim::Tick;
use crate::sim::Trouble;

/// More runs than any trouble needs.
const MOST_RUNS: usize = 12;

/// What goes wrong at which tick.
pub(crate) type Script = Vec<(usize, Trouble)>;

/// How a schedule ended.
pub(crate) struct Told {
    /// Everything that happened outside, tick by tick, until there was nothing left to do.
    pub(crate) ticks: Vec<Tick>,
    /// What was lost, left over or told wrongly.
    pub(crate) complaints: Vec<String>,
}

/// Carries a schedule out.
pub(crate) fn play(scenario: &Scenario, desk: &Desk, script: Script) -> Told {
    tell(async {
        let bench = Bench::from(&scenario.kept, desk, script);
        let mut complaints = Vec::new();
        let rest = until_rest(&bench, &scenario.ask, &mut complaints).await;
        let mut ticks = bench.sim.ticks();
        if let Some(rest) = &rest {
            ticks.truncate(rest.since);
        }
        complaints.extend(judge(&bench, scenario, rest));
        Told { ticks, complaints }
    })
}

/// Applies until nothing is left to do; what is not as it must be then.
pub(crate) async fn until_good(bench: &Bench<'_>, scenario: &Scenario) -> Vec<String> {
    let mut complaints = Vec::new();
    let rest = until_rest(bench, &Ask::Apply, &mut complaints).await;
    complaints.extend(judge(bench, scenario, rest));
    complaints
}

fn judge(bench: &Bench<'_>, scenario: &Scenario, rest: Option<Rest>) -> Vec<String> {
    match rest {
        Some(rest) => verdict::judge(bench, scenario, &rest.plan, &rest.world),
        None => vec!["it never comes to rest".to_owned()],
    }
}

/// Nothing is left to do.
pub(crate) struct Rest {
    /// The last look at the world, and what was planned on it.
    pub(crate) world: World,
    pub(crate) plan: Plan,
    /// The tick at which that run began.
    since: usize,
}

/// Runs until nothing is left to do.
pub(crate) async fn until_rest(
    bench: &Bench<'_>,
    ask: &Ask,
    complaints: &mut Vec<String>,
) -> Option<Rest> {
    let mut foreseen = None;
    let mut broken = 0;
    for run in 0..MOST_RUNS {
        // Something that failed for good stays broken for a second run.
        broken += usize::from(bench.sim.is_broken());
        if broken == 2 {
            bench.sim.mend();
            broken = 0;
        }
        let asked = if run == 0 { ask } else { go_on(bench) };
        let before = bench.sim.ticks().len();
        let mut seen = None;
        let ran = bench
            .run(|world, options| {
                let plan = asked.plan(&bench.policy, world, options);
                seen = Some(world.clone());
                plan
            })
            .await;
        if let Ran::Through(report) = &ran {
            let mut actions = report.plan.actions.iter();
            let silent = actions.find(|action| action.result.is_none());
            complaints.extend(silent.map(|action| format!("no word about {}", action.address)));
        }
        let calm = !bench.sim.was_troubled_since(before);
        let Some(world) = seen.filter(|_| calm) else {
            foreseen = None;
            continue;
        };
        if let Some(foreseen) = foreseen.take() {
            complaints.extend(compare(&foreseen, &world));
        }
        if let Ran::Through(report) = ran {
            let plan = &report.plan;
            if take_the_hint(bench, &report) {
                foreseen = None;
                continue;
            }
            if plan.is_empty() {
                match held(plan) {
                    Some(until) => bench.sim.wait(until.duration_since(bench.now())),
                    None => {
                        return Some(Rest {
                            world,
                            plan: report.plan,
                            since: before,
                        });
                    }
                }
            }
            let done = |action: &Action| action.result == Some(Outcome::Done);
            foreseen = plan.actions.iter().all(done).then(|| foresee(plan, &world));
        }
    }
    None
}

/// What a person does after that, where backups are read by then.
fn go_on(bench: &Bench<'_>) -> &'static Ask {
    match bench.from.get() {
        From::StorageAlone => &Ask::Rest,
        From::Storage | From::Record => {
            bench.from.set(From::Record);
            &Ask::Apply
        }
    }
}

/// Does what a person would, where only a person can: stops a VM whose disk was made smaller, or lacks something.
fn take_the_hint(bench: &Bench<'_>, report: &Report) -> bool {
    let blocks = report
        .plan
        .actions
        .iter()
        .flat_map(|action| &action.blocked_by);
    let blocked = blocks.filter_map(|block| match block {
        Block::Blocked(why) => why.hint.as_deref(),
        _ => None,
    });
    let failed = report.hints.values().map(String::as_str);
    let mut site = bench.sim.site.borrow_mut();
    let mut named = blocked
        .chain(failed)
        .filter_map(|hint| hint.strip_prefix("stop ")?.split([' ', ',']).next())
        .filter_map(|name| {
            let vms = site.vms.values();
            let mut ids = vms.filter(|vm| vm.stored.name == name);
            ids.next().map(|vm| vm.stored.id.clone())
        });
    match named.next() {
        Some(vm) => site.stop(&vm),
        None => false,
    }
}

/// The instant at which the first held action may be tried again.
fn held(plan: &Plan) -> Option<jiff::Timestamp> {
    let blocks = plan.actions.iter().flat_map(|action| &action.blocked_by);
    let until = blocks.filter_map(|block| match block {
        Block::Held { until, .. } => *until,
        _ => None,
    });
    until.min()
}

/// Every VM as the plan says it will be.
pub(crate) fn foresee(plan: &Plan, world: &World) -> BTreeMap<VmId, Machine> {
    let machines = world
        .guests
        .iter()
        .filter_map(|(id, guest)| Some((id.clone(), guest.machine.clone()?)));
    let mut ahead: BTreeMap<_, _> = machines.collect();
    for action in plan.actions.iter().filter(|action| action.is_free()) {
        let machine = action.op.vm().and_then(|vm| ahead.get_mut(&vm.uuid));
        if let Some(machine) = machine {
            foresee_action(action, world, machine);
        }
    }
    ahead
}

fn foresee_action(action: &Action, world: &World, machine: &mut Machine) {
    let Some(carried_on) = action.op.carries_on() else {
        let steps = action.program.iter().flat_map(Program::steps);
        steps.for_each(|(_, _, step)| step.foresee(machine));
        return;
    };
    let opens = world.guests.values().flat_map(|guest| &guest.open);
    let Some(Open {
        program,
        direction,
        marks,
        ..
    }) = opens.into_iter().find(|open| open.action == *carried_on)
    else {
        return;
    };
    // A VM that was started, or stopped, may be anything by now.
    let is_past = |stage: usize, n: usize, step: &Step| {
        matches!(step, Step::Start { .. } | Step::Stop { .. })
            && marks[stage][n] == Some(Mark::Done)
    };
    let steps = program.steps();
    let steps = steps.filter(|(stage, n, step)| !is_past(*stage, *n, step));
    let steps: Vec<_> = steps.map(|(_, _, step)| step).collect();
    match direction {
        Direction::Forward => steps.iter().for_each(|step| step.foresee(machine)),
        Direction::Back => {
            let inverses = steps.iter().rev().flat_map(|step| step.inverse());
            inverses.for_each(|step| step.foresee(machine));
        }
    }
}

/// What is not as it was foreseen.
pub(crate) fn compare(foreseen: &BTreeMap<VmId, Machine>, world: &World) -> Vec<String> {
    let mut wrong = Vec::new();
    for (id, foreseen) in foreseen {
        let found = world
            .guests
            .get(id)
            .and_then(|guest| guest.machine.as_ref());
        let Some(mut found) = found.cloned() else {
            wrong.push(format!("{} is gone, which was not foreseen", foreseen.name));
            continue;
        };
        for disk in &mut found.disks {
            // What could not be read then is not foreseen.
            let Some(foreseen) = foreseen.disk(&disk.target) else {
                continue;
            };
            if foreseen.layers.is_empty() {
                disk.layers.clear();
            }
            if foreseen.layers.is_empty() || !foreseen.unreadable.is_empty() {
                disk.off_chain.clone_from(&foreseen.off_chain);
                disk.unreadable.clone_from(&foreseen.unreadable);
            }
        }
        let (foreseen, found) = (plain(foreseen), plain(&found));
        let lines = foreseen.iter().zip(&found);
        let differ = lines.filter(|(foreseen, found)| foreseen != found);
        wrong.extend(
            differ.map(|(foreseen, found)| format!("foreseen {foreseen}\n      found {found}")),
        );
    }
    wrong
}

/// A line for the VM and one for each disk, without what nobody can foresee.
fn plain(machine: &Machine) -> Vec<String> {
    let mut machine = machine.clone();
    let mut disks = std::mem::take(&mut machine.disks);
    for disk in &mut disks {
        let off = disk.off_chain.iter_mut().map(|off| &mut off.layer);
        for layer in disk.layers.iter_mut().chain(off) {
            layer.allocated = Bytes(0);
        }
    }
    let disks = disks.iter().map(|disk| format!("{disk:?}"));
    std::iter::once(format!("{machine:?}"))
        .chain(disks)
        .collect()
}
