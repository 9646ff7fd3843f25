//! A run is killed, and what it was at is given up rather than carried on: no guest write and no backup is lost, nothing
//! is held any more, and the VM is backed up again.

use knib::model::layout;
use knib::model::plan::Outcome;
use knib::model::reason::Block;
use knib::planner::request;

use crate::crash::bench::Bench;
use crate::crash::bench::Desk;
use crate::crash::bench::Ran;
use crate::crash::bench::tell;
use crate::crash::explore::is_full;
use crate::crash::restores;
use crate::crash::scenario::Ask;
use crate::crash::scenario::Scenario;
use crate::crash::schedule::Rest;
use crate::crash::schedule::play;
use crate::crash::schedule::until_rest;
use crate::crash::stories;
use crate::crash::stories::Power;
use crate::crash::verdict;
use crate::sim::Trouble;

/// Gives up everything that is open; how much that was.
async fn give_up(bench: &Bench<'_>) -> usize {
    let opens = bench.state().opens().expect("the journal can be read");
    for open in &opens {
        let ran = bench
            .run(|world, options| request::abandon(&open.action, world, options))
            .await;
        let Ran::Through(mut report) = ran else {
            panic!("it can be given up");
        };
        if put_back(bench) {
            // What a person is asked to do first.
            let ran = bench
                .run(|world, options| request::abandon(&open.action, world, options))
                .await;
            assert!(report.plan.actions[0].is_blocked_as("put_away"));
            let Ran::Through(again) = ran else {
                panic!("it can be given up then");
            };
            report = again;
        }
        let results = report.plan.actions.iter().map(|action| action.result);
        assert_eq!(results.collect::<Vec<_>>(), [Some(Outcome::Done)]);
    }
    opens.len()
}

/// Gives heads that were put away their names back; whether there were any.
fn put_back(bench: &Bench<'_>) -> bool {
    let mut site = bench.sim.site.borrow_mut();
    let disks = site.vms.values().flat_map(|vm| &vm.stored.disks);
    let heads = disks.filter_map(|disk| disk.path().cloned());
    let away: Vec<_> = heads.filter(|head| site.is_put_away(head)).collect();
    for head in &away {
        let back = site.files.rename(&layout::merged(head), head);
        back.expect("nothing is in the way");
    }
    !away.is_empty()
}

/// Whether a block job that nobody follows any more is in the way: it can be waited for, or ended.
fn is_stopped_by_a_job(rest: &Rest) -> bool {
    let blocks = rest.plan.actions.iter();
    let mut blocks = blocks.flat_map(|action| &action.blocked_by);
    blocks.any(|block| matches!(block, Block::Blocked(why) if why.code == "block_job"))
}

/// What is wrong after a kill at a tick; none where nothing was begun by then. `before` is asked before all goes on.
fn given_up_at(scenario: &Scenario, desk: &Desk, tick: usize, before: &Ask) -> Option<Vec<String>> {
    tell(async {
        let bench = Bench::from(&scenario.kept, desk, vec![(tick, Trouble::Kill)]);
        let policy = std::rc::Rc::clone(&bench.policy);
        let ran = bench
            .run(|world, options| scenario.ask.plan(&policy, world, options))
            .await;
        if !matches!(ran, Ran::Killed) || give_up(&bench).await == 0 {
            return None;
        }
        let mut wrong = Vec::new();
        let mut rest = until_rest(&bench, before, &mut wrong).await;
        if rest.as_ref().is_some_and(is_stopped_by_a_job) {
            bench.sim.site.borrow_mut().lose_jobs();
            rest = until_rest(&bench, &Ask::Apply, &mut wrong).await;
        }
        match rest {
            Some(rest) => {
                let blocked = rest
                    .plan
                    .actions
                    .iter()
                    .filter(|action| action.is_blocked());
                wrong.extend(blocked.map(|action| {
                    format!("{} is blocked: {:?}", action.address, action.blocked_by)
                }));
                let all = verdict::judge_given_up(&bench, &rest.world).into_iter();
                // What was to be deleted may be half gone.
                let goes =
                    |text: &String| scenario.goes.iter().any(|id| text.starts_with(id.as_str()));
                wrong.extend(all.filter(|text| !goes(text)));
            }
            None => wrong.push("it never comes to rest".to_owned()),
        }
        Some(wrong)
    })
}

fn everywhere(scenario: &Scenario) {
    before(scenario, &Ask::Apply);
}

fn before(scenario: &Scenario, ask: &Ask) {
    let desk = Desk::new();
    let ticks = play(scenario, &desk, Vec::new()).ticks;
    let kills = ticks.iter().enumerate();
    let kills = kills.filter(|(_, tick)| tick.admits(Trouble::Kill));
    let mut tried = 0;
    let mut lost = Vec::new();
    for (at, tick) in kills.step_by(if is_full() { 1 } else { 4 }) {
        let Some(wrong) = given_up_at(scenario, &desk, at, ask) else {
            continue;
        };
        tried += 1;
        if !wrong.is_empty() {
            let (place, what) = (tick.place, tick.what);
            lost.push(format!("killed at {at} ({place:?} {what}): {wrong:#?}"));
        }
    }
    assert!(tried > 2, "{tried} tried");
    assert!(lost.is_empty(), "{} lost\n{}", lost.len(), lost.join("\n"));
}

#[test]
fn incremental_on() {
    everywhere(&stories::incremental(Power::On));
}

#[test]
fn end_of_chain_off() {
    everywhere(&stories::end_of_chain(Power::Off));
}

#[test]
fn delete_current_on() {
    everywhere(&stories::delete_current(Power::On));
}

#[test]
fn in_place_on() {
    everywhere(&restores::in_place(true, Power::On, false));
}

#[test]
fn quick() {
    everywhere(&restores::quick_in_place(Power::On));
}

#[test]
fn snapshot_delete_on() {
    everywhere(&stories::delete_in_line("s2", Power::On));
}

#[test]
fn compress_chain() {
    everywhere(&stories::compress_chain());
}

/// Files of a swap that was given up are not taken for damaged ones.
#[test]
fn compress_verified_before_it_is_tried_again() {
    let scenario = stories::compress_one();
    let backups = scenario.kept.site.moments.keys();
    let backup = backups.max().expect("there is one").clone();
    before(&scenario, &Ask::Verify(backup));
}

#[test]
fn snapshot_revert() {
    everywhere(&stories::revert_below_delta());
}
