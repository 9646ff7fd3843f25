//! A value together with its place: what every check works on.

use std::collections::BTreeMap;

use super::source::Place;

/// A value and where it stands. For what an alias repeats that is where it was written first.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub place: Place,
    pub value: Value,
}

/// A value; each key of a map occurs once.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Nothing,
    Switch(bool),
    Integer(i128),
    Real(f64),
    Text(String),
    List(Vec<Node>),
    Map(BTreeMap<String, Entry>),
}

/// What a map says about a key.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Where the key stands.
    pub key: Place,
    pub node: Node,
}

impl Node {
    /// What a map says about a key.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Map(map) => map.get(key),
            _ => None,
        }
    }

    /// The value at the end of a path.
    pub(super) fn at(&self, path: &[&str]) -> Option<&Node> {
        path.iter()
            .try_fold(self, |node, key| Some(&node.entry(key)?.node))
    }

    /// Where the value of a key stands; where the map stands when it does not have the key.
    pub(super) fn place_of(&self, key: &str) -> Place {
        self.entry(key).map_or(self.place, |entry| entry.node.place)
    }

    /// The value as the raw types are read from. A key that says nothing is left out.
    pub(super) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Nothing => serde_json::Value::Null,
            Value::Switch(value) => (*value).into(),
            Value::Integer(value) => i64::try_from(*value).ok().into(),
            Value::Real(value) => (*value).into(),
            Value::Text(text) => text.as_str().into(),
            Value::List(items) => items.iter().map(Node::to_json).collect(),
            Value::Map(map) => {
                let said = map
                    .iter()
                    .filter(|(_, entry)| !matches!(entry.node.value, Value::Nothing));
                said.map(|(key, entry)| (key.clone(), entry.node.to_json()))
                    .collect()
            }
        }
    }

    /// Takes over what `below` says and this does not: maps are merged key by key.
    pub(super) fn inherit(&mut self, below: &Node) {
        let (Value::Map(own), Value::Map(inherited)) = (&mut self.value, &below.value) else {
            return;
        };
        for (key, entry) in inherited {
            match own.get_mut(key) {
                Some(written) => written.node.inherit(&entry.node),
                None => {
                    own.insert(key.clone(), entry.clone());
                }
            }
        }
    }
}
