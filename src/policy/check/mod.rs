//! Raw types to the model: texts are read, numbers bounded, names looked up.
//!
//! Nothing stops at a problem: a value that is wrong is reported and a harmless one put in its
//! place, since a policy with an error is never handed out.

mod offering;
mod origins;
mod policy;
mod schedule;
mod scope;
mod select;
pub(super) mod settings;
mod storage;
mod texts;

use serde::de::DeserializeOwned;

use super::connect;
use super::found::Found;
use super::merge;
use super::node::Entry;
use super::node::Node;
use super::node::Value;
use super::shape;
use super::source::Place;
use crate::model::digest::Digest;
use crate::model::finding::Finding;
use crate::model::finding::Severity;
use crate::model::policy::Policy;
use scope::Scope;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const YEAR: u64 = 366 * DAY;

/// Checks what the files say together. `complete` when all of them could be read.
pub(super) fn policy(
    mut files: Vec<Node>,
    complete: bool,
    found: &mut Found<'_>,
) -> Option<Policy> {
    if complete && files.is_empty() {
        let finding = Finding::new(Severity::Error, "no_policy", "there is no policy file");
        found.add(finding.hint("name one with -f, or start from the one that `knib init` writes"));
    }
    let mut scope = Scope::of(&files);
    let given = files.len();
    files.retain_mut(|file| {
        shape::hold(file, found);
        matches!(file.value, Value::Map(_))
    });
    scope.complete = complete && files.len() == given;
    let mut whole = merge::files(files, found)?;
    merge::extend(&mut whole);
    let mut check = Check {
        whole: &whole,
        scope,
        found,
    };
    let policy = check.whole();
    Some(Policy {
        digest: digest(found),
        origins: origins::of(&whole, found),
        ..policy
    })
}

fn digest(found: &Found<'_>) -> Digest {
    let mut bytes = Vec::new();
    for file in found.sources.files() {
        // With its length, so that no two sets of files give the same bytes.
        bytes.extend((file.bytes.len() as u64).to_le_bytes());
        bytes.extend(&file.bytes);
    }
    Digest::of(&bytes)
}

struct Check<'f, 'a> {
    whole: &'f Node,
    scope: Scope,
    found: &'f mut Found<'a>,
}

impl Check<'_, '_> {
    fn whole(&mut self) -> Policy {
        let text = |key: &str, default: &str| match self.whole.at(&[key]).map(|node| &node.value) {
            Some(Value::Text(text)) => text.clone(),
            _ => default.to_owned(),
        };
        let connect = text("connect", "qemu:///system");
        let state = text("state", "/var/lib/knib/state.db");
        let timezone = text("timezone", "UTC");
        if let Err(why) = connect::local(&connect) {
            let place = self.whole.place_of("connect");
            self.found
                .misread("bad_uri", "a URI of this host", &connect, place, why);
        }
        let timezone = self.zone(&timezone, self.whole.place_of("timezone"));
        let settings = self.settings();
        let storages = self.storages();
        let offerings = self.offerings();
        let policies = self.policies(&offerings, &timezone);
        Policy {
            connect,
            state: self.path(&state, self.whole.place_of("state")),
            timezone,
            settings,
            storages,
            offerings,
            policies,
            digest: Digest::of(b""),
            origins: std::collections::BTreeMap::new(),
        }
    }

    /// The entries of a section, read as raw types.
    fn section<T: DeserializeOwned>(&mut self, section: &str) -> Vec<(String, Entry, T)> {
        let Some(Value::Map(map)) = self.whole.at(&[section]).map(|node| &node.value) else {
            return Vec::new();
        };
        let entries = map.clone().into_iter();
        entries
            .filter_map(|(name, entry)| {
                let raw = self.raw(&entry.node)?;
                Some((name, entry, raw))
            })
            .collect()
    }

    /// A node as a raw type; none when it was wrong as a whole. The schema was made from the type,
    /// so reading it does not fail; if it did, that must not pass for a sound policy.
    fn raw<T: DeserializeOwned>(&mut self, node: &Node) -> Option<T> {
        if matches!(node.value, Value::Nothing) {
            return None;
        }
        serde_json::from_value(node.to_json())
            .map_err(|error| {
                let finding =
                    self.found
                        .error("not_understood", error.to_string(), node.place, "here");
                self.found.add(finding);
            })
            .ok()
    }

    /// An error with a hint.
    fn refuse(
        &mut self,
        code: &str,
        text: impl Into<String>,
        place: Place,
        label: &str,
        hint: &str,
    ) {
        let finding = self.found.error(code, text, place, label);
        self.found.add(finding.hint(hint));
    }
}
