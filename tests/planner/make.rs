//! Worlds, policies and plans in a few words.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use knib::model::backup::Backup;
use knib::model::backup::Delta;
use knib::model::backup::DiskFile;
use knib::model::backup::Edge;
use knib::model::backup::Link;
use knib::model::backup::Maker;
use knib::model::backup::Marks;
use knib::model::backup::Slot;
use knib::model::backup::StorageRef;
use knib::model::backup::Validated;
use knib::model::backup::VmRef;
use knib::model::bytes::Bytes;
use knib::model::digest::Digest;
use knib::model::id::BackupId;
use knib::model::id::HostId;
use knib::model::id::PlanId;
use knib::model::id::StateId;
use knib::model::id::StorageId;
use knib::model::id::Target;
use knib::model::id::VmId;
use knib::model::machine::Agent;
use knib::model::machine::Device;
use knib::model::machine::Disk;
use knib::model::machine::Firmware;
use knib::model::machine::Format;
use knib::model::machine::Layer;
use knib::model::machine::Machine;
use knib::model::machine::Note;
use knib::model::machine::Power;
use knib::model::machine::Source;
use knib::model::op::DiskPlan;
use knib::model::op::Op;
use knib::model::plan::Action;
use knib::model::plan::Plan;
use knib::model::policy::Policy;
use knib::model::reason::Block;
use knib::model::receipt::Consistency;
use knib::model::record::Record;
use knib::model::snapshot::Snapshots;
use knib::model::world;
use knib::model::world::Applied;
use knib::model::world::AppliedStorage;
use knib::model::world::Guest;
use knib::model::world::Identity;
use knib::model::world::Space;
use knib::model::world::StorageFound;
use knib::model::world::StorageSeen;
use knib::model::world::World;
use knib::planner;
use knib::planner::Options;
use knib::policy::Sources;

pub(crate) const STORAGE: &str = "5a7b0b5e-0000-4000-8000-000000000001";
pub(crate) const STATE: &str = "57a7e000-0000-4000-8000-000000000001";

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}

pub(crate) fn policy(text: &str) -> Policy {
    let mut sources = Sources::default();
    sources.add("knib.yaml", text.as_bytes());
    let (policy, findings) = knib::policy::load(&sources);
    policy.unwrap_or_else(|| panic!("the policy has errors: {findings:#?}"))
}

/// One policy `all` over VMs `db-*`, with more lines of its own.
pub(crate) fn one_policy(lines: &str) -> Policy {
    policy(&one_policy_text(lines))
}

/// Its text.
pub(crate) fn one_policy_text(lines: &str) -> String {
    let more: String = lines.lines().map(|line| format!("    {line}\n")).collect();
    format!(
        "version: 1\nstorage:\n  nas: {{ path: /nas }}\nofferings:\n  plain: {{}}\npolicies:\n  all:\n    \
         select: {{ names: [\"db-*\"] }}\n    offering: plain\n    storage: nas\n{more}"
    )
}

pub(crate) fn world(now: &str) -> World {
    let storage = StorageSeen {
        path: "/nas".into(),
        known: Some(StorageId::new(STORAGE)),
        found: StorageFound::Marked(StorageId::new(STORAGE)),
        space: Some(space(2)),
        vms: BTreeMap::new(),
    };
    let applied = AppliedStorage {
        id: StorageId::new(STORAGE),
        path: "/nas".into(),
    };
    World {
        format: world::FORMAT,
        now: at(now),
        host: Identity {
            id: HostId::new("40570000-0000-4000-8000-000000000001"),
            hostname: "kvm1".to_owned(),
            libvirt: "9.0.0".to_owned(),
            qemu: "7.2.0".to_owned(),
            uri: "qemu:///system".to_owned(),
        },
        state: Some(StateId::new(STATE)),
        guests: BTreeMap::new(),
        storages: BTreeMap::from([("nas".to_owned(), storage)]),
        applied: Applied {
            storages: BTreeMap::from([("nas".to_owned(), applied)]),
            ..Applied::default()
        },
        open: Vec::new(),
        primaries: BTreeMap::from([("/images".into(), space(1))]),
        findings: Vec::new(),
    }
}

pub(crate) fn space(device: u64) -> Space {
    Space {
        free: Bytes(1 << 40),
        total: Bytes(2 << 40),
        kind: "ext4".to_owned(),
        device,
    }
}

/// A running VM with qcow2 disks of 10 GiB, one of which is allocated.
pub(crate) fn vm(name: &str, disks: &[&str]) -> Guest {
    let id = VmId::new(format!("{:0>8}-0000-4000-8000-000000000000", hex(name)));
    let disks = disks.iter().map(|target| disk(name, target)).collect();
    let machine = Machine {
        id: id.clone(),
        name: name.to_owned(),
        power: Power::Running,
        persistent: true,
        managed_save: false,
        snapshots: Vec::new(),
        agent: Agent::None,
        note: None,
        tags: BTreeMap::new(),
        disks,
        firmware: Firmware::default(),
    };
    let vm = VmRef {
        name: name.to_owned(),
        uuid: id,
    };
    Guest {
        machine: Some(machine),
        ..Guest::new(vm)
    }
}

fn hex(name: &str) -> String {
    Digest::of(name.as_bytes()).hex()[..8].to_owned()
}

fn disk(vm: &str, target: &str) -> Disk {
    let path = format!("/images/{vm}-{target}.qcow2");
    let source = Source::File {
        path: path.clone().into(),
        format: Format::Qcow2,
    };
    Disk {
        target: Target::new(target),
        device: Device::Disk,
        source: Some(source.clone()),
        inactive: Some(source),
        readonly: false,
        shareable: false,
        in_use: false,
        live: vec![path.clone().into()],
        job: None,
        layers: vec![layer(&path, 1 << 30)],
        off_chain: Vec::new(),
        unreadable: Vec::new(),
    }
}

pub(crate) fn layer(path: &str, allocated: u64) -> Layer {
    Layer {
        path: path.into(),
        format: Format::Qcow2,
        virtual_size: Bytes(10 << 30),
        allocated: Bytes(allocated),
        internal_snapshots: 0,
        encrypted: false,
        compression: None,
        data_file: false,
    }
}

pub(crate) fn add(world: &mut World, guest: Guest) {
    world.guests.insert(guest.vm.uuid.clone(), guest);
}

/// Puts another layer on a disk, as a snapshot does.
pub(crate) fn cover(guest: &mut Guest, target: &str, path: &str, allocated: u64) {
    let machine = guest.machine.as_mut().expect("a VM that is there");
    let disk = machine
        .disk_mut(&Target::new(target))
        .expect("a disk that is there");
    disk.layers.insert(0, layer(path, allocated));
    disk.live.insert(0, path.into());
    let source = Source::File {
        path: path.into(),
        format: Format::Qcow2,
    };
    disk.source = Some(source.clone());
    disk.inactive = Some(source);
}

/// A backup on record that left its deltas on primary, as the newest of the VM's chain.
pub(crate) fn backed_up(guest: &mut Guest, created: &str, position: u32) -> BackupId {
    let id = BackupId::allot(at(created), &guest.vm.uuid, 0);
    let parent = guest.record.current.clone();
    let targets: Vec<_> = guest
        .machine
        .iter()
        .flat_map(|machine| &machine.disks)
        .map(|disk| disk.target.clone())
        .collect();
    let mut disks = BTreeMap::new();
    for target in targets {
        let base = format!("/images/{}-{target}.qcow2", guest.vm.name);
        let path = format!("{base}.knib-{id}");
        let machine = guest.machine.as_mut().expect("a VM that is there");
        let seen = machine.disk_mut(&target).expect("a disk that is there");
        seen.layers.truncate(seen.layers.len().min(1));
        seen.layers = vec![layer(&base, 1 << 30)];
        seen.live = vec![base.clone().into()];
        cover(guest, target.as_str(), &path, 64 << 20);
        let file = DiskFile {
            name: format!("{target}.qcow2"),
            parent: parent.clone().map(|backup| Edge {
                backup,
                birth: Digest::of(b"birth"),
            }),
            virtual_size: Bytes(10 << 30),
            size: Bytes(1 << 30),
            birth: Digest::of(b"birth"),
            digest: Digest::of(b"birth"),
            uncompressed: None,
            becomes: None,
            delta: Some(Delta {
                path: path.into(),
                base: base.into(),
            }),
        };
        disks.insert(target, Box::new(file));
    }
    let backup = Backup {
        format: 1,
        id: id.clone(),
        vm: Arc::new(guest.vm.clone()),
        created: at(created),
        parent,
        link: Some(Link { chain: 1, position }),
        consistency: Consistency::Crash,
        policy: Some("all".to_owned()),
        offering: None,
        slots: Vec::new(),
        storage: Arc::new(StorageRef {
            name: "nas".to_owned(),
            id: StorageId::new(STORAGE),
        }),
        origin: Arc::new(maker()),
        disks,
        files: Vec::new(),
        sums: BTreeMap::new(),
        marks: Marks::default(),
    };
    guest.record.backups.insert(id.clone(), Arc::new(backup));
    set_current(&mut guest.record, guest.machine.as_mut(), &id);
    id
}

fn maker() -> Maker {
    Maker {
        host: HostId::new("40570000-0000-4000-8000-000000000001"),
        hostname: "kvm1".to_owned(),
        state: StateId::new(STATE),
        knib: "0.1.0".to_owned(),
    }
}

/// A backup was booted, and its guest failed at this, or at nothing.
pub(crate) fn booted(
    guest: &mut Guest,
    backup: &BackupId,
    when: &str,
    reasons: &[&str],
    ends_chain: bool,
) {
    let backup = guest.record.backups.get_mut(backup).expect("it is there");
    Arc::make_mut(backup).marks.validated = Some(Box::new(Validated {
        at: at(when),
        reasons: reasons.iter().map(ToString::to_string).collect(),
        ends_chain,
        pictured: false,
    }));
}

/// A backup on record that policy `all` asked for, for a slot of a schedule at its instant. It left no
/// delta; what it continues it needs.
pub(crate) fn past(
    guest: &mut Guest,
    created: Timestamp,
    schedule: &str,
    parent: Option<&BackupId>,
) -> BackupId {
    let id = BackupId::allot(created, &guest.vm.uuid, 0);
    let file = DiskFile {
        name: "vda.qcow2".to_owned(),
        parent: parent.cloned().map(|backup| Edge {
            backup,
            birth: Digest::of(b"birth"),
        }),
        virtual_size: Bytes(10 << 30),
        size: Bytes(1 << 30),
        birth: Digest::of(b"birth"),
        digest: Digest::of(b"birth"),
        delta: None,
        becomes: None,
        uncompressed: None,
    };
    let position = parent.map_or(0, |parent| guest.record.ancestors(parent).len() + 1);
    let position = u32::try_from(position + 1).expect("it is small");
    let before = parent.and_then(|parent| guest.record.backups[parent].link);
    let chain = before.map_or_else(|| guest.record.next_chain(), |link| link.chain);
    let backup = Backup {
        format: 1,
        id: id.clone(),
        vm: Arc::new(guest.vm.clone()),
        created,
        parent: parent.cloned(),
        link: Some(Link { chain, position }),
        consistency: Consistency::Crash,
        policy: Some("all".to_owned()),
        offering: None,
        slots: vec![Slot {
            schedule: schedule.to_owned(),
            at: created,
        }],
        storage: Arc::new(StorageRef {
            name: "nas".to_owned(),
            id: StorageId::new(STORAGE),
        }),
        origin: Arc::new(maker()),
        disks: BTreeMap::from([(Target::new("vda"), Box::new(file))]),
        files: Vec::new(),
        sums: BTreeMap::new(),
        marks: Marks::default(),
    };
    guest.record.backups.insert(id.clone(), Arc::new(backup));
    id
}

fn set_current(record: &mut Record, machine: Option<&mut Machine>, id: &BackupId) {
    record.serial += 1;
    record.current = Some(id.clone());
    if let Some(machine) = machine {
        machine.note = Some(Note {
            serial: record.serial,
            current: Some(id.clone()),
            snapshots: Snapshots::default(),
            ..Note::default()
        });
    }
}

pub(crate) fn options() -> Options {
    Options {
        id: PlanId::new("p1a20000-0000-4000-8000-000000000001"),
        uri: "qemu:///system".to_owned(),
        version: "0.1.0".to_owned(),
        clock_given: false,
        only: None::<BTreeSet<_>>,
        vm: None,
        show_kept: false,
        allowed: BTreeSet::new(),
    }
}

pub(crate) fn plan(policy: &Policy, world: &World) -> Plan {
    planner::reconcile(policy, world, &options())
}

/// The world after everything a plan will do, some time later.
pub(crate) fn applied(policy: &Policy, world: &World, later: &str) -> World {
    let mut ahead = world.clone();
    for action in plan(policy, world)
        .actions
        .iter()
        .filter(|action| action.is_free())
    {
        let program = action.program.clone().unwrap_or_default();
        let none = program
            .stages
            .iter()
            .map(|stage| vec![None; stage.len()])
            .collect::<Vec<_>>();
        let forward = knib::model::program::Direction::Forward;
        for change in knib::action::changes(&action.op, &program, &none, forward) {
            ahead.learn(&change);
        }
    }
    ahead.now = at(later);
    ahead
}

/// One line an action: its address, what stands in its way, and the shape of a backup.
pub(crate) fn lines(plan: &Plan) -> String {
    plan.actions.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn line(action: &Action) -> String {
    let mut text = format!("{} {}", action.verb.as_str(), action.address);
    if let Op::Backup(op) = &action.op {
        let place = op.link.map_or("isolated".to_owned(), |link| {
            format!("chain {} at {}", link.chain, link.position)
        });
        text += &format!(" {place}{}", if op.ends_chain { ", ends it" } else { "" });
        for (target, plan) in &op.disks {
            text += &match plan {
                DiskPlan::Incremental => format!(", {target} incremental"),
                DiskPlan::Full { because } => {
                    let because = serde_json::to_value(because).expect("a word");
                    format!(", {target} full: {}", because.as_str().unwrap_or_default())
                }
            };
        }
    }
    for block in &action.blocked_by {
        text += &match block {
            Block::Blocked(refusal) => format!(" !{}", refusal.code),
            Block::Held { until, .. } => match until {
                Some(until) => format!(" held until {until}"),
                None => " held".to_owned(),
            },
            Block::Busy { holder } => format!(" busy: {holder}"),
            Block::Waits { .. } => " waits".to_owned(),
            Block::Stale { .. } => " stale".to_owned(),
        };
    }
    text
}
