//! The instants a cron pattern names.
//!
//! The pattern is croner's to read and to count; this is the one place that knows which patterns
//! knib takes: five fields or an `@word`, `L W #` allowed, day of month and day of week together
//! meaning either (POSIX). A skipped local time runs at the first instant after the gap, a repeated
//! one runs once.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A pattern that was read.
#[derive(Clone, Debug)]
pub struct Calendar {
    pattern: croner::Cron,
}

/// Why a pattern was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CalendarError {
    /// What is wrong, a fragment.
    pub text: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl Calendar {
    /// Reads a pattern.
    ///
    /// # Errors
    /// Six or seven fields, `?`, `+`, `@reboot`, fields out of range.
    pub fn parse(text: &str) -> Result<Self, CalendarError> {
        let _ = text;
        todo!()
    }

    /// The latest instant at or before `at`.
    #[must_use]
    pub fn latest(&self, at: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let _ = (&self.pattern, at, zone);
        todo!()
    }

    /// The first instant after `after`; none within five years is none.
    #[must_use]
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let _ = (&self.pattern, after, zone);
        todo!()
    }
}
