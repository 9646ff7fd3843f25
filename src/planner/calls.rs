//! What the schedules of a VM call for at this instant, and the first backup of one that has none.

use crate::model::backup::Slot;
use crate::model::finding::Finding;
use crate::model::finding::Severity;
use crate::model::plan::Upcoming;
use crate::model::policy::First;
use crate::model::policy::Quiesce;
use crate::model::policy::Schedule;
use crate::model::policy::VmPolicy;
use crate::model::reason::Block;
use crate::model::reason::Reason;
use crate::model::record::Assigned;
use crate::model::record::Failed;
use crate::model::world::Guest;
use crate::planner::draft::Draft;
use crate::planner::due;
use crate::planner::due::Clockwork;
use crate::planner::due::DueSlot;
use crate::planner::due::Standing;

/// A backup as it was asked for.
pub(super) struct Asked<'a> {
    pub(super) address: String,
    pub(super) reason: Reason,
    pub(super) policy: Option<(&'a str, &'a VmPolicy)>,
    pub(super) storage: &'a str,
    pub(super) isolated: bool,
    pub(super) full: bool,
    pub(super) quiesce: Quiesce,
    pub(super) slots: Vec<Slot>,
    pub(super) blocks: Vec<Block>,
}

/// What the schedules of one VM call for.
#[derive(Default)]
pub(super) struct Calls<'a> {
    /// Of the chain: all of them share one backup.
    chain: Vec<(&'a str, &'a Schedule, DueSlot)>,
    /// Each its own.
    isolated: Vec<(&'a str, &'a Schedule, DueSlot, Option<Block>)>,
    held: Option<Block>,
}

impl<'a> Calls<'a> {
    pub(super) fn of(
        draft: &mut Draft<'_>,
        guest: &Guest,
        policy: &str,
        spec: &'a VmPolicy,
        assigned: &Assigned,
        upcoming: &mut Vec<Upcoming>,
    ) -> Self {
        let mut calls = Self::default();
        let now = draft.now.now;
        let recorded = draft
            .ahead
            .applied
            .policies
            .get(policy)
            .map(|known| known.since.clone());
        let failures: Vec<&Failed> = guest.record.failures.iter().collect();
        for (name, schedule) in spec
            .schedules
            .iter()
            .filter(|(_, schedule)| !schedule.paused)
        {
            let since = recorded
                .as_ref()
                .and_then(|since| since.get(name))
                .copied()
                .unwrap_or(now);
            let since = since.max(assigned.since);
            let Some(clockwork) = Clockwork::new(schedule, name, policy, &guest.vm.uuid, since)
            else {
                continue;
            };
            if let Some((slot, due_at)) = clockwork.next(now) {
                let vm = guest.vm.name.clone();
                let (policy, schedule) = (policy.to_owned(), name.clone());
                upcoming.push(Upcoming {
                    due_at,
                    slot,
                    vm,
                    policy,
                    schedule,
                });
            }
            let served = guest.record.served.get(name).copied();
            let (due, held) = match clockwork.standing(now, served, &failures) {
                Standing::Waiting => continue,
                Standing::Due(due) => (due, None),
                Standing::Held(due, until) => {
                    let text = format!("attempt {} failed, tried again at {until}", due.failed);
                    (due, Some(held(until, text)))
                }
                Standing::Missed(slot) => {
                    let text = format!(
                        "{}: the slot of {name} at {slot} was missed: its deadline is over",
                        guest.vm.name
                    );
                    draft.findings.push(
                        Finding::new(Severity::Warning, "missed", text).vm(guest.vm.name.clone()),
                    );
                    continue;
                }
            };
            if schedule.isolated {
                calls.isolated.push((name, schedule, due, held));
            } else {
                calls.chain.push((name, schedule, due));
                calls.held = calls.held.or(held);
            }
        }
        calls
    }

    pub(super) fn asked(
        self,
        guest: &Guest,
        policy: &'a str,
        spec: &'a VmPolicy,
        draft: &Draft<'_>,
    ) -> Vec<Asked<'a>> {
        let mut asked = Vec::new();
        let vm = &guest.vm.name;
        let first = spec.first == First::Immediate && guest.record.last_whole().is_none();
        if !self.chain.is_empty() {
            let names: Vec<_> = self
                .chain
                .iter()
                .map(|(name, _, _)| (*name).to_owned())
                .collect();
            let quiesce = strongest(self.chain.iter().map(|(_, schedule, _)| schedule.quiesce));
            let slots = self
                .chain
                .iter()
                .map(|(name, _, due)| slot(name, due))
                .collect();
            let first_due = self
                .chain
                .iter()
                .map(|(_, _, due)| due)
                .min_by_key(|due| due.due_at);
            let reason = first_due.map_or(Reason::FirstBackup, |due| {
                slot_due(names.clone(), due, draft)
            });
            let at = first_due.map_or(draft.now.now, |due| due.slot);
            if let Some(storage) = &spec.storage {
                asked.push(Asked {
                    address: format!(
                        "backup.{vm}/{}@{}",
                        names.join("+"),
                        at.strftime("%Y-%m-%dT%H:%MZ")
                    ),
                    reason,
                    policy: Some((policy, spec)),
                    storage,
                    isolated: false,
                    full: false,
                    quiesce,
                    slots,
                    blocks: self.held.into_iter().collect(),
                });
            }
        } else if let (true, Some(storage)) = (first && self.isolated.is_empty(), &spec.storage) {
            let quiesce = strongest(spec.schedules.values().map(|schedule| schedule.quiesce));
            asked.push(Asked {
                address: format!("backup.{vm}/first"),
                reason: Reason::FirstBackup,
                policy: Some((policy, spec)),
                storage,
                isolated: spec.schedules.values().all(|schedule| schedule.isolated)
                    && !spec.schedules.is_empty(),
                full: false,
                quiesce,
                slots: Vec::new(),
                blocks: first_held(guest, draft).into_iter().collect(),
            });
        }
        for (name, schedule, due, held) in self.isolated {
            let Some(storage) = schedule.storage.as_ref().or(spec.storage.as_ref()) else {
                continue;
            };
            asked.push(Asked {
                address: format!(
                    "backup.{vm}/{name}@{}",
                    due.slot.strftime("%Y-%m-%dT%H:%MZ")
                ),
                reason: slot_due(vec![name.to_owned()], &due, draft),
                policy: Some((policy, spec)),
                storage,
                isolated: true,
                full: false,
                quiesce: schedule.quiesce,
                slots: vec![slot(name, &due)],
                blocks: held.into_iter().collect(),
            });
        }
        asked
    }
}

fn slot(schedule: &str, due: &DueSlot) -> Slot {
    Slot {
        schedule: schedule.to_owned(),
        at: due.slot,
    }
}

fn slot_due(schedules: Vec<String>, due: &DueSlot, draft: &Draft<'_>) -> Reason {
    let late = draft.now.now.duration_since(due.due_at).as_secs();
    Reason::SlotDue {
        schedules,
        slot: due.slot,
        due_at: due.due_at,
        late_by_seconds: u64::try_from(late).unwrap_or(0),
        superseded_slots: due.superseded,
        failed_attempts: due.failed,
    }
}

fn strongest(all: impl Iterator<Item = Quiesce>) -> Quiesce {
    all.max().unwrap_or_default()
}

/// First backups that failed wait as slots do.
fn first_held(guest: &Guest, draft: &Draft<'_>) -> Option<Block> {
    let failed: Vec<_> = guest
        .record
        .failures
        .iter()
        .filter(|failed| failed.slots.is_empty())
        .collect();
    let until = due::retry(failed.last()?.at, failed.len());
    let text = format!("attempt {} failed, tried again at {until}", failed.len());
    (draft.now.now < until).then_some(held(until, text))
}

fn held(until: jiff::Timestamp, text: String) -> Block {
    let until = Some(until);
    Block::Held { until, text }
}
