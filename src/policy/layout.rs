//! Where each value of a YAML text stands, and whether the text may be read at all.
//!
//! A second parser looks at the text before `yaml` does: it says where keys and values stand,
//! counts what aliases would unfold to without unfolding them, and stops early at a text that is
//! too deep or too long. What a value means is not known here; should the two parsers ever see a
//! different shape, a caret is less exact, nothing else.

use std::collections::BTreeMap;
use std::rc::Rc;

use saphyr_parser::Event;
use saphyr_parser::Parser;
use saphyr_parser::Span;

/// Values in one file, aliases unfolded.
const MOST_VALUES: u64 = 100_000;
/// Lists and maps in one another; a policy needs seven.
const DEEPEST: usize = 40;

/// A node and its place, in characters.
#[derive(Debug)]
pub(super) struct Spot {
    pub start: usize,
    pub end: usize,
    pub shape: Shape,
    /// Values below and including this, aliases unfolded.
    weight: u64,
    /// Lists and maps in one another from here down, aliases unfolded.
    depth: usize,
}

/// What a node is made of.
#[derive(Debug)]
pub(super) enum Shape {
    Scalar,
    /// The list or map that the alias stands for.
    Alias(Rc<Spot>),
    List(Vec<Rc<Spot>>),
    Map(Vec<(Rc<Spot>, Rc<Spot>)>),
}

/// Why a text is not read. Places are in characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Not YAML.
    Syntax { text: String, at: usize },
    /// Nothing in it.
    Empty,
    /// More than one document; where the second begins.
    Documents { at: usize },
    /// A tag of the writer's own.
    Tag { from: usize, to: usize },
    /// Too many lists and maps in one another.
    Deep { at: usize },
    /// Too many values, the place of the one that went over; `aliases` when only because of them.
    Many {
        from: usize,
        to: usize,
        aliases: bool,
    },
    /// An alias for the list or map that it stands in.
    Loop { from: usize, to: usize },
}

/// Looks at one text.
pub(super) fn read(text: &str) -> Result<Rc<Spot>, Refusal> {
    let mut reader = Reader::default();
    let mut parser = Parser::new_from_str(text);
    while let Some(next) = parser.next_event() {
        let (event, span) = next.map_err(|error| {
            let at = error.marker().index();
            match error.info() {
                // The parser has a limit of its own, above this one, and looks ahead.
                "recursion limit exceeded" => Refusal::Deep { at },
                text => Refusal::Syntax {
                    text: text.to_owned(),
                    at,
                },
            }
        })?;
        reader.take(&event, span)?;
    }
    reader.root.ok_or(Refusal::Empty)
}

#[derive(Default)]
struct Reader {
    open: Vec<Open>,
    anchors: BTreeMap<usize, Rc<Spot>>,
    root: Option<Rc<Spot>>,
    /// Values written, whether or not aliases repeat them.
    written: u64,
}

/// A list or map that is not closed yet.
struct Open {
    start: usize,
    anchor: usize,
    map: bool,
    items: Vec<Rc<Spot>>,
}

impl Reader {
    fn take(&mut self, event: &Event<'_>, span: Span) -> Result<(), Refusal> {
        let (from, to) = (span.start.index(), span.end.index());
        match event {
            Event::DocumentStart(_) if self.root.is_some() => Err(Refusal::Documents { at: from }),
            Event::Scalar(_, _, anchor, tag) => {
                refuse_tag(tag.as_deref(), from, to)?;
                self.close(from, to, Shape::Scalar, *anchor)
            }
            Event::Alias(anchor) => {
                let target = self.anchors.get(anchor).cloned();
                let target = target.ok_or(Refusal::Loop { from, to })?;
                self.close(from, to, Shape::Alias(target), 0)
            }
            Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag) => {
                refuse_tag(tag.as_deref(), from, to)?;
                if self.open.len() == DEEPEST {
                    return Err(Refusal::Deep { at: from });
                }
                self.open.push(Open {
                    start: from,
                    anchor: *anchor,
                    map: matches!(event, Event::MappingStart(..)),
                    items: Vec::new(),
                });
                Ok(())
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let done = self.open.pop().expect("the parser closes what it opened");
                let shape = if done.map {
                    let mut items = done.items.into_iter();
                    let pairs = std::iter::from_fn(|| Some((items.next()?, items.next()?)));
                    Shape::Map(pairs.collect())
                } else {
                    Shape::List(done.items)
                };
                self.close(done.start, to, shape, done.anchor)
            }
            _ => Ok(()),
        }
    }

    /// A node is complete: counts it, and gives it to what it stands in.
    fn close(
        &mut self,
        start: usize,
        end: usize,
        shape: Shape,
        anchor: usize,
    ) -> Result<(), Refusal> {
        let below: Vec<&Rc<Spot>> = match &shape {
            Shape::Scalar => vec![],
            Shape::Alias(target) => vec![target],
            Shape::List(items) => items.iter().collect(),
            Shape::Map(pairs) => pairs.iter().flat_map(|(key, value)| [key, value]).collect(),
        };
        let weight = 1 + below.iter().map(|spot| spot.weight).sum::<u64>();
        let deepest = below
            .iter()
            .map(|spot| spot.depth)
            .max()
            .unwrap_or_default();
        let depth = deepest + usize::from(matches!(shape, Shape::List(_) | Shape::Map(_)));
        self.written += 1;
        let aliases = self.written <= MOST_VALUES;
        if weight > MOST_VALUES || !aliases {
            return Err(Refusal::Many {
                from: start,
                to: end,
                aliases,
            });
        }
        if depth > DEEPEST {
            return Err(Refusal::Deep { at: start });
        }
        let spot = Rc::new(Spot {
            start,
            end,
            shape,
            weight,
            depth,
        });
        if anchor != 0 {
            self.anchors.insert(anchor, Rc::clone(&spot));
        }
        match self.open.last_mut() {
            Some(open) => open.items.push(spot),
            None => self.root = Some(spot),
        }
        Ok(())
    }
}

fn refuse_tag(tag: Option<&saphyr_parser::Tag>, from: usize, to: usize) -> Result<(), Refusal> {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema() => Err(Refusal::Tag { from, to }),
        _ => Ok(()),
    }
}
