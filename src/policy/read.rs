//! One file: from bytes to values with places, or to the reason why not.

use super::found::Found;
use super::join::Join;
use super::layout;
use super::layout::Refusal;
use super::node::Node;
use super::node::Value;
use super::refusal::refuse;
use super::source::MAX_BYTES;
use super::source::Place;
use super::source::Unreadable;
use super::source::unreadable;
use super::yaml;

/// Reads a file of the sources. None when it says nothing that could be checked.
pub(super) fn file(file: usize, found: &mut Found<'_>) -> Option<Node> {
    let source = &found.sources.files()[file];
    if source.bytes.len() as u64 > MAX_BYTES {
        found.add(unreadable(source.name.as_str(), &Unreadable::TooLong));
        return None;
    }
    let whole = text(file, &source.bytes, found)?;
    // The mark of its byte order is no part of a text, and the parsers would count it as indentation.
    let text = whole.strip_prefix('\u{feff}').unwrap_or(whole);
    let mut join = Join {
        file,
        offsets: offsets(text, whole.len() - text.len()),
        found,
    };
    let layout = layout::read(text)
        .map_err(|refusal| refuse(&mut join, refusal))
        .ok()?;
    let value = yaml::read(text)
        .map_err(|why| {
            let at = why.at.unwrap_or_default();
            refuse(&mut join, Refusal::Syntax { text: why.text, at });
        })
        .ok()?;
    if value == yaml::Value::Nothing {
        refuse(&mut join, Refusal::Empty);
        return None;
    }
    let whole = join.place(layout.start, layout.end);
    let node = join.node(value, Some(&layout), whole, &mut Vec::new());
    known_version(&node, found).then_some(node)
}

/// The text, when its bytes are one and every reader would see the same lines in it.
fn text<'a>(file: usize, bytes: &'a [u8], found: &mut Found<'_>) -> Option<&'a str> {
    let place = |start: usize, length: usize| Place {
        file,
        start,
        end: start + length,
    };
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(why) => {
            let at = why.valid_up_to();
            let label = format!("byte {at} is 0x{:02x}", bytes[at]);
            let finding = found.error("not_utf8", "the file is not UTF-8", place(at, 1), label);
            let wide = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
            found.add(finding.hint(if wide {
                "it looks like UTF-16: save it as UTF-8"
            } else {
                "save it as UTF-8"
            }));
            return None;
        }
    };
    // Line ends that only some readers know would let a value hide in a comment.
    let hidden = |at: usize, c: char| match c {
        '\t' | '\n' | '\r' => false,
        '\u{feff}' => at > 0,
        '\u{2028}' | '\u{2029}' => true,
        c => c.is_control(),
    };
    if let Some((at, c)) = text.char_indices().find(|(at, c)| hidden(*at, *c)) {
        let label = format!("U+{:04X}", u32::from(c));
        let place = place(at, c.len_utf8());
        let finding = found.error(
            "control_character",
            "the file holds a control character",
            place,
            label,
        );
        found.add(
            finding
                .hint("delete it; in a text between double quotes it can be written as an escape"),
        );
        return None;
    }
    Some(text)
}

/// Bytes of the file before each character, and the length. None where every character is a byte.
fn offsets(text: &str, before: usize) -> Option<Vec<usize>> {
    let starts = text.char_indices().map(|(at, _)| at + before);
    let starts = starts.chain([before + text.len()]);
    (before > 0 || !text.is_ascii()).then(|| starts.collect())
}

/// A file of a newer knib has keys that this one does not know: they are no errors of the file.
fn known_version(node: &Node, found: &mut Found<'_>) -> bool {
    let Some(version) = node.at(&["version"]) else {
        return true;
    };
    match version.value {
        Value::Integer(number) if number > 1 => {
            let text = format!("the policy is of version {number}");
            let label = "this knib reads version 1";
            let finding = found.error("newer_version", text, version.place, label);
            found.add(finding.hint("a newer knib is needed; or is the number a mistake?"));
            false
        }
        _ => true,
    }
}
