//! What was found so far, in one reading of a policy.

use std::collections::BTreeSet;

use super::source::Place;
use super::source::Sources;
use crate::model::finding::Finding;
use crate::model::finding::Origin;
use crate::model::finding::Severity;
use crate::model::misread::Misread;

/// Findings, and the sources they point into.
pub(super) struct Found<'a> {
    pub sources: &'a Sources,
    list: Vec<Finding>,
    seen: BTreeSet<(String, Option<Origin>)>,
}

impl<'a> Found<'a> {
    pub(super) fn new(sources: &'a Sources) -> Self {
        Self {
            sources,
            list: Vec::new(),
            seen: BTreeSet::new(),
        }
    }

    /// Takes a finding, once: what is wrong with a template is wrong in each policy that uses it.
    pub(super) fn add(&mut self, finding: Finding) {
        let first = finding.labels.first().map(|label| label.origin.clone());
        if self.seen.insert((finding.text.clone(), first)) {
            self.list.push(finding);
        }
    }

    /// An error with one place, ready for more.
    pub(super) fn error(
        &self,
        code: &str,
        text: impl Into<String>,
        place: Place,
        label: impl Into<String>,
    ) -> Finding {
        Finding::new(Severity::Error, code, text).at(Some(&self.origin(place)), label)
    }

    /// A text that was not taken, with its caret at the part that is wrong.
    pub(super) fn misread(
        &mut self,
        code: &str,
        what: &str,
        text: &str,
        place: Place,
        why: Misread,
    ) {
        let shown = super::words::quote(text);
        let finding = self.error(
            code,
            format!("{shown} is not {what}"),
            self.part(text, place, &why),
            why.text,
        );
        self.add(Finding {
            hint: why.hint,
            ..finding
        });
    }

    /// The part of a text that is meant. A text that is written differently from what it says
    /// (escapes, several lines) is meant as a whole.
    fn part(&self, text: &str, place: Place, why: &Misread) -> Place {
        let written = self.sources.bytes_at(place);
        let quotes = match written {
            [b'"' | b'\'', inner @ .., _] if inner == text.as_bytes() => 1,
            plain if plain == text.as_bytes() => 0,
            _ => return place,
        };
        if why.at.is_empty() || why.at.end > text.len() {
            return place;
        }
        Place {
            file: place.file,
            start: place.start + quotes + why.at.start,
            end: place.start + quotes + why.at.end,
        }
    }

    pub(super) fn origin(&self, place: Place) -> Origin {
        self.sources.origin(place)
    }

    /// The findings as the files read: by file, then by place; those without one first.
    pub(super) fn sorted(self) -> Vec<Finding> {
        let mut list = self.list;
        let files = self.sources.files();
        let file_of = |origin: &Origin| files.iter().position(|file| file.name == origin.file);
        list.sort_by_cached_key(|finding| {
            let first = finding.labels.first().map(|label| &label.origin);
            first.map(|origin| (file_of(origin), origin.start))
        });
        list
    }
}
