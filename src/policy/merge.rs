//! Several files as one, and policies with what their templates say.

use super::found::Found;
use super::node::Entry;
use super::node::Node;
use super::node::Value;

/// Sections whose entries may come from several files.
const SECTIONS: [&str; 5] = ["storage", "settings", "offerings", "templates", "policies"];

/// Puts the files together: sections by name, everything else from one file.
pub(super) fn files(files: Vec<Node>, found: &mut Found<'_>) -> Option<Node> {
    let mut files = files.into_iter();
    let mut whole = files.next()?;
    for file in files {
        let (Value::Map(whole), Value::Map(more)) = (&mut whole.value, file.value) else {
            continue;
        };
        for (key, entry) in more {
            match whole.get_mut(&key) {
                None => {
                    whole.insert(key, entry);
                }
                Some(first) if SECTIONS.contains(&key.as_str()) => {
                    section(&key, first, entry, found);
                }
                Some(_) if key == "version" => {}
                Some(first) => found.add_twice(&[key], first.key, entry.key),
            }
        }
    }
    Some(whole)
}

fn section(key: &str, first: &mut Entry, more: Entry, found: &mut Found<'_>) {
    let (Value::Map(whole), Value::Map(more)) = (&mut first.node.value, more.node.value) else {
        return;
    };
    for (name, entry) in more {
        match whole.get(&name) {
            Some(written) => found.add_twice(&[key.into(), name], written.key, entry.key),
            None => {
                whole.insert(name, entry);
            }
        }
    }
}

/// Gives each policy what its template says and it does not. A template that does not exist is
/// reported with the other references.
pub(super) fn extend(whole: &mut Node) {
    let Value::Map(sections) = &mut whole.value else {
        return;
    };
    let templates = sections.get("templates").map(|entry| entry.node.clone());
    let policies = sections
        .get_mut("policies")
        .map(|entry| &mut entry.node.value);
    let (Some(templates), Some(Value::Map(policies))) = (templates, policies) else {
        return;
    };
    for entry in policies.values_mut() {
        let Some(Value::Text(name)) = entry.node.at(&["extends"]).map(|node| node.value.clone())
        else {
            continue;
        };
        if let Some(template) = templates.entry(&name) {
            entry.node.inherit(&template.node);
        }
    }
}
