//! `select`.

use super::Check;
use crate::model::misread::Misread;
use crate::model::policy::Select;
use crate::policy::glob::Glob;
use crate::policy::node::Node;
use crate::policy::node::Value;
use crate::policy::raw;

impl Check<'_, '_> {
    pub(super) fn select(&mut self, raw: raw::Select, node: &Node) -> Select {
        let exclude = raw.exclude.zip(node.at(&["exclude"])).map(|(raw, node)| {
            let raw = raw::Select {
                names: raw.names,
                uuids: raw.uuids,
                tags: raw.tags,
                exclude: None,
            };
            Box::new(self.select(raw, node))
        });
        self.each(node, "names", |check, text, place| {
            check.pattern(text, place);
        });
        self.each(node, "tags", |check, text, place| {
            check.pattern(text, place);
        });
        self.each(node, "uuids", |check, text, place| {
            if !is_uuid(text) {
                let why = Misread::new("", 0..text.len());
                let why = why.hint("`virsh domuuid NAME` prints it");
                check.found.misread("bad_uuid", "a uuid", text, place, why);
            }
        });
        let uuids = raw.uuids.unwrap_or_default();
        Select {
            names: raw.names.unwrap_or_default(),
            uuids: uuids.iter().map(|uuid| uuid.to_lowercase()).collect(),
            tags: raw.tags.unwrap_or_default(),
            exclude,
        }
    }

    /// Every text of a list or of a map's values.
    fn each(&mut self, node: &Node, key: &str, look: impl Fn(&mut Self, &str, super::Place)) {
        let Some(node) = node.at(&[key]) else { return };
        let values: Vec<&Node> = match &node.value {
            Value::List(items) => items.iter().collect(),
            Value::Map(map) => map.values().map(|entry| &entry.node).collect(),
            _ => Vec::new(),
        };
        for value in values {
            if let Value::Text(text) = &value.value {
                look(self, text, value.place);
            }
        }
    }

    fn pattern(&mut self, text: &str, place: super::Place) {
        if let Err(why) = Glob::read(text) {
            self.found
                .misread("bad_pattern", "a pattern", text, place, why);
        }
    }
}

fn is_uuid(text: &str) -> bool {
    let groups = text.split('-').collect::<Vec<_>>();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.concat().bytes().all(|b| b.is_ascii_hexdigit())
}
