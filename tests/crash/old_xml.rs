//! A run is killed, and somebody defines the VM again from an XML that is older than the run.
//!
//! Nothing of the VM is touched then: its newest writes are in layers that this XML does not know.
//! Once the newest XML is back, everything is carried on.

use knib::model::digest::Digest;
use knib::model::id::VmId;
use knib::model::step::Image;

use crate::crash::bench::Bench;
use crate::crash::bench::Desk;
use crate::crash::bench::Ran;
use crate::crash::bench::tell;
use crate::crash::explore::is_full;
use crate::crash::scenario::DB;
use crate::crash::scenario::Scenario;
use crate::crash::schedule::play;
use crate::crash::schedule::until_good;
use crate::crash::stories;
use crate::crash::stories::Power;
use crate::sim::Definition;
use crate::sim::PRIMARY;
use crate::sim::Trouble;

/// Every image on primary, with the digest of what it holds.
fn images(bench: &Bench<'_>) -> Vec<(String, Option<Digest>)> {
    let site = bench.sim.site.borrow();
    let runs = site.vms[&VmId::new(DB)].running.is_some();
    let all = site.files.below(PRIMARY.into()).into_iter();
    all.map(|path| {
        // Of a VM that runs only what is there can be told: its guest writes.
        let digest = site.files.digest(&path).ok().filter(|_| !runs);
        (path.to_string(), digest.map(|(digest, _)| digest))
    })
    .collect()
}

fn define(bench: &Bench<'_>, definition: &Definition, watched: bool) {
    let mut site = bench.sim.site.borrow_mut();
    let vm = site.vms.get_mut(&VmId::new(DB)).expect("it is there");
    vm.stored = definition.clone();
    vm.watched = watched;
}

fn heads_of(definition: &Definition) -> Vec<&Option<Image>> {
    definition.disks.iter().map(|disk| &disk.image).collect()
}

/// Kills at one tick; what went wrong after that.
fn kill_at(scenario: &Scenario, desk: &Desk, tick: usize) -> Vec<String> {
    tell(async {
        let bench = Bench::from(&scenario.kept, desk, vec![(tick, Trouble::Kill)]);
        let policy = std::rc::Rc::clone(&bench.policy);
        let ran = bench
            .run(|world, options| scenario.ask.plan(&policy, world, options))
            .await;
        assert!(matches!(ran, Ran::Killed), "it is killed at {tick}");
        let newest = bench.sim.site.borrow().vms[&VmId::new(DB)].stored.clone();
        let oldest = scenario.kept.site.vms[&VmId::new(DB)].stored.clone();
        // What it says of the files below counts as well: a start believes it.
        let same = newest.disks == oldest.disks;
        define(&bench, &oldest, same);
        let before = images(&bench);
        let mut wrong = Vec::new();
        bench.apply().await;
        let now = bench.sim.site.borrow().vms[&VmId::new(DB)].stored.clone();
        if heads_of(&now) != heads_of(&oldest) && !same {
            wrong.push("the old definition was changed".to_owned());
        }
        // One that names the same heads is as good as the newest, if nothing was done since the claim.
        if images(&bench) != before && !same {
            wrong.push(format!("images were touched: {:?}", images(&bench)));
        }
        if now.note == oldest.note {
            define(&bench, &newest, true);
        }
        wrong.extend(until_good(&bench, scenario).await);
        wrong
    })
}

fn everywhere(scenario: &Scenario) {
    let desk = Desk::new();
    let ticks = play(scenario, &desk, Vec::new()).ticks;
    let kills = ticks.iter().enumerate();
    let kills = kills.filter(|(_, tick)| tick.admits(Trouble::Kill));
    // Every second one, or all where all is tried.
    let lost: Vec<_> = kills
        .step_by(if is_full() { 1 } else { 2 })
        .filter_map(|(at, tick)| {
            let wrong = kill_at(scenario, &desk, at);
            let line = || {
                format!(
                    "killed at {at} ({:?} {}): {wrong:#?}",
                    tick.place, tick.what
                )
            };
            (!wrong.is_empty()).then(line)
        })
        .collect();
    assert!(lost.is_empty(), "{} lost\n{}", lost.len(), lost.join("\n"));
}

#[test]
fn incremental_on() {
    everywhere(&stories::incremental(Power::On));
}

#[test]
fn incremental_off() {
    everywhere(&stories::incremental(Power::Off));
}

#[test]
fn end_of_chain_on() {
    everywhere(&stories::end_of_chain(Power::On));
}

#[test]
fn end_of_chain_off() {
    everywhere(&stories::end_of_chain(Power::Off));
}

#[test]
fn finish_on() {
    everywhere(&stories::finish(Power::On));
}

#[test]
fn finish_off() {
    everywhere(&stories::finish(Power::Off));
}

#[test]
fn snapshot_create_on() {
    everywhere(&stories::create(Power::On));
}

#[test]
fn snapshot_revert() {
    everywhere(&stories::revert_below_delta());
}

#[test]
fn snapshot_delete_on() {
    everywhere(&stories::delete_in_line("s2", Power::On));
}

#[test]
fn snapshot_delete_off() {
    everywhere(&stories::delete_last_branch(Power::Off));
}
