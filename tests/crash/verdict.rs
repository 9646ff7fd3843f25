//! What must be true after every schedule, whatever went wrong on the way.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use camino::Utf8PathBuf;
use knib::model::backup::Backup;
use knib::model::finding::Severity;
use knib::model::id::BackupId;
use knib::model::id::VmId;
use knib::model::layout;
use knib::model::lease::Lease;
use knib::model::lease::Subject;
use knib::model::machine::Machine;
use knib::model::op::Named;
use knib::model::op::Op;
use knib::model::plan::Plan;
use knib::model::program::Program;
use knib::model::world::Guest;
use knib::model::world::World;
use knib::planner::jobs;
use knib::planner::snapshots::Asked;

use crate::crash::bench::Bench;
use crate::crash::scenario::Ask;
use crate::crash::scenario::DB;
use crate::crash::scenario::Scenario;
use crate::crash::scenario::TEMPLATE;
use crate::sim::Definition;
use crate::sim::PRIMARY;
use crate::sim::STORAGE;
use crate::sim::Site;
use crate::sim::Vm;

/// Everything that is not as it must be.
pub(crate) fn judge(
    bench: &Bench<'_>,
    scenario: &Scenario,
    plan: &Plan,
    world: &World,
) -> Vec<String> {
    let mut site = bench.sim.site.borrow().clone();
    site.watch();
    site.remember_backups();
    let mut wrong: Vec<String> = site.complaints.iter().cloned().collect();
    for action in &plan.actions {
        wrong.push(format!(
            "there is still something to do: {} {:?}",
            action.address, action.blocked_by
        ));
    }
    let findings = plan
        .findings
        .iter()
        .filter(|found| found.severity > Severity::Note);
    wrong.extend(findings.map(|finding| finding.text.clone()));
    wrong.extend(still(&site));
    for guest in world.guests.values() {
        wrong.extend(backups(&site, guest));
        wrong.extend(layers(guest));
        wrong.extend(snapshots(&site, guest));
        wrong.extend(replaced(&site, guest));
    }
    let calm = !bench.sim.was_troubled_since(0);
    wrong.extend(leftovers(&site, world, &tolerated(scenario, calm)));
    wrong.extend(nothing_held(bench, world));
    wrong.extend(asked_for(&site, world, scenario, calm));
    if calm {
        wrong.extend(compressed(bench, world, scenario));
        wrong.extend(verified(world, scenario));
    }
    wrong
}

/// What must be true although an interrupted action was given up: what guests wrote and what backups hold is there,
/// and nothing is held.
pub(crate) fn judge_given_up(bench: &Bench<'_>, world: &World) -> Vec<String> {
    let mut site = bench.sim.site.borrow().clone();
    site.watch();
    site.remember_backups();
    let mut wrong: Vec<String> = site.complaints.iter().cloned().collect();
    for guest in world.guests.values() {
        wrong.extend(backups(&site, guest));
    }
    wrong.extend(nothing_held(bench, world));
    wrong
}

/// No job, no frozen guest, both definitions of one mind, no program, nothing of a throwaway VM.
fn still(site: &Site) -> Vec<String> {
    let mut wrong = Vec::new();
    if !site.throwaways.is_empty() || !site.logs.is_empty() {
        wrong.push("a throwaway VM is left, or its log".to_owned());
    }
    let lacking = site.lacking.iter();
    wrong.extend(lacking.map(|(_, target)| format!("{target} lacks what QEMU had not written")));
    for vm in site.vms.values() {
        let name = &vm.stored.name;
        if vm.frozen && !vm.frozen_by_others {
            wrong.push(format!("{name} is frozen"));
        }
        if let Some(running) = &vm.running {
            if !running.jobs.is_empty() {
                wrong.push(format!("{name} has a block job"));
            }
            let minds = [&running.definition, &vm.stored].map(|definition| {
                let heads = definition.disks.iter().map(|disk| &disk.image);
                (&definition.note, heads.collect::<Vec<_>>())
            });
            if minds[0] != minds[1] {
                wrong.push(format!("{name} has two minds"));
            }
        }
        let mut stopped = site.clone();
        stopped.stop(&vm.stored.id);
        let named = stopped.vms.get_mut(&vm.stored.id);
        // Whatever network it waits for is there by then.
        named.expect("it is there").stored.networks.clear();
        if !stopped.start(&vm.stored.id) {
            wrong.push(format!("{name} could not be started again"));
        }
        wrong.extend(stopped.complaints.difference(&site.complaints).cloned());
    }
    wrong
}

/// Every backup on record is there, whole, and shows what the guest had written at its instant.
fn backups(site: &Site, guest: &Guest) -> Vec<String> {
    let mut wrong = Vec::new();
    for (id, backup) in &guest.record.backups {
        let dir = layout::backup_dir(STORAGE.into(), &guest.vm.uuid, id);
        let written = site.files.read(&dir.join(layout::RECORD));
        let written: Option<Backup> = written
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok());
        if written.as_ref() != Some(backup) {
            wrong.push(format!("{id} is not what its record says"));
        }
        if !guest.record.is_usable(id) {
            continue;
        }
        let Some(moment) = site.moments.get(id) else {
            wrong.push(format!("{id} shows no instant"));
            continue;
        };
        for (target, disk) in &backup.disks {
            let path = dir.join(&disk.name);
            let chain = site.files.chain(&path);
            let shown = chain.and_then(|chain| site.files.seen(&chain));
            if shown.ok().as_ref() != moment.get(target) {
                wrong.push(format!(
                    "{target} of {id} is not what the guest had written"
                ));
            }
            let digest = site.files.digest(&path).map(|(digest, _)| digest);
            if digest.ok().as_ref() != Some(&disk.digest) {
                wrong.push(format!("{target} of {id} has another digest"));
            }
        }
        if moment
            .keys()
            .any(|target| !backup.disks.contains_key(target))
        {
            wrong.push(format!("{id} lacks a disk"));
        }
    }
    wrong
}

/// Exactly one delta a disk while a chain goes on, none when there is none.
fn layers(guest: &Guest) -> Vec<String> {
    let Some(machine) = &guest.machine else {
        return Vec::new();
    };
    let mut wrong = Vec::new();
    let record = &guest.record;
    let note = machine.note.clone();
    let noted = note.as_ref().map(|note| &note.snapshots);
    if noted.is_some_and(|noted| *noted != record.snapshots) {
        wrong.push(format!(
            "{}: note and record have other snapshots",
            guest.vm.name
        ));
    }
    if note.as_ref().map_or(0, |note| note.serial) != record.serial
        || note.and_then(|note| note.current) != record.current
    {
        wrong.push(format!("{}: note and record disagree", guest.vm.name));
    }
    for disk in machine.disks.iter().filter(|disk| disk.holds_data()) {
        let mut layers = disk.layers.iter().map(|layer| &layer.path);
        if let Some(read) = layers.find(|path| path.starts_with(STORAGE)) {
            wrong.push(format!("{} of {} reads {read}", disk.target, guest.vm.name));
        }
        let found: BTreeSet<_> = disk
            .layers
            .iter()
            .map(|layer| &layer.path)
            .filter(|path| layout::delta_of(path).is_some())
            .collect();
        let wanted: BTreeSet<Utf8PathBuf> = record
            .current
            .as_ref()
            .and_then(|current| record.delta_left(current, &disk.target))
            .map(|delta| delta.path)
            .into_iter()
            .collect();
        if found.iter().copied().ne(&wanted) {
            wrong.push(format!(
                "{} of {} has deltas {found:?} and should have {wanted:?}",
                disk.target, guest.vm.name
            ));
        }
    }
    wrong
}

/// Every snapshot shows what the guest had written at its instant, deleted ones that are still needed
/// as well.
fn snapshots(site: &Site, guest: &Guest) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, one) in &guest.record.snapshots.all {
        for (target, file) in &one.disks {
            let chain = site.files.chain(&file.path);
            let shown = chain.and_then(|chain| site.files.seen(&chain)).ok();
            if shown.as_ref() != site.kept[name].get(target) {
                wrong.push(format!("{target} of snapshot {name} is something else"));
            }
        }
    }
    wrong
}

/// The way back of every restore leads to what the VM had written before it.
fn replaced(site: &Site, guest: &Guest) -> Vec<String> {
    let Some(machine) = &guest.machine else {
        return Vec::new();
    };
    let mut wrong = Vec::new();
    for (restore, files) in machine.replaced() {
        let back = files.iter().find(|path| path.extension() == Some("xml"));
        let text = back.and_then(|path| site.files.read(path).ok());
        let definition = text.and_then(|text| serde_json::from_slice::<Definition>(&text).ok());
        let Some(definition) = definition else {
            wrong.push(format!("no way back from {restore}"));
            continue;
        };
        let (before, _) = site.vms[&guest.vm.uuid]
            .left
            .last()
            .expect("it was restored");
        for (target, written) in before {
            let disk = definition.disk(target).expect("it had it");
            let chain = site.chain_at_start(disk);
            let shown = chain.and_then(|chain| site.files.seen(&chain)).ok();
            if shown.as_ref() != Some(written) {
                wrong.push(format!("{target} before {restore} is something else"));
            }
        }
    }
    wrong
}

/// No file that nobody needs.
fn leftovers(site: &Site, world: &World, tolerated: &[Utf8PathBuf]) -> Vec<String> {
    let mut needed: BTreeSet<Utf8PathBuf> = BTreeSet::new();
    needed.extend([PRIMARY, STORAGE, "/", TEMPLATE].map(Utf8PathBuf::from));
    for guest in world.guests.values() {
        let replaced = guest.machine.iter().map(Machine::replaced);
        needed.extend(replaced.flat_map(BTreeMap::into_values).flatten());
        let disks = guest.machine.iter().flat_map(|machine| &machine.disks);
        for disk in disks {
            let off = disk.off_chain.iter().map(|off| &off.layer);
            needed.extend(
                disk.layers
                    .iter()
                    .chain(off)
                    .map(|layer| layer.path.clone()),
            );
        }
        for (id, backup) in &guest.record.backups {
            let dir = layout::backup_dir(STORAGE.into(), &guest.vm.uuid, id);
            let disks = backup.disks.values().map(|disk| disk.name.as_str());
            let files = backup.files.iter().map(String::as_str);
            let own = [layout::RECORD, layout::README, layout::SCREENSHOT];
            needed.extend(disks.chain(files).chain(own).map(|name| dir.join(name)));
            needed.insert(dir.join(layout::READERS));
            needed.insert(dir);
        }
    }
    needed.insert(layout::marker(STORAGE.into()));
    for vm in world.guests.keys() {
        needed.insert(layout::vm_dir(STORAGE.into(), vm));
        needed.insert(layout::owner(STORAGE.into(), vm));
    }
    let there = site.files.below("/".into()).into_iter();
    let over = there.filter(|path| {
        !needed.contains(path) && !tolerated.iter().any(|dir| path.starts_with(dir))
    });
    over.map(|path| format!("left over: {path}")).collect()
}

/// What was to be cleared away, and perhaps never was begun.
fn tolerated(scenario: &Scenario, calm: bool) -> Vec<Utf8PathBuf> {
    match &scenario.ask {
        Ask::Clear(found) if !calm => found.iter().map(|one| one.path.clone()).collect(),
        _ => Vec::new(),
    }
}

/// No open action and no lease: whoever comes next can have it all.
fn nothing_held(bench: &Bench<'_>, world: &World) -> Vec<String> {
    let state = bench.state();
    let opens = state.opens().expect("the journal can be read");
    let mut wrong: Vec<_> = opens
        .iter()
        .map(|open| format!("still open: {} {:?}", open.action, open.op.verb()))
        .collect();
    let subjects = world.guests.iter().flat_map(|(id, guest)| {
        let backups = guest.record.backups.keys().cloned().map(Subject::Backup);
        backups.chain([Subject::Vm(id.clone())])
    });
    let all: Vec<_> = subjects.map(Lease::exclusive).collect();
    let run = state.start_run("test", bench.now()).expect("a run begins");
    let op = Op::OfferingDelete(Named {
        name: String::new(),
    });
    let action = knib::model::id::ActionId::new("all/1");
    let taken = state.begin(
        &run.id,
        &action,
        &op,
        &Program::default(),
        &all,
        bench.now(),
    );
    wrong.extend(
        taken
            .err()
            .map(|error| format!("something is held: {error}")),
    );
    wrong
}

/// What was asked for has come about; what only a person asks for may have been taken back whole.
fn asked_for(site: &Site, world: &World, scenario: &Scenario, calm: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    let guests = world.guests.values();
    let backups: usize = guests.map(|guest| guest.record.backups.len()).sum();
    let wanted = scenario.backups;
    let taken_back = matches!(scenario.ask, Ask::Backup(_)) && backups + 1 == wanted;
    // What was never begun is not made up for, when a person asked for it.
    let partly = !calm && matches!(&scenario.ask, Ask::Delete(_)) && backups > wanted;
    if backups != wanted && !taken_back && !partly {
        wrong.push(format!("there are {backups} backups, not {wanted}"));
    }
    wrong.extend(asked_of_snapshots(site, world, scenario));
    for id in scenario.kept.site.moments.keys() {
        let mut guests = world.guests.values();
        let is_there = guests.any(|guest| guest.record.backups.contains_key(id));
        if !is_there && !scenario.goes.contains(id) {
            wrong.push(format!("{id} is gone, and nobody let it go"));
        }
    }
    if let Ask::Delete(asked) = &scenario.ask
        && calm
    {
        let listed = |(vm, id): &&(VmId, BackupId)| {
            let backup = world
                .guests
                .get(vm)
                .and_then(|guest| guest.record.backups.get(id));
            backup.is_some_and(|backup| backup.marks.removed.is_none())
        };
        let still = asked.backups.iter().filter(listed);
        wrong.extend(still.map(|(_, id)| format!("{id} was not let go")));
    }
    if let Ask::Pin(id, pinned) = &scenario.ask
        && calm
    {
        let mut guests = world.guests.values();
        let backup = guests.find_map(|guest| guest.record.backups.get(id));
        if backup.is_none_or(|backup| backup.marks.pinned != *pinned) {
            wrong.push(format!("{id} is not pinned as it was asked"));
        }
    }
    if let Ask::Validate(id) = &scenario.ask
        && calm
    {
        let mut guests = world.guests.values();
        let backup = guests.find_map(|guest| guest.record.backups.get(id));
        if backup.is_none_or(|backup| !backup.is_valid()) {
            wrong.push(format!("{id} is not valid"));
        }
    }
    if let Ask::Again(asked, _) = &scenario.ask {
        let (vm, backup) = &asked.backups[0];
        match site.vms.get(vm) {
            Some(vm) if vm.born != site.moments[backup] => {
                wrong.push("what came back is something else".to_owned());
            }
            None if calm => wrong.push("it did not come back".to_owned()),
            _ => {}
        }
    }
    if let Ask::Restore(asked) = &scenario.ask {
        let moment = &site.moments[&asked.backup];
        let copies = site.vms.values().filter(|vm| vm.stored.name == asked.name);
        if copies.into_iter().any(|vm| vm.born != *moment) {
            wrong.push("what was restored is something else".to_owned());
        }
    }
    wrong
}

/// What the policy wants compressed is, unless it was let go or its job was ended.
fn compressed(bench: &Bench<'_>, world: &World, scenario: &Scenario) -> Vec<String> {
    let policy = &bench.policy;
    let wanted = policy.offerings["plain"].compress && policy.settings.compression.enabled;
    let ended = matches!(scenario.ask, Ask::Job(jobs::Asked::Cancel, _));
    if !wanted || ended {
        return Vec::new();
    }
    let records = world.guests.values().map(|guest| &guest.record.backups);
    let good = records.flatten().filter(|(_, backup)| backup.is_good());
    let plain = good.filter(|(_, backup)| {
        let mut disks = backup.disks.values();
        !backup.marks.compressed || disks.any(|disk| disk.uncompressed.is_none())
    });
    plain
        .map(|(id, _)| format!("{id} is not compressed"))
        .collect()
}

/// What was to be read was, and what is damaged was found, with what continues it.
fn verified(world: &World, scenario: &Scenario) -> Vec<String> {
    if !scenario.name.starts_with("verify") {
        return Vec::new();
    }
    let record = &world.guests[&VmId::new(DB)].record;
    let damaged = scenario.kept.site.moments.keys().max();
    let damaged = damaged.expect("there are backups");
    let mut wrong = Vec::new();
    if record.is_usable(damaged) {
        wrong.push(format!(
            "{damaged} is counted on, and a file of it is damaged"
        ));
    }
    let read = |id: &BackupId| {
        record
            .verified
            .get(id)
            .is_some_and(|known| known.at.is_some())
    };
    let unread = record.backups.keys().filter(|id| !read(id));
    wrong.extend(unread.map(|id| format!("{id} was not read")));
    wrong
}

/// A snapshot is there unless it was asked to go, and a VM goes on from one only if that was asked.
fn asked_of_snapshots(site: &Site, world: &World, scenario: &Scenario) -> Vec<String> {
    let mut wrong = Vec::new();
    let vm = VmId::new(DB);
    let asked = match &scenario.ask {
        Ask::Snapshot(asked) => Some(asked),
        _ => None,
    };
    let (Some(before), Some(after)) = (scenario.kept.site.vms.get(&vm), site.vms.get(&vm)) else {
        return wrong;
    };
    let noted = before.stored.note.as_ref().map(|note| &note.snapshots.all);
    let now = &world.guests[&vm].record.snapshots.all;
    for (name, _) in noted.into_iter().flatten().filter(|(_, one)| !one.removed) {
        let gone = now.get(name).is_none_or(|one| one.removed);
        let to_go = asked == Some(&Asked::Delete(name.clone()));
        if gone && !to_go {
            wrong.push(format!("snapshot {name} is gone"));
        }
    }
    let left = |vm: &Vm| vm.left.last().map(|(_, name)| name.clone());
    let (was, is) = (left(before), left(after));
    let to = match (asked, &scenario.ask) {
        (Some(Asked::Revert(name)), _) => Some(name.clone()),
        (_, Ask::InPlace(asked)) => asked.backups.first().map(|(_, id)| id.to_string()),
        _ => None,
    };
    if is != was && is != to {
        wrong.push(format!("the VM goes on from {is:?}, not from {to:?}"));
    }
    wrong
}
