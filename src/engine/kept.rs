//! Reads what backups say of themselves, on the storages that were seen. Judges none of it beyond
//! whether it is the record of the backup whose directory it is in.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use camino::Utf8Path;
use serde::Deserialize;

use crate::host::Host;
use crate::model::backup::Backup;
use crate::model::backup::FORMAT;
use crate::model::backup::Remark;
use crate::model::backup::StorageRef;
use crate::model::id::BackupId;
use crate::model::id::VmId;
use crate::model::kept::Kept;
use crate::model::kept::Unread;
use crate::model::layout;
use crate::model::world::World;

/// The directory of every VM on every storage that is there, whoever it belongs to.
pub async fn kept<H: Host>(host: &Rc<H>, world: &World) -> Vec<Kept> {
    let mut all = Vec::new();
    for (name, seen) in &world.storages {
        let Some(id) = seen.usable() else { continue };
        for (vm, found) in &seen.vms {
            let (backups, unread) = records(host, &seen.path, vm, &found.backups).await;
            all.push(Kept {
                storage: StorageRef {
                    name: name.clone(),
                    id: id.clone(),
                },
                dir: layout::vm_dir(&seen.path, vm),
                vm: vm.clone(),
                owner: found.owner.clone(),
                backups,
                unread,
            });
        }
    }
    all
}

/// The records of some backups of a VM.
pub(super) async fn records<H: Host>(
    host: &Rc<H>,
    storage: &Utf8Path,
    vm: &VmId,
    backups: &BTreeSet<BackupId>,
) -> (Vec<Arc<Backup>>, Vec<Unread>) {
    let (mut read, mut unread) = (Vec::new(), Vec::new());
    for id in backups {
        let path = layout::backup_dir(storage, vm, id).join(layout::RECORD);
        let text = host.read(&path).await.map_err(|error| error.cause);
        match text.and_then(|text| understood(&text, vm, id)) {
            Ok(backup) => read.push(Arc::new(as_it_is(host, backup, &path).await)),
            Err(why) => unread.push(Unread { path, why }),
        }
    }
    (read, unread)
}

/// While its files were being swapped for compressed ones each is what its length says.
async fn as_it_is<H: Host>(host: &Rc<H>, mut backup: Backup, path: &Utf8Path) -> Backup {
    if backup.disks.values().all(|disk| disk.becomes.is_none()) {
        return backup;
    }
    let files: Vec<_> = backup
        .disks
        .values()
        .map(|disk| path.with_file_name(&disk.name))
        .collect();
    // One that cannot be looked at is what it was.
    let lengths = host.lengths(&files).await.unwrap_or_default();
    let lengths = lengths.into_iter().chain(std::iter::repeat(None));
    let disks = backup.disks.iter().zip(lengths);
    let became = disks.filter_map(|((target, disk), length)| {
        let becomes = disk.becomes.clone()?;
        (length == Some(becomes.size)).then(|| (target.clone(), becomes))
    });
    let files: BTreeMap<_, _> = became.collect();
    backup.learn(&if files.is_empty() {
        Remark::Becomes { files }
    } else {
        Remark::Compressed { files }
    });
    backup
}

/// The record of one backup, by what it says itself.
pub(super) fn understood(text: &[u8], vm: &VmId, id: &BackupId) -> Result<Backup, String> {
    #[derive(Deserialize)]
    struct Versioned {
        format: u32,
    }
    let damaged = |error: serde_json::Error| format!("cannot be understood: {error}");
    let Versioned { format } = serde_json::from_slice(text).map_err(damaged)?;
    if format > FORMAT {
        return Err(format!(
            "is of a newer form than this knib knows ({format}, not {FORMAT})"
        ));
    }
    let backup: Backup = serde_json::from_slice(text).map_err(damaged)?;
    if backup.id != *id || backup.vm.uuid != *vm {
        return Err(format!("is that of {} of {}", backup.id, backup.vm.uuid));
    }
    Ok(backup)
}
