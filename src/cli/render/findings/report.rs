//! A finding as miette draws it.

use std::fmt;

use miette::Diagnostic;
use miette::LabeledSpan;
use miette::MietteError;
use miette::MietteSpanContents;
use miette::SourceCode;
use miette::SourceSpan;
use miette::SpanContents;

use crate::model::finding::Finding;
use crate::model::finding::Label;
use crate::model::finding::Severity;
use crate::policy::Sources;

/// What a finding says of one file, and of other files after that.
pub(super) struct Report {
    text: String,
    code: Option<String>,
    severity: miette::Severity,
    help: Option<String>,
    source: Option<File>,
    labels: Vec<LabeledSpan>,
    elsewhere: Vec<Report>,
}

impl Report {
    pub(super) fn of(finding: &Finding, sources: &Sources) -> Self {
        let severity = match finding.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
            Severity::Note => miette::Severity::Advice,
        };
        let (here, elsewhere): (Vec<_>, Vec<_>) = finding
            .labels
            .iter()
            .partition(|label| label.origin.file == finding.labels[0].origin.file);
        let mut report = Self::part(clean(&finding.text), severity, &here, sources);
        report.code = Some(finding.code.clone());
        report.help = finding.hint.as_deref().map(clean);
        report.elsewhere = elsewhere
            .into_iter()
            .map(|label| {
                Self::part(
                    "the other place".into(),
                    miette::Severity::Advice,
                    &[label],
                    sources,
                )
            })
            .collect();
        report
    }

    fn part(
        text: String,
        severity: miette::Severity,
        labels: &[&Label],
        sources: &Sources,
    ) -> Self {
        let source = labels
            .first()
            .and_then(|label| sources.file(&label.origin.file));
        let span = |label: &&Label| {
            let (start, end) = (label.origin.start, label.origin.end);
            LabeledSpan::new(
                Some(clean(&label.text)).filter(|text| !text.is_empty()),
                start,
                end - start,
            )
        };
        Self {
            text,
            code: None,
            severity,
            help: None,
            source: source.map(|file| File {
                name: file.name.to_string(),
                text: clean_source(&file.bytes),
            }),
            labels: labels.iter().map(span).collect(),
            elsewhere: Vec::new(),
        }
    }
}

/// A text without what would steer a terminal.
fn clean(text: &str) -> String {
    text.replace(|c: char| c.is_control() && c != '\n', "\u{fffd}")
}

/// The text of a file, every byte at its place: what would steer a terminal, and what is not UTF-8,
/// becomes `?`.
fn clean_source(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' | '\t' => text.push(c),
                '\r' => text.push(' '),
                c if c.is_control() => text.extend(std::iter::repeat_n('?', c.len_utf8())),
                c => text.push(c),
            }
        }
        text.extend(std::iter::repeat_n('?', chunk.invalid().len()));
    }
    text
}

/// A file as miette reads it.
struct File {
    name: String,
    text: String,
}

impl SourceCode for File {
    /// Counts the lines of a part itself: miette counts those before it as well, and would draw
    /// everything between two labels that are far apart.
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let part = self.text.read_span(span, before, after)?;
        let lines = part.data().split(|b| *b == b'\n').count() - 1;
        Ok(Box::new(MietteSpanContents::new_named(
            self.name.clone(),
            part.data(),
            *part.span(),
            part.line(),
            part.column(),
            lines,
        )))
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Report {}

impl Diagnostic for Report {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.code.as_ref().map(|code| Box::new(code) as _)
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(self.severity)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as _)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| source as _)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.labels.iter().cloned()))
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.elsewhere.iter().map(|part| part as _)))
    }
}
