//! What knib exits with. The numbers are part of what knib promises.

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// Done, or nothing to do.
    Done = 0,
    /// An error, and nothing was done.
    Error = 1,
    /// `plan --detailed-exitcode`: changes are pending.
    Changes = 2,
    /// A rule stands in the way and wants a human.
    Blocked = 3,
    /// A saved plan was refused.
    Refused = 4,
    /// The run ended and something in it failed.
    Failed = 5,
    /// Held by another run right now.
    Busy = 6,
    /// The command line is wrong.
    Usage = 64,
    /// Interrupted by SIGINT; the next apply carries on.
    Interrupted = 130,
    /// Interrupted by SIGTERM; the next apply carries on.
    Terminated = 143,
}

impl Exit {
    /// Every code with its meaning, for `--help` and the manual.
    pub const TABLE: [(Self, &str); 10] = [
        (Self::Done, "done, or nothing to do"),
        (
            Self::Error,
            "error, nothing was done: policy, host, storage, unknown object",
        ),
        (
            Self::Changes,
            "only plan --detailed-exitcode: changes are pending",
        ),
        (
            Self::Blocked,
            "a rule stands in the way and wants a human (plan: only with --detailed-exitcode)",
        ),
        (
            Self::Refused,
            "saved plan refused: expired, already applied, altered, other host",
        ),
        (
            Self::Failed,
            "the run ended and something in it failed, or a backup was found damaged",
        ),
        (Self::Busy, "held by another run right now; later will do"),
        (Self::Usage, "usage"),
        (Self::Interrupted, "interrupted, resumable"),
        (Self::Terminated, "terminated, resumable"),
    ];

    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    /// Of several that apply the one that matters most.
    #[must_use]
    pub fn most_telling(all: impl IntoIterator<Item = Self>) -> Self {
        const ORDER: [Exit; 9] = [
            Exit::Terminated,
            Exit::Interrupted,
            Exit::Failed,
            Exit::Error,
            Exit::Refused,
            Exit::Blocked,
            Exit::Busy,
            Exit::Changes,
            Exit::Done,
        ];
        let rank = |exit: &Exit| ORDER.iter().position(|one| one == exit);
        all.into_iter().min_by_key(rank).unwrap_or(Self::Done)
    }
}
