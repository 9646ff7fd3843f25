//! Which names there are to refer to.

use std::collections::BTreeMap;

use super::Check;
use crate::policy::node::Node;
use crate::policy::node::Value;
use crate::policy::source::Place;
use crate::policy::suggest::closest;
use crate::policy::words::quote;

/// Names by section with the places of their keys, taken before anything wrong was left out: a
/// reference to something that has a mistake in it is no mistake of its own.
pub(super) struct Scope {
    names: BTreeMap<&'static str, BTreeMap<String, Place>>,
    /// Whether all files could be read; a name that is missing may stand in one that could not.
    pub(super) complete: bool,
}

const SECTIONS: [&str; 3] = ["offerings", "storage", "templates"];

impl Scope {
    pub(super) fn of(files: &[Node]) -> Self {
        let mut names = BTreeMap::<_, BTreeMap<String, Place>>::new();
        for (file, section) in files
            .iter()
            .flat_map(|file| SECTIONS.map(|section| (file, section)))
        {
            if let Some(Value::Map(map)) = file.at(&[section]).map(|node| &node.value) {
                let known = names.entry(section).or_default();
                for (name, entry) in map {
                    known.entry(name.clone()).or_insert(entry.key);
                }
            }
        }
        Self {
            names,
            complete: true,
        }
    }
}

impl Check<'_, '_> {
    /// Reports a name that a section does not have.
    pub(super) fn refer(&mut self, name: &str, section: &'static str, place: Place) {
        const SHOWN: usize = 12;
        let names = self.scope.names.get(section).cloned().unwrap_or_default();
        if names.contains_key(name) || !self.scope.complete {
            return;
        }
        let what = match section {
            "offerings" => "offering",
            "templates" => "template",
            section => section,
        };
        let text = format!("no {what} is named {}", quote(name));
        let mut finding = self
            .found
            .error("unknown_reference", text, place, "named here");
        let meant = closest(name, names.keys().map(String::as_str));
        if let Some(meant) = meant {
            let origin = self.found.origin(names[meant]);
            finding = finding.at(Some(&origin), format!("`{meant}` is defined here"));
        }
        let meant = meant.map_or(String::new(), |meant| format!("did you mean `{meant}`? "));
        let there_are = match names.len() {
            0 => format!("there is none yet: define it under `{section}`"),
            1 => format!("the only {what} is {}", names.keys().next().expect("one")),
            n if n > SHOWN => format!("there are {n}, see `{section}`"),
            _ => {
                let names = names.keys().map(String::as_str).collect::<Vec<_>>();
                format!("the {what}s are {}", names.join(", "))
            }
        };
        self.found.add(finding.hint(meant + &there_are));
    }
}
