//! Why a file was not read, as a finding: what is wrong in words of people, and what to write.

use super::join::Join;
use super::layout::Refusal;
use super::syntax;
use crate::model::finding::Finding;

/// Says it.
pub(super) fn refuse(join: &mut Join<'_, '_>, refusal: Refusal) {
    let (code, what, place, label, hint) = match refusal {
        Refusal::Syntax { text: why, at } => {
            let file = &join.found.sources.files()[join.file];
            let text = std::str::from_utf8(&file.bytes).unwrap_or_default();
            let meant = syntax::explain(text, join.place(at, at + 1), &why);
            let (place, label) = (meant.place, meant.label);
            ("not_yaml", "the file is not YAML", place, label, meant.hint)
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
