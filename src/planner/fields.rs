//! Two values side by side, key by key, as a policy spells them.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::model::reason::Field;
use crate::model::seconds::Seconds;

/// Keys whose numbers are lengths of time.
const LENGTHS: [&str; 8] = [
    "jitter",
    "deadline",
    "keepWithin",
    "bootTimeout",
    "screenshotWait",
    "commandTimeout",
    "interval",
    "timeout",
];

/// The keys that differ, in order: `schedules.nightly.cron`.
pub fn differences<T: Serialize>(before: &T, after: &T) -> Vec<Field> {
    let (before, after) = (flat(before), flat(after));
    let keys: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let changed = keys
        .into_iter()
        .filter(|key| before.get(*key) != after.get(*key));
    changed
        .map(|key| Field {
            key: key.clone(),
            before: before.get(key).cloned(),
            after: after.get(key).cloned(),
        })
        .collect()
}

/// Every key with its value, as a policy spells them.
pub fn flat<T: Serialize>(value: &T) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    if let Ok(value) = serde_json::to_value(value) {
        flatten("", &value, &mut found);
    }
    found
}

fn flatten(at: &str, value: &Value, found: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let key = camel(key);
                let at = if at.is_empty() {
                    key
                } else {
                    format!("{at}.{key}")
                };
                flatten(&at, value, found);
            }
        }
        Value::Null => {}
        Value::String(text) => {
            found.insert(at.to_owned(), text.clone());
        }
        other => {
            let key = at.rsplit('.').next().unwrap_or(at);
            let length = other.as_u64().filter(|_| LENGTHS.contains(&key));
            let text = length.map_or_else(|| other.to_string(), |n| Seconds(n).to_string());
            found.insert(at.to_owned(), text);
        }
    }
}

/// `keep_daily` as a policy spells it.
fn camel(key: &str) -> String {
    let mut parts = key.split('_');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let mut letters = part.chars();
        text.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        text.extend(letters);
    }
    text
}
