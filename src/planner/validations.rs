//! Backups that are to be booted: of each VM whose offering wants it the newest good one, when its files
//! are what they will stay, and not more often than once in an interval.

use camino::Utf8Path;
use camino::Utf8PathBuf;
use jiff::SignedDuration;
use serde_json::json;

use crate::model::backup::Backup;
use crate::model::backup::Validated;
use crate::model::id::BackupId;
use crate::model::id::JobId;
use crate::model::id::VmId;
use crate::model::job::Job;
use crate::model::job::JobKind;
use crate::model::machine::Disk;
use crate::model::op::Command;
use crate::model::op::Op;
use crate::model::op::Retry;
use crate::model::op::Trial;
use crate::model::op::Validate;
use crate::model::op::Wait;
use crate::model::plan::Plan;
use crate::model::policy::Policy;
use crate::model::policy::Settings;
use crate::model::policy::Validation;
use crate::model::policy::ValidationSettings;
use crate::model::policy::ValidationStep;
use crate::model::reason::Block;
use crate::model::reason::Reason;
use crate::model::record::Record;
use crate::model::seconds::later;
use crate::model::world::Guest;
use crate::model::world::World;
use crate::planner::Options;
use crate::planner::draft::Draft;
use crate::planner::draft::Key;
use crate::planner::draft::Wish;
use crate::planner::jobs;
use crate::planner::recover;
use crate::planner::removal;
use crate::planner::request::about;
use crate::planner::restore;

/// Plans what is due of each VM.
pub(super) fn plan(draft: &mut Draft<'_>, policy: &Policy) {
    let settings = &policy.settings.validation;
    for vm in draft.now.guests.keys() {
        let Some(guest) = draft.ahead.guests.get(vm) else {
            continue;
        };
        let assigned = guest.record.assigned.as_ref();
        let how = assigned.and_then(|held| of_policy(policy, &held.policy));
        let newest = guest.record.last_good().map(|backup| backup.id.clone());
        let wanted = how.filter(|_| settings.enabled).zip(newest);
        end_others(draft, vm, wanted.as_ref().map(|(_, backup)| backup));
        if let Some((how, backup)) = wanted {
            try_once(draft, vm, &backup, &how, policy);
        }
    }
}

/// How backups of a policy's VMs are validated, where they are.
fn of_policy(policy: &Policy, name: &str) -> Option<Validation> {
    let spec = policy.policies.get(name).filter(|spec| !spec.paused)?;
    let base = policy.offerings.get(&spec.offering)?.validate.as_deref()?;
    Some(
        spec.validate
            .as_ref()
            .map_or_else(|| base.clone(), |own| own.or(base)),
    )
}

/// What waits for another attempt and has been overtaken by a newer backup, or is wanted no more.
fn end_others(draft: &mut Draft<'_>, vm: &VmId, wanted: Option<&BackupId>) {
    let over = |job: &Job| job.is_waiting() && Some(&job.backup) != wanted;
    for job in jobs::at_rest(draft, vm, JobKind::Validate) {
        if over(&job)
            && let Some(guest) = draft.ahead.guests.get(vm)
        {
            let wish = jobs::over(draft, guest, &job, Reason::Overtaken);
            draft.add(wish);
        }
    }
}

fn try_once(draft: &mut Draft<'_>, vm: &VmId, id: &BackupId, how: &Validation, policy: &Policy) {
    let Some(guest) = draft.ahead.guests.get(vm) else {
        return;
    };
    let record = &guest.record;
    let Some(backup) = record.backups.get(id) else {
        return;
    };
    let settings = &policy.settings.validation;
    let retry = Retry::of(JobKind::Validate, &policy.settings);
    let job = record.jobs.get(&job_of(id));
    let job = job.map(|job| job.clone().under(&retry));
    if backup.marks.validated.is_some()
        || job.as_ref().is_some_and(|job| !job.is_waiting())
        || is_tried(draft, vm)
        || !is_due(draft, record, how.interval.unwrap_or(settings.interval).0)
        || policy.settings.compression.enabled && is_to_be_compressed(record, id)
    {
        return;
    }
    let reason = Reason::JobWaits {
        job: job_of(id),
        failed_attempts: job.as_ref().map_or(0, |job| job.attempts.into()),
    };
    let early = job.filter(|job| job.is_early(draft.now.now)).map(|job| {
        let until = job.not_before;
        let text = format!("attempt {} failed, tried again at {until}", job.attempts);
        let until = Some(until);
        Block::Held { until, text }
    });
    let mut wish = wish(draft, guest, backup, how, (settings, retry), reason);
    wish.blocks.extend(early);
    draft.add(wish);
}

fn job_of(backup: &BackupId) -> JobId {
    JobId::of(backup, JobKind::Validate.as_str())
}

/// A living run is at it, or an interrupted one is taken up.
fn is_tried(draft: &Draft<'_>, vm: &VmId) -> bool {
    let seen = draft.now.guests.get(vm);
    let mut opens = seen.into_iter().flat_map(|guest| &guest.open);
    opens.any(|open| matches!(open.op, Op::Validate(_)))
}

/// Whether the VM was not booted for so many seconds.
fn is_due(draft: &Draft<'_>, record: &Record, interval: u64) -> bool {
    let interval = SignedDuration::from_secs(i64::try_from(interval).unwrap_or(i64::MAX));
    record
        .last_validated()
        .is_none_or(|(_, how)| later(how.at, interval) <= draft.now.now)
}

/// Whether its files will be others yet.
fn is_to_be_compressed(record: &Record, backup: &BackupId) -> bool {
    let mut jobs = record.jobs.values();
    jobs.any(|job| job.backup == *backup && job.kind != JobKind::Validate && job.is_waiting())
}

fn wish(
    draft: &Draft<'_>,
    guest: &Guest,
    backup: &Backup,
    how: &Validation,
    (settings, retry): (&ValidationSettings, Retry),
    reason: Reason,
) -> Wish {
    let trial = trial(how, settings, &guest.record);
    let asked = reason == Reason::Asked;
    let dir = beside(guest, backup);
    let at_once = u32::try_from(settings.concurrent).ok().filter(|n| *n > 0);
    let op = |of| {
        Op::Validate(Box::new(Validate {
            of,
            dir,
            trial,
            retry,
            at_once,
            asked,
        }))
    };
    let mut wish = removal::wish(draft, guest, &backup.id, op, reason);
    wish.change.after = json!({ "job": job_of(&backup.id) });
    let (vm, id) = (&guest.vm.uuid, &backup.id);
    let finalize = JobId::of(id, JobKind::Finalize.as_str());
    wish.needs = vec![
        Key::Backup(vm.clone(), id.clone()),
        Key::Job(vm.clone(), finalize),
        Key::Job(vm.clone(), job_of(id)),
    ];
    wish
}

/// What the guest is put through. Steps that nobody named are those that suit it.
fn trial(how: &Validation, settings: &ValidationSettings, record: &Record) -> Trial {
    let steps = how.steps.as_ref();
    let has = |step| steps.is_some_and(|steps| steps.contains(&step));
    let unless_named = |step| steps.is_none() || has(step);
    let command = how.command.as_ref().map(|path| Command {
        path: path.clone(),
        arguments: how.arguments.clone().unwrap_or_default(),
        timeout: how.command_timeout.unwrap_or(settings.command_timeout),
        exit_code: how.expected_exit_code.unwrap_or(0),
        output: how.expected_output.clone(),
    });
    let ends = how.end_chain_on_failure;
    let failed = record.last_validated().map(|(_, how)| how);
    Trial {
        boot: match steps {
            None => Wait::WhereKnown,
            Some(_) if has(ValidationStep::WaitForBoot) => Wait::Always,
            Some(_) => Wait::Never,
        },
        boot_timeout: how.boot_timeout.unwrap_or(settings.boot_timeout),
        screenshot: unless_named(ValidationStep::Screenshot)
            .then(|| how.screenshot_wait.unwrap_or(settings.screenshot_wait)),
        command: command.filter(|_| unless_named(ValidationStep::ExecuteCommand)),
        limit: settings.timeout,
        memory: settings.memory,
        vcpus: u32::try_from(settings.vcpus).ok().filter(|n| *n > 0),
        // Once until a guest does well again: what is wrong with all of them is wrong with full ones.
        ends_chain: ends.unwrap_or(settings.end_chain_on_failure)
            && failed.is_none_or(Validated::is_valid),
    }
}

/// The directory of the VM's disks, or libvirt's own.
fn beside(guest: &Guest, backup: &Backup) -> Utf8PathBuf {
    let machine = guest.machine.iter();
    let disks = machine.flat_map(|machine| &machine.disks);
    let heads = disks
        .filter(|disk| backup.disks.contains_key(&disk.target))
        .filter_map(Disk::head);
    let mut dirs = heads.filter_map(Utf8Path::parent);
    dirs.next()
        .map_or_else(|| restore::LIBVIRT_IMAGES.into(), ToOwned::to_owned)
}

/// Boots a backup now, whatever came of it before.
#[must_use]
pub fn ask(
    (vm, backup): (&VmId, &BackupId),
    policy: Option<&Policy>,
    world: &World,
    options: &Options,
) -> Plan {
    let mut draft = Draft::new(world, options, "UTC");
    let guest = world.guests.get(vm);
    about(&mut draft, guest);
    recover::plan(&mut draft);
    if let Some((guest, backup)) =
        guest.and_then(|guest| Some((guest, guest.record.backups.get(backup)?)))
    {
        let settings = policy.map_or_else(Settings::default, |policy| policy.settings.clone());
        let assigned = guest.record.assigned.as_ref();
        let how = assigned.and_then(|held| of_policy(policy?, &held.policy));
        // Its result is for whoever asked: nobody tries it again.
        let retry = Retry {
            attempts: Some(1),
            interval: settings.validation.retry_interval,
        };
        let how = how.unwrap_or_default();
        let settings = (&settings.validation, retry);
        let wish = wish(&draft, guest, backup, &how, settings, Reason::Asked);
        draft.add(wish);
    }
    draft.finish(None, Vec::new(), Vec::new())
}
