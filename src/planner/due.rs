//! Which slots of a schedule are due: the latest one not yet served, once, however many passed.
//!
//! A slot before a schedule, its text or a VM's assignment was recorded is never made up for: editing
//! or adding a schedule does not fire (PP 7.5). The VM's share of the jitter is a digest, so that the
//! same plan comes out twice.

use jiff::SignedDuration;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::model::calendar::Calendar;
use crate::model::id::VmId;
use crate::model::policy::Schedule;
use crate::model::record::Failed;
use crate::model::seconds::Seconds;
use crate::model::seconds::later;

/// More superseded slots than this are not counted one by one.
const COUNTED: u64 = 10_000;

/// How a schedule stands for one VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing to do; the next slot, if there is one.
    Waiting,
    /// A slot is due.
    Due(DueSlot),
    /// A slot is due and waits after failed attempts.
    Held(DueSlot, Timestamp),
    /// The latest slot is older than its deadline.
    Missed(Timestamp),
}

/// A slot that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueSlot {
    /// The instant asked for.
    pub slot: Timestamp,
    /// With the VM's share of the jitter.
    pub due_at: Timestamp,
    /// Earlier slots that nothing served.
    pub superseded: u64,
    /// Attempts that failed.
    pub failed: u64,
}

/// A schedule of one VM, ready to be asked.
pub struct Clockwork {
    calendar: Calendar,
    zone: TimeZone,
    share: SignedDuration,
    deadline: Option<SignedDuration>,
    /// Slots at or before are not made up for.
    since: Timestamp,
}

impl Clockwork {
    /// None for a pattern or a zone that the policy would not have let pass.
    #[must_use]
    pub fn new(
        schedule: &Schedule,
        name: &str,
        policy: &str,
        vm: &VmId,
        since: Timestamp,
    ) -> Option<Self> {
        Some(Self {
            calendar: Calendar::parse(&schedule.cron).ok()?,
            zone: TimeZone::get(&schedule.timezone).ok()?,
            share: share(schedule.jitter, vm, policy, name),
            deadline: schedule.deadline.map(signed),
            since,
        })
    }

    /// How it stands at `now`, after `served` and the failed attempts at the slot.
    #[must_use]
    pub fn standing(
        &self,
        now: Timestamp,
        served: Option<Timestamp>,
        failed: &[&Failed],
    ) -> Standing {
        let Some(slot) = self.latest(now) else {
            return Standing::Waiting;
        };
        let after = served.map_or(self.since, |served| served.max(self.since));
        if slot <= after {
            return Standing::Waiting;
        }
        let due_at = later(slot, self.share);
        if self
            .deadline
            .is_some_and(|deadline| now.duration_since(due_at) > deadline)
        {
            return Standing::Missed(slot);
        }
        let attempts: Vec<_> = failed
            .iter()
            .filter(|failed| failed.slots.iter().any(|at| at.at == slot))
            .collect();
        let due = DueSlot {
            slot,
            due_at,
            superseded: self.between(after, slot),
            failed: attempts.len() as u64,
        };
        match attempts.iter().map(|failed| failed.at).max() {
            Some(last) if now < retry(last, attempts.len()) => {
                Standing::Held(due, retry(last, attempts.len()))
            }
            _ => Standing::Due(due),
        }
    }

    /// The next slot after `now` and when it will be due.
    #[must_use]
    pub fn next(&self, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let slot = self.calendar.next(later(now, -self.share), &self.zone)?;
        Some((slot, later(slot, self.share)))
    }

    fn latest(&self, now: Timestamp) -> Option<Timestamp> {
        self.calendar.latest(later(now, -self.share), &self.zone)
    }

    fn between(&self, after: Timestamp, before: Timestamp) -> u64 {
        let mut count = 0;
        let mut at = after;
        while count < COUNTED {
            match self.calendar.next(at, &self.zone) {
                Some(slot) if slot < before => {
                    count += 1;
                    at = slot;
                }
                _ => break,
            }
        }
        count
    }
}

/// When a failed slot is tried again: after 5, 15, 60 minutes, then hourly (design section 6).
#[must_use]
pub fn retry(last: Timestamp, attempts: usize) -> Timestamp {
    let minutes = match attempts {
        0 => 0,
        1 => 5,
        2 => 15,
        _ => 60,
    };
    later(last, SignedDuration::from_mins(minutes))
}

/// A VM's fixed share of a schedule's jitter: the same for ever, and spread over VMs.
fn share(jitter: Seconds, vm: &VmId, policy: &str, schedule: &str) -> SignedDuration {
    if jitter.0 == 0 {
        return SignedDuration::ZERO;
    }
    let hash = blake3::hash(format!("{vm} {policy} {schedule}").as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hash.as_bytes()[..8]);
    signed(Seconds(u64::from_le_bytes(first) % jitter.0))
}

fn signed(length: Seconds) -> SignedDuration {
    SignedDuration::from_secs(i64::try_from(length.0).unwrap_or(i64::MAX))
}
