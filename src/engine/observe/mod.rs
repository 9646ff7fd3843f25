//! Sees everything once and makes one world of it: VMs and their image headers, storages, the record.
//!
//! It only looks: nothing is written, no lock is taken. What cannot be seen is a finding, and the rest
//! is seen all the same.

mod storages;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::rc::Rc;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::engine::EngineError;
use crate::engine::damage;
use crate::host::Host;
use crate::host::HostError;
use crate::model::backup::VmRef;
use crate::model::fault::Fault;
use crate::model::finding::Finding;
use crate::model::finding::Severity;
use crate::model::id::VmId;
use crate::model::machine::Disk;
use crate::model::machine::Machine;
use crate::model::machine::Source;
use crate::model::step::Image;
use crate::model::world;
use crate::model::world::Guest;
use crate::model::world::Open;
use crate::model::world::Space;
use crate::model::world::World;
use crate::state::State;

/// So many image chains are read at a time.
const AT_A_TIME: usize = 8;

/// Everything, at the instant `now`. `storages` are those that the policy names; those on record are
/// looked at as well.
///
/// # Errors
/// libvirt cannot be reached or the state file not be read.
pub async fn observe<H: Host>(
    host: &Rc<H>,
    state: Option<&State>,
    storages: &BTreeMap<String, Utf8PathBuf>,
    now: Timestamp,
) -> Result<World, EngineError> {
    let mut findings = Vec::new();
    let recorded = state
        .map(|state| state.read(|state| Ok((state.applied()?, state.records()?, state.opens()?))));
    let (applied, records, opens) = recorded.transpose()?.unwrap_or_default();
    let mut guests = BTreeMap::new();
    for (id, (vm, record)) in records {
        guests.insert(
            id,
            Guest {
                record,
                ..Guest::new(vm)
            },
        );
    }
    let machines = lasting(host.machines().await?, guests.keys());
    for machine in with_layers(host, machines, &mut findings).await {
        let vm = VmRef {
            name: machine.name.clone(),
            uuid: machine.id.clone(),
        };
        let guest = guests
            .entry(machine.id.clone())
            .or_insert_with(|| Guest::new(vm.clone()));
        guest.vm = vm;
        guest.machine = Some(machine);
        with_branches(host, guest).await;
    }
    let mut about_no_vm = Vec::new();
    for open in opens {
        let Some(vm) = open.op.vm() else {
            about_no_vm.push(open);
            continue;
        };
        let guest = guests
            .entry(vm.uuid.clone())
            .or_insert_with(|| Guest::new(vm.clone()));
        guest.open.push(open);
    }
    let mut places = storages.clone();
    for (name, known) in &applied.storages {
        places
            .entry(name.clone())
            .or_insert_with(|| known.path.clone());
    }
    let mut seen = BTreeMap::new();
    let ours = state.map(|state| state.id().clone());
    for (name, path) in places {
        let mut found = storages::storage(host, path, &mut findings).await;
        found.known = applied.storages.get(&name).map(|known| known.id.clone());
        for (vm, dir) in &mut found.vms {
            let owner = dir.owner.as_ref().map(|owner| &owner.state_id);
            let here = guests.get(vm).is_some_and(|guest| guest.machine.is_some());
            if here && owner.is_some() && owner != ours.as_ref() {
                dir.foreign =
                    storages::foreign(host, &found.path, vm, &dir.backups, &mut findings).await;
            }
        }
        seen.insert(name, found);
    }
    left_behind(host, &guests, &mut findings).await;
    if let Some(state) = state {
        damage::see(host, state, &guests, &mut seen, &mut findings).await;
    }
    Ok(World {
        format: world::FORMAT,
        now,
        host: host.identity().await?,
        state: state.map(|state| state.id().clone()),
        primaries: primaries(host, &guests).await,
        guests,
        open: about_no_vm,
        storages: seen,
        applied,
        findings,
    })
}

/// Those that are not there for a backup to be booted in, of a VM that is here or on record.
fn lasting<'a>(mut machines: Vec<Machine>, known: impl Iterator<Item = &'a VmId>) -> Vec<Machine> {
    let mut throwaways: BTreeSet<_> = known.map(VmId::throwaway).collect();
    throwaways.extend(machines.iter().map(|machine| machine.id.throwaway()));
    machines.retain(|machine| machine.persistent || !throwaways.contains(&machine.id));
    machines
}

/// Deltas of VMs that are not defined here any more. What the guest wrote last may be in them alone, so
/// they are told and never removed.
async fn left_behind<H: Host>(
    host: &Rc<H>,
    guests: &BTreeMap<VmId, Guest>,
    findings: &mut Vec<Finding>,
) {
    let machines = guests.values().filter_map(|guest| guest.machine.as_ref());
    let disks: Vec<&Disk> = machines.flat_map(|machine| &machine.disks).collect();
    for guest in guests.values().filter(|guest| guest.machine.is_none()) {
        let current = guest.record.current.as_ref();
        let Some(backup) = current.and_then(|id| guest.record.backups.get(id)) else {
            continue;
        };
        let deltas = backup.disks.values().filter_map(|disk| disk.delta.as_ref());
        for delta in deltas.filter(|delta| !disks.iter().any(|disk| disk.uses(&delta.path))) {
            let dir = delta.path.parent().unwrap_or(Utf8Path::new("/"));
            let entries = host.list(dir).await.unwrap_or_default();
            let mut names = entries.iter().map(|entry| entry.name.as_str());
            if !names.any(|name| Some(name) == delta.path.file_name()) {
                continue;
            }
            let name = &guest.vm.name;
            let text = format!(
                "{name} is not defined here any more; what it wrote last is in {}",
                delta.path
            );
            let hint = format!(
                "define {name} again, or merge it by hand: qemu-img commit -d {}",
                delta.path
            );
            findings.push(
                Finding::new(Severity::Warning, "left_behind", text)
                    .vm(name.clone())
                    .hint(hint),
            );
        }
    }
}

/// One VM again, as an action's start wants it. None: neither defined nor on record.
///
/// # Errors
/// libvirt cannot be reached or the state file not be read.
pub async fn guest<H: Host>(
    host: &Rc<H>,
    state: &State,
    vm: &VmRef,
) -> Result<Option<Guest>, EngineError> {
    // The record first: a run that ends in between leaves a machine newer than it, which the claim
    // tells, rather than a record that speaks of a machine not yet seen.
    let (record, open): (_, Vec<Open>) =
        state.read(|state| Ok((state.record(&vm.uuid)?, state.opens_of(&vm.uuid)?)))?;
    let machine = match host.machine(&vm.uuid).await {
        Ok(machine) => {
            let machine = with_hands(host, machine).await?;
            let machines = with_layers(host, vec![machine], &mut Vec::new()).await;
            machines.into_iter().next()
        }
        Err(error) if error.fault == Fault::Gone => None,
        Err(error) => return Err(error.into()),
    };
    if machine.is_none() && record.is_none() {
        return Ok(None);
    }
    let record = record.map(|(_, record)| record).unwrap_or_default();
    let mut guest = Guest {
        vm: vm.clone(),
        machine,
        record,
        open,
    };
    with_branches(host, &mut guest).await;
    Ok(Some(guest))
}

/// Reads the image chains that snapshots keep besides those that the VM uses.
async fn with_branches<H: Host>(host: &Rc<H>, guest: &mut Guest) {
    let snapshots = guest.snapshots().clone();
    let Some(machine) = &mut guest.machine else {
        return;
    };
    for (target, file) in snapshots.all.values().flat_map(|one| &one.disks) {
        let known = |disk: &&mut Disk| !disk.layers.is_empty() && disk.layer(&file.path).is_none();
        let Some(disk) = machine.disk_mut(target).filter(known) else {
            continue;
        };
        match host.layers(file).await {
            // What another disk left under this target is not this disk's.
            Ok(layers) if layers.iter().any(|layer| disk.is_in_chain(&layer.path)) => {
                disk.learn_branch(layers);
            }
            Ok(_) => {}
            Err(error) if error.fault == Fault::Gone => {}
            Err(_) => disk.unreadable.push(file.path.clone()),
        }
    }
}

/// Reads the image chains of all hard disks that are files.
async fn with_layers<H: Host>(
    host: &Rc<H>,
    mut machines: Vec<Machine>,
    findings: &mut Vec<Finding>,
) -> Vec<Machine> {
    let lanes = Rc::new(Semaphore::new(AT_A_TIME));
    let mut reads = JoinSet::new();
    for (m, machine) in machines.iter().enumerate() {
        for (d, disk) in machine.disks.iter().enumerate() {
            let Some(image) = readable(disk) else {
                continue;
            };
            let (host, lanes) = (Rc::clone(host), Rc::clone(&lanes));
            reads.spawn_local(async move {
                let _lane = lanes.acquire().await;
                (m, d, host.layers(&image).await)
            });
        }
    }
    while let Some(Ok((m, d, read))) = reads.join_next().await {
        match read {
            Ok(layers) => machines[m].disks[d].layers = layers,
            Err(error) => findings.push(unread(&machines[m], &machines[m].disks[d], &error)),
        }
    }
    machines
}

/// Asks of a stopped VM's images whether anything has them open, here or on another host. One that
/// was being started is looked at again.
async fn with_hands<H: Host>(host: &Rc<H>, mut machine: Machine) -> Result<Machine, HostError> {
    if machine.power.is_on() {
        return Ok(machine);
    }
    for disk in &mut machine.disks {
        if let Some(image) = readable(disk) {
            let busy = |error: HostError| error.fault == Fault::Busy;
            disk.in_use = host.idle(&image).await.is_err_and(busy);
        }
    }
    if machine.disks.iter().any(|disk| disk.in_use) {
        let now = host.machine(&machine.id).await?;
        if now.power.is_on() {
            return Ok(now);
        }
    }
    Ok(machine)
}

fn readable(disk: &Disk) -> Option<Image> {
    disk.source
        .as_ref()
        .filter(|_| disk.holds_data())
        .and_then(Source::image)
}

fn unread(machine: &Machine, disk: &Disk, error: &HostError) -> Finding {
    Finding::new(
        Severity::Warning,
        "unreadable_disk",
        format!(
            "{}: the image of {} could not be read: {}",
            machine.name, disk.target, error.cause
        ),
    )
    .vm(machine.name.clone())
}

/// Room beside every disk that may get a delta, and on `/`.
async fn primaries<H: Host>(
    host: &Rc<H>,
    guests: &BTreeMap<VmId, Guest>,
) -> BTreeMap<Utf8PathBuf, Space> {
    let disks = guests
        .values()
        .filter_map(|guest| guest.machine.as_ref())
        .flat_map(|machine| &machine.disks);
    let heads = disks
        .filter(|disk| disk.holds_data())
        .filter_map(Disk::head);
    let mut dirs: BTreeSet<_> = heads
        .filter_map(Utf8Path::parent)
        .map(Utf8Path::to_owned)
        .collect();
    dirs.insert(Utf8PathBuf::from("/"));
    let mut found = BTreeMap::new();
    for dir in dirs {
        if let Ok(space) = host.space(&dir).await {
            found.insert(dir, space);
        }
    }
    found
}
