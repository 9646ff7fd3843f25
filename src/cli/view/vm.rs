//! A VM and how well it is protected.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::cli::view::Known;
use crate::cli::view::current;
use crate::model::backup::Backup;
use crate::model::bytes::Bytes;
use crate::model::id::BackupId;
use crate::model::id::VmId;
use crate::model::job::JobState;
use crate::model::layout;
use crate::model::machine::Power;
use crate::model::plan::Plan;
use crate::model::reason::Block;
use crate::model::record::Record;
use crate::model::world::Guest;
use crate::model::world::World;

/// A VM.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct VmView {
    /// libvirt's name.
    pub name: String,
    /// libvirt's uuid.
    pub uuid: VmId,
    /// `running`, `off`, `paused`, `gone`, or libvirt's own word.
    pub state: String,
    /// The policy in force.
    pub policy: Option<String>,
    /// The offering in force.
    pub offering: Option<String>,
    /// A policy has it.
    pub protected: bool,
    /// A policy had it, none has it any more, and its backups stay.
    pub left: bool,
    /// Its newest good backup.
    pub last_good: Option<LastGood>,
    /// Its newest backup that was booted and did well.
    pub last_valid: Option<LastGood>,
    /// When its next backup will be due.
    pub next_due: Option<Timestamp>,
    /// The live chain.
    pub chain: Option<u32>,
    /// The place of the newest backup in it.
    pub position: Option<u32>,
    /// How many it may have; null: no limit, or the setting.
    pub chain_size: Option<i64>,
    /// What its deltas take on primary.
    pub delta_bytes: Bytes,
    /// How many snapshots it has.
    pub snapshots: usize,
    /// What is going on.
    pub jobs: Vec<String>,
    /// What stands in the way of its backups.
    pub problems: Vec<String>,
}

/// A backup of a VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LastGood {
    /// Which.
    pub id: BackupId,
    /// The instant it shows.
    pub created: Timestamp,
    /// The longest ago that its files, or any that it continues, were read again; null: some never were.
    pub verified: Option<Timestamp>,
}

/// VMs that are here, have backups, or are being made, by name. `plan` is what would be done now.
#[must_use]
pub fn all(world: &World, plan: Option<&Plan>) -> Vec<VmView> {
    let known = Known {
        guests: &world.guests,
        applied: &world.applied,
    };
    let guests = world.guests.values();
    let here = guests.filter(|guest| {
        guest.machine.is_some() || !guest.record.backups.is_empty() || !guest.open.is_empty()
    });
    let mut views: Vec<_> = here.map(|guest| view(known, guest, plan)).collect();
    views.sort_by(|a, b| (&a.name, &a.uuid).cmp(&(&b.name, &b.uuid)));
    views
}

fn view(known: Known<'_>, guest: &Guest, plan: Option<&Plan>) -> VmView {
    let record = &guest.record;
    let policy = record.assigned.as_ref().map(|held| held.policy.clone());
    let in_force = policy
        .as_ref()
        .and_then(|name| known.applied.policies.get(name));
    let link = current(record).and_then(|backup| backup.link);
    let upcoming = plan.into_iter().flat_map(|plan| &plan.upcoming);
    let next = upcoming
        .filter(|next| next.vm == guest.vm.name)
        .map(|next| next.due_at)
        .min();
    VmView {
        name: guest.vm.name.clone(),
        uuid: guest.vm.uuid.clone(),
        state: state(guest),
        offering: in_force.map(|applied| applied.spec.offering.clone()),
        protected: policy.is_some(),
        left: policy.is_none() && was_protected(guest),
        policy,
        last_good: record.last_good().map(|good| last_good(record, good)),
        last_valid: record.last_valid().map(|good| last_good(record, good)),
        next_due: next,
        chain: link.map(|link| link.chain),
        position: link.map(|link| link.position),
        chain_size: known.chain_size(record),
        delta_bytes: delta_bytes(guest),
        snapshots: guest
            .snapshots()
            .all
            .values()
            .filter(|one| !one.removed)
            .count(),
        jobs: jobs(guest),
        problems: problems(guest, plan),
    }
}

fn was_protected(guest: &Guest) -> bool {
    let mut backups = guest.record.backups.values();
    backups.any(|backup| backup.marks.removed.is_none() && backup.policy.is_some())
}

fn last_good(record: &Record, backup: &Backup) -> LastGood {
    LastGood {
        id: backup.id.clone(),
        created: backup.created,
        verified: record.verified(&backup.id),
    }
}

fn state(guest: &Guest) -> String {
    let power = guest.machine.as_ref().map(|machine| &machine.power);
    match power {
        None => "gone".to_owned(),
        Some(Power::Off) => "off".to_owned(),
        Some(Power::Running) => "running".to_owned(),
        Some(Power::Paused { .. }) => "paused".to_owned(),
        Some(Power::Other(word)) => word.clone(),
    }
}

fn delta_bytes(guest: &Guest) -> Bytes {
    let disks = guest.machine.iter().flat_map(|machine| &machine.disks);
    let layers = disks.flat_map(|disk| &disk.layers);
    layers
        .filter(|layer| layout::delta_of(&layer.path).is_some())
        .map(|layer| layer.allocated)
        .sum()
}

fn jobs(guest: &Guest) -> Vec<String> {
    let open = guest.open.iter();
    open.map(|open| {
        let verb = open.op.verb().as_str().replace('_', " ");
        if open.alive {
            format!("{verb} (pid {})", open.pid)
        } else {
            format!("{verb}, interrupted: knib apply carries it on")
        }
    })
    .collect()
}

/// What the plan has blocked of this VM, what it warns of, and a guest that is stuck.
fn problems(guest: &Guest, plan: Option<&Plan>) -> Vec<String> {
    let mut found = Vec::new();
    let actions = plan.into_iter().flat_map(|plan| &plan.actions);
    let of_it = actions.filter(|action| {
        action
            .vm
            .as_ref()
            .is_some_and(|vm| vm.uuid == guest.vm.uuid)
    });
    for block in of_it.flat_map(|action| &action.blocked_by) {
        match block {
            Block::Blocked(refusal) => found.push(refusal.text.clone()),
            Block::Held { text, .. } => found.push(text.clone()),
            Block::Busy { .. } | Block::Waits { .. } | Block::Stale { .. } => {}
        }
    }
    let findings = plan.into_iter().flat_map(|plan| &plan.findings);
    let of_it = findings.filter(|finding| finding.vm.as_ref() == Some(&guest.vm.name));
    found.extend(of_it.map(|finding| finding.text.clone()));
    let stuck = Power::Paused { io_error: true };
    if guest
        .machine
        .as_ref()
        .is_some_and(|machine| machine.power == stuck)
    {
        found.push("QEMU paused it for an I/O error: is primary full?".to_owned());
    }
    found.extend(damaged(&guest.record));
    found.extend(invalid(&guest.record));
    found.extend(failed_jobs(&guest.record));
    found.dedup();
    found
}

/// What the guest of the backup that was booted last failed at.
fn invalid(record: &Record) -> Option<String> {
    let (backup, how) = record.last_validated()?;
    let reasons = how.reasons.join("; ");
    (!how.is_valid()).then(|| format!("{} is invalid: {reasons}", backup.id))
}

/// How many jobs were tried often enough, if any were.
fn failed_jobs(record: &Record) -> Option<String> {
    let jobs = record.jobs.values();
    match jobs.filter(|job| job.state == JobState::Failed).count() {
        0 => None,
        1 => Some("1 job failed: knib job list".to_owned()),
        n => Some(format!("{n} jobs failed: knib job list")),
    }
}

/// How many backups cannot be restored, if there are some.
fn damaged(record: &Record) -> Option<String> {
    let mut marks = record.backups.values().map(|backup| &backup.marks);
    // Nearly always nothing is marked, and nothing needs to be followed.
    if !marks.any(|marks| marks.unusable.is_some()) {
        return None;
    }
    let all = record.backups.iter();
    let listed = all.filter(|(_, backup)| backup.marks.removed.is_none());
    match listed.filter(|(id, _)| !record.is_usable(id)).count() {
        0 => None,
        1 => Some("1 of its backups cannot be restored: knib backup list".to_owned()),
        n => Some(format!(
            "{n} of its backups cannot be restored: knib backup list"
        )),
    }
}
