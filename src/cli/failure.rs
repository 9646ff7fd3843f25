//! Why a command ended without its result: findings like any other, and the exit code.

use std::fmt;

use camino::Utf8Path;

use crate::cli::exit::Exit;
use crate::cli::render::Look;
use crate::cli::render::findings;
use crate::cli::render::said::said;
use crate::cli::render::text;
use crate::engine::EngineError;
use crate::host::HostError;
use crate::model::fault::Fault;
use crate::model::finding::Finding;
use crate::model::finding::Severity;
use crate::model::lease::Holder;
use crate::model::program::Refusal;
use crate::model::program::StepError;
use crate::policy::Sources;
use crate::state::StateError;

/// Carets far to the right are hard to follow.
const WIDEST: usize = 100;

/// Of commands.
pub(super) type Result<T> = std::result::Result<T, Failure>;

/// Why there is no result.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) exit: Exit,
    /// One for most failures, every problem for a policy.
    findings: Vec<Finding>,
    /// The files that the findings have places in.
    sources: Sources,
    /// The last line.
    closing: String,
}

impl Failure {
    /// One error, with nothing done.
    pub(super) fn new(code: &str, text: impl fmt::Display) -> Self {
        Self {
            exit: Exit::Error,
            findings: vec![Finding::new(Severity::Error, code, text.to_string())],
            sources: Sources::default(),
            closing: String::new(),
        }
    }

    /// One more that is wrong in the same way.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.findings.extend(other.findings);
        self
    }

    /// What went wrong, for a line about something else.
    pub(super) fn brief(&self) -> String {
        let texts = self.findings.iter().map(|finding| finding.text.as_str());
        texts.collect::<Vec<_>>().join("; ")
    }

    /// A policy that is not taken.
    pub(super) fn policy(findings: Vec<Finding>, sources: Sources) -> Self {
        Self {
            exit: Exit::Error,
            closing: findings::closing(&findings, &sources),
            findings,
            sources,
        }
    }

    /// A policy that cannot be carried out on this host.
    pub(super) fn plan(findings: Vec<Finding>, sources: Sources) -> Self {
        let problems = text::count(findings.len(), "problem");
        Self {
            exit: Exit::Error,
            findings,
            sources,
            closing: format!("{problems} to be mended first. Nothing was changed.\n"),
        }
    }

    /// The command line is wrong in a way that the parser does not see.
    pub(super) fn usage(text: impl fmt::Display) -> Self {
        Self::new("usage", text).exit(Exit::Usage)
    }

    /// Somebody else has it.
    pub(super) fn held(what: &str, holder: &Holder) -> Self {
        Self::new("held", format!("{what} is held: {holder}"))
            .hint("nothing was done; try again when it has ended, or wait longer: --lock-timeout")
            .exit(Exit::Busy)
    }

    /// A rule stands in the way.
    pub(super) fn refused(refusal: &Refusal) -> Self {
        let failure = Self::new(&refusal.code, &refusal.text).exit(Exit::Blocked);
        match &refusal.hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }

    /// As the journal keeps it.
    pub(super) fn step_error(&self) -> StepError {
        let texts = self.findings.iter().map(|finding| finding.text.as_str());
        StepError {
            fault: Fault::Io,
            text: texts.collect::<Vec<_>>().join("; "),
            hint: self
                .findings
                .last()
                .and_then(|finding| finding.hint.clone()),
        }
    }

    /// A file that cannot be read or written.
    pub(super) fn file(tried: &str, path: &Utf8Path, error: &std::io::Error) -> Self {
        Self::new("file", format!("could not {tried} {path}: {error}"))
    }

    /// For people: with the policy's lines where it is about them.
    pub(super) fn drawn(&self, look: Look) -> String {
        let (all, sources) = (&self.findings, &self.sources);
        if sources.files().is_empty() {
            return all.iter().map(|finding| said(finding, look)).collect();
        }
        let width = look.width.min(WIDEST);
        findings::human(all, sources, width, look.colour) + &self.closing
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        let hint = hint.into();
        if let Some(last) = self.findings.last_mut() {
            last.hint = Some(hint);
        }
        self
    }

    pub(super) fn exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        let exit = match error {
            StateError::Held(_) | StateError::Locked { .. } => Exit::Busy,
            StateError::Applied(_) => Exit::Refused,
            _ => Exit::Error,
        };
        let failure = Self::new("state", &error).exit(exit);
        match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl From<HostError> for Failure {
    fn from(error: HostError) -> Self {
        let failure = Self::new("host", &error);
        match error.hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Host(error) => error.into(),
            EngineError::State(error) => error.into(),
        }
    }
}
