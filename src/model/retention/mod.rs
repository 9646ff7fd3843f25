//! What decides which backups of a VM stay, and what can be said about each of them. How it is
//! decided is in `judge`.

mod judge;
mod words;

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::civil::ISOWeekDate;
use serde::Deserialize;
use serde::Serialize;

use crate::model::id::BackupId;
use crate::model::policy::Retention;
use crate::model::policy::VmPolicy;
use crate::model::seconds::Seconds;

/// All that decides which backups of a VM stay. The record of a VM has those in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// The policy they are from.
    pub policy: String,
    /// IANA zone of days, weeks and months.
    pub timezone: String,
    /// So many good backups stay in any case.
    pub min_backups: u32,
    /// Absent, or without a rule: everything stays.
    #[serde(default)]
    pub retention: Option<Retention>,
    /// Schedules whose backups are a group of their own.
    #[serde(default)]
    pub schedules: BTreeMap<String, Retention>,
}

impl Rules {
    /// Those of a policy.
    #[must_use]
    pub fn of(name: &str, policy: &VmPolicy, timezone: &str) -> Self {
        let own = policy.schedules.iter();
        let own = own.filter_map(|(name, one)| Some((name.clone(), one.retention.clone()?)));
        Self {
            policy: name.to_owned(),
            timezone: timezone.to_owned(),
            min_backups: policy.min_backups,
            retention: policy.retention.clone(),
            schedules: own.collect(),
        }
    }
}

/// A kind of rule that counts places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Rule {
    Last,
    Hourly,
    Daily,
    Weekly,
    Monthly,
    Yearly,
}

/// A stretch of time of which one backup has the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bucket {
    /// With its offset in seconds, for the hour that comes twice.
    Hour(Date, i8, i32),
    /// A day.
    Day(Date),
    /// An ISO week, from Monday.
    Week(ISOWeekDate),
    /// Year and month.
    Month(i16, i8),
    /// A year.
    Year(i16),
}

/// Why a backup stays. A group is the schedule whose own retention it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It has a place of a rule.
    Place {
        /// The schedule, if not the policy.
        group: Option<String>,
        /// Which rule.
        rule: Rule,
        /// Counted from 1, the newest.
        n: u32,
        /// So many there are.
        of: u32,
    },
    /// It is at most so much older than the newest good one.
    Within(Option<String>, Seconds),
    /// No rule lets anything of its group go.
    Everything(Option<String>),
    /// Somebody wants it kept.
    Pinned,
    /// One of the good backups that always stay.
    Minimum {
        /// Counted from 1, the newest.
        n: u32,
        /// So many stay.
        of: u32,
    },
    /// The newest one whose guest was seen to boot.
    Valid,
    /// Its guest failed when it was booted, and it takes no place; it goes when it would if it did.
    Invalid,
    /// The VM's chain goes on from it.
    Current,
    /// It was made for no policy: only by hand it goes.
    ByHand,
    /// It cannot be restored and takes no place; it goes when it would if it could be.
    Unusable,
    /// It is dated later than now, which only a clock that was put back explains.
    Future,
}

/// Why one rule did not keep a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Passed {
    /// A newer one has the place of its hour, day, week, month or year.
    Taken {
        /// The schedule, if not the policy.
        group: Option<String>,
        /// Which rule.
        rule: Rule,
        /// Which one.
        bucket: Bucket,
        /// By which backup.
        by: BackupId,
    },
    /// Newer ones have all places.
    Full {
        /// The schedule, if not the policy.
        group: Option<String>,
        /// Which rule.
        rule: Rule,
        /// So many there are.
        of: u32,
    },
    /// It is more than so much older than the newest good one.
    Older(Option<String>, Seconds),
}

/// What rules say of one backup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Every reason to keep it; none: it goes.
    pub kept_by: Vec<Kept>,
    /// Every rule that did not.
    pub passed: Vec<Passed>,
}

impl Verdict {
    /// It stays.
    #[must_use]
    pub fn stays(&self) -> bool {
        !self.kept_by.is_empty()
    }

    /// The reasons to keep it, in words.
    #[must_use]
    pub fn reasons(&self) -> Vec<String> {
        self.kept_by.iter().map(ToString::to_string).collect()
    }
}
