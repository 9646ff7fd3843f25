//! What is said below the line of an action.

use std::collections::BTreeMap;

use serde_json::Value;
use similar::TextDiff;

use crate::cli::render::plan::words;
use crate::model::id::Target;
use crate::model::op::Beside;
use crate::model::op::Op;
use crate::model::op::Origin;
use crate::model::op::RestoreVm;
use crate::model::plan::Action;
use crate::model::policy::VmPolicy;
use crate::model::program::Program;
use crate::model::reason::Field;
use crate::model::reason::Reason;
use crate::model::step::Image;
use crate::model::step::Step;
use crate::planner::fields;

/// What is to be known of an action besides its line.
pub(super) fn said(action: &Action) -> Vec<String> {
    let mut said = Vec::new();
    if let Reason::Changed { fields } = &action.reason {
        said.extend(changes(fields));
    }
    match &action.op {
        Op::PolicyCreate(set) => said.extend(schedules(&set.spec)),
        Op::Backup(op) => {
            let disks = op
                .disks
                .iter()
                .map(|(target, plan)| (target.as_str(), plan));
            said.extend(words::disks(disks));
            if op.ends_chain && op.link.is_some() {
                said.push("the chain ends with it: the new delta is merged back".to_owned());
            }
        }
        Op::Expire(_) => {
            let needed = action.change.after["needed_by"].as_array();
            let n = needed.map_or(0, Vec::len);
            said.push(match n {
                1 => "its files stay: 1 backup needs them".to_owned(),
                n => format!("its files stay: {n} backups need them"),
            });
        }
        Op::Delete(_) if action.change.before["current"] == true => {
            said.push("its delta is merged first, and the chain ends".to_owned());
        }
        Op::Validate(op) if op.trial.ends_chain => {
            said.push("the next backup is full if its guest fails".to_owned());
        }
        Op::Abandon(op) => said.extend(op.stays.iter().map(|step| format!("stays: {step}"))),
        Op::RestoreVm(op) => said.extend(replacing(op, action)),
        Op::RestoreDisk(op) => {
            said.push(format!("{}: {}", op.target, op.image.path));
            said.extend(at_once(&op.origin, action));
        }
        Op::RestoreNew(op) => {
            said.extend(files(&op.disks));
            said.extend(beside(&op.beside));
            said.extend((op.start && !op.origin.quick).then(|| "it is started".to_owned()));
            said.extend(at_once(&op.origin, action));
        }
        _ => {}
    }
    said
}

/// How a VM runs before its disks are written.
fn at_once(origin: &Origin, action: &Action) -> Option<String> {
    let mut steps = action.program.iter().flat_map(Program::steps);
    let starts = steps.any(|(_, _, step)| matches!(step, Step::Start { .. }));
    let before = if starts {
        "it is started first, and "
    } else {
        ""
    };
    origin.quick.then(|| {
        format!("{before}what is not written yet is read from the backup; while it is, no backup, merge or snapshot of the VM begins")
    })
}

/// Each key that changed; a schedule that is new, or gone, as a whole.
fn changes(fields: &[Field]) -> Vec<String> {
    let mut said: Vec<String> = Vec::new();
    for field in fields {
        let mut parts = field.key.splitn(3, '.');
        let schedule = match (parts.next(), parts.next(), parts.next()) {
            (Some("schedules"), Some(name), Some(_)) => Some(format!("schedules.{name}.")),
            _ => None,
        };
        let whole = |prefix: &String| {
            let mut same = fields
                .iter()
                .filter(|other| other.key.starts_with(prefix.as_str()));
            same.clone().all(|other| other.before.is_none())
                || same.all(|other| other.after.is_none())
        };
        let Some(prefix) = schedule.filter(whole) else {
            let value =
                |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
            let (before, after) = (value(&field.before), value(&field.after));
            said.push(format!("{}: {before} -> {after}", field.key));
            continue;
        };
        if field.key == format!("{prefix}cron") {
            let name = prefix.trim_end_matches('.');
            said.push(match (&field.before, &field.after) {
                (_, Some(cron)) => format!("{name} is new: {cron}"),
                (before, None) => format!("{name} goes: {}", before.as_deref().unwrap_or_default()),
            });
        }
    }
    said
}

fn files(disks: &BTreeMap<Target, Image>) -> impl Iterator<Item = String> {
    disks
        .iter()
        .map(|(target, image)| format!("{target}: {}", image.path))
}

fn beside(beside: &Beside) -> impl Iterator<Item = String> {
    let nvram = beside.nvram.iter().map(|path| format!("nvram: {path}"));
    nvram.chain(beside.tpm.iter().map(|path| format!("TPM: {path}")))
}

/// Each disk of a VM that is restored in place: what it will be, and what becomes of what it is.
fn replacing(op: &RestoreVm, action: &Action) -> Vec<String> {
    let mut said: Vec<_> = files(&op.disks).chain(beside(&op.beside)).collect();
    let steps = action.program.iter().flat_map(Program::steps);
    for (_, _, step) in steps {
        match step {
            Step::Stop { .. } => said.push(format!("it runs: {}", step.synopsis())),
            Step::Keep { files, restore, .. } => said.extend(files.iter().map(|file| {
                format!(
                    "{} is kept as .before-{restore} until its next good backup",
                    file.path
                )
            })),
            Step::Drop { path, .. } => said.push(format!("{path} is deleted")),
            Step::Merge { target, .. } => {
                said.push(format!(
                    "{target} is not in the backup: it keeps its content"
                ));
            }
            Step::Define { .. } => said.push("it is defined again as it was".to_owned()),
            Step::Swap { added, .. } => {
                let added = added.keys();
                said.extend(added.map(|target| format!("{target} is attached again")));
            }
            _ => {}
        }
    }
    said.extend(at_once(&op.origin, action));
    said.push("its chain ends: the next backup is full".to_owned());
    said
}

fn schedules(policy: &VmPolicy) -> impl Iterator<Item = String> {
    policy
        .schedules
        .iter()
        .map(|(name, schedule)| words::schedule(name, schedule))
}

/// How an action is carried out, where all is wanted: what a policy says otherwise, and each step.
pub(super) fn carried_out(action: &Action) -> Vec<String> {
    diff(action).into_iter().chain(steps(action)).collect()
}

/// What an offering or a policy says and will say, line by line.
fn diff(action: &Action) -> Vec<String> {
    if !matches!(action.op, Op::OfferingUpdate(_) | Op::PolicyUpdate(_)) {
        return Vec::new();
    }
    let text = |value: &Value| {
        let keys = fields::flat(value).into_iter();
        keys.map(|(key, value)| format!("{key}: {value}\n"))
            .collect::<String>()
    };
    let (before, after) = (text(&action.change.before), text(&action.change.after));
    let diff = TextDiff::from_lines(&before, &after);
    let near = diff.grouped_ops(3);
    let lines = near.iter().flatten().flat_map(|op| diff.iter_changes(op));
    let signed = lines.map(|line| format!("{} {}", line.tag(), line.value().trim_end()));
    signed.collect()
}

fn steps(action: &Action) -> Vec<String> {
    let program = action.program.iter();
    program
        .flat_map(Program::steps)
        .map(|(stage, _, step)| format!("{}. {}", stage + 1, step.synopsis()))
        .collect()
}
