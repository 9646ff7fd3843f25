//! Where each effective value was written.

use std::collections::BTreeMap;

use crate::model::finding::Origin;
use crate::policy::found::Found;
use crate::policy::node::Node;
use crate::policy::node::Value;
use crate::policy::source::Place;

/// `policies.prod.retention.keepDaily` -> place, for every key; `policies.prod.select.names[0]` for
/// every entry of a list. Of a map that is where its key stands.
pub(super) fn of(whole: &Node, found: &Found<'_>) -> BTreeMap<String, Origin> {
    let mut origins = BTreeMap::new();
    collect(whole, "", &mut |path, place| {
        origins.insert(path, found.origin(place));
    });
    origins
}

fn collect(node: &Node, above: &str, add: &mut impl FnMut(String, Place)) {
    match &node.value {
        Value::Map(map) => {
            for (key, entry) in map {
                let path = match above {
                    // Nobody refers to what templates say: policies have taken it over.
                    "" if key == "templates" => continue,
                    "" => key.clone(),
                    above => format!("{above}.{key}"),
                };
                let place = match entry.node.value {
                    Value::Map(_) => entry.key,
                    _ => entry.node.place,
                };
                collect(&entry.node, &path, add);
                add(path, place);
            }
        }
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                add(format!("{above}[{index}]"), item.place);
            }
        }
        _ => {}
    }
}
