//! Why something outside did not work, small enough to branch on.

use serde::Deserialize;
use serde::Serialize;

/// The kind of a failure. What a person reads comes with it, in the error that carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The thing is not there.
    Gone,
    /// Something else has it now; a later try may work.
    Busy,
    /// It is not as the program says it must be; nothing was touched.
    Conflict,
    /// The one call that cannot be taken back was seen not to have taken effect: what led to it can be.
    Untouched,
    /// A file system is full.
    NoSpace,
    /// Permission.
    Denied,
    /// This host cannot do it.
    Unsupported,
    /// The guest agent did not do as asked, or not in time.
    Agent,
    /// Reading or writing failed, or a file is damaged.
    Io,
    /// A time limit ran out.
    Timeout,
    /// Somebody asked to stop.
    Stopped,
}

impl Fault {
    /// Whether the same call may work in a moment.
    #[must_use]
    pub fn is_transient(self) -> bool {
        self == Self::Busy
    }
}
