//! What all restores share: what they hold, what they read, and that it is still what was planned.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;

use crate::action::vm;
use crate::model::backup::Remark;
use crate::model::backup::Unusable;
use crate::model::backup::VmRef;
use crate::model::change::Change;
use crate::model::id::Target;
use crate::model::id::VmId;
use crate::model::layout;
use crate::model::lease::Lease;
use crate::model::lease::Subject;
use crate::model::machine::Format;
use crate::model::op::Beside;
use crate::model::op::Origin;
use crate::model::op::OriginFile;
use crate::model::program::Direction;
use crate::model::program::Program;
use crate::model::program::Refusal;
use crate::model::receipt::Receipt;
use crate::model::step::BackupAt;
use crate::model::step::Image;
use crate::model::step::Step;
use crate::model::world::Guest;

/// The VM alone that is written; the backup and all it continues, with other readers.
pub(super) fn leases(origin: &Origin, vm: &VmRef) -> Vec<Lease> {
    let read = std::iter::once(&origin.backup).chain(&origin.ancestors);
    let mut leases: Vec<_> = read
        .map(|id| Lease::shared(Subject::Backup(id.clone())))
        .collect();
    leases.push(Lease::exclusive(Subject::Vm(vm.uuid.clone())));
    leases
}

/// Fails where the record says by now that a wanted disk is made of other files.
pub(super) fn unchanged(origin: &Origin, source: Option<&Guest>) -> Result<(), Refusal> {
    let record = source.map(|guest| &guest.record);
    let Some(record) = record.filter(|record| record.backups.contains_key(&origin.backup)) else {
        return Ok(());
    };
    for (target, files) in &origin.disks {
        let known = record
            .files_of(&origin.backup, target)
            .map_err(|text| Refusal::new("chain_broken", text, "knib backup list --all"))?;
        let known = known.iter().map(|(_, file)| file.digest);
        if !known.eq(files.iter().map(|file| file.digest)) {
            return Err(Refusal::new(
                "chain_changed",
                format!("the files of {} were changed meanwhile", origin.backup),
                "once more",
            ));
        }
    }
    Ok(())
}

/// What comes before anything is written: everything is read, where that was asked; what a VM is to run
/// from is looked at, and marked as read by it.
pub(super) fn checks(origin: &Origin, vm: &VmRef) -> Vec<Vec<Step>> {
    let mut stages = Vec::new();
    if origin.verify {
        stages.push(of_each(origin, |target, files| Step::Check {
            target,
            files,
        }));
    }
    if origin.quick {
        stages.push(of_each(origin, |target, files| Step::Inspect {
            by: vm.uuid.clone(),
            target,
            files,
        }));
        stages.push(vec![Step::Lend {
            of: place(origin),
            to: vm.uuid.clone(),
        }]);
    }
    stages
}

/// The definition that a backup holds.
pub(super) fn definition(origin: &Origin) -> Utf8PathBuf {
    dir(origin).join(layout::DOMAIN_INACTIVE)
}

fn dir(origin: &Origin) -> Utf8PathBuf {
    layout::backup_dir(&origin.storage.path, &origin.from.uuid, &origin.backup)
}

/// Disks, firmware variables and a TPM's state under unfinished names, then under their own.
pub(super) fn files(
    origin: &Origin,
    disks: &BTreeMap<Target, Image>,
    beside: &Beside,
) -> [Vec<Step>; 2] {
    let mut writes = Vec::new();
    let mut renames = Vec::new();
    for (target, image) in disks {
        let [write, rename] = fetch(origin, target, image);
        writes.push(write);
        renames.push(rename);
    }
    let mut rename = |to: &Utf8PathBuf| {
        let from = layout::unfinished(to);
        renames.push(Step::Rename {
            from: from.clone(),
            to: to.clone(),
        });
        from
    };
    if let Some(path) = &beside.nvram {
        writes.push(Step::Place {
            from: dir(origin).join(layout::NVRAM),
            to: rename(path),
        });
    }
    if let Some(path) = &beside.tpm {
        writes.push(Step::Unpack {
            from: dir(origin).join(layout::TPM),
            to: rename(path),
        });
    }
    [writes, renames]
}

/// A disk is written under an unfinished name, and gets its own when it is whole. One that a VM is to run
/// from at once is an empty layer.
pub(super) fn fetch(origin: &Origin, target: &Target, to: &Image) -> [Step; 2] {
    let unfinished = layout::unfinished(&to.path);
    let chain = origin.disks.get(target).cloned().unwrap_or_default();
    let rename = Step::Rename {
        from: unfinished.clone(),
        to: to.path.clone(),
    };
    let target = target.clone();
    let make = match chain.first() {
        Some(first) if origin.quick => Step::Lay {
            target,
            on: first.path.clone(),
            path: unfinished,
        },
        _ => Step::Fetch {
            target,
            chain,
            to: Image::new(unfinished, to.format.clone()),
        },
    };
    [make, rename]
}

/// The files below the layers that a VM is to run from at once.
pub(super) fn backing(origin: &Origin) -> BTreeMap<Target, Vec<Image>> {
    let image = |file: &OriginFile| Image::new(file.path.clone(), Format::Qcow2);
    let chains = origin.disks.iter().filter(|_| origin.quick);
    chains
        .map(|(target, files)| (target.clone(), files.iter().map(image).collect()))
        .collect()
}

/// The VM runs, where it is to run from the backup.
pub(super) fn starts(
    origin: &Origin,
    vm: &VmRef,
    heads: &BTreeMap<Target, Image>,
) -> Option<Vec<Step>> {
    let start = || Step::Start {
        vm: vm.uuid.clone(),
        heads: heads.clone(),
    };
    origin.quick.then(|| vec![start()])
}

/// The VM gets what it reads, while that is read again; nothing where it has that already.
pub(super) fn consolidates(
    origin: &Origin,
    vm: &VmRef,
    heads: &BTreeMap<Target, Image>,
    mut backing: BTreeMap<Target, Vec<Image>>,
) -> Vec<Vec<Step>> {
    if !origin.quick {
        return Vec::new();
    }
    let lie = heads.iter().map(|(target, head)| {
        let below = backing.remove(target).unwrap_or_default();
        (target, head, below.into_iter().next())
    });
    let mut stages = pulls(&vm.uuid, lie);
    if let Some(first) = stages.first_mut() {
        first.extend(of_each(origin, |target, files| Step::Audit {
            target,
            files,
        }));
    }
    stages.push(vec![Step::Release {
        of: place(origin),
        to: vm.uuid.clone(),
    }]);
    stages
}

/// One disk after another: QEMU 7.2 crashes when one of two pulls ends while the other goes on.
pub(super) fn pulls<'a>(
    vm: &VmId,
    heads: impl Iterator<Item = (&'a Target, &'a Image, Option<Image>)>,
) -> Vec<Vec<Step>> {
    let pull = |(target, head, below): (&Target, &Image, Option<Image>)| {
        vec![Step::Pull {
            vm: vm.clone(),
            target: target.clone(),
            head: head.clone(),
            below,
        }]
    };
    heads.map(pull).collect()
}

/// What the record learns of a VM that was given disks, and of what they were read from.
pub(super) fn changes(
    (origin, vm): (&Origin, &VmRef),
    program: &Program,
    receipts: &[Vec<Option<Receipt>>],
    went: Direction,
) -> Vec<Change> {
    let mut changes = vm::touched(vm, program, went);
    changes.extend(damaged(origin, receipts));
    changes
}

/// Backups of which a file was found damaged meanwhile.
pub(super) fn damaged(origin: &Origin, receipts: &[Vec<Option<Receipt>>]) -> Vec<Change> {
    let receipts = receipts.iter().flatten().flatten();
    let found = receipts.filter_map(|receipt| match receipt {
        Receipt::Damaged { backup, file, .. } => Some(Change::Remarked {
            vm: origin.from.clone(),
            backup: backup.clone(),
            remark: Remark::Unusable {
                why: Some(Unusable {
                    code: "damaged".to_owned(),
                    file: Some(file.clone()),
                }),
            },
        }),
        _ => None,
    });
    found.collect()
}

fn of_each(origin: &Origin, step: impl Fn(Target, Vec<OriginFile>) -> Step) -> Vec<Step> {
    let disks = origin.disks.iter();
    disks
        .map(|(target, files)| step(target.clone(), files.clone()))
        .collect()
}

fn place(origin: &Origin) -> BackupAt {
    BackupAt {
        storage: origin.storage.path.clone(),
        id: origin.storage.is.id.clone(),
        vm: origin.from.uuid.clone(),
        backup: origin.backup.clone(),
    }
}
