//! A VM that runs from a backup's files gets all that is in them. The restore that began it carries on;
//! where there is none on record, what the disks lie on is enough to go by.

use crate::action::restore;
use crate::action::vm;
use crate::model::id::BackupId;
use crate::model::lease::Lease;
use crate::model::lease::Subject;
use crate::model::op::Consolidate;
use crate::model::op::OnBackup;
use crate::model::program::Program;
use crate::model::program::Refusal;
use crate::model::step::BackupAt;
use crate::model::step::Step;
use crate::model::world::Guest;

/// The VM alone, and what it reads; nothing of a restore that holds them already.
pub(super) fn leases(op: &Consolidate) -> Vec<Lease> {
    if op.carries_on.is_some() {
        return Vec::new();
    }
    let of_disk =
        |disk: &OnBackup| std::iter::once(disk.of.backup.clone()).chain(disk.ancestors.clone());
    let mut read: Vec<BackupId> = op.disks.values().flat_map(of_disk).collect();
    read.sort();
    read.dedup();
    let mut leases = vm::lease(&op.vm);
    leases.extend(
        read.into_iter()
            .map(|id| Lease::shared(Subject::Backup(id))),
    );
    leases
}

/// As every restore ends.
pub(super) fn program(op: &Consolidate, guest: &Guest) -> Result<Program, Refusal> {
    if op.carries_on.is_some() {
        return Ok(Program::default());
    }
    let machine = vm::touchable(guest)?;
    for (target, on) in &op.disks {
        let disk = machine.disk(target);
        let head = disk.and_then(|disk| disk.head());
        if head != Some(&on.head.path) {
            return Err(Refusal::new(
                "disk_changed",
                format!(
                    "{target} of {} is not on {} any more",
                    machine.name, on.head.path
                ),
                "plan again",
            ));
        }
    }
    let to = &machine.id;
    let mut read: Vec<&BackupAt> = Vec::new();
    for on in op.disks.values() {
        if !read.contains(&&on.of) {
            read.push(&on.of);
        }
    }
    let lend = |of: &&BackupAt| Step::Lend {
        of: (*of).clone(),
        to: to.clone(),
    };
    let release = |of: &&BackupAt| Step::Release {
        of: (*of).clone(),
        to: to.clone(),
    };
    let heads = op.disks.iter();
    let heads = heads.map(|(target, on)| (target, &on.head, on.below.clone()));
    let mut stages = vec![read.iter().map(lend).collect()];
    stages.extend(restore::pulls(to, heads));
    stages.push(read.iter().map(release).collect());
    Ok(Program {
        stages,
        no_return: 1,
    })
}
