//! What is on record about a VM, and how it learns. What follows from it is in `lineage`.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;
use serde::Serialize;

use crate::model::backup::Backup;
use crate::model::backup::Slot;
use crate::model::backup::Validated;
use crate::model::change::Change;
use crate::model::id::BackupId;
use crate::model::id::JobId;
use crate::model::job::Job;
use crate::model::program::StepError;
use crate::model::retention::Rules;
use crate::model::snapshot::Snapshots;
use crate::model::verification::Found;
use crate::model::verification::Verification;

/// What is on record about a VM.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The policy it has.
    pub assigned: Option<Assigned>,
    /// What lets its backups go; none: nothing did yet. A removal that it would not make wants a human.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Box<Rules>>,
    /// The backup whose delta it writes to.
    pub current: Option<BackupId>,
    /// The serial of knib's last change to it.
    pub serial: u64,
    /// Its snapshots.
    #[serde(default, skip_serializing_if = "Snapshots::is_empty")]
    pub snapshots: Snapshots,
    /// Every backup with files, by id; shared, for a world is copied to see ahead.
    pub backups: BTreeMap<BackupId, Arc<Backup>>,
    /// The latest slot served, by schedule.
    pub served: BTreeMap<String, Timestamp>,
    /// Backups that did not come about, oldest first.
    pub failures: Vec<Failed>,
    /// Wishes about its backups, tried or not.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub jobs: BTreeMap<JobId, Job>,
    /// When files of its backups were read again.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub verified: BTreeMap<BackupId, Verification>,
}

/// The policy that a VM has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assigned {
    /// Its name.
    pub policy: String,
    /// Since when slots count.
    pub since: Timestamp,
}

/// A backup that did not come about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failed {
    /// The id it would have had.
    pub backup: BackupId,
    /// When it ended.
    pub at: Timestamp,
    /// The slots it would have served.
    pub slots: Vec<Slot>,
    /// Why.
    pub error: StepError,
}

impl Record {
    /// Learns what concerns this VM; anything else is passed over.
    pub fn learn(&mut self, change: &Change) {
        match change {
            Change::Assigned { policy, since, .. } => {
                self.assigned = Some(Assigned {
                    policy: policy.clone(),
                    since: *since,
                });
            }
            Change::Unassigned { .. } => self.assigned = None,
            Change::Retained { rules, .. } => self.retention = Some(rules.clone()),
            Change::Published(backup) => {
                self.backups
                    .insert(backup.id.clone(), Arc::new(backup.as_ref().clone()));
            }
            Change::Remarked { backup, remark, .. } => {
                if let Some(backup) = self.backups.get_mut(backup) {
                    Arc::make_mut(backup).learn(remark);
                }
                let known = self.verified.remove(backup);
                if let Some(known) = known.and_then(|known| known.noted(remark)) {
                    self.verified.insert(backup.clone(), known);
                }
            }
            Change::Verified {
                backup, at, found, ..
            } => self.verify(backup, *at, found),
            Change::Deleted { backup, .. } => {
                self.backups.remove(backup);
                self.failures.retain(|failed| failed.backup != *backup);
                self.jobs.retain(|_, job| job.backup != *backup);
                self.verified.remove(backup);
                self.current.take_if(|current| current == backup);
            }
            Change::Touched {
                serial, current, ..
            } => {
                self.serial = *serial;
                self.current.clone_from(current);
            }
            Change::Snapshots { snapshots, .. } => self.snapshots.clone_from(snapshots),
            Change::Served { slots, .. } => {
                for slot in slots {
                    let latest = self.served.entry(slot.schedule.clone()).or_insert(slot.at);
                    *latest = slot.at.max(*latest);
                }
            }
            Change::Wished { job, .. } => {
                self.jobs.insert(job.id(), job.clone());
            }
            Change::Job {
                job,
                state,
                not_before,
                ..
            } => {
                if let Some(job) = self.jobs.get_mut(job) {
                    job.learn(*state, *not_before);
                }
            }
            Change::Storage { .. }
            | Change::Offering { .. }
            | Change::OfferingRemoved { .. }
            | Change::Policy { .. }
            | Change::PolicyRemoved { .. } => {}
        }
    }

    fn verify(&mut self, backup: &BackupId, at: Timestamp, found: &Found) {
        let Some(known) = self.backups.get_mut(backup) else {
            return;
        };
        let before = self.verified.get(backup).copied();
        let after = Verification::after(before, at, found, Arc::make_mut(known));
        self.verified.insert(backup.clone(), after);
    }

    /// Since when nothing of a backup, or of what it continues, has been read; none: something never was.
    #[must_use]
    pub fn verified(&self, backup: &BackupId) -> Option<Timestamp> {
        let ancestors = self.ancestors(backup);
        let all = std::iter::once(backup).chain(&ancestors);
        let each: Option<Vec<_>> = all.map(|id| self.verified.get(id)?.at).collect();
        each?.into_iter().min()
    }

    /// The newest good backup by its instant, that needs no damaged one.
    #[must_use]
    pub fn last_good(&self) -> Option<&Backup> {
        self.newest(Backup::is_good)
    }

    /// The same of all that can be restored, whatever their guests failed at.
    #[must_use]
    pub fn last_whole(&self) -> Option<&Backup> {
        self.newest(Backup::is_whole)
    }

    /// The newest that can be restored and whose guest was seen to boot.
    #[must_use]
    pub fn last_valid(&self) -> Option<&Backup> {
        self.newest(|backup| backup.is_whole() && backup.is_valid())
    }

    fn newest(&self, wanted: impl Fn(&Backup) -> bool) -> Option<&Backup> {
        let all = self.backups.values().map(Arc::as_ref);
        let mut found: Vec<&Backup> = all.filter(|backup| wanted(backup)).collect();
        found.sort_by_key(|backup| std::cmp::Reverse(backup.created));
        found.into_iter().find(|backup| self.is_usable(&backup.id))
    }

    /// The backup that was booted last, and how that went.
    #[must_use]
    pub fn last_validated(&self) -> Option<(&Backup, &Validated)> {
        let all = self.backups.values().map(Arc::as_ref);
        let judged = all.filter_map(|backup| Some((backup, backup.marks.validated.as_deref()?)));
        judged.max_by_key(|(_, how)| how.at)
    }

    /// Nothing continues a chain any more, because a guest in it failed.
    #[must_use]
    pub fn is_given_up(&self, chain: u32) -> bool {
        self.backups.values().any(|backup| {
            let how = backup.marks.validated.as_ref();
            backup.link.is_some_and(|link| link.chain == chain)
                && how.is_some_and(|how| how.ends_chain)
        })
    }
}
