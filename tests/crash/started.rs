//! Somebody starts the VM while knib works on it, knib is killed a moment later, and the guest runs for a while before it
//! is off again: whatever it wrote meanwhile is there.

use knib::model::id::VmId;

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
use crate::sim::Trouble;

/// So many ticks from a start to its kill: one of them, or all where all is tried.
const MOMENTS: [usize; 3] = [1, 3, 6];

/// What went wrong after that; none when there was nothing to kill.
fn started_at(scenario: &Scenario, desk: &Desk, start: usize, kill: usize) -> Option<Vec<String>> {
    tell(async {
        let script = vec![(start, Trouble::On), (kill, Trouble::Kill)];
        let bench = Bench::from(&scenario.kept, desk, script);
        let policy = std::rc::Rc::clone(&bench.policy);
        let ran = bench
            .run(|world, options| scenario.ask.plan(&policy, world, options))
            .await;
        if !matches!(ran, Ran::Killed) {
            return None;
        }
        {
            let mut site = bench.sim.site.borrow_mut();
            (0..10).for_each(|_| site.pass());
            site.stop(&VmId::new(DB));
        }
        Some(until_good(&bench, scenario).await)
    })
}

fn everywhere(scenario: &Scenario) {
    let desk = Desk::new();
    let ticks = play(scenario, &desk, Vec::new()).ticks;
    let starts = ticks.iter().enumerate();
    let starts = starts.filter(|(_, tick)| tick.admits(Trouble::On));
    let mut tried = 0;
    let mut lost = Vec::new();
    for (n, (start, tick)) in starts.enumerate() {
        let moments = if is_full() {
            &MOMENTS[..]
        } else {
            &MOMENTS[n % MOMENTS.len()..][..1]
        };
        for kill in moments.iter().map(|moment| start + moment) {
            let Some(wrong) = started_at(scenario, &desk, start, kill) else {
                continue;
            };
            tried += 1;
            if !wrong.is_empty() {
                let (place, what) = (tick.place, tick.what);
                lost.push(format!(
                    "started at {start} ({place:?} {what}), killed at {kill}: {wrong:#?}"
                ));
            }
        }
    }
    assert!(tried > 20, "{tried} tried");
    let some = lost[..lost.len().min(8)].join("\n");
    assert!(lost.is_empty(), "{} of {tried} lost\n{some}", lost.len());
}

#[test]
fn end_of_chain_off() {
    everywhere(&stories::end_of_chain(Power::Off));
}

#[test]
fn leave_off() {
    everywhere(&stories::leave(Power::Off));
}

#[test]
fn finish_off() {
    everywhere(&stories::finish(Power::Off));
}
