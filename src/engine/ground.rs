//! Looks at where a restore is to read and to write. What cannot be seen is left out: whoever plans on it
//! says what is lacking.

use std::collections::BTreeSet;
use std::rc::Rc;

use camino::Utf8Path;
use camino::Utf8PathBuf;

use crate::host::Host;
use crate::model::backup::Backup;
use crate::model::fault::Fault;
use crate::model::ground::Ground;
use crate::model::layout;
use crate::model::machine::Disk;
use crate::model::machine::Machine;
use crate::model::world::Space;
use crate::model::world::World;

/// The definitions of backups, and directories: those that disks of VMs or definitions are in, and
/// others that are asked for.
pub async fn ground<H: Host>(
    host: &Rc<H>,
    world: &World,
    backups: &[&Backup],
    asked: &[Utf8PathBuf],
) -> Ground {
    let mut ground = Ground::default();
    for backup in backups {
        let mut storages = world.storages.values();
        let seen = storages.find(|seen| seen.usable() == Some(&backup.storage.id));
        let Some(seen) = seen else { continue };
        let dir = layout::backup_dir(&seen.path, &backup.vm.uuid, &backup.id);
        let Ok(text) = host.read(&dir.join(layout::DOMAIN_INACTIVE)).await else {
            continue;
        };
        let text = String::from_utf8_lossy(&text);
        if let Ok(stored) = host.stored(&text).await {
            ground.stored.insert(backup.id.clone(), stored);
        }
        if let Ok(missing) = host.missing(&text).await {
            ground.missing.insert(backup.id.clone(), missing);
        }
    }
    let machines = world
        .guests
        .values()
        .filter_map(|guest| guest.machine.as_ref());
    let mut dirs: BTreeSet<_> = machines
        .chain(ground.stored.values())
        .flat_map(around)
        .collect();
    dirs.extend(asked.iter().cloned());
    for dir in dirs {
        if let Ok(entries) = host.list(&dir).await {
            let names = entries.into_iter().map(|entry| entry.name).collect();
            ground.dirs.insert(dir.clone(), names);
        }
        if let Some(space) = room(host, &dir).await {
            ground.room.insert(dir, space);
        }
    }
    ground
}

/// Room in a directory, or in the nearest one above it that is there.
async fn room<H: Host>(host: &Rc<H>, dir: &Utf8Path) -> Option<Space> {
    for dir in dir.ancestors() {
        match host.space(dir).await {
            Err(error) if error.fault == Fault::Gone => {}
            space => return space.ok(),
        }
    }
    None
}

/// The directories of a VM's files.
fn around(machine: &Machine) -> impl Iterator<Item = Utf8PathBuf> {
    let disks = machine.disks.iter().filter(|disk| disk.holds_data());
    let firmware = [&machine.firmware.nvram, &machine.firmware.tpm];
    let files = disks
        .filter_map(Disk::head)
        .chain(firmware.into_iter().flatten().map(Utf8PathBuf::as_path));
    files.filter_map(Utf8Path::parent).map(Utf8Path::to_owned)
}
