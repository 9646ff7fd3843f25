//! A new, stopped VM from a backup: every disk written under an unfinished name while the chain's
//! digests are checked, renamed, and only then defined.

use crate::model::digest::Digest;
use crate::model::id::BackupId;
use crate::model::id::Target;
use crate::model::layout;
use crate::model::lease::Lease;
use crate::model::lease::Subject;
use crate::model::op::RestoreNew;
use crate::model::program::Program;
use crate::model::program::Refusal;
use crate::model::record::Record;
use crate::model::step::Image;
use crate::model::step::Step;
use crate::model::world::Guest;

/// The new VM alone; the backup and all it continues, with other readers.
pub(super) fn leases(op: &RestoreNew) -> Vec<Lease> {
    let read = std::iter::once(&op.backup).chain(&op.ancestors);
    let mut leases: Vec<_> = read
        .map(|id| Lease::shared(Subject::Backup(id.clone())))
        .collect();
    leases.push(Lease::exclusive(Subject::Vm(op.vm.uuid.clone())));
    leases
}

/// File by file. Everything it makes is new, so an error anywhere takes all of it back.
pub(super) fn program(op: &RestoreNew, source: &Guest) -> Result<Program, Refusal> {
    let dir = |id: &BackupId| layout::backup_dir(&op.storage.path, &op.from.uuid, id);
    let mut fetches = Vec::new();
    let mut renames = Vec::new();
    let mut disks = std::collections::BTreeMap::new();
    for (target, path) in &op.disks {
        let files = chain(&source.record, &op.backup, target)?;
        let unfinished = layout::unfinished(path);
        fetches.push(Step::Fetch {
            target: target.clone(),
            chain: files
                .iter()
                .map(|(id, name, _)| dir(id).join(name))
                .collect(),
            digests: files.into_iter().map(|(_, _, digest)| digest).collect(),
            to: Image::new(unfinished.clone(), op.format.clone()),
        });
        renames.push(Step::Rename {
            from: unfinished,
            to: path.clone(),
        });
        disks.insert(target.clone(), Image::new(path.clone(), op.format.clone()));
    }
    if let Some(path) = &op.nvram {
        let unfinished = layout::unfinished(path);
        fetches.push(Step::Place {
            from: dir(&op.backup).join(layout::NVRAM),
            to: unfinished.clone(),
        });
        renames.push(Step::Rename {
            from: unfinished,
            to: path.clone(),
        });
    }
    let define = Step::Define {
        definition: dir(&op.backup).join(layout::DOMAIN_INACTIVE),
        vm: op.vm.uuid.clone(),
        name: op.vm.name.clone(),
        disks,
        nvram: op.nvram.clone(),
    };
    let stages = vec![fetches, renames, vec![define]];
    Ok(Program {
        no_return: stages.len(),
        stages,
    })
}

/// The files that make up a disk of a backup, the wanted one first, with the digests they must have.
pub(super) fn chain(
    record: &Record,
    backup: &BackupId,
    target: &Target,
) -> Result<Vec<(BackupId, String, Digest)>, Refusal> {
    let broken = |text: String| Refusal::new("chain_broken", text, "knib backup list --all");
    let mut files = Vec::new();
    let mut wanted = Some((backup.clone(), None));
    while let Some((id, birth)) = wanted.take() {
        let file = record
            .backups
            .get(&id)
            .and_then(|found| found.disks.get(target));
        let file = file.ok_or_else(|| {
            broken(format!(
                "{backup} needs {target} of {id}, which is not on record"
            ))
        })?;
        if birth.is_some_and(|birth| birth != file.birth) {
            return Err(broken(format!(
                "{backup} needs another {target} of {id} than the one on record"
            )));
        }
        if files.iter().any(|(known, _, _)| *known == id) {
            return Err(broken(format!(
                "the chain of {backup} runs in a circle at {id}"
            )));
        }
        files.push((id, file.name.clone(), file.digest));
        wanted = file
            .parent
            .as_ref()
            .map(|edge| (edge.backup.clone(), Some(edge.birth)));
    }
    Ok(files)
}
