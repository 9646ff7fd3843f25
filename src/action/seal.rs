//! What `backup.json` says of a backup whose copies are made: the action's parameters and the receipts
//! of its steps, put together.

use std::collections::BTreeMap;
use std::sync::Arc;

use camino::Utf8Path;

use crate::action::receipted;
use crate::model::backup;
use crate::model::backup::Backup;
use crate::model::backup::Delta;
use crate::model::backup::DiskFile;
use crate::model::backup::Edge;
use crate::model::backup::Maker;
use crate::model::backup::Marks;
use crate::model::id::Target;
use crate::model::layout;
use crate::model::op::BackupOp;
use crate::model::program::Program;
use crate::model::program::Refusal;
use crate::model::receipt::Receipt;
use crate::model::record::Record;
use crate::model::step::Step;

/// What `backup.json` says.
pub(super) fn sealed(
    op: &BackupOp,
    program: &Program,
    receipts: &[Vec<Option<Receipt>>],
    record: &Record,
    maker: &Maker,
) -> Result<Backup, Refusal> {
    let missing = |what: String| {
        Refusal::new(
            "receipt_missing",
            what,
            "report this as a bug; the backup is undone, the VM is as before",
        )
    };
    let mut disks = BTreeMap::new();
    let (mut files, mut sums) = (Vec::new(), BTreeMap::new());
    let mut frozen = None;
    for (step, receipt) in receipted(program, receipts) {
        match (step, receipt) {
            (
                Step::Overlay { .. },
                Receipt::Frozen {
                    at, consistency, ..
                },
            ) => frozen = Some((*at, *consistency)),
            (Step::Capture { .. }, Receipt::Captured { files: f, sums: s }) => {
                files.clone_from(f);
                sums.clone_from(s);
            }
            (
                Step::Copy { target, parent, .. },
                Receipt::Copied {
                    size,
                    digest,
                    virtual_size,
                    uncompressed,
                },
            ) => {
                let edge = match (parent, &op.parent) {
                    (Some(_), Some(id)) => {
                        let file = record
                            .backups
                            .get(id)
                            .and_then(|backup| backup.disks.get(target));
                        let file =
                            file.ok_or_else(|| missing(format!("{id} has no file of {target}")))?;
                        Some(Edge {
                            backup: id.clone(),
                            birth: file.birth,
                        })
                    }
                    _ => None,
                };
                let file = DiskFile {
                    name: layout::disk_file(target),
                    parent: edge,
                    virtual_size: *virtual_size,
                    size: *size,
                    birth: *digest,
                    digest: *digest,
                    uncompressed: *uncompressed,
                    becomes: None,
                    delta: delta_to_stay(program, target),
                };
                disks.insert(target.clone(), Box::new(file));
            }
            _ => {}
        }
    }
    let (created, consistency) =
        frozen.ok_or_else(|| missing("the snapshot left no receipt".to_owned()))?;
    if let Some(target) = op.disks.keys().find(|target| !disks.contains_key(target)) {
        return Err(missing(format!("the copy of {target} left no receipt")));
    }
    Ok(Backup {
        format: backup::FORMAT,
        id: op.id.clone(),
        vm: Arc::new(op.vm.clone()),
        created,
        parent: op.parent.clone(),
        link: op.link,
        consistency,
        policy: op.policy.clone(),
        offering: op.offering.clone().map(Arc::new),
        slots: op.slots.clone(),
        storage: Arc::new(op.storage.is.clone()),
        origin: Arc::new(maker.clone()),
        disks,
        files,
        sums,
        marks: Marks {
            compressed: op.compression.is_some(),
            ..Marks::default()
        },
    })
}

/// The delta of a disk that the program makes and does not merge again, above what will lie below it.
fn delta_to_stay(program: &Program, target: &Target) -> Option<Delta> {
    let made = program.steps().find_map(|(_, _, step)| match step {
        Step::Overlay { disks, .. } => disks.get(target),
        _ => None,
    })?;
    let merged_into = |path: &Utf8Path| {
        program.steps().find_map(|(_, _, step)| match step {
            Step::Merge {
                target: of,
                top,
                base,
                ..
            } if of == target && top.path == path => Some(base.path.clone()),
            _ => None,
        })
    };
    if merged_into(&made.path).is_some() {
        return None;
    }
    let base = merged_into(&made.base.path).unwrap_or_else(|| made.base.path.clone());
    Some(Delta {
        path: made.path.clone(),
        base,
    })
}
