//! What a call outside failed with.

use std::error::Error;
use std::fmt;

use crate::model::fault::Fault;

/// A failed call.
#[derive(Debug)]
pub struct HostError {
    /// For deciding.
    pub fault: Fault,
    /// What was tried, a fragment that reads after "could not": `snapshot vda and vdb of db-01`.
    pub tried: String,
    /// The cause in the words of libvirt, of the program's last lines on stderr, or of the kernel.
    pub cause: String,
    /// What a person can do about it, where that is known.
    pub hint: Option<String>,
    /// What a program exited with that ran to its end.
    pub exit: Option<i32>,
}

/// Of calls outside.
pub type Result<T> = std::result::Result<T, HostError>;

impl HostError {
    /// A failed call.
    pub fn new(fault: Fault, tried: impl Into<String>, cause: impl fmt::Display) -> Self {
        Self {
            fault,
            tried: tried.into(),
            cause: cause.to_string(),
            hint: None,
            exit: None,
        }
    }

    /// The same, with what a person can do about it.
    #[must_use]
    pub fn hinted(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not {}: {}", self.tried, self.cause)
    }
}

impl Error for HostError {}
