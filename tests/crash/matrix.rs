//! The matrix: for each verb what was tried on it. Printed when everything that fills it has run.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io;
use std::io::Write as _;
use std::sync::Mutex;
use std::sync::PoisonError;

use crate::crash::explore::Tally;
use crate::crash::singles::every;
use crate::crate_docs::verbs;
use crate::live::kills;

/// Verbs without a scenario of their own: they only write the record, or are tried within another's.
const WITHOUT: [&str; 11] = [
    "abandon",
    "consolidate",
    "files",
    "offering_delete",
    "offering_update",
    "policy_create",
    "policy_delete",
    "recover",
    "retain",
    "tag",
    "unpin",
];

const COLUMNS: [&str; 10] = [
    "kill",
    "power cut",
    "qemu",
    "fail",
    "for good",
    "guest off",
    "guest on",
    "jobs lost",
    "stop",
    "panic",
];

/// What was tried on a verb.
#[derive(Default)]
struct Row {
    /// Calls by which it changes something, and kills in each of them.
    effects: BTreeMap<&'static str, usize>,
    schedules: BTreeMap<&'static str, usize>,
    /// Kills of a process that worked with libvirt and QEMU, by what it had just changed.
    real: BTreeMap<String, usize>,
    lost: usize,
}

static MATRIX: Mutex<(usize, BTreeMap<&'static str, Row>)> = Mutex::new((0, BTreeMap::new()));

/// A scenario was tried.
pub(crate) fn simulated(tally: &Tally) {
    told(|rows| {
        for ((verb, what), kills) in &tally.effects {
            let row = rows.entry(verb).or_default();
            *row.effects.entry(what).or_default() += kills;
        }
        for ((verb, trouble), struck) in &tally.struck {
            let row = rows.entry(verb).or_default();
            *row.schedules.entry(trouble).or_default() += struck;
        }
        for (verb, lost) in &tally.lost_by {
            rows.entry(verb).or_default().lost += lost;
        }
    });
}

/// An operation was killed on the real host.
pub(crate) fn real(verb: &'static str, kills: &BTreeMap<String, usize>) {
    told(|rows| {
        let row = rows.entry(verb).or_default();
        for (what, kills) in kills {
            *row.real.entry(what.clone()).or_default() += kills;
        }
    });
}

fn told(fill: impl FnOnce(&mut BTreeMap<&'static str, Row>)) {
    let mut matrix = MATRIX.lock().unwrap_or_else(PoisonError::into_inner);
    fill(&mut matrix.1);
    matrix.0 += 1;
    if matrix.0 == every().len() + kills::STORIES {
        // Past the harness, which keeps to itself what tests print that pass.
        let _ = io::stdout().lock().write_all(drawn(&matrix.1).as_bytes());
        let tried: BTreeSet<_> = matrix.1.keys().map(ToString::to_string).collect();
        let missed: Vec<_> = verbs().difference(&tried).cloned().collect();
        assert_eq!(missed, WITHOUT, "verbs in which nothing goes wrong");
    }
}

fn drawn(rows: &BTreeMap<&'static str, Row>) -> String {
    let mut text = format!("\n{:<16}{:>8}", "killed, wrong", "effects");
    for column in COLUMNS {
        let _ = write!(text, "{column:>10}");
    }
    let _ = writeln!(text, "{:>10}{:>6}", "real kill", "lost");
    for (verb, row) in rows {
        let verb = if verb.is_empty() { "(looking)" } else { verb };
        let _ = write!(text, "{verb:<16}{:>8}", row.effects.len());
        for column in COLUMNS {
            let _ = write!(text, "{:>10}", row.schedules.get(column).unwrap_or(&0));
        }
        let real: usize = row.real.values().sum();
        let _ = writeln!(text, "{real:>10}{:>6}", row.lost);
    }
    text
}
