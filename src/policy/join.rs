//! Values and their places, put together.
//!
//! Two parsers have read one text. Where they see the same shape, which is everywhere as far as
//! anybody knows, each value gets its place; where they do not, the place of what it stands in.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::found::Found;
use super::layout::Shape;
use super::layout::Spot;
use super::node::Entry;
use super::node::Node;
use super::node::Value;
use super::source::Place;
use super::words::quote;
use super::words::subject;
use super::yaml;

/// One file that is put together. A key that is written twice is an error, the first one counts.
pub(super) struct Join<'f, 'a> {
    pub file: usize,
    /// Bytes before each character; none where every character is a byte.
    pub offsets: Option<Vec<usize>>,
    pub found: &'f mut Found<'a>,
}

impl Join<'_, '_> {
    /// A part of the file given in characters. A list or map of several lines is shown by its
    /// first.
    pub(super) fn place(&self, from: usize, to: usize) -> Place {
        let byte = |at: usize| match &self.offsets {
            None => at,
            Some(offsets) => offsets[at.min(offsets.len() - 1)],
        };
        let (start, end) = (byte(from), byte(to));
        let file = &self.found.sources.files()[self.file];
        let end = end.min(file.line_end(start)).max(start);
        // The parser counts blanks after a quoted text to it.
        let blanks = file.bytes[start..end].iter().rev();
        let blanks = blanks.take_while(|b| b.is_ascii_whitespace()).count();
        Place {
            file: self.file,
            start,
            end: end - blanks,
        }
    }

    /// `seen` is the layout at the same spot; none where the two parsers differ.
    pub(super) fn node(
        &mut self,
        value: yaml::Value,
        seen: Option<&Spot>,
        place: Place,
        path: &mut Vec<String>,
    ) -> Node {
        let place = seen.map_or(place, |spot| self.place(spot.start, spot.end));
        let shape = seen.map(|spot| match &spot.shape {
            Shape::Alias(target) => &target.shape,
            shape => shape,
        });
        let value = match value {
            yaml::Value::Nothing => Value::Nothing,
            yaml::Value::Switch(value) => Value::Switch(value),
            yaml::Value::Integer(value) => Value::Integer(value),
            yaml::Value::Real(value) => Value::Real(value),
            yaml::Value::Text(text) => Value::Text(text),
            yaml::Value::List(items) => {
                let spots = match shape {
                    Some(Shape::List(spots)) if spots.len() == items.len() => spots.as_slice(),
                    _ => &[],
                };
                let node = |(index, item)| {
                    self.node(item, spots.get(index).map(AsRef::as_ref), place, path)
                };
                Value::List(items.into_iter().enumerate().map(node).collect())
            }
            yaml::Value::Map(pairs) => {
                let spots = match shape {
                    Some(Shape::Map(spots)) if spots.len() == pairs.len() => spots.as_slice(),
                    _ => &[],
                };
                Value::Map(self.map(pairs, spots, place, path))
            }
        };
        Node { place, value }
    }

    fn map(
        &mut self,
        pairs: Vec<(String, yaml::Value)>,
        spots: &[(Rc<Spot>, Rc<Spot>)],
        place: Place,
        path: &mut Vec<String>,
    ) -> BTreeMap<String, Entry> {
        let mut map = BTreeMap::<String, Entry>::new();
        for (index, (name, value)) in pairs.into_iter().enumerate() {
            let spot = spots.get(index);
            let key = spot.map_or(place, |(key, _)| self.place(key.start, key.end));
            path.push(name.clone());
            let node = self.node(value, spot.map(|(_, value)| value.as_ref()), key, path);
            if name == "<<" {
                self.refuse_merge_key(key);
            } else if let Some(first) = map.get(&name) {
                self.found.add_twice(path, first.key, key);
            } else {
                map.insert(name, Entry { key, node });
            }
            path.pop();
        }
        map
    }

    fn refuse_merge_key(&mut self, key: Place) {
        let finding = self.found.error(
            "merge_key",
            "merge keys are not used in a policy",
            key,
            "a merge key",
        );
        self.found.add(finding.hint(
            "policies share keys through `templates` and `extends`; an alias `*name` may stand for a whole value",
        ));
    }
}

impl Found<'_> {
    /// A key that is written in two places.
    pub(super) fn add_twice(&mut self, path: &[String], first: Place, again: Place) {
        let text = format!("{} is written twice", subject(path));
        let first = self.origin(first);
        let finding = self.error("duplicate_key", text, again, "again here");
        let named = path.last().map(|key| quote(key)).unwrap_or_default();
        self.add(finding.at(Some(&first), "first here").hint(format!(
            "which one counts would be a guess: keep one {named}"
        )));
    }
}
