//! A plan as sections of lines, before it is known whether they are drawn for a terminal or a page.

use std::collections::BTreeSet;
use std::fmt::Write;

use jiff::tz::TimeZone;
use serde_json::Value;

use crate::cli::render::plan::details;
use crate::cli::render::plan::retention::Grouped;
use crate::cli::render::plan::words;
use crate::cli::render::text;
use crate::model::bytes::Bytes;
use crate::model::id::BackupId;
use crate::model::op::BackupOp;
use crate::model::op::Estate;
use crate::model::op::Op;
use crate::model::op::Origin;
use crate::model::op::Phase;
use crate::model::op::Verb;
use crate::model::plan::Action;
use crate::model::plan::Plan;
use crate::model::reason::Reason;

/// Lines that belong together.
pub(super) struct Section {
    pub(super) title: &'static str,
    pub(super) lines: Vec<Line>,
}

/// One action, or several that are told together.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) sign: Sign,
    /// Its object: a VM, `policy databases`.
    pub(super) subject: String,
    /// What happens to it.
    pub(super) what: String,
    /// What it takes.
    pub(super) cost: Option<String>,
    /// Details, one a line.
    pub(super) details: Vec<String>,
    /// What to do when it is not done.
    pub(super) hints: Vec<String>,
    /// How it is carried out.
    pub(super) steps: Vec<String>,
}

/// What kind of change, at a glance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// Added or backed up.
    Add,
    Change,
    Remove,
    Merge,
    Resume,
    Blocked,
    Waits,
    /// Gone from lists, its files stay.
    LetGo,
}

impl Sign {
    pub(super) fn letter(self) -> char {
        match self {
            Self::Add => '+',
            Self::Change => '~',
            Self::Remove => '-',
            Self::Merge => '>',
            Self::Resume => '*',
            Self::Blocked => '!',
            Self::Waits => '?',
            Self::LetGo => '.',
        }
    }
}

/// The sections in the order things are done, then what is not done.
pub(super) fn sections(plan: &Plan, zone: &TimeZone, whole: bool) -> Vec<Section> {
    let grouped = Grouped::of(plan, whole);
    let titles = [
        "Interrupted",
        "Storages",
        "Offerings and policies",
        "VMs",
        "Removals",
        "Damaged",
        "Backups",
        "Retention",
        "Compression",
        "Validation",
        "Verification",
        "Jobs",
        "Restores",
        "Snapshots",
        "Waiting",
        "Blocked",
    ];
    let new = planned(plan);
    let mut sections: Vec<Section> = Vec::new();
    for title in titles {
        let mut lines: Vec<Line> = plan
            .actions
            .iter()
            .filter(|action| section(action) == title && !grouped.holds(action))
            .map(|action| line(action, plan, &new, zone))
            .chain(grouped.lines(title))
            .collect();
        // A plan goes by uuid; people look for names. What of one VM comes first stays first.
        if title != "Offerings and policies" {
            lines.sort_by(|a, b| a.subject.cmp(&b.subject));
        }
        if !lines.is_empty() {
            sections.push(Section { title, lines });
        }
    }
    sections
}

/// Backups that the plan makes: their ids say nothing yet to anybody.
fn planned(plan: &Plan) -> BTreeSet<&BackupId> {
    let made = plan.actions.iter().filter_map(|action| match &action.op {
        Op::Backup(op) => Some(&op.id),
        _ => None,
    });
    made.collect()
}

fn section(action: &Action) -> &'static str {
    if action.is_blocked() {
        return "Blocked";
    }
    if !action.is_free() {
        return "Waiting";
    }
    match action.verb {
        Verb::Recover | Verb::Consolidate | Verb::Abandon => "Interrupted",
        Verb::StorageCreate => "Storages",
        Verb::OfferingCreate
        | Verb::OfferingUpdate
        | Verb::OfferingDelete
        | Verb::PolicyCreate
        | Verb::PolicyUpdate
        | Verb::PolicyDelete => "Offerings and policies",
        Verb::Assign | Verb::Unassign | Verb::Adopt | Verb::Tag => "VMs",
        Verb::Expire | Verb::Delete | Verb::Clear | Verb::Discard => "Removals",
        Verb::Retain => "Retention",
        Verb::MarkUnusable => "Damaged",
        Verb::Verify => "Verification",
        Verb::Backup | Verb::Merge | Verb::Pin | Verb::Unpin | Verb::Files => "Backups",
        Verb::Compress => "Compression",
        Verb::Validate => "Validation",
        Verb::JobRetry | Verb::JobCancel => "Jobs",
        Verb::RestoreVm | Verb::RestoreDisk | Verb::RestoreNew => "Restores",
        Verb::SnapshotCreate | Verb::SnapshotRevert | Verb::SnapshotDelete => "Snapshots",
    }
}

fn line(action: &Action, plan: &Plan, new: &BTreeSet<&BackupId>, zone: &TimeZone) -> Line {
    let (subject, what) = described(action, new);
    let mut line = Line {
        sign: sign(action),
        subject,
        what,
        cost: cost(action),
        details: details::said(action),
        hints: Vec::new(),
        steps: details::carried_out(action),
    };
    let reason = words::reason(action, zone);
    if action.is_free() {
        // A rule that selected is short and belongs to what it did.
        match reason {
            Some(reason) if action.verb == Verb::Assign => {
                let _ = write!(line.what, " ({reason})");
            }
            Some(reason) => line.details.insert(0, reason),
            None => {}
        }
        return line;
    }
    line.cost = None;
    line.details = reason.into_iter().collect();
    for block in &action.blocked_by {
        let (text, hint) = words::block(block, plan, zone);
        line.details.push(text);
        line.hints.extend(hint);
    }
    line
}

fn sign(action: &Action) -> Sign {
    if action.is_blocked() {
        return Sign::Blocked;
    }
    if !action.is_free() {
        return Sign::Waits;
    }
    match action.verb {
        Verb::Recover | Verb::Consolidate => Sign::Resume,
        Verb::Merge => Sign::Merge,
        Verb::OfferingUpdate
        | Verb::PolicyUpdate
        | Verb::Retain
        | Verb::Tag
        | Verb::Pin
        | Verb::Unpin
        | Verb::MarkUnusable
        | Verb::Verify
        | Verb::Compress
        | Verb::Validate
        | Verb::JobRetry
        | Verb::RestoreVm
        | Verb::SnapshotRevert => Sign::Change,
        Verb::OfferingDelete
        | Verb::PolicyDelete
        | Verb::Unassign
        | Verb::Expire
        | Verb::Delete
        | Verb::Clear
        | Verb::JobCancel
        | Verb::Discard
        | Verb::Abandon
        | Verb::SnapshotDelete => Sign::Remove,
        Verb::Assign if !action.change.before.is_null() => Sign::Change,
        Verb::StorageCreate if matches!(action.reason, Reason::Changed { .. }) => Sign::Change,
        Verb::StorageCreate
        | Verb::OfferingCreate
        | Verb::PolicyCreate
        | Verb::Assign
        | Verb::Adopt
        | Verb::Backup
        | Verb::RestoreDisk
        | Verb::RestoreNew
        | Verb::Files
        | Verb::SnapshotCreate => Sign::Add,
    }
}

#[expect(clippy::too_many_lines, reason = "one arm a verb")]
fn described(action: &Action, new: &BTreeSet<&BackupId>) -> (String, String) {
    let made = |id: &BackupId| {
        if new.contains(id) {
            "its new backup".to_owned()
        } else {
            id.to_string()
        }
    };
    let vm = || action.vm.as_ref().map_or("?", |vm| &vm.name).to_owned();
    match &action.op {
        Op::StorageCreate(op) => {
            let what = format!("{}{}", op.storage.path, room(&action.change.after));
            (op.storage.is.name.clone(), what)
        }
        Op::OfferingCreate(set) => (format!("offering {}", set.name), words::offering(&set.spec)),
        Op::PolicyCreate(set) => (format!("policy {}", set.name), words::policy(&set.spec)),
        Op::OfferingUpdate(set) => (format!("offering {}", set.name), String::new()),
        Op::PolicyUpdate(set) => (format!("policy {}", set.name), String::new()),
        Op::OfferingDelete(named) => (format!("offering {}", named.name), String::new()),
        Op::PolicyDelete(named) => (format!("policy {}", named.name), String::new()),
        Op::Assign(op) => match action.change.before["policy"].as_str() {
            Some(before) => (vm(), format!("{before} -> {}", op.policy)),
            None => (vm(), format!("-> {}", op.policy)),
        },
        Op::Unassign(_) => {
            let before = action.change.before["policy"].as_str().unwrap_or("policy");
            (vm(), format!("leaves {before}; its backups stay"))
        }
        Op::Retain(op) => (vm(), format!("keep {}", op.rules)),
        Op::Adopt(op) => (vm(), adoption(op.estate.as_ref())),
        Op::Tag(op) => {
            let tags: Vec<_> = op.tags.iter().map(|(k, v)| format!("{k}={v}")).collect();
            (vm(), format!("tags: {}", tags.join(", ")))
        }
        Op::Recover(_) => {
            let Reason::Interrupted { verb, .. } = &action.reason else {
                return (vm(), "an interrupted action".to_owned());
            };
            (vm(), verb.replace('_', " "))
        }
        Op::Abandon(_) => {
            let Reason::Interrupted { verb, .. } = &action.reason else {
                return (vm(), "an interrupted action".to_owned());
            };
            let what = verb.replace('_', " ");
            (vm(), format!("give up its {what}; what it did stays"))
        }
        Op::Backup(op) => {
            let size = action.change.after["chain_size"].as_i64();
            let first = match action.reason {
                Reason::FirstBackup => "first: ",
                _ => "",
            };
            (vm(), format!("{first}{}", backup(op, size)))
        }
        Op::Merge(op) if op.leave => (vm(), "merge its deltas, take knib's note away".to_owned()),
        Op::Merge(_) => (vm(), "merge its deltas".to_owned()),
        Op::Expire(of) => (vm(), format!("{}{}: let go", of.backup, place(action))),
        Op::Delete(of) => (vm(), format!("{}{}: delete", of.backup, place(action))),
        Op::Clear(op) => {
            let vm = op.vm.as_ref().map_or("-", |vm| &vm.name);
            (vm.to_owned(), format!("remove {}", op.path))
        }
        Op::MarkUnusable(op) => {
            let what = match op.why {
                Some(_) => "mark unusable",
                None => "count on it again",
            };
            (vm(), format!("{}{}: {what}", op.of.backup, place(action)))
        }
        Op::Verify(op) => {
            let rate = op.rate.map_or_else(String::new, |rate| {
                format!(", {} MB/s at most", rate.0 / 1_000_000)
            });
            let place = place(action);
            (
                vm(),
                format!("{}{place}: read it again{rate}", op.of.backup),
            )
        }
        Op::Pin(of) => (vm(), format!("{}: pin", of.backup)),
        Op::Unpin(of) => (vm(), format!("{}: unpin", of.backup)),
        Op::Files(op) => (vm(), format!("{}: read files", op.backup)),
        Op::Compress(op) => {
            let what = match &op.phase {
                Phase::Start { how, .. } => format!("compress with {how}"),
                Phase::Finalize => "put the compressed files in place".to_owned(),
            };
            (
                vm(),
                format!("{}{}: {what}", made(&op.of.backup), place(action)),
            )
        }
        Op::Validate(op) => {
            let what = format!("{}{}: {}", made(&op.of.backup), place(action), op.trial);
            (vm(), what)
        }
        Op::JobRetry(op) => (vm(), format!("{}: try again", op.id())),
        Op::JobCancel(op) => (vm(), format!("{}: cancel", op.id())),
        Op::RestoreVm(op) => (vm(), format!("its disks as in {}", op.origin.backup)),
        Op::RestoreDisk(op) => (
            vm(),
            format!("{}, {} {}", op.target, op.disk, from(&op.origin)),
        ),
        Op::RestoreNew(op) => (vm(), from(&op.origin)),
        Op::Consolidate(_) => (vm(), "consolidate what it reads from a backup".to_owned()),
        Op::Discard(op) => (
            vm(),
            format!("what restore {} replaced: delete", op.restore),
        ),
        Op::SnapshotCreate(op) => (vm(), format!("snapshot {}", op.name)),
        Op::SnapshotRevert(op) => (vm(), format!("back to snapshot {}", op.name)),
        Op::SnapshotDelete(op) => (vm(), format!("snapshot {}", op.name)),
    }
}

fn from(origin: &Origin) -> String {
    format!("from {} of {}", origin.backup, origin.from.name)
}

fn adoption(estate: Option<&Estate>) -> String {
    let Some(estate) = estate else {
        return "take it as it is now: the next backup is full".to_owned();
    };
    let backups = text::count(estate.backups.len(), "backup");
    let storage = &estate.storage.is.name;
    format!(
        "take over {backups} on {storage} from {}",
        estate.from.hostname
    )
}

/// What a backup that goes was, in its chain.
fn place(action: &Action) -> String {
    let before = &action.change.before;
    let of = |key: &str| before[key].as_u64();
    match (before["kind"].as_str(), of("position"), of("chain")) {
        (Some(kind), Some(position), Some(chain)) => {
            format!(" ({kind}, {position} in chain {chain})")
        }
        (Some(kind), _, _) => format!(" ({kind}, isolated)"),
        (None, _, _) => " (failed)".to_owned(),
    }
}

fn backup(op: &BackupOp, chain_size: Option<i64>) -> String {
    let kind = if op.parent.is_some() {
        "incremental"
    } else {
        "full"
    };
    let place = match (op.link, chain_size) {
        (None, _) => "isolated".to_owned(),
        (Some(link), Some(size)) if size > 0 => {
            format!("{} of {size} in chain {}", link.position, link.chain)
        }
        (Some(link), _) => format!("{} in chain {}", link.position, link.chain),
    };
    let compressed = op
        .compression
        .map_or_else(String::new, |how| format!(", compressed with {how}"));
    format!("{kind}, {place}, to {}{compressed}", op.storage.is.name)
}

/// File system, device and free bytes of a storage.
fn room(after: &Value) -> String {
    let mut said = String::new();
    if let Some(kind) = after["file_system"].as_str() {
        let _ = write!(said, ", {kind}");
    }
    if let Some(device) = after["device"].as_u64() {
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        let _ = write!(said, " on device {major}:{minor}");
    }
    if let Some(free) = after["free"].as_u64() {
        let _ = write!(said, ", {} free", Bytes(free));
    }
    if after["marked_already"].as_bool() == Some(true) {
        said += ", a storage already";
    }
    said
}

fn cost(action: &Action) -> Option<String> {
    let estimate = &action.estimate;
    if matches!(action.verb, Verb::Delete | Verb::Discard) {
        return Some(format!("frees {}", estimate.frees));
    }
    if action.verb == Verb::Verify {
        let size = Bytes(action.change.before["size"].as_u64().unwrap_or(0));
        return Some(format!("{size}, {}", text::length(estimate.seconds)));
    }
    let timed = matches!(
        action.verb,
        Verb::Backup
            | Verb::Merge
            | Verb::RestoreVm
            | Verb::RestoreDisk
            | Verb::RestoreNew
            | Verb::Recover
            | Verb::Compress
    );
    (timed && estimate.seconds > 0).then(|| {
        let bytes = if action.verb == Verb::Merge && estimate.bytes.0 == 0 {
            estimate.frees
        } else {
            estimate.bytes
        };
        format!("about {bytes}, {}", text::length(estimate.seconds))
    })
}
