//! Looks for what carries knib's mark and nothing refers to. Decides what may go, and removes nothing.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::rc::Rc;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use jiff::SignedDuration;

use crate::host::Entry;
use crate::host::Host;
use crate::host::HostError;
use crate::model::backup::Reader;
use crate::model::backup::VmRef;
use crate::model::bytes::Bytes;
use crate::model::fault::Fault;
use crate::model::id::BackupId;
use crate::model::id::Target;
use crate::model::id::VmId;
use crate::model::job::Job;
use crate::model::job::JobKind;
use crate::model::layout;
use crate::model::machine::Disk;
use crate::model::machine::Format;
use crate::model::machine::Machine;
use crate::model::orphan::Orphan;
use crate::model::orphan::OrphanKind;
use crate::model::step::BackupAt;
use crate::model::step::Image;
use crate::model::world::Guest;
use crate::model::world::Open;
use crate::model::world::World;

/// So long nobody asks whether a VM of another host still reads a backup.
const OLD: SignedDuration = SignedDuration::from_hours(24);

/// Everything on storages that are there, where they are this state's, and beside the disks of VMs.
///
/// # Errors
/// A directory cannot be read.
pub async fn orphans<H: Host>(host: &Rc<H>, world: &World) -> Result<Vec<Orphan>, HostError> {
    let mut found = on_storages(host, world).await?;
    found.extend(on_primary(host, world).await?);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

async fn on_storages<H: Host>(host: &Rc<H>, world: &World) -> Result<Vec<Orphan>, HostError> {
    let mut found = Vec::new();
    for seen in world
        .storages
        .values()
        .filter(|seen| seen.usable().is_some())
    {
        for (vm, of_vm) in &seen.vms {
            let owner = of_vm.owner.as_ref().map(|owner| &owner.state_id);
            if owner.is_none() || owner != world.state.as_ref() {
                continue;
            }
            let guest = world.guests.get(vm);
            let dir = layout::vm_dir(&seen.path, vm);
            for entry in host.list(&dir).await?.iter().filter(|entry| entry.is_dir) {
                let on_record = |id: &BackupId| {
                    guest.is_some_and(|guest| guest.record.backups.contains_key(id))
                };
                let name = entry.name.as_str();
                if let Some(guest) = guest
                    && on_record(&BackupId::new(name))
                {
                    found.extend(compressed(host, world, guest, &dir.join(name)).await?);
                    let of = BackupAt {
                        storage: seen.path.clone(),
                        id: guest.record.backups[&BackupId::new(name)]
                            .storage
                            .id
                            .clone(),
                        vm: vm.clone(),
                        backup: BackupId::new(name),
                    };
                    found.extend(leases(host, world, &of).await?);
                }
                let kind = if layout::staged(name).is_some() {
                    OrphanKind::Stage
                } else if layout::going(name).is_some() {
                    OrphanKind::Deleted
                } else if BackupId::is_one(name) && !on_record(&BackupId::new(name)) {
                    OrphanKind::Backup
                } else {
                    continue;
                };
                let path = dir.join(name);
                if is_worked_on(world, &path) {
                    continue;
                }
                found.push(Orphan {
                    size: held(&host.list(&path).await?),
                    path,
                    kind,
                    vm: guest.map(|guest| guest.vm.clone()),
                    // A whole backup may be all that is left of a disk.
                    removable: kind != OrphanKind::Backup,
                });
            }
        }
    }
    Ok(found)
}

/// Compressed files beside those of a backup that no job puts in their place.
async fn compressed<H: Host>(
    host: &Rc<H>,
    world: &World,
    guest: &Guest,
    dir: &Utf8Path,
) -> Result<Vec<Orphan>, HostError> {
    let id = dir.file_name().map(BackupId::new);
    let mut jobs = guest.record.jobs.values();
    let is_wanted = |job: &Job| job.kind == JobKind::Finalize && job.is_waiting();
    if is_worked_on(world, dir)
        || jobs.any(|job| is_wanted(job) && Some(&job.backup) == id.as_ref())
    {
        return Ok(Vec::new());
    }
    let entries = match host.list(dir).await {
        Err(error) if error.fault == Fault::Gone => return Ok(Vec::new()),
        entries => entries?,
    };
    let files = entries.into_iter().filter(|entry| !entry.is_dir);
    let files = files.filter(|entry| layout::uncompressed(Utf8Path::new(&entry.name)).is_some());
    let orphan = |entry: Entry| Orphan {
        path: dir.join(&entry.name),
        kind: OrphanKind::Compressed,
        size: entry.size,
        vm: Some(guest.vm.clone()),
        removable: true,
    };
    Ok(files.map(orphan).collect())
}

/// Notes of VMs that read a backup, where no VM here does. Of another host only old ones: what its VMs read
/// cannot be seen from here.
async fn leases<H: Host>(
    host: &Rc<H>,
    world: &World,
    of: &BackupAt,
) -> Result<Vec<Orphan>, HostError> {
    let readers = of.dir().join(layout::READERS);
    let entries = match host.list(&readers).await {
        Err(error) if error.fault == Fault::Gone => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = readers.join(&entry.name);
        let vm = VmId::new(&entry.name);
        let lease = host.read(&path).await;
        let lease = lease
            .ok()
            .and_then(|text| serde_json::from_slice::<Reader>(&text).ok());
        let young = lease.as_ref().is_some_and(|lease| {
            lease.hostname != world.host.hostname && world.now.duration_since(lease.since) < OLD
        });
        let guest = world.guests.get(&vm);
        let machines = guest.and_then(|guest| guest.machine.as_ref());
        let mut disks = machines.iter().flat_map(|machine| &machine.disks);
        let reads = disks.any(|disk| disk.files().any(|path| of.holds(path)));
        let at_work = guest.is_some_and(|guest| guest.open.iter().any(Open::consolidates));
        if young || reads || at_work {
            continue;
        }
        found.push(Orphan {
            path,
            kind: OrphanKind::Lease,
            size: entry.size,
            vm: guest.map(|guest| guest.vm.clone()),
            // A disk that lies on the backup may be somewhere.
            removable: false,
        });
    }
    Ok(found)
}

async fn on_primary<H: Host>(host: &Rc<H>, world: &World) -> Result<Vec<Orphan>, HostError> {
    let known = left_by(world);
    let mut dirs: BTreeSet<Utf8PathBuf> = disks(world)
        .filter_map(|disk| disk.head()?.parent().map(Utf8Path::to_owned))
        .collect();
    let records = world
        .guests
        .values()
        .flat_map(|guest| guest.record.backups.values());
    let deltas =
        records.flat_map(|backup| backup.disks.values().filter_map(|disk| disk.delta.as_ref()));
    dirs.extend(deltas.filter_map(|delta| delta.path.parent().map(Utf8Path::to_owned)));
    let mut found = Vec::new();
    for dir in dirs {
        let entries = match host.list(&dir).await {
            Err(error) if error.fault == Fault::Gone => continue,
            entries => entries?,
        };
        for entry in entries.iter().filter(|entry| !entry.is_dir) {
            let path = dir.join(&entry.name);
            let Some((kind, layer)) = layer(&path) else {
                continue;
            };
            let used = disks(world).any(|disk| {
                let on_branch = disk.layer(&layer).is_some();
                disk.uses(&path) || disk.uses(&layer) || on_branch
            });
            if kind == OrphanKind::Throwaway {
                found.extend(thrown_away(host, world, path, entry.size).await?);
                continue;
            }
            if used || is_worked_on(world, &layer) || is_kept(world, &path) {
                continue;
            }
            let vm = match layout::snapshotted(&layer) {
                Some(disk) => has_disk(world, &disk),
                None => layout::delta_of(&layer).and_then(|id| known.get(&id).cloned()),
            };
            if vm.as_ref().is_some_and(|vm| has_unseen_branches(world, vm)) {
                continue;
            }
            let removable = match kind {
                // Nothing in it tells whose restore it is of, or what lies on it.
                OrphanKind::Unfinished | OrphanKind::Replaced | OrphanKind::Snapshot => false,
                // One whose backup is unknown may be of another state; a chain that could not be read
                // may hold it.
                _ if vm.is_none() || !all_read(world) || is_current(world, &layer) => false,
                OrphanKind::Merged => is_idle(host, &path).await,
                _ => {
                    let image = Image::new(path.clone(), Format::Qcow2);
                    is_idle(host, &path).await && host.is_blank(&image).await.unwrap_or(false)
                }
            };
            found.push(Orphan {
                path,
                kind,
                size: entry.size,
                vm,
                removable,
            });
        }
    }
    Ok(found)
}

/// A file of a throwaway VM that ended without knib. What its guest wrote is nobody's.
async fn thrown_away<H: Host>(
    host: &Rc<H>,
    world: &World,
    path: Utf8PathBuf,
    size: Bytes,
) -> Result<Option<Orphan>, HostError> {
    let of = layout::thrown_away(&path).filter(|_| !is_worked_on(world, &path));
    let Some(guest) = of.and_then(|vm| world.guests.get(&vm)) else {
        return Ok(None);
    };
    let removable = match host.machine(&guest.vm.uuid.throwaway()).await {
        Ok(_) => false,
        Err(error) if error.fault == Fault::Gone => true,
        Err(error) => return Err(error),
    };
    Ok(Some(Orphan {
        path,
        kind: OrphanKind::Throwaway,
        size,
        vm: Some(guest.vm.clone()),
        removable,
    }))
}

/// What a file on primary is by its name, and the name that a chain would have it under.
fn layer(path: &Utf8Path) -> Option<(OrphanKind, Utf8PathBuf)> {
    if let Some(finished) = layout::finished(path) {
        return Some((OrphanKind::Unfinished, finished));
    }
    if layout::replaced_by(path)
        .or(layout::restored_by(path))
        .is_some()
    {
        return Some((OrphanKind::Replaced, path.to_owned()));
    }
    if layout::thrown_away(path).is_some() {
        return Some((OrphanKind::Throwaway, path.to_owned()));
    }
    if layout::delta_of(path).is_some() {
        return Some((OrphanKind::Delta, path.to_owned()));
    }
    if layout::snapshotted(path).is_some() {
        return Some((OrphanKind::Snapshot, path.to_owned()));
    }
    let unmerged = layout::unmerged(path)?;
    layout::delta_of(&unmerged)?;
    Some((OrphanKind::Merged, unmerged))
}

fn disks(world: &World) -> impl Iterator<Item = &Disk> {
    let machines = world
        .guests
        .values()
        .filter_map(|guest| guest.machine.as_ref());
    machines.flat_map(|machine| &machine.disks)
}

/// Whether files may belong to a branch of a VM that nobody has seen: one that somebody else's
/// snapshots keep, or one of a disk that is not attached or could not be read.
fn has_unseen_branches(world: &World, vm: &VmRef) -> bool {
    let Some(guest) = world.guests.get(&vm.uuid) else {
        return false;
    };
    let machine = guest.machine.as_ref();
    let seen = |target: &Target, file: &Image| {
        let disk = machine.and_then(|machine| machine.disk(target));
        disk.is_some_and(|disk| disk.layer(&file.path).is_some())
    };
    let of_all = [guest.snapshots(), &guest.record.snapshots].map(|known| known.all.values());
    let mut files = of_all.into_iter().flatten().flat_map(|one| &one.disks);
    machine.is_some_and(Machine::has_foreign_snapshots)
        || files.any(|(target, file)| !seen(target, file))
}

/// The VM on whose disk of this name a layer was laid, if it is one VM's alone.
fn has_disk(world: &World, path: &Utf8Path) -> Option<VmRef> {
    let mut owners = world.guests.values().filter(|guest| {
        let machine = guest.machine.as_ref();
        machine.is_some_and(|machine| machine.disks.iter().any(|disk| disk.uses(path)))
    });
    let owner = owners.next()?;
    owners.next().is_none().then(|| owner.vm.clone())
}

/// Whether a VM is to write to it: one that was undefined may be defined again.
fn is_current(world: &World, layer: &Utf8Path) -> bool {
    let id = layout::delta_of(layer);
    let mut records = world.guests.values().map(|guest| &guest.record);
    id.is_some() && records.any(|record| record.current == id)
}

/// Whether a VM's note knows of it: it goes with the next good backup.
fn is_kept(world: &World, path: &Utf8Path) -> bool {
    let machines = world
        .guests
        .values()
        .filter_map(|guest| guest.machine.as_ref());
    let mut kept = machines.flat_map(|machine| machine.replaced().into_values().flatten());
    kept.any(|kept| kept == path)
}

/// Whether it is known of every disk what lies below it.
fn all_read(world: &World) -> bool {
    disks(world)
        .filter(|disk| disk.holds_data() && disk.head().is_some())
        .all(|disk| !disk.layers.is_empty())
}

/// The VM whose backup, made or failed, left deltas by this id.
fn left_by(world: &World) -> BTreeMap<BackupId, VmRef> {
    let mut known = BTreeMap::new();
    for guest in world.guests.values() {
        let made = guest.record.backups.keys();
        let failed = guest.record.failures.iter().map(|failed| &failed.backup);
        known.extend(made.chain(failed).map(|id| (id.clone(), guest.vm.clone())));
    }
    known
}

/// Whether an open action is about it, or about something in it.
fn is_worked_on(world: &World, path: &Utf8Path) -> bool {
    let of_guests = world.guests.values().flat_map(|guest| &guest.open);
    let quoted = serde_json::to_string(path).unwrap_or_default();
    let inside = quoted.trim_matches('"');
    of_guests.chain(&world.open).any(|open| {
        let program = serde_json::to_string(&open.program).unwrap_or_default();
        program.contains(inside)
    })
}

async fn is_idle<H: Host>(host: &Rc<H>, layer: &Utf8Path) -> bool {
    let image = Image::new(layer, Format::Qcow2);
    host.idle(&image).await.is_ok()
}

fn held(entries: &[Entry]) -> Bytes {
    entries.iter().map(|entry| entry.size).sum()
}
