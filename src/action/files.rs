//! Files in a backup are read: nothing is done to anything, so there is no step, and one who died
//! reading left nothing to carry on.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;

use crate::model::bytes::Bytes;
use crate::model::id::Target;
use crate::model::layout;
use crate::model::lease::Lease;
use crate::model::lease::Subject;
use crate::model::op::Files;
use crate::model::program::Program;
use crate::model::program::Refusal;
use crate::model::world::Guest;

/// The backup and all it continues, with other readers.
pub(super) fn leases(op: &Files) -> Vec<Lease> {
    let read = std::iter::once(&op.backup).chain(&op.ancestors);
    read.map(|id| Lease::shared(Subject::Backup(id.clone())))
        .collect()
}

/// No step; what its files need must be on record, and be what it was planned with.
pub(super) fn program(op: &Files, guest: &Guest) -> Result<Program, Refusal> {
    chains(op, guest)?;
    if guest.record.ancestors(&op.backup) != op.ancestors {
        return Err(changed(op));
    }
    Ok(Program::default())
}

/// The files that each disk of the backup is read from, the wanted one first, with their lengths.
pub(super) fn chains(
    op: &Files,
    guest: &Guest,
) -> Result<BTreeMap<Target, Vec<(Utf8PathBuf, Bytes)>>, Refusal> {
    let record = &guest.record;
    let found = record.backups.get(&op.backup).ok_or_else(|| changed(op))?;
    let mut chains = BTreeMap::new();
    for target in found.disks.keys() {
        let files = record
            .files_of(&op.backup, target)
            .map_err(|text| Refusal::new("chain_broken", text, "knib backup list --all"))?;
        let files = files.into_iter().map(|(id, file)| {
            let dir = layout::backup_dir(&op.storage.path, &op.vm.uuid, id);
            (dir.join(&file.name), file.size)
        });
        chains.insert(target.clone(), files.collect());
    }
    Ok(chains)
}

fn changed(op: &Files) -> Refusal {
    let text = format!("{} is not as it was a moment ago", op.backup);
    Refusal::new("backup_gone", text, "look again: knib backup list")
}
