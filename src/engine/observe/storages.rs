//! What is where a storage is said to be: its marker, its room, the directories of VMs.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use camino::Utf8Path;
use camino::Utf8PathBuf;

use crate::engine::kept;
use crate::host::Host;
use crate::host::HostError;
use crate::model::backup::Backup;
use crate::model::backup::Marker;
use crate::model::backup::Owner;
use crate::model::fault::Fault;
use crate::model::finding::Finding;
use crate::model::finding::Severity;
use crate::model::id::BackupId;
use crate::model::id::VmId;
use crate::model::layout;
use crate::model::world::StorageFound;
use crate::model::world::StorageSeen;
use crate::model::world::VmFound;

/// The storage layout that this program understands.
const NEWEST_STORAGE: u32 = 1;

/// Where a storage is said to be.
pub(super) async fn storage<H: Host>(
    host: &Rc<H>,
    path: Utf8PathBuf,
    findings: &mut Vec<Finding>,
) -> StorageSeen {
    let space = host.space(&path).await.ok();
    let entries = match host.list(&path).await {
        Ok(entries) => entries,
        Err(error) => {
            let found = StorageFound::Unreachable(error.cause);
            return StorageSeen {
                path,
                known: None,
                found,
                space: None,
                vms: BTreeMap::new(),
            };
        }
    };
    let found = match host.read(&layout::marker(&path)).await {
        Ok(text) => match serde_json::from_slice::<Marker>(&text) {
            Ok(marker) if marker.format <= NEWEST_STORAGE => StorageFound::Marked(marker.id),
            Ok(marker) => {
                StorageFound::Strange(format!("layout {} is newer than this knib", marker.format))
            }
            Err(error) => StorageFound::Strange(error.to_string()),
        },
        Err(error) if error.fault == Fault::Gone => StorageFound::Unmarked {
            empty: entries.iter().all(|entry| layout::is_nothing(&entry.name)),
        },
        Err(error) => StorageFound::Unreachable(error.cause),
    };
    let mut vms = BTreeMap::new();
    if matches!(found, StorageFound::Marked(_)) {
        for entry in entries
            .iter()
            .filter(|entry| entry.is_dir && is_uuid(&entry.name))
        {
            let vm = VmId::new(entry.name.clone());
            let dir = layout::vm_dir(&path, &vm);
            match vm_dir(host, &path, &dir, &vm).await {
                Ok(found) => {
                    vms.insert(vm, found);
                }
                Err(error) => findings.push(Finding::new(
                    Severity::Warning,
                    "unreadable_storage",
                    format!("{dir} could not be read: {}", error.cause),
                )),
            }
        }
    }
    StorageSeen {
        path,
        known: None,
        found,
        space,
        vms,
    }
}

async fn vm_dir<H: Host>(
    host: &Rc<H>,
    storage: &Utf8Path,
    dir: &Utf8Path,
    vm: &VmId,
) -> Result<VmFound, HostError> {
    let owner = match host.read(&layout::owner(storage, vm)).await {
        Ok(text) => serde_json::from_slice::<Owner>(&text).ok(),
        Err(error) if error.fault == Fault::Gone => None,
        Err(error) => return Err(error),
    };
    let entries = host.list(dir).await?;
    let dirs = || {
        entries
            .iter()
            .filter(|entry| entry.is_dir)
            .map(|entry| entry.name.as_str())
    };
    let backups: BTreeSet<_> = dirs()
        .filter(|name| BackupId::is_one(name))
        .map(BackupId::new)
        .collect();
    let stages = dirs().filter_map(layout::staged).collect();
    Ok(VmFound {
        owner,
        backups,
        stages,
        damage: BTreeMap::new(),
        foreign: Vec::new(),
    })
}

/// What the backups of a VM say that another state made. One that cannot be read is told and left out.
pub(super) async fn foreign<H: Host>(
    host: &Rc<H>,
    storage: &Utf8Path,
    vm: &VmId,
    backups: &BTreeSet<BackupId>,
    findings: &mut Vec<Finding>,
) -> Vec<Arc<Backup>> {
    let (read, unread) = kept::records(host, storage, vm, backups).await;
    findings.extend(unread.iter().map(|unread| {
        let text = format!("{} {}", unread.path, unread.why);
        Finding::new(Severity::Warning, "unreadable_storage", text)
    }));
    read
}

fn is_uuid(name: &str) -> bool {
    let groups: Vec<_> = name.split('-').map(str::len).collect();
    groups == [8, 4, 4, 4, 12] && name.chars().all(|c| c == '-' || c.is_ascii_hexdigit())
}
