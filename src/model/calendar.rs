//! The instants a cron pattern names.
//!
//! The pattern is croner's to read and to count; this is the one place that knows which patterns
//! knib takes (five fields or an `@word`; day of month and day of week together mean either) and
//! what a local time is where clocks change: a skipped one is the first instant after the gap, a
//! repeated one is its first pass. So each local time is one instant, and later ones are never
//! earlier instants.

use jiff::SignedDuration;
use jiff::Timestamp;
use jiff::ToSpan;
use jiff::civil::DateTime;
use jiff::civil::date;
use jiff::tz::AmbiguousOffset;
use jiff::tz::TimeZone;

use crate::model::cron_field;
use crate::model::misread::Misread;
use crate::model::seconds::Seconds;

/// A pattern that was read.
#[derive(Clone, Debug)]
pub struct Calendar {
    pattern: croner::Cron,
}

/// Longer than the four years from one 29th of February to the next.
const HORIZON_YEARS: i64 = 5;

impl Calendar {
    /// Reads a pattern.
    ///
    /// # Errors
    /// Anything but five fields or one of the five words, `?`, `+`, values out of range, and
    /// patterns that name no instant within five years.
    pub fn parse(text: &str) -> Result<Self, Misread> {
        let pattern = cron_field::read(text)?;
        let calendar = Self { pattern };
        // From a fixed day, since whether a policy is sound must not depend on today.
        let start = date(2024, 1, 1).at(0, 0, 0, 0);
        match calendar.next_local(start) {
            Some(first) if first <= start.saturating_add(HORIZON_YEARS.years()) => Ok(calendar),
            _ => Err(Misread::new("never comes", 0..text.len())
                .hint("there is no such day; `L` is the last day of a month")),
        }
    }

    /// The latest instant at or before `at`.
    #[must_use]
    pub fn latest(&self, at: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let mut local = zone.to_datetime(at);
        // On the second pass of a repeated hour, local times yet to come had their instant already.
        if let AmbiguousOffset::Fold { before, after } = zone.to_ambiguous_timestamp(local).offset()
        {
            let repeated = i64::from(before.seconds()) - i64::from(after.seconds());
            local = local.saturating_add(SignedDuration::from_secs(repeated));
        }
        let mut inclusive = true;
        loop {
            local = self
                .pattern
                .find_previous_occurrence(&local, inclusive)
                .ok()?;
            inclusive = false;
            let found = instant(local, zone)?;
            if found <= at {
                return Some(found);
            }
        }
    }

    /// The first instant after `after`; none within five years is none.
    #[must_use]
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let start = zone.to_datetime(after);
        let limit = start.saturating_add(HORIZON_YEARS.years());
        let mut local = start;
        loop {
            local = self.next_local(local).filter(|local| *local <= limit)?;
            let found = instant(local, zone)?;
            if found > after {
                return Some(found);
            }
        }
    }

    /// Whether day of month and day of week are both restricted, so that either makes a day match.
    #[must_use]
    pub fn either_day(&self) -> bool {
        !self.pattern.pattern.is_dom_wildcard() && !self.pattern.pattern.is_dow_wildcard()
    }

    /// Whether the pattern picks this local time out of the day. One that runs in every hour, or
    /// every few hours, picks none.
    #[must_use]
    pub fn picks(&self, local: DateTime) -> bool {
        !self.pattern.pattern.hours.from_wildcard
            && self.pattern.is_time_matching(&local).unwrap_or(false)
    }

    /// The least time from one local time to the next.
    #[must_use]
    pub fn shortest_gap(&self) -> Option<Seconds> {
        const ENOUGH: usize = 200;
        let start = date(2024, 1, 1).at(0, 0, 0, 0);
        let limit = start.saturating_add(HORIZON_YEARS.years());
        let times = std::iter::successors(self.next_local(start), |at| self.next_local(*at))
            .take_while(|at| *at <= limit)
            .take(ENOUGH)
            .collect::<Vec<_>>();
        let gap = |pair: &[DateTime]| pair[1].duration_since(pair[0]).as_secs().unsigned_abs();
        times.windows(2).map(gap).min().map(Seconds)
    }

    fn next_local(&self, after: DateTime) -> Option<DateTime> {
        self.pattern.find_next_occurrence(&after, false).ok()
    }
}

/// The one instant of a local time.
fn instant(local: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    match zone.to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(local).ok(),
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(local).ok(),
        AmbiguousOffset::Gap { before, .. } => {
            let past_the_change = before.to_timestamp(local).ok()?;
            let bound = past_the_change.checked_add(SignedDuration::from_secs(1));
            Some(zone.preceding(bound.ok()?).next()?.timestamp())
        }
    }
}
