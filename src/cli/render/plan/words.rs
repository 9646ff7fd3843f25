//! Reasons, blocks and descriptions in words.

use std::fmt::Write;

use jiff::tz::TimeZone;

use crate::cli::render::text;
use crate::model::op::DiskPlan;
use crate::model::op::Verb;
use crate::model::op::WhyFull;
use crate::model::plan::Action;
use crate::model::plan::Plan;
use crate::model::policy::CompressMode;
use crate::model::policy::Offering;
use crate::model::policy::Schedule;
use crate::model::policy::VmPolicy;
use crate::model::reason::Block;
use crate::model::reason::Reason;

/// What a verb does, as a report says it: `backup`, `add offering`.
#[must_use]
pub fn verb(verb: Verb) -> &'static str {
    match verb {
        Verb::StorageCreate => "add storage",
        Verb::OfferingCreate => "add offering",
        Verb::OfferingUpdate => "change offering",
        Verb::OfferingDelete => "remove offering",
        Verb::PolicyCreate => "add policy",
        Verb::PolicyUpdate => "change policy",
        Verb::PolicyDelete => "remove policy",
        Verb::Assign => "assign",
        Verb::Unassign => "unassign",
        Verb::Retain => "set retention of",
        Verb::Adopt => "adopt",
        Verb::Tag => "tag",
        Verb::Recover => "recover",
        Verb::Abandon => "abandon",
        Verb::Backup => "backup",
        Verb::Merge => "merge",
        Verb::Expire => "let go",
        Verb::Delete => "delete",
        Verb::Pin => "pin",
        Verb::Unpin => "unpin",
        Verb::MarkUnusable => "mark unusable",
        Verb::Verify => "verify",
        Verb::Clear => "remove what is left over of",
        Verb::Files => "read files of",
        Verb::Compress => "compress",
        Verb::Validate => "validate",
        Verb::JobRetry => "try again a job of",
        Verb::JobCancel => "end a job of",
        Verb::RestoreVm | Verb::RestoreDisk | Verb::RestoreNew => "restore",
        Verb::Consolidate => "consolidate",
        Verb::Discard => "delete what a restore replaced of",
        Verb::SnapshotCreate => "snapshot",
        Verb::SnapshotRevert => "revert",
        Verb::SnapshotDelete => "delete a snapshot of",
    }
}

/// Why an action is planned; nothing where what it does says it.
#[must_use]
pub fn reason(action: &Action, zone: &TimeZone) -> Option<String> {
    Some(match &action.reason {
        Reason::New
        | Reason::Changed { .. }
        | Reason::Asked
        | Reason::FirstBackup
        | Reason::Retention { .. }
        | Reason::JobWaits {
            failed_attempts: 0, ..
        } => return None,
        Reason::Rotation { kept_by_before, .. } => was_kept("was", kept_by_before),
        Reason::PolicyChange { kept_by_before, .. } => was_kept("kept now by", kept_by_before),
        Reason::Outlived => "its VM has a good backup since".to_owned(),
        Reason::Dropped => "no longer in the policy".to_owned(),
        Reason::Selected { by, also, .. } if also.is_empty() => by.clone(),
        Reason::Selected { by, also, .. } => {
            format!("{by}; also {}, of lower priority", text::and(also))
        }
        Reason::Damaged {
            file,
            missing,
            read,
            continued_by,
        } => {
            let file = file.as_deref().unwrap_or("a file");
            let what = if *missing {
                "is missing"
            } else if *read {
                "has other bytes than it was written with"
            } else {
                "has another length than it was written with"
            };
            let mut said = format!("{file} {what}");
            match continued_by.len() {
                0 => {}
                n => {
                    let others = text::count(n, "backup");
                    let _ = write!(said, "; {others} cannot be restored without it");
                }
            }
            said
        }
        Reason::Whole => "it was read again, and every file is what was written".to_owned(),
        Reason::Unread { since: Some(since) } => {
            format!("last read {}", text::minute(*since, zone))
        }
        Reason::Unread { since: None } => "never read since it was made".to_owned(),
        Reason::ReadsBackup { backup } => format!("it runs from the files of {backup}"),
        Reason::JobWaits {
            failed_attempts, ..
        } => format!("attempt {}", failed_attempts + 1),
        Reason::Overtaken => "a newer backup is booted instead, or none is to be".to_owned(),
        Reason::NotListed => "its backup was let go, or is damaged".to_owned(),
        Reason::Unneeded => "it was let go, and nothing needs it any more".to_owned(),
        Reason::MovedHere { owner, since } => {
            let since = text::minute(*since, zone);
            format!("it runs here, and its backups belong to {owner} since {since}")
        }
        Reason::NotSelected => "no policy selects it any more".to_owned(),
        Reason::SlotDue {
            schedules,
            due_at,
            late_by_seconds,
            superseded_slots,
            failed_attempts,
            ..
        } => {
            let due = text::minute(*due_at, zone);
            let mut said = format!("{}, due {due}", text::and(schedules));
            if *late_by_seconds >= 600 {
                let _ = write!(said, ", {} late", text::length(*late_by_seconds));
            }
            match superseded_slots {
                0 => {}
                1 => said += ", for an earlier slot as well",
                n => {
                    let _ = write!(said, ", for {n} earlier slots as well");
                }
            }
            if *failed_attempts > 0 {
                let _ = write!(said, ", attempt {}", failed_attempts + 1);
            }
            said
        }
        Reason::Interrupted {
            stage,
            stages,
            error,
            ..
        } if action.verb == Verb::Abandon => {
            let why = error.as_deref().unwrap_or("it was interrupted");
            format!("at step {} of {stages}: {why}", stage + 1)
        }
        Reason::Interrupted { .. } => interrupted(&action.reason)?,
    })
}

/// How far an action got, and what becomes of it.
fn interrupted(reason: &Reason) -> Option<String> {
    let Reason::Interrupted {
        stage,
        stages,
        doing,
        error,
        turning_back,
        ..
    } = reason
    else {
        return None;
    };
    Some(match (error, turning_back) {
        (_, true) => {
            let why = error.as_deref().unwrap_or("it was turned back");
            format!("it failed ({why}) and is taken back")
        }
        (Some(error), false) => format!(
            "it failed at step {} of {stages} ({error}) and goes on: {}",
            stage + 1,
            first(doing)
        ),
        (None, false) => format!(
            "it was interrupted at step {} of {stages} and goes on: {}",
            stage + 1,
            first(doing)
        ),
    })
}

/// What kept a backup until retention lets it go.
fn was_kept(how: &str, by: &[String]) -> String {
    match by {
        [] => "no rule keeps it".to_owned(),
        by => format!("{how} {}", text::and(by)),
    }
}

/// The first of several things that are done side by side.
fn first(doing: &str) -> String {
    let mut all = doing.split("; ");
    let first = all.next().unwrap_or_default();
    match all.count() {
        0 => first.to_owned(),
        more => format!("{first}, and {}", text::count(more, "more step")),
    }
}

/// Why an action is not done, and what to do about it.
#[must_use]
pub fn block(block: &Block, plan: &Plan, zone: &TimeZone) -> (String, Option<String>) {
    match block {
        Block::Blocked(refusal) => (refusal.text.clone(), refusal.hint.clone()),
        Block::Held { until, text } => match until {
            Some(until) => {
                let until = text::minute(*until, zone);
                (format!("{text} (waits until {until})"), None)
            }
            None => (text.clone(), None),
        },
        Block::Busy { holder } => (format!("busy: {holder}"), None),
        Block::Stale { text } => (format!("stale: {text}"), None),
        Block::Waits { action } => {
            let name = plan.name_of(action);
            (format!("it needs {name}, which is not done"), None)
        }
    }
}

/// An offering in a line.
#[must_use]
pub fn offering(offering: &Offering) -> String {
    let mut parts = Vec::new();
    if offering.compress {
        let library = offering.compression_library.as_str();
        let inline = match offering.compress_mode {
            CompressMode::Job => "",
            CompressMode::Inline => " while copying",
        };
        parts.push(format!("compress with {library}{inline}"));
    }
    if offering.validate.is_some() {
        parts.push("validate".to_owned());
    }
    if offering.allow_quick_restore {
        parts.push("quick restore".to_owned());
    }
    if offering.allow_extract_file {
        parts.push("extract files".to_owned());
    }
    parts.push(match offering.backup_chain_size {
        Some(n) if n < 1 => "chains without end".to_owned(),
        Some(n) => format!("chains of {n}"),
        None => "chains as the settings say".to_owned(),
    });
    parts.join(", ")
}

/// A policy in a line.
#[must_use]
pub fn policy(policy: &VmPolicy) -> String {
    let mut said = format!("offering {}", policy.offering);
    if let Some(storage) = &policy.storage {
        let _ = write!(said, ", storage {storage}");
    }
    if policy.paused {
        said += ", paused";
    }
    said
}

/// A schedule in a line.
#[must_use]
pub fn schedule(name: &str, schedule: &Schedule) -> String {
    let mut said = format!("{name}: {} ({})", schedule.cron, schedule.timezone);
    if schedule.isolated {
        said += ", isolated";
    }
    if let Some(storage) = &schedule.storage {
        let _ = write!(said, ", to {storage}");
    }
    if schedule.paused {
        said += ", paused";
    }
    said
}

/// Which disks are copied whole although others are not, and why; or why all are.
#[must_use]
pub fn disks<'a>(disks: impl IntoIterator<Item = (&'a str, &'a DiskPlan)>) -> Option<String> {
    let disks: Vec<_> = disks.into_iter().collect();
    let full: Vec<_> = disks
        .iter()
        .filter_map(|(name, plan)| match plan {
            DiskPlan::Full { because } => Some((*name, because)),
            DiskPlan::Incremental => None,
        })
        .collect();
    let (_, first) = full.first()?;
    if full.len() == disks.len() {
        return why_full(**first).map(str::to_owned);
    }
    let each = full
        .iter()
        .map(|(name, because)| match why_full(**because) {
            Some(why) => format!("{name} full ({why})"),
            None => format!("{name} full"),
        });
    Some(each.collect::<Vec<_>>().join(", "))
}

/// Nothing for what goes without saying.
fn why_full(because: WhyFull) -> Option<&'static str> {
    match because {
        WhyFull::FirstOfChain | WhyFull::Isolated | WhyFull::Asked => None,
        WhyFull::ChainFull => Some("the chain is full"),
        WhyFull::OtherStorage => Some("the chain is on another storage"),
        WhyFull::NewDisk => Some("it is not in the parent"),
        WhyFull::DeltaGone => Some("its delta is not where it was left"),
        WhyFull::NoteDisagrees => Some("the domain's note and the record disagree"),
        WhyFull::ParentUnusable => Some("a backup of the chain cannot be used"),
        WhyFull::Invalid => Some("the guest of a backup of the chain failed when it was booted"),
        WhyFull::ForeignSnapshots => Some("snapshots of others forbid leaving a delta"),
    }
}
