//! Which VMs a policy selects, and by which of its rules.

use std::collections::BTreeMap;
use std::fmt;

use super::glob::Glob;
use crate::model::policy::Select;

/// The rules that selected a VM. Printed as a plan says it: `names db-*, tag env=prod`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matched {
    /// The pattern for its name.
    pub name: Option<String>,
    /// Its uuid.
    pub uuid: Option<String>,
    /// Keys and patterns of tags.
    pub tags: BTreeMap<String, String>,
}

/// Whether the VM is selected.
#[must_use]
pub fn selects(select: &Select, name: &str, uuid: &str, tags: &BTreeMap<String, String>) -> bool {
    matched(select, name, uuid, tags).is_some()
}

/// The rules by which the VM is selected; none when it is not.
#[must_use]
pub fn matched(
    select: &Select,
    name: &str,
    uuid: &str,
    tags: &BTreeMap<String, String>,
) -> Option<Matched> {
    if takes_out(select, name, uuid, tags) {
        return None;
    }
    rules(select, name, uuid, tags)
}

/// Whether the VM is taken out of what is selected.
#[must_use]
pub fn excludes(select: &Select, name: &str, uuid: &str, tags: &BTreeMap<String, String>) -> bool {
    takes_out(select, name, uuid, tags) && rules(select, name, uuid, tags).is_some()
}

fn takes_out(select: &Select, name: &str, uuid: &str, tags: &BTreeMap<String, String>) -> bool {
    let exclude = select.exclude.as_deref();
    exclude.is_some_and(|exclude| selects(exclude, name, uuid, tags))
}

fn rules(
    select: &Select,
    name: &str,
    uuid: &str,
    tags: &BTreeMap<String, String>,
) -> Option<Matched> {
    if select.names.is_empty() && select.uuids.is_empty() && select.tags.is_empty() {
        return None;
    }
    let mut matched = Matched::default();
    if !select.names.is_empty() {
        let pattern = select.names.iter().find(|pattern| fits(pattern, name))?;
        matched.name = Some(pattern.clone());
    }
    if !select.uuids.is_empty() {
        let uuid = select
            .uuids
            .iter()
            .find(|one| one.eq_ignore_ascii_case(uuid))?;
        matched.uuid = Some(uuid.clone());
    }
    for (key, pattern) in &select.tags {
        if !fits(pattern, tags.get(key)?) {
            return None;
        }
        matched.tags.insert(key.clone(), pattern.clone());
    }
    Some(matched)
}

/// A pattern that is none fits nothing; a policy with one is refused before.
fn fits(pattern: &str, text: &str) -> bool {
    Glob::read(pattern).is_ok_and(|glob| glob.matches(text))
}

impl fmt::Display for Matched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.iter().map(|name| format!("names {name}"));
        let uuid = self.uuid.iter().map(|uuid| format!("uuid {uuid}"));
        let tags = self
            .tags
            .iter()
            .map(|(key, value)| format!("tag {key}={value}"));
        let rules = name.chain(uuid).chain(tags).collect::<Vec<_>>();
        f.write_str(&rules.join(", "))
    }
}
