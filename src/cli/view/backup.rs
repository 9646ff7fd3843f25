//! A backup.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use camino::Utf8PathBuf;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::action;
use crate::cli::view::Known;
use crate::cli::view::job::attempt;
use crate::model::backup::Backup;
use crate::model::backup::Kind;
use crate::model::backup::Slot;
use crate::model::backup::Unusable;
use crate::model::backup::VmRef;
use crate::model::bytes::Bytes;
use crate::model::digest::Digest;
use crate::model::id::BackupId;
use crate::model::id::JobId;
use crate::model::id::Target;
use crate::model::job::Job;
use crate::model::job::JobKind;
use crate::model::job::JobState;
use crate::model::layout;
use crate::model::lease::Subject;
use crate::model::machine::Format;
use crate::model::op::BackupOp;
use crate::model::op::Op;
use crate::model::receipt::Consistency;
use crate::model::receipt::Receipt;
use crate::model::record::Failed;
use crate::model::record::Record;
use crate::model::retention::Verdict;
use crate::model::world::Guest;
use crate::model::world::Open;

/// One point in time of a VM.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of the JSON")]
pub struct BackupView {
    /// Sorts by time.
    pub id: BackupId,
    /// Of which VM.
    pub vm: VmRef,
    /// The instant it shows; null while there is none.
    pub created: Option<Timestamp>,
    /// Whether it continues another; null of one that failed.
    pub kind: Option<Kind>,
    /// The backup it continues.
    pub parent: Option<BackupId>,
    /// Counts the chains of the VM from 1.
    pub chain: Option<u32>,
    /// Counts the backups of the chain from 1.
    pub position: Option<u32>,
    /// Outside of any chain.
    pub isolated: bool,
    /// Nothing newer continues it or will.
    pub end_of_chain: bool,
    /// The VM writes to the delta it left.
    pub current: bool,
    /// How it stands.
    pub status: Status,
    /// Of its files.
    pub compression: Compression,
    /// Whether it boots.
    pub validation: Validation,
    /// How that went, the last time; null: never.
    pub validated: Option<Validated>,
    /// How settled the guest was.
    pub consistency: Option<Consistency>,
    /// Bytes of its files.
    pub size: Bytes,
    /// The same before compression.
    pub uncompressed_size: Bytes,
    /// Bytes that the guest sees.
    pub protected_size: Bytes,
    /// Somebody wants it kept.
    pub pinned: bool,
    /// The policy that asked for it.
    pub policy: Option<String>,
    /// The offering it was made under.
    pub offering: Option<String>,
    /// The storage it is on.
    pub storage: Option<String>,
    /// The first schedule it served.
    pub schedule: Option<String>,
    /// The slots it served.
    pub slots: Vec<Slot>,
    /// The longest ago that its files, or any that it continues, were read again; null: some never were.
    pub verified: Option<Timestamp>,
    /// Why it cannot be restored.
    pub unusable: Option<Unusable>,
    /// What it failed with.
    pub error: Option<String>,
    /// Why it is not let go.
    pub kept_by: Vec<String>,
    /// Backups whose files continue its own.
    pub needed_by: Vec<BackupId>,
    /// Bytes that deleting it gives back now.
    pub frees_bytes: Bytes,
    /// What reads or changes it right now.
    pub leased_by: Vec<String>,
    /// One entry a disk.
    pub disks: Vec<DiskView>,
}

/// How a backup stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Status {
    BackingUp,
    BackedUp,
    Failed,
    Unusable,
    Removed,
}

/// How far its compression is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Not asked for.
    None,
    /// Asked for, and not done.
    Pending,
    /// Under way.
    Compressing,
    /// Its files are compressed.
    Compressed,
    /// No file would be smaller: all are as they were.
    Kept,
    /// Tried often enough.
    Failed,
}

/// How far its validation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Validation {
    /// Not asked for.
    None,
    /// To be booted, now or later.
    Pending,
    /// Under way.
    Validating,
    /// Its guest did all it was to do.
    Valid,
    /// Its guest failed at something.
    Invalid,
    /// It could not be judged.
    Unable,
}

/// How it went when a backup was booted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Validated {
    /// When.
    pub at: Timestamp,
    /// What its guest failed at, or why it could not be judged.
    pub reasons: Vec<String>,
    /// A picture of its screen, absolute.
    #[schemars(with = "Option<String>")]
    pub screenshot: Option<Utf8PathBuf>,
}

/// One disk's file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DiskView {
    /// `vda`
    pub target: Target,
    /// Whether it continues another file.
    pub kind: Kind,
    /// Absolute.
    #[schemars(with = "String")]
    pub path: Utf8PathBuf,
    /// The file it continues, absolute.
    #[schemars(with = "Option<String>")]
    pub backing: Option<Utf8PathBuf>,
    /// Of the file.
    pub format: Format,
    /// Bytes that the guest sees.
    pub virtual_size: Bytes,
    /// Bytes of the file.
    pub size: Bytes,
    /// Of the bytes first published.
    pub birth: Digest,
    /// Of the bytes that are there now.
    pub digest: Digest,
}

/// Every backup of a VM, made, going on or failed, in order.
#[must_use]
pub fn of_guest(known: Known<'_>, guest: &Guest) -> Vec<BackupView> {
    let record = &guest.record;
    let verdicts = verdicts(record);
    let made = record.backups.values();
    let mut all: Vec<_> = made
        .map(|backup| viewed(known, guest, backup, verdicts.get(&backup.id)))
        .collect();
    all.extend(record.failures.iter().map(|one| failed(guest, one)));
    for open in &guest.open {
        if let Op::Backup(op) = &open.op
            && !record.backups.contains_key(&op.id)
        {
            all.push(going_on(op, open));
        }
    }
    all.sort_by(|a, b| a.id.cmp(&b.id));
    all
}

/// One that was made.
#[must_use]
pub fn view(known: Known<'_>, guest: &Guest, backup: &Backup) -> BackupView {
    let verdicts = verdicts(&guest.record);
    viewed(known, guest, backup, verdicts.get(&backup.id))
}

/// What the retention in force says.
fn verdicts(record: &Record) -> BTreeMap<BackupId, Verdict> {
    let rules = record.retention.as_ref();
    rules
        .map(|rules| rules.judge(record, Timestamp::MAX))
        .unwrap_or_default()
}

fn viewed(
    known: Known<'_>,
    guest: &Guest,
    backup: &Backup,
    verdict: Option<&Verdict>,
) -> BackupView {
    let record = &guest.record;
    let needed_by = record.needed_by(&backup.id);
    let current = record.current.as_ref() == Some(&backup.id);
    let usable = record.is_usable(&backup.id);
    let status = if backup.marks.removed.is_some() {
        Status::Removed
    } else if usable {
        Status::BackedUp
    } else {
        Status::Unusable
    };
    let ancestor = || Unusable {
        code: "ancestor".to_owned(),
        file: None,
    };
    let unusable = backup.marks.unusable.clone();
    let (validation, validated) = validation(known, guest, backup);
    let slots = backup.slots.clone();
    let goes = record.goes_with(&BTreeSet::from([backup.id.clone()]));
    let goes = goes.iter().filter_map(|id| record.backups.get(id));
    BackupView {
        id: backup.id.clone(),
        vm: guest.vm.clone(),
        created: Some(backup.created),
        kind: Some(backup.kind()),
        parent: backup.parent.clone(),
        chain: backup.link.map(|link| link.chain),
        position: backup.link.map(|link| link.position),
        isolated: backup.is_isolated(),
        end_of_chain: record.ended_chain(backup),
        current,
        status,
        compression: compression(guest, backup),
        validation,
        validated,
        consistency: Some(backup.consistency),
        size: backup.size(),
        uncompressed_size: backup.uncompressed_size(),
        protected_size: backup.protected_size(),
        pinned: backup.marks.pinned,
        policy: backup.policy.clone(),
        offering: backup.offering.as_ref().map(|copy| copy.name.clone()),
        storage: Some(known.storage_name(&backup.storage)),
        schedule: slots.first().map(|slot| slot.schedule.clone()),
        slots,
        verified: record.verified(&backup.id),
        unusable: unusable.or_else(|| (!usable).then(ancestor)),
        error: None,
        kept_by: kept_by(backup, verdict),
        frees_bytes: goes.map(|backup| backup.size()).sum(),
        needed_by,
        leased_by: leased_by(known, &backup.id),
        disks: disks(known, backup),
    }
}

fn compression(guest: &Guest, backup: &Backup) -> Compression {
    if backup.marks.compressed {
        let mut disks = backup.disks.values();
        return if disks.any(|disk| disk.uncompressed.is_some()) {
            Compression::Compressed
        } else {
            Compression::Kept
        };
    }
    let jobs = guest.record.jobs.values();
    let of_it = |job: &&Job| job.backup == backup.id && job.kind != JobKind::Validate;
    // One that begins anew counts, not what was ended after it.
    let Some(job) = jobs.filter(of_it).rfind(|job| job.state != JobState::Done) else {
        return Compression::None;
    };
    let open = attempt(guest, job);
    match job.state {
        JobState::Waiting if open.is_some_and(|open| open.alive) => Compression::Compressing,
        JobState::Waiting => Compression::Pending,
        JobState::Failed => Compression::Failed,
        JobState::Done | JobState::Cancelled => Compression::None,
    }
}

/// The last attempt counts: what is on record is of the one before, where that was to be judged again.
fn validation(known: Known<'_>, guest: &Guest, backup: &Backup) -> (Validation, Option<Validated>) {
    let record = &guest.record;
    let job = JobId::of(&backup.id, JobKind::Validate.as_str());
    let job = record.jobs.get(&job);
    let judged = backup.marks.validated.as_deref();
    let validated = judged.map(|how| Validated {
        at: how.at,
        reasons: how.reasons.clone(),
        screenshot: how
            .pictured
            .then(|| dir(known, backup).join(layout::SCREENSHOT)),
    });
    let open = job.and_then(|job| attempt(guest, job));
    if open.is_some_and(|open| open.alive) {
        return (Validation::Validating, validated);
    }
    let over = |job: &&Job| job.state != JobState::Cancelled;
    let failed = job
        .filter(over)
        .and_then(|job| Some((job.error.as_ref()?, job.ended?)));
    if let Some((error, at)) = failed {
        let reasons = vec![error.text.clone()];
        let screenshot = None;
        let unable = Validated {
            at,
            reasons,
            screenshot,
        };
        return (Validation::Unable, Some(unable));
    }
    let state = match judged {
        Some(how) if how.is_valid() => Validation::Valid,
        Some(_) => Validation::Invalid,
        None if job.is_some_and(Job::is_waiting) => Validation::Pending,
        None if job.is_none() && is_to_be_booted(record, backup) => Validation::Pending,
        None => Validation::None,
    };
    (state, validated)
}

/// The newest good one, where its offering wants that.
fn is_to_be_booted(record: &Record, backup: &Backup) -> bool {
    let offering = backup.offering.as_ref();
    offering.is_some_and(|offering| offering.spec.validate.is_some())
        && record.last_good().is_some_and(|last| last.id == backup.id)
}

/// While no retention is in force only a pin says anything.
fn kept_by(backup: &Backup, verdict: Option<&Verdict>) -> Vec<String> {
    if let Some(verdict) = verdict {
        return verdict.reasons();
    }
    let pinned = backup.marks.pinned.then(|| "pinned".to_owned());
    pinned.into_iter().collect()
}

fn leased_by(known: Known<'_>, backup: &BackupId) -> Vec<String> {
    let opens = known.guests.values().flat_map(|guest| &guest.open);
    let mut holders = Vec::new();
    for open in opens {
        let Some(guest) = open.op.guest().and_then(|vm| known.guests.get(&vm.uuid)) else {
            continue;
        };
        let leases = action::leases(&open.op, &guest.record);
        let subject = Subject::Backup(backup.clone());
        if leases.iter().any(|lease| lease.subject == subject) {
            let verb = open.op.verb().as_str().replace('_', " ");
            let name = open.op.vm().map_or("", |vm| &vm.name);
            holders.push(format!("{verb} {name} (pid {})", open.pid));
        }
    }
    holders
}

fn dir(known: Known<'_>, backup: &Backup) -> Utf8PathBuf {
    let storage = known.storage(&backup.storage.id);
    let storage = storage.map_or_else(Utf8PathBuf::new, |(_, one)| one.path.clone());
    layout::backup_dir(&storage, &backup.vm.uuid, &backup.id)
}

fn disks(known: Known<'_>, backup: &Backup) -> Vec<DiskView> {
    let own = dir(known, backup);
    let dir = |id: &BackupId| own.with_file_name(id.as_str());
    backup
        .disks
        .iter()
        .map(|(target, file)| DiskView {
            target: target.clone(),
            kind: match file.parent {
                Some(_) => Kind::Incremental,
                None => Kind::Full,
            },
            path: dir(&backup.id).join(&file.name),
            backing: file
                .parent
                .as_ref()
                .map(|edge| dir(&edge.backup).join(layout::disk_file(target))),
            format: Format::Qcow2,
            virtual_size: file.virtual_size,
            size: file.size,
            birth: file.birth,
            digest: file.digest,
        })
        .collect()
}

fn failed(guest: &Guest, failed: &Failed) -> BackupView {
    BackupView {
        error: Some(failed.error.text.clone()),
        slots: failed.slots.clone(),
        schedule: failed.slots.first().map(|slot| slot.schedule.clone()),
        ..empty(failed.backup.clone(), guest.vm.clone(), Status::Failed)
    }
}

fn going_on(op: &BackupOp, open: &Open) -> BackupView {
    let created = open.receipts.iter().flatten().flatten();
    let created = created.into_iter().find_map(|receipt| match receipt {
        Receipt::Frozen { at, .. } => Some(*at),
        _ => None,
    });
    BackupView {
        created,
        kind: Some(match op.parent {
            Some(_) => Kind::Incremental,
            None => Kind::Full,
        }),
        parent: op.parent.clone(),
        chain: op.link.map(|link| link.chain),
        position: op.link.map(|link| link.position),
        isolated: op.link.is_none(),
        policy: op.policy.clone(),
        offering: op.offering.as_ref().map(|copy| copy.name.clone()),
        storage: Some(op.storage.is.name.clone()),
        schedule: op.slots.first().map(|slot| slot.schedule.clone()),
        slots: op.slots.clone(),
        error: open.error.as_ref().map(|error| error.text.clone()),
        leased_by: vec![format!("backup {} (pid {})", op.vm.name, open.pid)],
        ..empty(op.id.clone(), op.vm.clone(), Status::BackingUp)
    }
}

/// One without files.
fn empty(id: BackupId, vm: VmRef, status: Status) -> BackupView {
    BackupView {
        id,
        vm,
        created: None,
        kind: None,
        parent: None,
        chain: None,
        position: None,
        isolated: false,
        end_of_chain: false,
        current: false,
        status,
        compression: Compression::None,
        validation: Validation::None,
        validated: None,
        consistency: None,
        size: Bytes(0),
        uncompressed_size: Bytes(0),
        protected_size: Bytes(0),
        pinned: false,
        policy: None,
        offering: None,
        storage: None,
        schedule: None,
        slots: Vec::new(),
        verified: None,
        unusable: None,
        error: None,
        kept_by: Vec::new(),
        needed_by: Vec::new(),
        frees_bytes: Bytes(0),
        leased_by: Vec::new(),
        disks: Vec::new(),
    }
}
