//! What will be trouble: judged on what was seen, before anything fails of it. What a plan finds or holds
//! back is trouble as well.

use std::collections::BTreeSet;

use crate::model::backup::Backup;
use crate::model::equipment::Equipment;
use crate::model::finding::Finding;
use crate::model::finding::Severity;
use crate::model::machine::Agent;
use crate::model::plan::Plan;
use crate::model::policy::Policy;
use crate::model::policy::Quiesce;
use crate::model::reason::Block;
use crate::model::world::Guest;
use crate::model::world::World;

/// The libvirt since which a block commit is not denied to write to what was a backing file.
const COMMITS: [u32; 2] = [12, 1];

/// Whether VMs may be started from a backup, as its offering was last applied.
#[must_use]
pub fn allows_quick_restore(world: &World, backup: &Backup) -> bool {
    let copy = backup.offering.as_deref();
    let applied = copy.and_then(|copy| world.applied.offerings.get(&copy.name));
    let spec = applied.map(|applied| &applied.spec);
    spec.or(copy.map(|copy| &copy.spec))
        .is_some_and(|spec| spec.allow_quick_restore)
}

/// Everything to be known, what must be done first.
#[must_use]
pub fn judge(
    world: &World,
    policy: Option<&Policy>,
    plan: Option<&Plan>,
    equipment: &Equipment,
) -> Vec<Finding> {
    let mut all = versions(world, equipment);
    all.extend(confinement(world, equipment));
    all.extend(programs(world, policy, equipment));
    all.extend(storages(world, policy, equipment));
    for guest in world.guests.values() {
        all.extend(vm(guest, policy, equipment));
    }
    all.extend(leftovers(world));
    all.extend(plan.into_iter().flat_map(|plan| planned(world, plan)));
    if policy.is_none() {
        let text = "there is no policy: no VM is backed up";
        all.push(warning("no_policy", text).hint("knib init writes one to start from"));
    }
    all.sort_by_key(|one| std::cmp::Reverse(one.severity));
    all.dedup();
    all
}

fn warning(code: &str, text: impl Into<String>) -> Finding {
    Finding::new(Severity::Warning, code, text)
}

fn note(code: &str, text: impl Into<String>) -> Finding {
    Finding::new(Severity::Note, code, text)
}

fn versions(world: &World, equipment: &Equipment) -> Vec<Finding> {
    let (libvirt, qemu) = (&world.host.libvirt, &world.host.qemu);
    let image = equipment.qemu_img.as_deref().unwrap_or("unknown");
    let text = format!("libvirt {libvirt}, QEMU {qemu}, qemu-img {image}");
    let mut all = vec![note("versions", text)];
    if let (Some(emulator), Some(tool)) = (numbers(qemu), numbers(image))
        && tool < emulator
    {
        let text = format!("qemu-img {image} is older than QEMU {qemu}");
        let hint = "install both from one place: an older one may not know what a newer one wrote";
        all.push(warning("qemu_img_older", text).hint(hint));
    }
    all
}

/// Major and minor.
fn numbers(version: &str) -> Option<[u32; 2]> {
    let mut parts = version.split('.').map(str::parse);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Some([major, minor]),
        _ => None,
    }
}

/// Denials to expect.
fn confinement(world: &World, equipment: &Equipment) -> Vec<Finding> {
    let mut all = Vec::new();
    for model in &equipment.confined_by {
        let libvirt = &world.host.libvirt;
        match model.as_str() {
            "apparmor" if numbers(libvirt).is_some_and(|found| found < COMMITS) => {
                let text = format!(
                    "AppArmor confines QEMU, and libvirt {libvirt} lets it deny writes to backing files: a merge while a VM runs may fail with \"permission denied\""
                );
                let hint = "look for DENIED in `journalctl -k`; allow the directories of disks in /etc/apparmor.d/local/abstractions/libvirt-qemu (rwk), or merge while the VM is off; libvirt 12.1 needs neither";
                all.push(note("apparmor", text).hint(hint));
            }
            "apparmor" => all.push(note("apparmor", "AppArmor confines QEMU")),
            "selinux" => {
                let text =
                    "SELinux confines QEMU: it reads from a storage only what is labelled for it";
                let hint = "semanage fcontext -a -t virt_content_t 'DIR(/.*)?' && restorecon -R DIR, for each storage that VMs are quick-restored from";
                all.push(note("selinux", text).hint(hint));
            }
            _ => {}
        }
    }
    all
}

fn programs(world: &World, policy: Option<&Policy>, equipment: &Equipment) -> Vec<Finding> {
    let lacks = |name: &str| equipment.programs.get(name) == Some(&false);
    let mut all = Vec::new();
    if lacks("guestfish") {
        let mut offerings = policy.into_iter().flat_map(|policy| &policy.offerings);
        let text = "guestfish is not installed: no file can be taken out of a backup";
        let hint = "apt install guestfish, or dnf install libguestfs libguestfs-xfs";
        let severity = if offerings.any(|(_, offering)| offering.allow_extract_file) {
            Severity::Warning
        } else {
            Severity::Note
        };
        all.push(Finding::new(severity, "no_guestfish", text).hint(hint));
    }
    if lacks("swtpm") {
        let machines = world
            .guests
            .values()
            .filter_map(|guest| guest.machine.as_ref());
        for machine in machines.filter(|machine| machine.firmware.tpm.is_some()) {
            let text = format!(
                "{} has an emulated TPM and swtpm is not installed",
                machine.name
            );
            let found = warning("no_swtpm", text).vm(machine.name.clone());
            all.push(
                found.hint("install swtpm: without it neither the VM nor a restored one starts"),
            );
        }
    }
    all
}

fn storages(world: &World, policy: Option<&Policy>, equipment: &Equipment) -> Vec<Finding> {
    let mut all = Vec::new();
    for (name, why) in &equipment.unreadable {
        let text = format!("QEMU may not read what is on {name}: {why}");
        let hint = "let its group read the storage: chgrp -R GROUP DIR; find DIR -type d -exec chmod g+rxs {} +; until then no VM can be quick-restored from it";
        all.push(warning("storage_unreadable", text).hint(hint));
    }
    for (name, seen) in &world.storages {
        let spec = policy.and_then(|policy| policy.storages.get(name));
        if let (Some(spec), Some(space)) = (spec, &seen.space)
            && space.free < spec.min_free.of(space.total)
        {
            let wanted = spec.min_free.of(space.total);
            let text = format!(
                "{name} has {} free, and {wanted} must stay free",
                space.free
            );
            let hint = "make room, or say another minFree: no backup begins there until then";
            all.push(warning("storage_full", text).hint(hint));
        }
    }
    all
}

/// The agent of a VM that is on, and whether its QEMU sees the storage.
fn vm(guest: &Guest, policy: Option<&Policy>, equipment: &Equipment) -> Vec<Finding> {
    let mut all = Vec::new();
    let name = &guest.vm.name;
    if let Some(why) = equipment.unseen.get(&guest.vm.uuid) {
        let text = format!("the QEMU of {name} does not see its storage: {why}");
        let hint = "it was mounted after the VM was started: restart the VM, or mount it before libvirtd starts; until then no disk of a backup can be attached to it at once";
        all.push(warning("storage_unseen", text).hint(hint).vm(name.clone()));
    }
    let (Some(machine), Some(assigned)) = (&guest.machine, &guest.record.assigned) else {
        return all;
    };
    let spec = policy.and_then(|policy| policy.policies.get(&assigned.policy));
    let schedules = spec.into_iter().flat_map(|spec| spec.schedules.values());
    let wanted = schedules.map(|schedule| schedule.quiesce).max();
    let what = match machine.agent {
        _ if !machine.power.is_on() => return all,
        Agent::Connected => return all,
        Agent::None => "has no channel for the guest agent",
        Agent::Silent => "has no guest agent that answers",
    };
    let (severity, then) = match wanted.unwrap_or_default() {
        Quiesce::None => return all,
        Quiesce::Preferred => (Severity::Note, "its backups are as after a power cut"),
        Quiesce::Required => (
            Severity::Warning,
            "its backups, which want one, do not come about",
        ),
    };
    let text = format!("{name} {what}: {then}");
    let hint = "install and start qemu-guest-agent in the guest, and give the VM a channel org.qemu.guest_agent.0";
    all.push(
        Finding::new(severity, "no_agent", text)
            .hint(hint)
            .vm(name.clone()),
    );
    all
}

/// What earlier runs left, and jobs that nobody follows.
fn leftovers(world: &World) -> Vec<Finding> {
    let mut all = Vec::new();
    let opens = world.guests.values().flat_map(|guest| &guest.open);
    for open in opens.chain(&world.open).filter(|open| !open.alive) {
        let verb = open.op.verb().as_str().replace('_', " ");
        let of = open
            .op
            .vm()
            .map_or(String::new(), |vm| format!(" of {}", vm.name));
        let text = format!("{verb}{of} was interrupted at {:.0}", open.since);
        all.push(warning("interrupted", text).hint("knib apply carries it on"));
    }
    let ours = |guest: &&Guest| guest.record.assigned.is_some() && guest.open.is_empty();
    for guest in world.guests.values().filter(ours) {
        let disks = guest.machine.iter().flat_map(|machine| &machine.disks);
        for disk in disks.filter(|disk| disk.job.is_some()) {
            let name = &guest.vm.name;
            let text = format!(
                "a block job runs on {} of {name}, and it is not knib's",
                disk.target
            );
            let hint = format!(
                "virsh blockjob {name} {} --info; until it ended nothing is done with that VM",
                disk.target
            );
            all.push(warning("foreign_job", text).hint(hint).vm(name.clone()));
        }
    }
    all
}

/// What a plan finds, and what it holds back until somebody decides. VMs that no policy has are nobody's
/// concern here.
fn planned(world: &World, plan: &Plan) -> Vec<Finding> {
    let mut all = plan.findings.clone();
    for action in &plan.actions {
        for block in &action.blocked_by {
            if let Block::Blocked(why) = block {
                let mut found = warning(&why.code, format!("{}: {}", action.address, why.text));
                found.hint.clone_from(&why.hint);
                found.vm = action.vm.as_ref().map(|vm| vm.name.clone());
                all.push(found);
            }
        }
    }
    let guests = world.guests.values();
    let assigned = guests.filter(|guest| guest.record.assigned.is_some());
    let ours: BTreeSet<&str> = assigned.map(|guest| guest.vm.name.as_str()).collect();
    all.retain(|one| one.vm.as_deref().is_none_or(|name| ours.contains(name)));
    all
}
