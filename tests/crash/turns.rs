//! Compressions of one chain beside each other: what is finished takes its place while others wait for theirs.

use std::rc::Rc;

use knib::model::plan::Outcome;
use knib::model::policy::Policy;
use knib::state::Filter;

use crate::crash::bench::Bench;
use crate::crash::bench::Desk;
use crate::crash::bench::Ran;
use crate::crash::bench::tell;
use crate::crash::scenario::Ask;
use crate::crash::scenario::Story;
use crate::crash::scenario::compressed;

/// A chain that goes on, and so many compressions at once.
fn policy(jobs: bool, places: i64) -> Rc<Policy> {
    let mut policy = compressed("job", jobs).as_ref().clone();
    policy.settings.compression.concurrent = places;
    let offerings = policy.offerings.values_mut();
    offerings.for_each(|offering| offering.backup_chain_size = Some(0));
    Rc::new(policy)
}

const DAYS: [&str; 6] = [
    "22T12:00:01Z",
    "23T02:30:00Z",
    "24T02:30:00Z",
    "25T02:30:00Z",
    "26T02:30:00Z",
    "27T02:30:00Z",
];

/// The jobs of one chain, as `0.start`, in the order in which one apply began them.
fn order(places: i64) -> Vec<String> {
    let story = Story::new(&policy(false, places)).time_passes();
    let story = DAYS
        .iter()
        .fold(story, |story, at| story.apply(&format!("2026-11-{at}")));
    let story = story.policy(&policy(true, places));
    let backups = story.backups();
    let scenario = story.asks("turns", Ask::Apply, 0);
    let desk = Desk::new();
    tell(async {
        let bench = Bench::from(&scenario.kept, &desk, Vec::new());
        let Ran::Through(report) = bench.apply().await else {
            panic!("nothing is in its way");
        };
        let actions = report.plan.actions;
        let undone = actions
            .iter()
            .find(|action| action.result != Some(Outcome::Done));
        assert_eq!(undone, None);
        let history = bench.state().history(&Filter::default());
        let begun = history.expect("the journal can be read");
        let begun = begun.iter().flat_map(|run| &run.actions);
        let jobs = begun.filter_map(|past| {
            let action = actions.iter().find(|action| action.id == past.id)?;
            let (backup, kind) = action.address.rsplit_once('/')?.1.rsplit_once('.')?;
            let n = backups.iter().position(|id| id.as_str() == backup)?;
            Some(format!("{n}.{kind}"))
        });
        jobs.collect()
    })
}

#[test]
fn a_finished_compression_waits_only_for_those_beside_it() {
    let began = order(2);
    assert_eq!(began.len(), 2 * DAYS.len(), "{began:?}");
    let place = |job: String| began.iter().position(|one| *one == job);
    // Two are at it; when those are through, nobody else may be before it.
    for n in 0..DAYS.len() - 3 {
        let swap = place(format!("{n}.finalize"));
        let later = place(format!("{}.start", n + 3));
        assert!(swap < later, "{began:?}");
    }
}

#[test]
fn a_finished_compression_comes_before_one_that_waits() {
    let each = |n: usize| [format!("{n}.start"), format!("{n}.finalize")];
    let all: Vec<_> = (0..DAYS.len()).flat_map(each).collect();
    assert_eq!(order(1), all);
}
