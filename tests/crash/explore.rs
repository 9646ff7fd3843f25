//! Schedules of a scenario: each trouble at each tick, and one after another; or some of them.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::env;

use knib::host::StopLevel;

use crate::crash::bench::Desk;
use crate::crash::scenario::Scenario;
use crate::crash::schedule::Script;
use crate::crash::schedule::play;
use crate::sim::Dice;
use crate::sim::Tick;
use crate::sim::Trouble;

/// How many single troubles are tried.
pub(crate) const SINGLES: &str = "KNIB_CRASH_SINGLES";

/// Everything that can go wrong.
pub(crate) const TROUBLES: &[Trouble] = &[
    Trouble::Kill,
    Trouble::KillAlone,
    Trouble::PowerCut,
    Trouble::KillQemu,
    Trouble::Fail,
    Trouble::FailForGood,
    Trouble::Off,
    Trouble::On,
    Trouble::LoseJobs,
    Trouble::LoseJobsForGood,
    Trouble::Stop(StopLevel::AfterStep),
    Trouble::Stop(StopLevel::Now),
];

/// A change of something outside: the verb that makes it, and the call.
pub(crate) type Effect = (&'static str, &'static str);

/// What was tried.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Ticks at which something can go wrong.
    pub(crate) points: usize,
    /// Schedules carried out.
    pub(crate) schedules: usize,
    /// What changes something when all goes well, and how often knib was killed in it or right after it.
    pub(crate) effects: BTreeMap<Effect, usize>,
    /// Troubles that struck, by the verb they struck.
    pub(crate) struck: BTreeMap<(&'static str, &'static str), usize>,
    /// Those after which something was not as it must be.
    pub(crate) lost: Vec<String>,
    /// The same, by the verb that the last trouble struck.
    pub(crate) lost_by: BTreeMap<&'static str, usize>,
}

/// How many of the ways to go on from a schedule are tried.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Keep {
    All,
    /// A kill in each effect, and so many others.
    Sample(usize),
    /// So many.
    Few(usize),
}

impl Keep {
    fn of(self, mut on: Vec<Script>, ticks: &[Tick], dice: &mut Dice) -> Vec<Script> {
        let (mut kept, few) = match self {
            Self::All => return on,
            Self::Sample(few) => (a_kill_in_each(&mut on, ticks, dice), few),
            Self::Few(few) => (Vec::new(), few),
        };
        for _ in 0..few.min(on.len()) {
            kept.push(on.swap_remove(dice.below(on.len())));
        }
        kept
    }
}

/// Whether everything is tried, rather than some of it.
pub(crate) fn is_full() -> bool {
    env::var(SINGLES).is_ok_and(|said| said == "all")
}

/// Takes out, for each effect, one of the ways to be killed in it.
fn a_kill_in_each(on: &mut Vec<Script>, ticks: &[Tick], dice: &mut Dice) -> Vec<Script> {
    let mut kept = Vec::new();
    for effect in effects(ticks) {
        let is_one = |script: &Script| last_kill(script, ticks) == Some(effect);
        let ways: Vec<_> = (0..on.len()).filter(|at| is_one(&on[*at])).collect();
        if !ways.is_empty() {
            kept.push(on.swap_remove(ways[dice.below(ways.len())]));
        }
    }
    kept
}

fn effects(ticks: &[Tick]) -> BTreeSet<Effect> {
    let changed = ticks.iter().filter(|tick| tick.is_effect());
    changed.map(|tick| (tick.verb, tick.what)).collect()
}

/// The effect in which the last trouble of a script kills knib.
fn last_kill(script: &Script, ticks: &[Tick]) -> Option<Effect> {
    let (at, trouble) = script.last()?;
    let tick = ticks.get(*at).filter(|tick| tick.is_effect())?;
    let kills = matches!(
        trouble,
        Trouble::Kill | Trouble::KillAlone | Trouble::PowerCut
    );
    kills.then_some((tick.verb, tick.what))
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
            let effects = effects(&told.ticks).into_iter();
            tally.effects.extend(effects.map(|effect| (effect, 0)));
        }
        tally.count(&script, &told.ticks);
        if !told.complaints.is_empty() {
            let lost = describe(scenario, &script, &told.ticks, &told.complaints);
            tally.lost.push(lost);
            let verb = struck(&script, &told.ticks);
            *tally.lost_by.entry(verb).or_default() += 1;
        } else if script.len() < faults {
            let on = next(scenario, &script, &told.ticks);
            queue.extend(keep.of(on, &told.ticks, &mut dice));
        }
    }
    tally
}

impl Tally {
    fn count(&mut self, script: &Script, ticks: &[Tick]) {
        if let Some(kills) = last_kill(script, ticks).and_then(|kill| self.effects.get_mut(&kill)) {
            *kills += 1;
        }
        if let Some((_, trouble)) = script.last() {
            let cell = (struck(script, ticks), name(*trouble));
            *self.struck.entry(cell).or_default() += 1;
        }
    }
}

/// The verb that the last trouble of a script strikes; none while nothing is begun.
fn struck(script: &Script, ticks: &[Tick]) -> &'static str {
    let tick = script.last().and_then(|(at, _)| ticks.get(*at));
    tick.map_or("", |tick| tick.verb)
}

/// A trouble, as the matrix heads its columns.
pub(crate) fn name(trouble: Trouble) -> &'static str {
    match trouble {
        Trouble::Kill | Trouble::KillAlone => "kill",
        Trouble::PowerCut => "power cut",
        Trouble::KillQemu => "qemu",
        Trouble::Fail => "fail",
        Trouble::FailForGood => "for good",
        Trouble::Off => "guest off",
        Trouble::On => "guest on",
        Trouble::LoseJobs | Trouble::LoseJobsForGood => "jobs lost",
        Trouble::Stop(_) => "stop",
        Trouble::Panic => "panic",
    }
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
