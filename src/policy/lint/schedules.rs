//! Retention and calendars: KL002, KL004, KL005, KL007, KL010.

use jiff::SignedDuration;
use jiff::Timestamp;
use jiff::ToSpan;
use jiff::tz::TimeZone;

use super::Lints;
use super::said;
use crate::model::calendar::Calendar;
use crate::model::finding::Severity;
use crate::model::policy::Retention;
use crate::model::policy::Schedule;
use crate::model::policy::VmPolicy;

/// How far ahead changes of clocks are looked for.
const AHEAD: SignedDuration = SignedDuration::from_hours(366 * 24);
const DAY: u64 = 86_400;

impl Lints<'_> {
    pub(super) fn policies(&mut self, now: Timestamp) {
        for (name, policy) in &self.policy.policies {
            let path = format!("policies.{name}");
            self.retention(&path, name, policy);
            for (name, schedule) in &policy.schedules {
                let path = format!("{path}.schedules.{name}");
                self.schedule(&path, name, schedule, now);
            }
        }
    }

    fn retention(&mut self, path: &str, name: &str, policy: &VmPolicy) {
        let hint = "write `retention`, for example `{ keepDaily: 7, keepWeekly: 4 }`";
        let own_group = |schedule: &Schedule| schedule.retention.is_some();
        let Some(retention) = &policy.retention else {
            if policy.schedules.is_empty() || !policy.schedules.values().all(own_group) {
                let text = format!("policy `{name}` keeps every backup");
                let paths = [&format!("{path}.retention"), path];
                self.add(
                    "KL002",
                    Severity::Warning,
                    &paths,
                    said(text, "no retention", hint),
                );
            }
            return;
        };
        let offering = self.policy.offerings.get(&policy.offering);
        let own = offering.and_then(|offering| offering.backup_chain_size);
        let size = own.unwrap_or(self.policy.settings.chain_size);
        let kept = horizon(retention);
        let chained = policy.schedules.values().any(|schedule| !schedule.isolated);
        if chained && kept > 0 && size > kept {
            let text =
                format!("a chain of {size} is longer than the {kept} that `retention` keeps of it");
            let label = "files stay until the whole chain can go";
            let hint = format!("a `backupChainSize` of {kept} or less frees space sooner");
            let paths = [
                &format!("offerings.{}.backupChainSize", policy.offering),
                "settings.backup.chain.size",
                &format!("{path}.retention"),
            ];
            self.add("KL004", Severity::Note, &paths, said(text, label, hint));
        }
    }

    fn schedule(&mut self, path: &str, name: &str, schedule: &Schedule, now: Timestamp) {
        let cron = format!("{path}.cron");
        if schedule
            .retention
            .as_ref()
            .is_some_and(Retention::keeps_everything)
        {
            let text = format!("schedule `{name}` keeps every backup");
            let path = format!("{path}.retention");
            let said = said(text, "no rule", "write one, for example `keepMonthly: 12`");
            self.add("KL002", Severity::Warning, &[&path], said);
        }
        if let Some(deadline) = schedule
            .deadline
            .filter(|deadline| *deadline < schedule.jitter)
        {
            let text = format!("the deadline of schedule `{name}` is shorter than its jitter");
            let label = format!("{deadline}, and a VM is due up to {} late", schedule.jitter);
            let hint =
                "the deadline counts from when a VM is due, its share of the jitter included";
            let path = format!("{path}.deadline");
            self.add(
                "KL005",
                Severity::Warning,
                &[&path],
                said(text, label, hint),
            );
        }
        let (Ok(calendar), Ok(zone)) = (
            Calendar::parse(&schedule.cron),
            TimeZone::get(&schedule.timezone),
        ) else {
            return;
        };
        if calendar.either_day() {
            let next =
                std::iter::successors(calendar.next(now, &zone), |at| calendar.next(*at, &zone));
            let date = |at: Timestamp| {
                at.to_zoned(zone.clone())
                    .strftime("%a %Y-%m-%d")
                    .to_string()
            };
            let next = next.take(3).map(date).collect::<Vec<_>>().join(", ");
            let text = format!(
                "schedule `{name}` runs when either the day of the month or the day of the week fits"
            );
            let hint =
                "for both write one `*`, and for example `1#1` for the first Monday of a month";
            self.add(
                "KL010",
                Severity::Warning,
                &[&cron],
                said(text, format!("next: {next}"), hint),
            );
        }
        if let Some(label) = clock_change(&calendar, &zone, now) {
            let text = format!("schedule `{name}` meets a change of clocks");
            let hint = "nothing is lost; another hour runs at its own time every day";
            self.add("KL007", Severity::Note, &[&cron], said(text, label, hint));
        }
    }
}

/// Backups that the densest rule keeps, where a schedule makes one a day.
fn horizon(retention: &Retention) -> i64 {
    let within = retention.keep_within.map_or(0, |within| within.0 / DAY);
    let counts = [
        retention.keep_last,
        retention.keep_hourly,
        retention.keep_daily,
    ];
    let most = counts.into_iter().max().unwrap_or_default();
    i64::from(most).max(i64::try_from(within).unwrap_or(i64::MAX))
}

/// What happens at the first change of clocks that touches the calendar.
fn clock_change(calendar: &Calendar, zone: &TimeZone, now: Timestamp) -> Option<String> {
    let limit = now.checked_add(AHEAD).unwrap_or(Timestamp::MAX);
    let changes = zone
        .following(now)
        .take_while(|change| change.timestamp() <= limit);
    changes.into_iter().find_map(|change| {
        let at = change.timestamp();
        let before = zone.to_offset(at.checked_sub(SignedDuration::from_secs(1)).ok()?);
        let (old, new) = (before.to_datetime(at), change.offset().to_datetime(at));
        let (from, to) = (old.min(new), old.max(new));
        let minutes = std::iter::successors(Some(from), |local| local.checked_add(1.minute()).ok());
        let hit = minutes
            .take_while(|local| *local < to)
            .find(|local| calendar.picks(*local))?;
        let (date, time) = (hit.date(), hit.strftime("%H:%M"));
        Some(if old < new {
            format!(
                "{time} is skipped on {date} and runs at {}",
                new.strftime("%H:%M")
            )
        } else {
            format!("{time} comes twice on {date} and runs the first time")
        })
    })
}
