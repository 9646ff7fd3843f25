//! Whether a backup continues the chain of its VM, and which of its disks are copied whole.
//!
//! Decided on what the disks really lie on, never on what they ought to: a disk whose delta is not
//! where the current backup left it is copied whole, the others stay incremental (reference.md 4.6).

use std::collections::BTreeMap;

use crate::model::backup::Backup;
use crate::model::backup::Link;
use crate::model::id::BackupId;
use crate::model::id::StorageId;
use crate::model::id::Target;
use crate::model::machine::Disk;
use crate::model::machine::Machine;
use crate::model::op::DiskPlan;
use crate::model::op::WhyFull;
use crate::model::record::Record;
use crate::sabotage;
use crate::sabotage::Sabotage;

/// What is asked of a backup.
pub(super) struct Wanted<'a> {
    pub(super) storage: &'a StorageId,
    /// Below 1 there is no limit.
    pub(super) chain_size: i64,
    pub(super) isolated: bool,
    pub(super) full: bool,
    pub(super) exclude: &'a [Target],
}

/// What a backup will be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) parent: Option<BackupId>,
    pub(super) link: Option<Link>,
    pub(super) ends_chain: bool,
    pub(super) disks: BTreeMap<Target, DiskPlan>,
    pub(super) others: Vec<Target>,
}

/// The disks that an overlay is laid on, and the others.
pub(super) fn captured<'a>(
    machine: &'a Machine,
    exclude: &[Target],
) -> (Vec<&'a Disk>, Vec<Target>) {
    let mut disks = Vec::new();
    let mut others = Vec::new();
    for disk in &machine.disks {
        if disk.holds_data() && !disk.shareable && !exclude.contains(&disk.target) {
            disks.push(disk);
        } else {
            others.push(disk.target.clone());
        }
    }
    (disks, others)
}

pub(super) fn shape(machine: &Machine, record: &Record, wanted: &Wanted<'_>) -> Shape {
    let (disks, others) = captured(machine, wanted.exclude);
    let all_full = |because| {
        disks
            .iter()
            .map(|disk| (disk.target.clone(), DiskPlan::Full { because }))
            .collect()
    };
    if let Some(because) = outside(machine, wanted) {
        return Shape {
            parent: None,
            link: None,
            ends_chain: false,
            disks: all_full(because),
            others,
        };
    }
    let limit = u32::try_from(wanted.chain_size)
        .ok()
        .filter(|size| *size > 0);
    match continued(machine, record, wanted, limit) {
        Ok((parent, link)) => {
            let plans: BTreeMap<_, _> = disks
                .iter()
                .map(|disk| (disk.target.clone(), plan(record, &parent.id, disk)))
                .collect();
            if plans.values().any(|plan| *plan == DiskPlan::Incremental) {
                let link = Link {
                    chain: link.chain,
                    position: link.position.saturating_add(1),
                };
                let ends_chain = limit.is_some_and(|limit| link.position >= limit);
                return Shape {
                    parent: Some(parent.id.clone()),
                    link: Some(link),
                    ends_chain,
                    disks: plans,
                    others,
                };
            }
            new_chain(record, limit, plans, others)
        }
        Err(because) => new_chain(record, limit, all_full(because), others),
    }
}

fn new_chain(
    record: &Record,
    limit: Option<u32>,
    disks: BTreeMap<Target, DiskPlan>,
    others: Vec<Target>,
) -> Shape {
    let link = Link {
        chain: record.next_chain(),
        position: 1,
    };
    Shape {
        parent: None,
        link: Some(link),
        ends_chain: limit == Some(1),
        disks,
        others,
    }
}

/// Why a backup has to stand outside of any chain, if it has to.
fn outside(machine: &Machine, wanted: &Wanted<'_>) -> Option<WhyFull> {
    if wanted.isolated {
        Some(WhyFull::Isolated)
    } else if machine.has_foreign_snapshots() {
        Some(WhyFull::ForeignSnapshots)
    } else {
        None
    }
}

/// The backup that can be continued, and its place; or why a new chain begins.
fn continued<'a>(
    machine: &Machine,
    record: &'a Record,
    wanted: &Wanted<'_>,
    limit: Option<u32>,
) -> Result<(&'a Backup, Link), WhyFull> {
    let noted = machine.note.as_ref().and_then(|note| note.current.as_ref());
    let newest = record.backups.values().max_by_key(|backup| backup.created);
    let newest = newest.filter(|_| sabotage::is(Sabotage::ParentByTime));
    if let Some((newest, link)) = newest.and_then(|newest| Some((newest, newest.link?))) {
        return Ok((newest, link));
    }
    let Some(current) = &record.current else {
        return Err(if noted.is_some() {
            WhyFull::NoteDisagrees
        } else {
            begun_anew(record, limit)
        });
    };
    if noted != Some(current) {
        return Err(WhyFull::NoteDisagrees);
    }
    let parent = record.backups.get(current).ok_or(WhyFull::ParentUnusable)?;
    let link = parent.link.ok_or(WhyFull::ParentUnusable)?;
    if !record.is_usable(current) {
        Err(WhyFull::ParentUnusable)
    } else if parent.storage.id != *wanted.storage {
        Err(WhyFull::OtherStorage)
    } else if record.is_given_up(link.chain) {
        Err(WhyFull::Invalid)
    } else if wanted.full {
        Err(WhyFull::Asked)
    } else if limit.is_some_and(|limit| link.position >= limit) {
        Err(WhyFull::ChainFull)
    } else {
        Ok((parent, link))
    }
}

/// Why there is nothing to continue: the last chain is full, or there was none.
fn begun_anew(record: &Record, limit: Option<u32>) -> WhyFull {
    let last = record
        .backups
        .values()
        .filter_map(|backup| backup.link)
        .max_by_key(|link| (link.chain, link.position));
    match (last, limit) {
        (Some(last), Some(limit)) if last.position >= limit => WhyFull::ChainFull,
        _ => WhyFull::FirstOfChain,
    }
}

fn plan(record: &Record, parent: &BackupId, disk: &Disk) -> DiskPlan {
    let in_parent = record
        .backups
        .get(parent)
        .is_some_and(|backup| backup.disks.contains_key(&disk.target));
    let left = record.delta_left(parent, &disk.target);
    match left.and_then(|delta| delta.depth_in(disk)) {
        Some(_) => DiskPlan::Incremental,
        None if in_parent => DiskPlan::Full {
            because: WhyFull::DeltaGone,
        },
        None => DiskPlan::Full {
            because: WhyFull::NewDisk,
        },
    }
}
