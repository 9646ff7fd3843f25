//! Why a file was not read, as a finding: what is wrong in words of people, and what to write.

use super::join::Join;
use super::layout::Refusal;
use super::source::Place;
use crate::model::finding::Finding;

/// Says it.
pub(super) fn refuse(join: &mut Join<'_, '_>, text: &str, refusal: Refusal) {
    let (code, what, place, label, hint) = match refusal {
        Refusal::Syntax { text: why, at } => {
            let (place, hint) = syntax(text, join.place(at, at + 1), &why);
            ("not_yaml", "the file is not YAML", place, plain(&why), hint)
        }
        Refusal::Empty => (
            "empty_file",
            "the file says nothing",
            join.place(0, 0),
            "no key".into(),
            Some("a policy begins with `version: 1`; `knib init` writes one to start from".into()),
        ),
        Refusal::Documents { at } => (
            "several_documents",
            "the file holds more than one document",
            join.place(at, at + 3),
            "a second one begins here".into(),
            Some("write each into a file of its own, and name the files with -f".into()),
        ),
        Refusal::Tag { from, to } => (
            "tag",
            "tags are not used in a policy",
            join.place(from, to),
            "a tag".into(),
            Some("put text that begins with `!` in quotes".into()),
        ),
        Refusal::Deep { at } => (
            "too_deep",
            "lists and maps are nested too deep",
            join.place(at, at + 1),
            "more than 40 in one another".into(),
            None,
        ),
        Refusal::Many { from, to, aliases } => (
            "too_many_values",
            if aliases {
                "aliases unfold this file to more than 100000 values"
            } else {
                "the file holds more than 100000 values"
            },
            join.place(from, to),
            "over the limit here".into(),
            None,
        ),
        Refusal::Loop { from, to } => (
            "alias_loop",
            "an alias stands inside of what it stands for",
            join.place(from, to),
            "this alias".into(),
            None,
        ),
    };
    let finding = join.found.error(code, what, place, label);
    join.found.add(Finding { hint, ..finding });
}

/// The parser's words, without the part that only its authors need.
fn plain(why: &str) -> String {
    let what = why.rsplit_once(", ").map_or(why, |(_, what)| what);
    let what = what.strip_prefix("did not find ").map_or_else(
        || what.to_owned(),
        |expected| format!("{expected} is missing"),
    );
    what.replace(['<', '>'], "").replace('`', "'")
}

/// What is meant by a syntax error, and what to do: mostly a value that needs quotes.
fn syntax(text: &str, place: Place, why: &str) -> (Place, Option<String>) {
    let line_start = text[..place.start].rfind('\n').map_or(0, |at| at + 1);
    let line = text[line_start..].lines().next().unwrap_or_default();
    let column = place.start - line_start;
    if line[..line.len() - line.trim_start().len()].contains('\t') {
        return (place, Some("indent with spaces, not with tabs".into()));
    }
    let special = ['*', '@', '`', '%', '&', '!', '|', '>'];
    let value = if line
        .get(column..)
        .is_some_and(|rest| rest.starts_with(special))
    {
        Some(column)
    } else if why.contains("mapping values are not allowed") {
        line.find(": ").map(|colon| colon + 2)
    } else {
        None
    };
    let Some(from) = value else {
        return (place, None);
    };
    let rest = &line[from..];
    let end = rest.find(" #").unwrap_or(rest.len());
    let inside = line[..from].rfind(['[', '{']).is_some();
    let end = rest[..end]
        .find([',', ']', '}'])
        .filter(|_| inside)
        .unwrap_or(end);
    let shown = rest[..end].trim_end();
    if shown.is_empty() || shown.contains(['"', '\\']) {
        return (place, None);
    }
    let start = line_start + from;
    let place = Place {
        start,
        end: start + shown.len(),
        ..place
    };
    (place, Some(format!("put it in quotes: `\"{shown}\"`")))
}
