//! Rules, and why backups stay or go, as people and JSON have it.

use std::fmt;

use crate::model::policy::Retention;
use crate::model::retention::Bucket;
use crate::model::retention::Kept;
use crate::model::retention::Passed;
use crate::model::retention::Rule;
use crate::model::retention::Rules;

impl Rule {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Last => "last",
            Self::Hourly => "hourly",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::Yearly => "yearly",
        }
    }
}

/// `month-end: `, of a schedule with a retention of its own.
struct Of<'a>(&'a Option<String>);

impl fmt::Display for Of<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(schedule) => write!(f, "{schedule}: "),
            None => Ok(()),
        }
    }
}

/// `daily 4 of 7`, `pinned`
impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Place { group, rule, n, of } => {
                write!(f, "{}{} {n} of {of}", Of(group), rule.word())
            }
            Self::Within(group, length) => write!(f, "{}within {length}", Of(group)),
            Self::Everything(group) => write!(f, "{}everything is kept", Of(group)),
            Self::Pinned => f.write_str("pinned"),
            Self::Minimum { n, of } => write!(f, "minimum {n} of {of}"),
            Self::Valid => f.write_str("the newest valid one"),
            Self::Invalid => f.write_str("invalid, where a good one would stay"),
            Self::Current => f.write_str("current"),
            Self::ByHand => f.write_str("made by hand"),
            Self::Unusable => f.write_str("unusable, where a whole one would stay"),
            Self::Future => f.write_str("dated in the future"),
        }
    }
}

/// `weekly: 20261122-010000-41ab94 is the newest of 2026-W47`
impl fmt::Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken {
                group,
                rule,
                bucket,
                by,
            } => {
                let (of, rule) = (Of(group), rule.word());
                write!(f, "{of}{rule}: {by} is the newest of {bucket}")
            }
            Self::Full { group, rule, of: n } => {
                let (of, rule) = (Of(group), rule.word());
                match n {
                    1 => write!(f, "{of}{rule}: a newer one has the only place"),
                    n => write!(f, "{of}{rule}: newer ones have all {n} places"),
                }
            }
            Self::Older(group, length) => {
                let of = Of(group);
                write!(f, "{of}within: more than {length} older than the newest")
            }
        }
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hour(date, hour, _) => write!(f, "{date} {hour:02}:00"),
            Self::Day(date) => write!(f, "{date}"),
            Self::Week(monday) => write!(f, "{}-W{:02}", monday.year(), monday.week()),
            Self::Month(year, month) => write!(f, "{year:04}-{month:02}"),
            Self::Year(year) => write!(f, "{year:04}"),
        }
    }
}

/// `last 3, daily 7`; `everything` without a rule.
impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.keeps_everything() {
            return f.write_str("everything");
        }
        f.write_str(&self.words().join(", "))
    }
}

/// `last 3, daily 7; month-end: monthly 12; at least 2 good ones`
impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let everything = Retention::default();
        write!(f, "{}", self.retention.as_ref().unwrap_or(&everything))?;
        for (name, retention) in &self.schedules {
            write!(f, "; {name}: {retention}")?;
        }
        if self.min_backups > 1 {
            write!(f, "; at least {} good ones", self.min_backups)?;
        }
        Ok(())
    }
}
