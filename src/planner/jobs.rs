//! Jobs that wait: what may be tried now, what is held until later, and what ends because its backup
//! was let go.
//!
//! Backups of a VM follow one another; its compressions do not wait for them, nor they for it. When a
//! backup is booted is for `validations`.

use serde_json::json;

use crate::model::backup::Backup;
use crate::model::bytes::Bytes;
use crate::model::id::JobId;
use crate::model::id::VmId;
use crate::model::job::Job;
use crate::model::job::JobKind;
use crate::model::op::Compress;
use crate::model::op::Compression;
use crate::model::op::Group;
use crate::model::op::OneBackup;
use crate::model::op::OneJob;
use crate::model::op::Op;
use crate::model::op::Phase;
use crate::model::op::Retry;
use crate::model::plan::Class;
use crate::model::plan::Plan;
use crate::model::policy::CompressionLibrary;
use crate::model::policy::CompressionSettings;
use crate::model::policy::Policy;
use crate::model::policy::Settings;
use crate::model::reason::Block;
use crate::model::reason::Reason;
use crate::model::world::Guest;
use crate::model::world::World;
use crate::planner::Options;
use crate::planner::draft::Draft;
use crate::planner::draft::Key;
use crate::planner::draft::Wish;
use crate::planner::draft::blocked;
use crate::planner::removal;
use crate::planner::request::about;

/// Bytes a second that are reckoned with where there is no limit.
const RATE: u64 = 100_000_000;
/// The first QEMU that compresses with zstd.
const ZSTD: [u32; 2] = [5, 1];
/// The first QEMU that keeps to a rate.
const RATES: [u32; 2] = [5, 2];

/// Plans what waits, a swap before what takes long, the oldest first.
pub(super) fn plan(draft: &mut Draft<'_>, policy: &Policy) {
    for kind in [JobKind::Finalize, JobKind::Start] {
        let retry = Retry::of(kind, &policy.settings);
        for vm in draft.now.guests.keys() {
            let known = at_rest(draft, vm, kind).into_iter();
            let mut jobs: Vec<_> = known.map(|job| job.under(&retry)).collect();
            jobs.retain(Job::is_waiting);
            jobs.sort_by_key(|job| (job.not_before, job.id()));
            for job in jobs {
                try_once(draft, vm, &job, &policy.settings);
                // What a start wishes for comes in the same plan.
                if kind == JobKind::Start {
                    let next = JobId::of(&job.backup, JobKind::Finalize.as_str());
                    let ahead = draft.ahead.guests.get(vm);
                    let wished = ahead.and_then(|guest| guest.record.jobs.get(&next));
                    if let Some(next) = wished.filter(|job| job.is_waiting()).cloned()
                        && !is_known(draft, vm, &next)
                    {
                        try_once(draft, vm, &next, &policy.settings);
                    }
                }
            }
        }
    }
}

/// A job that waits now already, and was planned as such.
fn is_known(draft: &Draft<'_>, vm: &VmId, job: &Job) -> bool {
    let now = draft.now.guests.get(vm);
    let known = now.and_then(|guest| guest.record.jobs.get(&job.id()));
    known.is_some_and(Job::is_waiting)
}

/// The jobs of a kind, apart from those that somebody is at or that are taken up.
pub(super) fn at_rest(draft: &Draft<'_>, vm: &VmId, kind: JobKind) -> Vec<Job> {
    let Some(guest) = draft.ahead.guests.get(vm) else {
        return Vec::new();
    };
    if !draft.admits(Group::Jobs, Some(&guest.vm.name)) {
        return Vec::new();
    }
    let seen = draft.now.guests.get(vm);
    let opens = seen.into_iter().flat_map(|guest| &guest.open);
    let tried: Vec<_> = opens
        .filter_map(|open| Some(open.op.attempt()?.job))
        .collect();
    let mut jobs: Vec<_> = guest.record.jobs.values().cloned().collect();
    jobs.retain(|job| job.kind == kind && !tried.contains(&job.id()));
    jobs
}

fn try_once(draft: &mut Draft<'_>, vm: &VmId, job: &Job, settings: &Settings) {
    let retry = Retry::of(job.kind, settings);
    let settings = &settings.compression;
    let Some(guest) = draft.ahead.guests.get(vm) else {
        return;
    };
    let Some(backup) = guest.record.backups.get(&job.backup) else {
        return;
    };
    if !backup.is_whole() {
        let wish = over(draft, guest, job, Reason::NotListed);
        draft.add(wish);
        return;
    }
    if !settings.enabled {
        return;
    }
    let (phase, blocks) = phase(draft.now, backup, job.kind, settings);
    let op = |of| Op::Compress(Box::new(Compress { of, phase, retry }));
    let reason = Reason::JobWaits {
        job: job.id(),
        failed_attempts: job.attempts.into(),
    };
    let mut wish = removal::wish(draft, guest, &job.backup, op, reason);
    wish.address = format!("compress.{}/{}", guest.vm.name, job.id());
    wish.blocks.extend(blocks);
    if job.is_early(draft.now.now) {
        let until = job.not_before;
        let text = format!("attempt {} failed, tried again at {until}", job.attempts);
        let until = Some(until);
        wish.blocks.push(Block::Held { until, text });
    }
    wish.change.after = json!({ "job": job.id(), "library": library_of(&wish.op) });
    if job.kind == JobKind::Start {
        let size = backup.size();
        let rate = settings.rate_limit.map_or(RATE, |rate| rate.0.max(1));
        wish.estimate.bytes = size;
        wish.estimate.seconds = size.0.div_ceil(rate);
    } else {
        wish.estimate.frees = freed(backup, job);
    }
    wish.needs = vec![
        Key::Backup(vm.clone(), job.backup.clone()),
        Key::Job(vm.clone(), job.id()),
    ];
    let next = JobId::of(&job.backup, JobKind::Finalize.as_str());
    wish.gives = vec![Key::Job(vm.clone(), next)];
    draft.add(wish);
}

/// The phase that a job is for, and what this host cannot do of it.
fn phase(
    world: &World,
    backup: &Backup,
    kind: JobKind,
    settings: &CompressionSettings,
) -> (Phase, Option<Block>) {
    if kind != JobKind::Start {
        return (Phase::Finalize, None);
    }
    let offering = backup.offering.as_ref().map(|copy| &copy.spec);
    let wanted = offering.map_or_else(CompressionLibrary::default, |spec| spec.compression_library);
    let phase = Phase::Start {
        how: compression(world, wanted, settings),
        room: thousandths(settings.minimum_free),
        timeout: settings.timeout,
        at_once: u32::try_from(settings.concurrent).ok().filter(|n| *n > 0),
    };
    (phase, cannot(world, settings))
}

/// How this host compresses: as wanted, or with what every QEMU can do.
pub(super) fn compression(
    world: &World,
    wanted: CompressionLibrary,
    settings: &CompressionSettings,
) -> Compression {
    let library = if is_at_least(&world.host.qemu, ZSTD) {
        wanted
    } else {
        CompressionLibrary::Zlib
    };
    Compression {
        library,
        coroutines: settings.coroutines,
        rate: settings.rate_limit,
    }
}

/// What of the settings is too much for this host's QEMU.
pub(super) fn cannot(world: &World, settings: &CompressionSettings) -> Option<Block> {
    let qemu = &world.host.qemu;
    let old = settings.rate_limit.is_some() && !is_at_least(qemu, RATES);
    old.then(|| {
        blocked(
            "qemu_too_old",
            format!("QEMU {qemu} cannot compress at a limited rate: 5.2 can"),
            "settings: take backup.compression.rate.limit out, or say 0",
        )
    })
}

/// Whether a version is another one or a later one; one that says nothing is.
fn is_at_least(version: &str, least: [u32; 2]) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().ok());
    match (parts.next().flatten(), parts.next().flatten()) {
        (Some(major), minor) => [major, minor.unwrap_or(0)] >= least,
        (None, _) => true,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a factor is checked to be from 0 to 1000"
)]
fn thousandths(factor: f64) -> u64 {
    (factor * 1000.0).round() as u64
}

fn library_of(op: &Op) -> Option<&'static str> {
    match op {
        Op::Compress(op) => match &op.phase {
            Phase::Start { how, .. } => Some(how.library.as_str()),
            Phase::Finalize => None,
        },
        _ => None,
    }
}

/// What a swap gives back.
fn freed(backup: &Backup, job: &Job) -> Bytes {
    let of = |(target, file): (_, &crate::model::backup::Compressed)| {
        let before = backup.disks.get(target).map(|disk| disk.size);
        before.unwrap_or_default().less(file.size)
    };
    job.files.iter().map(of).sum()
}

/// The end of a job that nobody wants any more.
pub(super) fn over(draft: &Draft<'_>, guest: &Guest, job: &Job, why: Reason) -> Wish {
    let mut wish = decided(draft, guest, job, Op::JobCancel, why);
    wish.class = Class::Routine;
    wish
}

fn decided(
    draft: &Draft<'_>,
    guest: &Guest,
    job: &Job,
    op: impl FnOnce(OneJob) -> Op,
    reason: Reason,
) -> Wish {
    let kind = job.kind;
    let op = |of: OneBackup| op(OneJob { of, kind });
    let mut wish = removal::wish(draft, guest, &job.backup, op, reason);
    let verb = wish.op.verb().as_str();
    wish.address = format!("{verb}.{}/{}", guest.vm.name, job.id());
    wish.change.before = json!({ "job": job.id(), "state": job.state });
    wish
}

/// What a person asks of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// That it is tried again, from the beginning.
    Retry,
    /// That it ends.
    Cancel,
}

/// Tries a job again, or ends it.
#[must_use]
pub fn ask(asked: Asked, (vm, job): (&VmId, &JobId), world: &World, options: &Options) -> Plan {
    let mut draft = Draft::new(world, options, "UTC");
    let guest = world.guests.get(vm);
    about(&mut draft, guest);
    if let Some((guest, job)) = guest.and_then(|guest| Some((guest, guest.record.jobs.get(job)?))) {
        let op = match asked {
            Asked::Retry => Op::JobRetry,
            Asked::Cancel => Op::JobCancel,
        };
        let wish = decided(&draft, guest, job, op, Reason::Asked);
        draft.add(wish);
    }
    draft.finish(None, Vec::new(), Vec::new())
}
