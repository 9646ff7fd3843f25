//! From policy files to policies, findings and what people see of them.

mod calendar;
mod codes;
mod examples;
mod keys;
mod lints;
mod properties;
mod reading;
mod references;
mod rendering;
mod schema;
mod select;
mod texts;
mod values;

use knib::cli::render::findings;
use knib::model::policy::Policy;
use knib::policy::Sources;

/// One file of this text.
fn one(text: impl Into<Vec<u8>>) -> Sources {
    several(&[("policy.yaml", text.into())])
}

fn several<T: Clone + Into<Vec<u8>>>(files: &[(&str, T)]) -> Sources {
    let mut sources = Sources::default();
    for (name, text) in files {
        sources.add(*name, text.clone());
    }
    sources
}

/// What a user sees of a policy that is not taken.
fn report(sources: &Sources) -> String {
    let (policy, found) = knib::policy::load(sources);
    assert_eq!(policy, None);
    let text = findings::human(&found, sources, 90, false) + &findings::closing(&found, sources);
    // Blank lines between findings say nothing in a test.
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .collect::<Vec<_>>()
        .join("\n")
}

/// The codes of what is found, in order.
fn codes(sources: &Sources) -> Vec<String> {
    let (_, found) = knib::policy::load(sources);
    found.into_iter().map(|finding| finding.code).collect()
}

/// A policy in which everything is in order.
fn sound(sources: &Sources) -> Policy {
    let (policy, found) = knib::policy::load(sources);
    policy.unwrap_or_else(|| panic!("{}", findings::human(&found, sources, 90, false)))
}

/// A sound policy of one VM with these lines under its schedule, each indented by eight.
fn with_schedule(lines: &str) -> String {
    with_policy(&format!("    schedules:\n      nightly:\n{lines}"))
}

/// A sound policy with these lines under `policies.web`, without schedules of its own.
fn with_policy(lines: &str) -> String {
    format!(
        "version: 1\nstorage:\n  nas1: {{ path: /mnt/nas1 }}\nofferings:\n  gold: {{}}\npolicies:\n  web:\n    select: {{ names: [web] }}\n    offering: gold\n    storage: nas1\n    retention: {{ keepDaily: 7 }}\n{lines}"
    )
}

/// A sound policy with these lines at its end, at the top level.
fn with_top(lines: &str) -> String {
    with_schedule("        cron: \"0 4 * * *\"\n") + lines
}
