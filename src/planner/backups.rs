//! Backups that are due: first ones, and those that schedules ask for.

use std::collections::BTreeMap;

use serde_json::json;

use crate::model::backup::OfferingCopy;
use crate::model::backup::Slot;
use crate::model::backup::StorageRef;
use crate::model::bytes::Bytes;
use crate::model::finding::Finding;
use crate::model::finding::Severity;
use crate::model::id::StorageId;
use crate::model::id::Target;
use crate::model::op::BackupOp;
use crate::model::op::Group;
use crate::model::op::Op;
use crate::model::op::StorageAt;
use crate::model::plan::Class;
use crate::model::plan::Upcoming;
use crate::model::policy::First;
use crate::model::policy::Policy;
use crate::model::policy::Quiesce;
use crate::model::policy::Schedule;
use crate::model::policy::VmPolicy;
use crate::model::reason::Block;
use crate::model::reason::Reason;
use crate::model::seconds::Seconds;
use crate::model::world::Assigned;
use crate::model::world::Failed;
use crate::model::world::Guest;
use crate::planner::chain;
use crate::planner::chain::Shape;
use crate::planner::chain::Wanted;
use crate::planner::draft::Draft;
use crate::planner::draft::Key;
use crate::planner::draft::Wish;
use crate::planner::draft::blocked;
use crate::planner::due;
use crate::planner::due::Clockwork;
use crate::planner::due::DueSlot;
use crate::planner::due::Standing;
use crate::planner::space;
use crate::planner::storages;

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

/// Plans what is due and returns what comes next.
pub(super) fn plan(draft: &mut Draft<'_>, policy: &Policy) -> Vec<Upcoming> {
    let mut upcoming = Vec::new();
    let mut planned: BTreeMap<String, Bytes> = BTreeMap::new();
    for id in draft.now.guests.keys() {
        let Some(guest) = draft.ahead.guests.get(id).cloned() else {
            continue;
        };
        if guest.machine.is_none() || !draft.admits(Group::Backup, Some(&guest.vm.name)) {
            continue;
        }
        let Some(assigned) = &guest.record.assigned else {
            continue;
        };
        let Some((name, spec)) = policy.policies.get_key_value(&assigned.policy) else {
            continue;
        };
        if spec.paused {
            continue;
        }
        let due = Calls::of(draft, &guest, name, spec, assigned, &mut upcoming);
        for asked in due.asked(&guest, name, spec, draft) {
            add(draft, Some(policy), &guest, asked, &mut planned);
        }
    }
    upcoming
}

/// What the schedules of one VM call for.
#[derive(Default)]
struct Calls<'a> {
    /// Of the chain: all of them share one backup.
    chain: Vec<(&'a str, &'a Schedule, DueSlot)>,
    /// Each its own.
    isolated: Vec<(&'a str, &'a Schedule, DueSlot, Option<Block>)>,
    held: Option<Block>,
}

impl<'a> Calls<'a> {
    fn of(
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
                    (due, Some(Block::Held { until, text }))
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

    fn asked(
        self,
        guest: &Guest,
        policy: &'a str,
        spec: &'a VmPolicy,
        draft: &Draft<'_>,
    ) -> Vec<Asked<'a>> {
        let mut asked = Vec::new();
        let vm = &guest.vm.name;
        let first = spec.first == First::Immediate && guest.record.last_good().is_none();
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
    let rank = |quiesce: &Quiesce| match quiesce {
        Quiesce::None => 0,
        Quiesce::Preferred => 1,
        Quiesce::Required => 2,
    };
    all.max_by_key(rank).unwrap_or_default()
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
    (draft.now.now < until).then_some(Block::Held { until, text })
}

/// Adds one backup, decided on the VM as it will be by then.
pub(super) fn add(
    draft: &mut Draft<'_>,
    policy: Option<&Policy>,
    guest: &Guest,
    asked: Asked<'_>,
    planned: &mut BTreeMap<String, Bytes>,
) {
    let Some(guest) = draft.ahead.guests.get(&guest.vm.uuid).cloned() else {
        return;
    };
    let Some(machine) = &guest.machine else {
        return;
    };
    let record = &guest.record;
    let mut blocks = asked.blocks;
    let at = draft
        .ahead
        .storages
        .get(asked.storage)
        .map(|seen| (seen.path.clone(), seen.usable().cloned()));
    let (path, id) = at.unwrap_or_default();
    blocks.extend(storages::unusable(&draft.ahead, asked.storage));
    if id.is_none() && blocks.is_empty() {
        blocks.push(blocked(
            "storage_unmarked",
            format!("{} is not a storage yet", asked.storage),
            "the action that makes it one is blocked, or was not asked for",
        ));
    }
    let id = id.unwrap_or_else(|| StorageId::new(""));
    let offering = asked.policy.and_then(|(_, spec)| {
        let known = policy.and_then(|policy| policy.offerings.get(&spec.offering));
        known.map(|known| OfferingCopy {
            name: spec.offering.clone(),
            spec: known.clone(),
        })
    });
    let setting = policy.map_or(8, |policy| policy.settings.chain_size);
    let chain_size = offering
        .as_ref()
        .and_then(|offering| offering.spec.backup_chain_size)
        .unwrap_or(setting);
    let exclude: &[Target] = asked.policy.map_or(&[], |(_, spec)| &spec.exclude_disks);
    let wanted = Wanted {
        storage: &id,
        chain_size,
        isolated: asked.isolated,
        full: asked.full,
        exclude,
    };
    let shape = chain::shape(machine, record, &wanted);
    let depth = |disk: &crate::model::machine::Disk| {
        record
            .delta_left(shape.parent.as_ref()?, &disk.target)?
            .depth_in(disk)
    };
    let estimate = space::estimate(machine, &shape, depth);
    let earlier = planned.get(asked.storage).copied().unwrap_or_default();
    blocks.extend(space::storage(
        policy,
        draft.now,
        asked.storage,
        estimate.bytes,
        earlier,
    ));
    blocks.extend(space::primary(draft.now, machine, &shape));
    blocks.extend(owned_elsewhere(draft, &guest, asked.storage));
    if shape.disks.is_empty() {
        blocks.push(blocked(
            "no_disks",
            format!("{} has no disk to back up", guest.vm.name),
            "exclude the VM, or fewer of its disks",
        ));
    }
    let backup = draft.allot(&guest);
    let op = BackupOp {
        id: backup,
        vm: guest.vm.clone(),
        storage: StorageAt {
            is: StorageRef {
                name: asked.storage.to_owned(),
                id: id.clone(),
            },
            path,
        },
        policy: asked.policy.map(|(name, _)| name.to_owned()),
        offering,
        slots: asked.slots,
        parent: shape.parent.clone(),
        link: shape.link,
        ends_chain: shape.ends_chain,
        disks: shape.disks.clone(),
        others: shape.others.clone(),
        quiesce: asked.quiesce,
        timeout: policy.map_or(Seconds(43_200), |policy| policy.settings.timeout),
    };
    let mut wish = Wish::new(
        asked.address,
        Op::Backup(Box::new(op)),
        Class::Routine,
        asked.reason,
    );
    wish.change.after = described(&shape, asked.storage, chain_size);
    wish.estimate = estimate;
    wish.blocks = blocks;
    wish.needs = vec![
        Key::Vm(guest.vm.uuid.clone()),
        Key::Storage(asked.storage.to_owned()),
    ];
    wish.needs
        .extend(asked.policy.map(|(name, _)| Key::Policy(name.to_owned())));
    wish.gives = vec![Key::Vm(guest.vm.uuid.clone())];
    if draft.add(wish) {
        let sum = planned.entry(asked.storage.to_owned()).or_default();
        *sum = *sum + estimate.bytes;
    }
}

fn described(shape: &Shape, storage: &str, chain_size: i64) -> serde_json::Value {
    json!({
        "kind": if shape.parent.is_some() { "incremental" } else { "full" },
        "parent": shape.parent,
        "chain": shape.link.map(|link| link.chain),
        "position": shape.link.map(|link| link.position),
        "chain_size": chain_size,
        "isolated": shape.link.is_none(),
        "ends_chain": shape.ends_chain,
        "storage": storage,
        "disks": shape.disks,
    })
}

/// Two hosts on one storage never write below one VM.
fn owned_elsewhere(draft: &Draft<'_>, guest: &Guest, storage: &str) -> Option<Block> {
    let owner = draft
        .now
        .storages
        .get(storage)?
        .vms
        .get(&guest.vm.uuid)?
        .owner
        .as_ref()?;
    let state = draft.now.state.as_ref();
    if state == Some(&owner.state_id) {
        return None;
    }
    let name = &guest.vm.name;
    Some(if owner.host_uuid == draft.now.host.id {
        blocked(
            "state_missing",
            format!("{storage} holds backups of {name} that another state file of this host made"),
            "name that state file with --state, or make it anew from the storages: knib state rebuild",
        )
    } else {
        blocked(
            "owned_elsewhere",
            format!(
                "the backups of {name} on {storage} belong to {}",
                owner.hostname
            ),
            format!("knib vm adopt {name} takes them over"),
        )
    })
}
