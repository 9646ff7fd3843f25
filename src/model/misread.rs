//! Why a text of a policy or of the command line was not taken.

use std::ops::Range;

/// What is wrong with a text, and which part of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Misread {
    /// What is wrong, a fragment.
    pub text: String,
    /// Bytes of the text that are meant.
    pub at: Range<usize>,
    /// What to write instead.
    pub hint: Option<String>,
}

impl Misread {
    /// Without a hint.
    pub fn new(text: impl Into<String>, at: Range<usize>) -> Self {
        Self {
            text: text.into(),
            at,
            hint: None,
        }
    }

    /// Adds what to write instead.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
