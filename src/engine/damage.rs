//! Files of backups that are not as they are on record: missing, or of another length. Their bytes are
//! not read here.

use std::collections::BTreeMap;
use std::rc::Rc;

use camino::Utf8PathBuf;

use crate::action;
use crate::host::Host;
use crate::model::backup::Backup;
use crate::model::backup::Unusable;
use crate::model::bytes::Bytes;
use crate::model::finding::Finding;
use crate::model::finding::Severity;
use crate::model::id::BackupId;
use crate::model::id::JobId;
use crate::model::id::VmId;
use crate::model::job::JobKind;
use crate::model::layout;
use crate::model::lease::Mode;
use crate::model::lease::Subject;
use crate::model::world::Guest;
use crate::model::world::StorageSeen;
use crate::state::State;
use crate::state::StateError;

/// Looks at every file on record of VMs that are this state's, on storages that are there.
pub(super) async fn see<H: Host>(
    host: &Rc<H>,
    state: &State,
    guests: &BTreeMap<VmId, Guest>,
    storages: &mut BTreeMap<String, StorageSeen>,
    findings: &mut Vec<Finding>,
) {
    for seen in storages.values_mut() {
        let Some(id) = seen.usable().cloned() else {
            continue;
        };
        for (vm, guest) in guests {
            let owner = seen.vms.get(vm).and_then(|found| found.owner.as_ref());
            if owner.is_some_and(|owner| owner.state_id != *state.id()) {
                continue;
            }
            let here =
                |backup: &&Backup| backup.storage.id == id && backup.marks.unusable.is_none();
            let backups = guest.record.backups.values().map(AsRef::as_ref);
            let files: Vec<File> = backups
                .filter(here)
                .flat_map(|backup| files(backup, guest, &seen.path))
                .collect();
            if files.is_empty() {
                continue;
            }
            let paths: Vec<_> = files.iter().map(|file| file.path.clone()).collect();
            match host.lengths(&paths).await {
                Ok(lengths) => {
                    let mut damage = judged(files, &lengths);
                    if !damage.is_empty() && changing(state, guest, &mut damage).is_ok() {
                        seen.vms.entry(vm.clone()).or_default().damage = damage;
                    }
                }
                // What cannot be looked at is not judged.
                Err(error) => findings.push(
                    Finding::new(
                        Severity::Warning,
                        "unreadable_backups",
                        format!(
                            "the backups of {} could not be looked at: {error}",
                            guest.vm.name
                        ),
                    )
                    .vm(guest.vm.name.clone()),
                ),
            }
        }
    }
}

/// What changes its files right now, or has just changed them, is not damaged: the record was read
/// before they were looked at.
fn changing(
    state: &State,
    guest: &Guest,
    damage: &mut BTreeMap<BackupId, Unusable>,
) -> Result<(), StateError> {
    let vm = &guest.vm.uuid;
    let (now, opens) = state.read(|state| Ok((state.record(vm)?, state.opens_of(vm)?)))?;
    let now = now.map(|(_, record)| record).unwrap_or_default();
    let held = opens
        .iter()
        .flat_map(|open| action::leases(&open.op, &now))
        .filter(|lease| lease.mode == Mode::Exclusive);
    let held: Vec<_> = held.map(|lease| lease.subject).collect();
    damage.retain(|id, _| {
        let before = guest.record.backups.get(id).map(|backup| &backup.disks);
        let now = now.backups.get(id).map(|backup| &backup.disks);
        before == now && !held.contains(&Subject::Backup(id.clone()))
    });
    Ok(())
}

/// A disk's file of a backup, as it is on record.
struct File {
    backup: BackupId,
    name: String,
    path: Utf8PathBuf,
    size: Bytes,
    /// What a swap that waits makes of it; one that was given up may have.
    becomes: Option<Bytes>,
}

fn files(backup: &Backup, guest: &Guest, storage: &Utf8PathBuf) -> Vec<File> {
    let dir = layout::backup_dir(storage, &backup.vm.uuid, &backup.id);
    let swap = JobId::of(&backup.id, JobKind::Finalize.as_str());
    let swap = guest.record.jobs.get(&swap).filter(|job| job.is_waiting());
    let disks = backup.disks.iter();
    disks
        .map(|(target, disk)| File {
            backup: backup.id.clone(),
            name: disk.name.clone(),
            path: dir.join(&disk.name),
            size: disk.size,
            becomes: swap
                .and_then(|swap| swap.files.get(target))
                .map(|file| file.size),
        })
        .collect()
}

fn judged(files: Vec<File>, lengths: &[Option<Bytes>]) -> BTreeMap<BackupId, Unusable> {
    let mut damage = BTreeMap::new();
    for (file, length) in files.into_iter().zip(lengths) {
        let code = match length {
            None => "missing",
            Some(length) if *length == file.size || Some(*length) == file.becomes => continue,
            Some(_) => "damaged",
        };
        damage.entry(file.backup).or_insert(Unusable {
            code: code.to_owned(),
            file: Some(file.name),
        });
    }
    damage
}
