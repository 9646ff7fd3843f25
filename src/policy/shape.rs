//! Holds a file against the schema: unknown and missing keys, kinds of values, numbers out of
//! range, words that are none of the known ones.
//!
//! What is wrong is said and made to say nothing, so that the raw types can be read from what is
//! left, the checks after this see every other problem, and none takes the key for missing.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::found::Found;
use super::node::Entry;
use super::node::Node;
use super::node::Value;
use super::retired;
use super::schema::SCHEMA;
use super::source::Place;
use super::suggest::closest;
use super::wanted;
use super::words::either;
use super::words::kind;
use super::words::quote;
use super::words::subject;

/// Looks at one file.
pub(super) fn hold(file: &mut Node, found: &mut Found<'_>) {
    let mut walk = Walk {
        found,
        path: Vec::new(),
    };
    if !walk.node(file, None, &SCHEMA) {
        file.value = Value::Nothing;
    }
}

struct Walk<'f, 'a> {
    found: &'f mut Found<'a>,
    path: Vec<String>,
}

impl Walk<'_, '_> {
    /// Whether the value may stay. `key` is where its key stands.
    fn node(&mut self, node: &mut Node, key: Option<Place>, schema: &Json) -> bool {
        let options = wanted::options(schema);
        let Some(schema) = options
            .iter()
            .find(|option| wanted::admits(option, &node.value))
        else {
            self.refuse_kind(node, key, &options);
            return false;
        };
        match &mut node.value {
            Value::Map(map) => self.map(map, key.unwrap_or(node.place), schema),
            Value::List(items) => self.list(items, node.place, schema),
            Value::Text(text) => self.text(text, node.place, schema),
            Value::Integer(_) | Value::Real(_) => self.number(node, schema),
            Value::Nothing | Value::Switch(_) => true,
        }
    }

    fn map(&mut self, map: &mut BTreeMap<String, Entry>, key: Place, schema: &Json) -> bool {
        let patterns = schema["patternProperties"].as_object();
        map.retain(|name, entry| {
            self.path.push(name.clone());
            let known = &schema["properties"][name];
            let named = patterns.and_then(|all| all.values().next());
            let any = Some(&schema["additionalProperties"]).filter(|any| any.is_object());
            let known = Some(known).filter(|known| !known.is_null());
            if known.is_none() && named.is_some() {
                self.name(name, entry.key);
            }
            let value = known.or(named).or(any);
            match value {
                Some(value) if !self.node(&mut entry.node, Some(entry.key), value) => {
                    entry.node.value = Value::Nothing;
                }
                Some(_) => {}
                None => self.refuse_key(entry.key, schema),
            }
            self.path.pop();
            value.is_some()
        });
        let missing = |name: &&str| !map.contains_key(*name);
        for name in wanted::strings(&schema["required"]).filter(missing) {
            self.refuse_missing(name, key, &schema["properties"][name]);
        }
        let one_of = schema["anyOf"].as_array().into_iter().flatten();
        let wanted = one_of.flat_map(|option| wanted::strings(&option["required"]));
        let wanted = wanted.collect::<Vec<_>>();
        if !wanted.is_empty() && wanted.iter().all(missing) {
            let text = format!("{} selects nothing", subject(&self.path));
            let label = format!(
                "neither {}",
                either(wanted.iter().copied()).replace(" or ", " nor ")
            );
            let finding = self.found.error("empty_select", text, key, label);
            let hint = match self.path.last().map(String::as_str) {
                Some("exclude") => "write what is taken out, or leave `exclude` out",
                _ => "every VM is `names: [\"*\"]`",
            };
            self.found.add(finding.hint(hint));
            return false;
        }
        if map.is_empty() && schema["minProperties"].is_u64() {
            return self.refuse_empty(key);
        }
        true
    }

    fn list(&mut self, items: &mut Vec<Node>, place: Place, schema: &Json) -> bool {
        if items.is_empty() && schema["minItems"].is_u64() {
            return self.refuse_empty(place);
        }
        items.retain_mut(|item| self.node(item, None, &schema["items"]));
        true
    }

    fn text(&mut self, text: &str, place: Place, schema: &Json) -> bool {
        if text.is_empty() && schema["minLength"].is_u64() {
            return self.refuse_empty(place);
        }
        let words = wanted::words(schema);
        if words.is_empty() || words.contains(&text) {
            return true;
        }
        let what = format!(
            "{} must be {}",
            subject(&self.path),
            either(words.iter().copied())
        );
        let finding = self
            .found
            .error("unknown_word", what, place, "not one of them");
        let meant = match text {
            "no" | "off" | "never" => words.iter().copied().find(|word| *word == "none"),
            _ => closest(text, words.iter().copied()),
        };
        self.found.add(match meant {
            Some(word) => finding.hint(format!("did you mean `{word}`?")),
            None => finding,
        });
        false
    }

    fn number(&mut self, node: &Node, schema: &Json) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "bounds are far below 2^53")]
        let value = match node.value {
            Value::Integer(value) => value as f64,
            Value::Real(value) => value,
            _ => return true,
        };
        let (least, most) = (schema["minimum"].as_f64(), schema["maximum"].as_f64());
        // What a 64 bit number cannot hold is no sensible number either.
        let fits = value.is_finite() && value.abs() < 9e18;
        if fits && least.is_none_or(|least| value >= least) && most.is_none_or(|most| value <= most)
        {
            return true;
        }
        let bound = match (least, most) {
            (Some(least), Some(most)) if least >= most => format!("be {most}"),
            (Some(least), Some(most)) => format!("be between {least} and {most}"),
            (Some(least), None) => format!("be {least} or more"),
            (None, Some(most)) => format!("be {most} or less"),
            (None, None) => "be a sensible number".into(),
        };
        let text = format!("{} must {bound}", subject(&self.path));
        let finding = self
            .found
            .error("out_of_range", text, node.place, "out of range");
        self.found.add(finding);
        false
    }

    fn name(&mut self, name: &str, place: Place) {
        const HINT: &str = "names are made of small letters, digits and `-`, at most 63, and do not begin with `-`";
        let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let good = name.starts_with(letter)
            && name.len() <= 63
            && name.chars().all(|c| letter(c) || c == '-');
        if !good {
            let text = format!("{} is not a name", quote(name));
            let finding = self.found.error("bad_name", text, place, "");
            self.found.add(finding.hint(HINT));
        }
    }

    fn refuse_key(&mut self, place: Place, schema: &Json) {
        let (name, above) = self.path.split_last().expect("a key was pushed");
        let text = format!("unknown key {} in {}", quote(name), subject(above));
        let label = format!("not a key of {}", kind(above));
        let finding = self.found.error("unknown_key", text, place, label);
        let keys = schema["properties"]
            .as_object()
            .into_iter()
            .flat_map(|all| all.keys());
        let keys = keys.map(String::as_str).collect::<Vec<_>>();
        let hint = retired::hint(&kind(above), name)
            .map(str::to_owned)
            .or_else(|| wanted::below(schema, name).map(|key| format!("it belongs under `{key}`")))
            .or_else(|| {
                closest(name, keys.iter().copied()).map(|key| format!("did you mean `{key}`?"))
            })
            .unwrap_or_else(|| format!("known here: {}", keys.join(", ")));
        self.found.add(finding.hint(hint));
    }

    fn refuse_missing(&mut self, name: &str, place: Place, schema: &Json) {
        let text = format!("{} has no `{name}`", subject(&self.path));
        let finding = self
            .found
            .error("missing_key", text, place, format!("`{name}` is missing"));
        let example = schema["examples"].get(0).map(wanted::written);
        self.found.add(match example {
            Some(example) => finding.hint(format!("for example `{name}: {example}`")),
            None => finding,
        });
    }

    fn refuse_empty(&mut self, place: Place) -> bool {
        let text = format!("{} is empty", subject(&self.path));
        let finding = self.found.error("empty_value", text, place, "");
        self.found
            .add(finding.hint("write at least one entry, or leave the key out"));
        false
    }

    fn refuse_kind(&mut self, node: &Node, key: Option<Place>, options: &[&Json]) {
        let expected = options
            .iter()
            .map(|option| wanted::expected(option))
            .collect::<Vec<_>>();
        let expected = expected.join(" or ");
        let entry = if key.is_none() && !self.path.is_empty() {
            "an entry of "
        } else {
            ""
        };
        let text = format!("{entry}{} must be {expected}", subject(&self.path));
        let (place, label) = match node.value {
            Value::Nothing => (key.unwrap_or(node.place), "has no value"),
            Value::Switch(_) => (node.place, "this is true or false"),
            Value::Integer(_) | Value::Real(_) => (node.place, "this is a number"),
            Value::Text(_) => (node.place, "this is text"),
            Value::List(_) => (node.place, "this is a list"),
            Value::Map(_) => (key.unwrap_or(node.place), "this is a map"),
        };
        let finding = self.found.error("wrong_kind", text, place, label);
        self.found.add(match self.how_to_write(node, options) {
            Some(hint) => finding.hint(hint),
            None => finding,
        });
    }

    /// What to write instead of a value of the wrong kind.
    fn how_to_write(&self, node: &Node, options: &[&Json]) -> Option<String> {
        let wants = |kind: &str| options.iter().find(|option| option["type"] == kind);
        let written = String::from_utf8_lossy(self.found.sources.bytes_at(node.place));
        match &node.value {
            Value::Nothing => Some("write a value, or leave the key out".into()),
            Value::Text(text) if wants("boolean").is_some() => match text.to_lowercase().as_str() {
                "yes" | "on" => Some("write `true`".into()),
                "no" | "off" => Some("write `false`".into()),
                _ => None,
            },
            Value::Text(text) if wants("integer").or(wants("number")).is_some() => text
                .parse::<i64>()
                .ok()
                .map(|number| format!("write it without quotes: `{number}`")),
            Value::Text(_) | Value::Integer(_) if wants("array").is_some() => {
                Some(format!("write a list: `[{written}]`"))
            }
            Value::List(items) if wants("string").is_some() => {
                let first = self.found.sources.bytes_at(items.first()?.place);
                Some(format!(
                    "write one value: `{}`",
                    String::from_utf8_lossy(first)
                ))
            }
            Value::Integer(_) | Value::Real(_) | Value::Switch(_) => {
                let text = wants("string")?;
                text["examples"]
                    .is_null()
                    .then(|| format!("put it in quotes: `\"{written}\"`"))
            }
            _ => None,
        }
    }
}
