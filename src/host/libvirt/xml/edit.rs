//! Changes of an XML text that leave everything else as it is, byte for byte.

use std::ops::Range;

use roxmltree::Node;

use crate::host::libvirt::xml::escaped;

/// Changes of one text, collected and then made at once.
pub(super) struct Edits<'a> {
    xml: &'a str,
    edits: Vec<(Range<usize>, String)>,
}

impl<'a> Edits<'a> {
    pub(super) fn new(xml: &'a str) -> Self {
        Self {
            xml,
            edits: Vec::new(),
        }
    }

    /// Takes an element away, and the line it stood on.
    pub(super) fn remove(&mut self, node: Node<'_, '_>) {
        let range = node.range();
        let before = self.xml[..range.start].trim_end_matches([' ', '\t']);
        let start = match before.strip_suffix('\n') {
            Some(line) => line.len(),
            None => range.start,
        };
        self.edits.push((start..range.end, String::new()));
    }

    /// Takes an attribute away, with the space before it.
    pub(super) fn remove_attribute(&mut self, node: Node<'_, '_>, name: &str) {
        if let Some(attribute) = node.attribute_node(name) {
            let range = attribute.range();
            let start = self.xml[..range.start].trim_end().len();
            self.edits.push((start..range.end, String::new()));
        }
    }

    /// Gives an attribute a value.
    pub(super) fn set_attribute(&mut self, node: Node<'_, '_>, name: &str, value: &str) {
        let value = escaped(value);
        if let Some(attribute) = node.attribute_node(name) {
            self.edits.push((attribute.range_value(), value));
        } else {
            let at = node.range().start + 1 + node.tag_name().name().len();
            self.edits.push((at..at, format!(" {name}='{value}'")));
        }
    }

    /// Gives an element with a text another one; an element without one stays so.
    pub(super) fn set_text(&mut self, node: Node<'_, '_>, value: &str) {
        if let Some(text) = node.first_child().filter(Node::is_text) {
            self.edits.push((text.range(), escaped(value)));
        }
    }

    /// Puts an element before another one.
    pub(super) fn insert_before(&mut self, node: Node<'_, '_>, element: &str) {
        let at = node.range().start;
        self.edits.push((at..at, element.to_owned()));
    }

    /// The changed text. What is changed inside of what is taken away is taken away.
    pub(super) fn done(mut self) -> String {
        self.edits
            .sort_by_key(|(range, _)| (range.start, usize::MAX - range.end));
        let mut out = String::with_capacity(self.xml.len() + 256);
        let mut at = 0;
        for (range, text) in self.edits {
            if range.start >= at {
                out.push_str(&self.xml[at..range.start]);
                out.push_str(&text);
                at = range.end;
            }
        }
        out.push_str(&self.xml[at..]);
        out
    }
}
