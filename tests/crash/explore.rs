//! Every schedule of a scenario: each trouble at each tick, and one after another.

use knib::host::StopLevel;

use crate::crash::bench::Desk;
use crate::crash::scenario::Scenario;
use crate::crash::schedule::Script;
use crate::crash::schedule::play;
use crate::sim::Dice;
use crate::sim::Tick;
use crate::sim::Trouble;

/// Everything that can go wrong.
pub(crate) const TROUBLES: &[Trouble] = &[
    Trouble::Kill,
    Trouble::KillAlone,
    Trouble::PowerCut,
    Trouble::Fail,
    Trouble::FailForGood,
    Trouble::Off,
    Trouble::On,
    Trouble::LoseJobs,
    Trouble::LoseJobsForGood,
    Trouble::Stop(StopLevel::AfterStep),
    Trouble::Stop(StopLevel::Now),
];

/// What was tried.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Ticks at which something can go wrong.
    pub(crate) points: usize,
    /// Schedules carried out.
    pub(crate) schedules: usize,
    /// Those after which something was not as it must be.
    pub(crate) lost: Vec<String>,
}

/// How many of the ways to go on from a schedule are tried.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Keep {
    All,
    Half,
    Few(usize),
}

impl Keep {
    fn of(self, all: usize) -> usize {
        match self {
            Self::All => all,
            Self::Half => all.div_ceil(2),
            Self::Few(few) => few,
        }
    }
}

/// Carries out every schedule with at most `faults` troubles, or as many as are kept; `dice` say which.
pub(crate) fn explore(scenario: &Scenario, faults: usize, keep: Keep, mut dice: Dice) -> Tally {
    let mut tally = Tally::default();
    let desk = Desk::new();
    let mut queue: Vec<Script> = vec![Vec::new()];
    while let Some(script) = queue.pop() {
        let told = play(scenario, &desk, script.clone());
        tally.schedules += 1;
        if script.is_empty() {
            tally.points = told.ticks.len();
        }
        if !told.complaints.is_empty() {
            let lost = describe(scenario, &script, &told.ticks, &told.complaints);
            tally.lost.push(lost);
        } else if script.len() < faults {
            let mut on = next(scenario, &script, &told.ticks);
            let keep = keep.of(on.len());
            while on.len() > keep {
                on.swap_remove(dice.below(on.len()));
            }
            queue.extend(on);
        }
    }
    tally
}

/// A guest that was started is not off again within so many ticks.
const BOOT: usize = 4;

/// One more trouble, anywhere after the last.
fn next(scenario: &Scenario, script: &Script, ticks: &[Tick]) -> Vec<Script> {
    let after = script.last().map_or(0, |(at, _)| at + 1);
    let boots = |at| match script.last() {
        Some((started, Trouble::On)) => at < started + BOOT,
        _ => false,
    };
    let later = ticks.iter().enumerate().skip(after);
    later
        .flat_map(|(at, tick)| {
            let tried = scenario.troubles.iter();
            let admitted = tried.filter(move |trouble| {
                let stops = matches!(trouble, Trouble::Off | Trouble::PowerCut);
                tick.admits(**trouble) && !(stops && boots(at))
            });
            admitted.map(move |trouble| (at, *trouble))
        })
        .map(|trouble| script.iter().copied().chain([trouble]).collect())
        .collect()
}

fn describe(scenario: &Scenario, script: &Script, ticks: &[Tick], wrong: &[String]) -> String {
    let mut text = format!("{}:", scenario.name);
    for (at, trouble) in script {
        let Some(Tick { place, what, .. }) = ticks.get(*at) else {
            continue;
        };
        text += &format!(" {trouble:?} at {at} ({place:?} {what})");
    }
    for wrong in wrong {
        text += &format!("\n    {wrong}");
    }
    text
}
