//! What is sound and unwise, or not what it looks like.
//!
//! Lints hold nothing up. They have stable codes, so that `--deny` can make one an error.

mod offerings;
mod schedules;

use std::collections::BTreeSet;
use std::fmt::Write;

use jiff::Timestamp;

use super::Sources;
use crate::model::finding::Finding;
use crate::model::finding::Origin;
use crate::model::finding::Severity;
use crate::model::policy::Policy;

/// Codes with what they are about. KL008 and KL009 need more than the policy to be seen.
pub const CODES: [(&str, &str); 10] = [
    ("KL001", "a chain that never ends"),
    ("KL002", "no retention: every backup is kept"),
    ("KL003", "a way to compress, and no compression"),
    ("KL004", "a chain longer than what retention keeps of it"),
    ("KL005", "a deadline shorter than the jitter"),
    ("KL006", "a number without a unit"),
    (
        "KL007",
        "a local time that a change of clocks skips or repeats",
    ),
    ("KL008", "a VM that no policy selects"),
    ("KL009", "a state file on a network file system"),
    ("KL010", "a day of the month and a day of the week together"),
];

/// Looks at a sound policy. `now` is where calendars are read from.
#[must_use]
pub fn lint(policy: &Policy, sources: &Sources, now: Timestamp) -> Vec<Finding> {
    let mut lints = Lints {
        policy,
        sources,
        list: Vec::new(),
        seen: BTreeSet::new(),
    };
    lints.offerings();
    lints.settings();
    lints.policies(now);
    lints.list.sort_by_cached_key(|finding| {
        let first = finding.labels.first().map(|label| label.origin.clone());
        (first, finding.code.clone())
    });
    lints.list
}

/// KL008, from who sees the VMs. Some are taken out by name or tag, by these policies.
#[must_use]
pub fn unprotected(vms: &[String], excluding: &BTreeSet<String>) -> Finding {
    let mut text = match vms {
        [one] => format!("VM {one} is not protected: no policy selects it"),
        several => format!(
            "{} VMs are not protected, no policy selects them: {}",
            several.len(),
            several.join(", ")
        ),
    };
    if !excluding.is_empty() {
        let names: Vec<&str> = excluding.iter().map(String::as_str).collect();
        let some = if vms.len() == 1 { "" } else { "some " };
        let policies = if names.len() == 1 {
            "policy"
        } else {
            "policies"
        };
        let names = names.join(" and ");
        let _ = write!(text, " ({some}excluded by {policies} {names})");
    }
    let finding = Finding::new(Severity::Warning, "KL008", text);
    finding
        .hint("select it in a policy, or in one with `paused: true` to say that it needs no backup")
}

/// KL009, from who sees the file system that the state is on.
#[must_use]
pub fn state_on_network(policy: &Policy, file_system: &str) -> Finding {
    let text = format!("the state file {} is on {file_system}", policy.state);
    Finding::new(Severity::Warning, "KL009", text)
        .at(policy.origins.get("state"), "")
        .hint("its locks are only sure on a local file system")
}

/// Makes errors of the findings with these codes.
pub fn deny(findings: &mut [Finding], codes: &[String]) {
    let denied = findings
        .iter_mut()
        .filter(|finding| codes.contains(&finding.code));
    for finding in denied {
        finding.severity = Severity::Error;
    }
}

struct Lints<'a> {
    policy: &'a Policy,
    sources: &'a Sources,
    list: Vec<Finding>,
    seen: BTreeSet<(String, Option<Origin>)>,
}

impl Lints<'_> {
    /// Where a value was written.
    fn origin(&self, path: &str) -> Option<&Origin> {
        self.policy.origins.get(path)
    }

    /// Takes a finding at the first of these paths that is written somewhere; once, also when
    /// several policies have it from one template.
    fn add(&mut self, code: &str, severity: Severity, paths: &[&str], said: Said) {
        let origin = paths.iter().find_map(|path| self.origin(path)).cloned();
        let finding = Finding::new(severity, code, said.text);
        let finding = finding.at(origin.as_ref(), said.label).hint(said.hint);
        if self.seen.insert((finding.text.clone(), origin)) {
            self.list.push(finding);
        }
    }
}

struct Said {
    text: String,
    label: String,
    hint: String,
}

fn said(text: impl Into<String>, label: impl Into<String>, hint: impl Into<String>) -> Said {
    Said {
        text: text.into(),
        label: label.into(),
        hint: hint.into(),
    }
}
