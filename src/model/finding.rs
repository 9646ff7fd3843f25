//! Something worth saying about a policy, a host or a plan.
//!
//! One type for all of them: a tie between two policies needs the world to be seen, yet its caret
//! lies in the file.

use camino::Utf8PathBuf;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

/// How much a finding matters.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    Note,
    /// Should be looked at; nothing is held up by it.
    Warning,
    /// Nothing is done until it is mended.
    Error,
}

/// A place in a policy file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Origin {
    /// The file as it was named on the command line.
    #[schemars(with = "String")]
    pub file: Utf8PathBuf,
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// First byte of the text meant.
    pub start: usize,
    /// The byte after it.
    pub end: usize,
}

/// A place with what there is to say about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Label {
    /// Where.
    pub origin: Origin,
    /// What; may be empty.
    pub text: String,
}

/// One thing found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// Stable: `unknown_key`, `KL010`.
    pub code: String,
    /// How much it matters.
    pub severity: Severity,
    /// One sentence without a period.
    pub text: String,
    /// Places in the policy, the most telling first.
    pub labels: Vec<Label>,
    /// What to do about it.
    pub hint: Option<String>,
    /// The name of the VM it is about.
    pub vm: Option<String>,
}

impl Finding {
    /// A finding without a place, a hint or a VM.
    pub fn new(severity: Severity, code: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            severity,
            text: text.into(),
            labels: Vec::new(),
            hint: None,
            vm: None,
        }
    }

    /// Adds a place.
    #[must_use]
    pub fn at(mut self, origin: Option<&Origin>, text: impl Into<String>) -> Self {
        if let Some(origin) = origin {
            self.labels.push(Label {
                origin: origin.clone(),
                text: text.into(),
            });
        }
        self
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Names the VM.
    #[must_use]
    pub fn vm(mut self, name: impl Into<String>) -> Self {
        self.vm = Some(name.into());
        self
    }
}
