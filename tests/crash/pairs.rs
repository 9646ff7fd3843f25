//! Two troubles, one after the other: a sample of them, the same every time.
//!
//! All of them, which takes hours, or two kills, at every pair of ticks; or those of some scenarios:
//! `KNIB_CRASH_PAIRS=all|kills [KNIB_CRASH_SCENARIO=merge] cargo test --release --test main crash::pairs`

use std::env;

use crate::crash::explore::Keep;
use crate::crash::explore::explore;
use crate::crash::restores;
use crate::crash::singles::every;
use crate::crash::stories;
use crate::crash::stories::Power;
use crate::sim::Dice;
use crate::sim::Trouble;

/// So many ways to go on are tried from each schedule.
const SAMPLE: usize = 1;
/// So many of the ways in which QEMU is killed, and of those in which the VM is started then.
const FEW: usize = 12;

#[test]
#[expect(clippy::print_stdout, reason = "a test says how much it tried")]
fn sample() {
    let pairs = env::var("KNIB_CRASH_PAIRS").ok();
    let keep = match pairs.as_deref() {
        None => Keep::Few(SAMPLE),
        Some("all" | "kills") => Keep::All,
        Some(number) => Keep::Few(number.parse().expect("a number")),
    };
    let only = env::var("KNIB_CRASH_SCENARIO").unwrap_or_default();
    let mut lost = Vec::new();
    for scenario in every() {
        let mut scenario = scenario();
        if pairs.as_deref() == Some("kills") {
            scenario
                .troubles
                .retain(|trouble| *trouble == Trouble::Kill);
        }
        if !scenario.name.contains(&only) {
            continue;
        }
        let dice = Dice::new(scenario.name.len() as u64);
        let tally = explore(&scenario, 2, keep, dice);
        println!(
            "{}: {} schedules, {} lost",
            scenario.name,
            tally.schedules,
            tally.lost.len()
        );
        lost.extend(tally.lost);
    }
    let some = lost[..lost.len().min(20)].join("\n");
    assert!(lost.is_empty(), "{} lost\n{some}", lost.len());
}

/// QEMU dies before it has written down what a job brought, and its owner starts the VM again, wherever knib is by then.
#[test]
fn a_start_after_qemu_was_killed() {
    let scenarios = [
        stories::incremental(Power::On),
        stories::three_layers(Power::On),
        stories::delete_in_line("s2", Power::On),
        restores::quick(),
        restores::quick_in_place(Power::On),
        restores::quick_disk(Power::On),
    ];
    for mut scenario in scenarios {
        scenario.troubles = vec![Trouble::KillQemu, Trouble::On];
        let keep = match env::var("KNIB_CRASH_PAIRS") {
            Err(_) => Keep::Few(FEW),
            Ok(_) => Keep::All,
        };
        let tally = explore(&scenario, 2, keep, Dice::new(0));
        assert_eq!(tally.lost, [] as [String; 0]);
        let killed = |(_, trouble): &(_, &str)| *trouble == "qemu";
        assert!(tally.struck.keys().any(killed), "{}", scenario.name);
    }
}
