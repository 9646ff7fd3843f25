//! Which backups stay: each that any rule wants (restic's rule), judged on what is there and on no
//! clock, so that waiting lets nothing go.
//!
//! Only good backups take places; one that is unusable stays as long as it would if all were whole, for
//! its file may come back, and so does an invalid one, which can be restored. The newest of a bucket has its place; buckets count where there are
//! backups, by the slot that a backup served, else by its own instant. It knows neither files nor
//! chains: whether files go with a backup is for `lineage`.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::BTreeSet;

use jiff::SignedDuration;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::model::backup::Backup;
use crate::model::id::BackupId;
use crate::model::policy::Retention;
use crate::model::record::Record;
use crate::model::retention::Bucket;
use crate::model::retention::Kept;
use crate::model::retention::Passed;
use crate::model::retention::Rule;
use crate::model::retention::Rules;
use crate::model::retention::Verdict;
use crate::model::seconds::later;

type Verdicts = BTreeMap<BackupId, Verdict>;

impl Rules {
    /// Says of every listed backup whether and why it stays. `now` only tells what is dated later.
    #[must_use]
    pub fn judge(&self, record: &Record, now: Timestamp) -> Verdicts {
        let listed = record.backups.values().map(AsRef::as_ref);
        let mut listed: Vec<&Backup> = listed
            .filter(|backup| backup.marks.removed.is_none())
            .collect();
        listed.sort_by_key(|backup| Reverse((backup.created, &backup.id)));
        let mut verdicts: Verdicts = listed
            .iter()
            .map(|backup| (backup.id.clone(), certain(backup, record, now)))
            .collect();
        let unusable = unusable(record, &listed);
        let past = listed.iter().copied();
        let past: Vec<&Backup> = past.filter(|backup| backup.created <= now).collect();
        let good = past.iter().copied();
        let good: Vec<&Backup> = good
            .filter(|backup| !unusable.contains(&backup.id) && !backup.is_invalid())
            .collect();
        let all_good = good.len() == past.len() && unusable.is_empty();
        let as_if_whole = (!all_good).then(|| self.placed(&past, verdicts.clone()));
        let would_stay = |backup: &Backup| {
            let all = as_if_whole.as_ref();
            all.is_some_and(|all| all[&backup.id].stays())
        };
        let of = self.min_backups;
        for (n, backup) in (1..=of).zip(&good) {
            keep(&mut verdicts, backup, Kept::Minimum { n, of });
        }
        if let Some(valid) = good.iter().find(|backup| backup.is_valid()) {
            keep(&mut verdicts, valid, Kept::Valid);
        }
        let mut verdicts = self.placed(&good, verdicts);
        let stay = good.iter().filter(|one| verdicts[&one.id].stays());
        let oldest = stay.map(|backup| backup.created).min();
        for backup in listed.iter().filter(|one| unusable.contains(&one.id)) {
            let is_newer = oldest.is_none_or(|oldest| backup.created >= oldest);
            if is_newer || would_stay(backup) {
                keep(&mut verdicts, backup, Kept::Unusable);
            }
        }
        for (n, backup) in (1..).zip(&past) {
            let is_invalid = backup.is_invalid() && !unusable.contains(&backup.id);
            if is_invalid && (n <= of || would_stay(backup)) {
                keep(&mut verdicts, backup, Kept::Invalid);
            }
        }
        verdicts
    }

    /// Backups that stay by these rules and would go by others.
    #[must_use]
    pub fn spares(&self, others: &Self, record: &Record, now: Timestamp) -> Vec<BackupId> {
        let theirs = others.judge(record, now);
        let goes = |id: &BackupId| theirs.get(id).is_some_and(|verdict| !verdict.stays());
        let ours = self.judge(record, now).into_iter();
        let spared = ours.filter(|(id, verdict)| verdict.stays() && goes(id));
        spared.map(|(id, _)| id).collect()
    }

    /// Gives the places of all groups away.
    fn placed(&self, members: &[&Backup], mut verdicts: Verdicts) -> Verdicts {
        self.group(None, self.retention.as_ref(), members, &mut verdicts);
        for (name, retention) in &self.schedules {
            self.group(Some(name), Some(retention), members, &mut verdicts);
        }
        verdicts
    }

    /// Gives the places of one group away, the newest first. What was made for no policy takes none.
    fn group(
        &self,
        group: Option<&String>,
        retention: Option<&Retention>,
        good: &[&Backup],
        verdicts: &mut Verdicts,
    ) {
        let members: Vec<&Backup> = good
            .iter()
            .copied()
            .filter(|backup| backup.policy.is_some() && self.is_in(backup, group))
            .collect();
        let Some(retention) = retention.filter(|retention| !retention.keeps_everything()) else {
            for backup in members {
                keep(verdicts, backup, Kept::Everything(group.cloned()));
            }
            return;
        };
        let zone = TimeZone::get(&self.timezone).unwrap_or(TimeZone::UTC);
        for (rule, of) in retention.places() {
            let mut taken: BTreeMap<Bucket, &BackupId> = BTreeMap::new();
            let mut n = 0;
            for backup in &members {
                let group = group.cloned();
                let bucket = rule.bucket(self.counted_at(backup, group.as_ref()), &zone);
                let by = bucket.and_then(|bucket| Some((bucket, *taken.get(&bucket)?)));
                if let Some((bucket, by)) = by {
                    let by = by.clone();
                    let passed = Passed::Taken {
                        group,
                        rule,
                        bucket,
                        by,
                    };
                    pass(verdicts, backup, passed);
                } else if n < of {
                    n += 1;
                    taken.extend(bucket.map(|bucket| (bucket, &backup.id)));
                    keep(verdicts, backup, Kept::Place { group, rule, n, of });
                } else {
                    pass(verdicts, backup, Passed::Full { group, rule, of });
                }
            }
        }
        if let (Some(length), Some(newest)) = (retention.keep_within, members.first()) {
            let back = i64::try_from(length.0).unwrap_or(i64::MAX);
            let from = later(newest.created, SignedDuration::from_secs(-back));
            for backup in &members {
                if backup.created >= from {
                    keep(verdicts, backup, Kept::Within(group.cloned(), length));
                } else {
                    pass(verdicts, backup, Passed::Older(group.cloned(), length));
                }
            }
        }
    }

    /// A backup is of the group of each schedule that has one, and else of the policy's.
    fn is_in(&self, backup: &Backup, group: Option<&String>) -> bool {
        let mut schedules = backup.slots.iter().map(|slot| &slot.schedule);
        match group {
            Some(name) => schedules.any(|one| one == name),
            None => {
                backup.slots.is_empty() || schedules.any(|one| !self.schedules.contains_key(one))
            }
        }
    }

    /// The slot that it served in a group, or its own instant.
    fn counted_at(&self, backup: &Backup, group: Option<&String>) -> Timestamp {
        let of_group = backup.slots.iter().filter(|slot| match group {
            Some(name) => slot.schedule == *name,
            None => !self.schedules.contains_key(&slot.schedule),
        });
        of_group.map(|slot| slot.at).max().unwrap_or(backup.created)
    }
}

impl Retention {
    /// The rules that count places, with how many.
    fn places(&self) -> impl Iterator<Item = (Rule, u32)> {
        let all = [
            (Rule::Last, self.keep_last),
            (Rule::Hourly, self.keep_hourly),
            (Rule::Daily, self.keep_daily),
            (Rule::Weekly, self.keep_weekly),
            (Rule::Monthly, self.keep_monthly),
            (Rule::Yearly, self.keep_yearly),
        ];
        all.into_iter().filter(|(_, places)| *places > 0)
    }

    /// `last 3, daily 7, within 14d`
    pub(super) fn words(&self) -> Vec<String> {
        let places = self.places();
        let mut words: Vec<_> = places
            .map(|(rule, n)| format!("{} {n}", rule.word()))
            .collect();
        words.extend(self.keep_within.map(|length| format!("within {length}")));
        words
    }
}

impl Rule {
    /// What an instant falls into; each of the last ones is alone.
    fn bucket(self, at: Timestamp, zone: &TimeZone) -> Option<Bucket> {
        let offset = zone.to_offset(at);
        let local = offset.to_datetime(at);
        let date = local.date();
        Some(match self {
            Self::Last => return None,
            Self::Hourly => Bucket::Hour(date, local.hour(), offset.seconds()),
            Self::Daily => Bucket::Day(date),
            Self::Weekly => Bucket::Week(date.iso_week_date().first_of_week().ok()?),
            Self::Monthly => Bucket::Month(date.year(), date.month()),
            Self::Yearly => Bucket::Year(date.year()),
        })
    }
}

/// Those that cannot be restored; nearly always there are none.
fn unusable<'a>(record: &Record, listed: &[&'a Backup]) -> BTreeSet<&'a BackupId> {
    let mut all = record.backups.values();
    if !all.any(|backup| backup.marks.unusable.is_some()) {
        return BTreeSet::new();
    }
    let ids = listed.iter().map(|backup| &backup.id);
    ids.filter(|id| !record.is_usable(id)).collect()
}

/// What keeps a backup whatever the rules are.
fn certain(backup: &Backup, record: &Record, now: Timestamp) -> Verdict {
    let reasons = [
        (backup.marks.pinned, Kept::Pinned),
        (record.current.as_ref() == Some(&backup.id), Kept::Current),
        (backup.policy.is_none(), Kept::ByHand),
        (backup.created > now, Kept::Future),
    ];
    let kept_by = reasons.into_iter().filter(|(is, _)| *is);
    Verdict {
        kept_by: kept_by.map(|(_, kept)| kept).collect(),
        passed: Vec::new(),
    }
}

fn keep(verdicts: &mut Verdicts, backup: &Backup, kept: Kept) {
    if let Some(verdict) = verdicts.get_mut(&backup.id) {
        verdict.kept_by.push(kept);
    }
}

fn pass(verdicts: &mut Verdicts, backup: &Backup, passed: Passed) {
    if let Some(verdict) = verdicts.get_mut(&backup.id) {
        verdict.passed.push(passed);
    }
}
