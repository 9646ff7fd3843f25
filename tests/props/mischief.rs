//! Changes to a sound world, each of which makes it less so: what other people, other programs and a damaged file might
//! do, and a little of what nobody could.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use knib::model::backup::Backup;
use knib::model::backup::Delta;
use knib::model::backup::Link;
use knib::model::backup::Slot;
use knib::model::backup::Unusable;
use knib::model::bytes::Bytes;
use knib::model::fault::Fault;
use knib::model::id::ActionId;
use knib::model::id::BackupId;
use knib::model::id::StorageId;
use knib::model::id::Target;
use knib::model::machine::Agent;
use knib::model::machine::Device;
use knib::model::machine::Disk;
use knib::model::machine::Format;
use knib::model::machine::Job;
use knib::model::machine::JobKind;
use knib::model::machine::Machine;
use knib::model::machine::Note;
use knib::model::machine::Power;
use knib::model::machine::Source;
use knib::model::op::Merge;
use knib::model::op::Op;
use knib::model::policy::Retention;
use knib::model::program::Direction;
use knib::model::program::Program;
use knib::model::program::StepError;
use knib::model::record::Failed;
use knib::model::retention::Rules;
use knib::model::snapshot::Snapshots;
use knib::model::world::Guest;
use knib::model::world::Open;
use knib::model::world::StorageFound;
use knib::model::world::World;
use proptest::prelude::*;
use proptest::sample::select;

use crate::planner::make;

/// One change. Numbers choose among what is there, the first again after the last.
#[derive(Clone, Debug)]
pub(super) enum Mischief {
    NoLayers(usize),
    LoseLayer(usize, usize),
    RepeatLayer(usize, usize),
    SameLayer(usize, usize),
    LayerFormat(usize, usize, Format),
    LayerSize(usize, usize, u64),
    Allocated(usize, usize, u64),
    InternalSnapshot(usize),
    Encrypted(usize),
    Source(usize, bool, bool, Option<Source>),
    Device(usize, Device),
    Readonly(usize),
    Shareable(usize),
    Job(usize, JobKind, u64),
    Power(usize, Power),
    Transient(usize),
    ManagedSave(usize),
    Snapshot(usize),
    Agent(usize, Agent),
    Note(usize, Option<(u64, Option<usize>)>),
    Undefined(usize),
    Renamed(usize, String),
    TwinDisk(usize),
    NoDisks(usize),
    LoseBackup(usize),
    Parent(usize, Option<usize>),
    Edge(usize, usize),
    Place(usize, Option<Link>),
    Created(usize, Timestamp),
    OnStorage(usize, &'static str),
    Unusable(usize),
    Removed(usize),
    Delta(usize, Option<(&'static str, &'static str)>),
    LoseFile(usize),
    Serial(usize, u64),
    Current(usize, Option<usize>),
    Served(usize, Timestamp),
    Failures(usize, Timestamp, bool),
    Unassigned(usize),
    InForce(usize, Option<u32>),
    Open(usize, bool),
    Storage(StorageFound),
    Free(u64),
    PrimaryFree(u64),
    ForgetPolicy,
    ForgetStorage,
    NoState,
    Now(Timestamp),
}

/// Names of files that there may be, some of them absurd.
const PATHS: [&str; 9] = [
    "/images/db-01-vda.qcow2",
    "/images/db-02-vda.qcow2",
    "/images/db-01-vda.qcow2.knib-20261123-020000-3fa9c1d2",
    "/images/db-01-vda.qcow2.knib-99991231-235959-ffffffff",
    "/images/a,b",
    "relative.qcow2",
    "/",
    "",
    "/nas/668bb2b8-0000-4000-8000-000000000000/x",
];

fn number() -> impl Strategy<Value = u64> {
    select(vec![
        0,
        1,
        2,
        1 << 30,
        10 << 30,
        1 << 40,
        u64::MAX - 1,
        u64::MAX,
    ])
}

fn instant() -> impl Strategy<Value = Timestamp> {
    let some = [
        "2026-11-22T12:00:00Z",
        "2026-11-23T02:00:00Z",
        "2026-11-23T02:10:00Z",
        "2026-11-24T03:04:05Z",
        "1970-01-01T00:00:00Z",
        "2038-01-19T03:14:08Z",
        "9999-12-30T22:00:00Z",
        "-009999-01-02T01:59:59Z",
    ];
    let mut all: Vec<Timestamp> = some.iter().map(|text| make::at(text)).collect();
    all.extend([Timestamp::MIN, Timestamp::MAX]);
    select(all)
}

fn format() -> impl Strategy<Value = Format> {
    let strange = ["vmdk", "", "qcow2\n"].map(|name| Format::Other(name.to_owned()));
    select([vec![Format::Qcow2, Format::Raw], strange.to_vec()].concat())
}

fn source() -> impl Strategy<Value = Option<Source>> {
    let file = (select(&PATHS[..]), format()).prop_map(|(path, format)| {
        Some(Source::File {
            path: path.into(),
            format,
        })
    });
    let other = Just(Some(Source::Other("block device /dev/sdb".to_owned())));
    prop_oneof![4 => file, 1 => other, 1 => Just(None)]
}

fn power() -> impl Strategy<Value = Power> {
    select(vec![
        Power::Off,
        Power::Running,
        Power::Paused { io_error: true },
        Power::Paused { io_error: false },
        Power::Other("dying".to_owned()),
    ])
}

fn found() -> impl Strategy<Value = StorageFound> {
    select(vec![
        StorageFound::Unreachable("it hangs".to_owned()),
        StorageFound::Unmarked { empty: true },
        StorageFound::Unmarked { empty: false },
        StorageFound::Marked(StorageId::new(make::STORAGE)),
        StorageFound::Marked(StorageId::new("another")),
        StorageFound::Strange("not JSON".to_owned()),
    ])
}

fn place() -> impl Strategy<Value = Option<Link>> {
    let count = || select(vec![0, 1, 2, 3, u32::MAX - 1, u32::MAX]);
    proptest::option::of((count(), count()).prop_map(|(chain, position)| Link { chain, position }))
}

/// Any change.
pub(super) fn mischief() -> impl Strategy<Value = Mischief> {
    use Mischief as M;
    let n = || 0..8_usize;
    let kind = select(vec![JobKind::Commit, JobKind::ActiveCommit, JobKind::Pull]);
    let device = select(vec![Device::Cdrom, Device::Floppy, Device::Lun]);
    let agent = select(vec![Agent::None, Agent::Silent, Agent::Connected]);
    let name = select(vec!["db-01", "db-02", "web-01", "", "db-\u{202e}x\u{7}"]);
    let delta = (select(&PATHS[..]), select(&PATHS[..]));
    let on = select(vec![make::STORAGE, "another", ""]);
    let layers = prop_oneof![
        n().prop_map(M::NoLayers),
        (n(), n()).prop_map(|(a, b)| M::LoseLayer(a, b)),
        (n(), n()).prop_map(|(a, b)| M::RepeatLayer(a, b)),
        (n(), n()).prop_map(|(a, b)| M::SameLayer(a, b)),
        (n(), n(), format()).prop_map(|(a, b, c)| M::LayerFormat(a, b, c)),
        (n(), n(), number()).prop_map(|(a, b, c)| M::LayerSize(a, b, c)),
        (n(), n(), number()).prop_map(|(a, b, c)| M::Allocated(a, b, c)),
        n().prop_map(M::InternalSnapshot),
        n().prop_map(M::Encrypted),
        (n(), any::<bool>(), any::<bool>(), source())
            .prop_map(|(a, b, c, d)| M::Source(a, b, c, d)),
    ];
    let machines = prop_oneof![
        (n(), device).prop_map(|(a, b)| M::Device(a, b)),
        n().prop_map(M::Readonly),
        n().prop_map(M::Shareable),
        (n(), kind, number()).prop_map(|(a, b, c)| M::Job(a, b, c)),
        (n(), power()).prop_map(|(a, b)| M::Power(a, b)),
        n().prop_map(M::Transient),
        n().prop_map(M::ManagedSave),
        n().prop_map(M::Snapshot),
        (n(), agent).prop_map(|(a, b)| M::Agent(a, b)),
        n().prop_map(M::Undefined),
        (n(), name).prop_map(|(a, b)| M::Renamed(a, b.to_owned())),
        n().prop_map(M::TwinDisk),
        n().prop_map(M::NoDisks),
    ];
    let backups = prop_oneof![
        n().prop_map(M::LoseBackup),
        (n(), proptest::option::of(n())).prop_map(|(a, b)| M::Parent(a, b)),
        (n(), n()).prop_map(|(a, b)| M::Edge(a, b)),
        (n(), place()).prop_map(|(a, b)| M::Place(a, b)),
        (n(), instant()).prop_map(|(a, b)| M::Created(a, b)),
        (n(), on).prop_map(|(a, b)| M::OnStorage(a, b)),
        n().prop_map(M::Unusable),
        n().prop_map(M::Removed),
        (n(), proptest::option::of(delta)).prop_map(|(a, b)| M::Delta(a, b)),
        n().prop_map(M::LoseFile),
    ];
    let record = prop_oneof![
        (
            n(),
            proptest::option::of((number(), proptest::option::of(n())))
        )
            .prop_map(|(a, b)| M::Note(a, b)),
        (n(), number()).prop_map(|(a, b)| M::Serial(a, b)),
        (n(), proptest::option::of(n())).prop_map(|(a, b)| M::Current(a, b)),
        (n(), instant()).prop_map(|(a, b)| M::Served(a, b)),
        (n(), instant(), any::<bool>()).prop_map(|(a, b, c)| M::Failures(a, b, c)),
        n().prop_map(M::Unassigned),
        (n(), proptest::option::of(1..5_u32)).prop_map(|(a, b)| M::InForce(a, b)),
        (n(), any::<bool>()).prop_map(|(a, b)| M::Open(a, b)),
    ];
    let host = prop_oneof![
        found().prop_map(M::Storage),
        number().prop_map(M::Free),
        number().prop_map(M::PrimaryFree),
        Just(M::ForgetPolicy),
        Just(M::ForgetStorage),
        Just(M::NoState),
        // A clock shows no year that ids have no room for.
        instant().prop_map(|at| M::Now(at.max(Timestamp::UNIX_EPOCH))),
    ];
    prop_oneof![3 => layers, 3 => machines, 3 => backups, 3 => record, 2 => host]
}

fn pick<T>(all: impl Iterator<Item = T>, n: usize) -> Option<T> {
    let mut all: Vec<_> = all.collect();
    let at = n.checked_rem(all.len())?;
    Some(all.swap_remove(at))
}

fn guest(world: &mut World, n: usize) -> Option<&mut Guest> {
    pick(world.guests.values_mut(), n)
}

fn machine(world: &mut World, n: usize) -> Option<&mut Machine> {
    guest(world, n)?.machine.as_mut()
}

fn disk(world: &mut World, n: usize) -> Option<&mut Disk> {
    let machines = world
        .guests
        .values_mut()
        .filter_map(|guest| guest.machine.as_mut());
    pick(machines.flat_map(|machine| &mut machine.disks), n)
}

fn backup(world: &mut World, n: usize) -> Option<&mut Backup> {
    let guests = world.guests.values_mut();
    let backups = guests.flat_map(|guest| guest.record.backups.values_mut());
    pick(backups, n).map(Arc::make_mut)
}

/// One that is there, or an id from a time to come.
fn some_id(world: &World, n: usize) -> BackupId {
    let all = world
        .guests
        .values()
        .flat_map(|guest| guest.record.backups.keys());
    let future = BackupId::new("99991231-235959-ffffffff");
    pick(all.cloned().chain([future]), n).expect("there is one at least")
}

impl Mischief {
    /// Makes the change, where there is something to change.
    pub(super) fn make(&self, world: &mut World) {
        // What is not there stays as it is.
        let _ = self.try_make(world);
    }

    #[expect(clippy::too_many_lines, reason = "one short line for each change")]
    fn try_make(&self, world: &mut World) -> Option<()> {
        match self.clone() {
            Self::NoLayers(n) => disk(world, n)?.layers.clear(),
            Self::LoseLayer(n, at) => {
                let layers = &mut disk(world, n)?.layers;
                let at = at.checked_rem(layers.len())?;
                layers.remove(at);
            }
            Self::RepeatLayer(n, at) => {
                let layers = &mut disk(world, n)?.layers;
                let again = pick(layers.iter().cloned(), at)?;
                layers.push(again);
            }
            Self::SameLayer(from, to) => {
                let layer = disk(world, from)?.layers.first()?.clone();
                disk(world, to)?.layers.push(layer);
            }
            Self::LayerFormat(n, at, format) => {
                pick(disk(world, n)?.layers.iter_mut(), at)?.format = format;
            }
            Self::LayerSize(n, at, size) => {
                pick(disk(world, n)?.layers.iter_mut(), at)?.virtual_size = Bytes(size);
            }
            Self::Allocated(n, at, size) => {
                pick(disk(world, n)?.layers.iter_mut(), at)?.allocated = Bytes(size);
            }
            Self::InternalSnapshot(n) => {
                disk(world, n)?.layers.first_mut()?.internal_snapshots = u32::MAX;
            }
            Self::Encrypted(n) => disk(world, n)?.layers.first_mut()?.encrypted = true,
            Self::Source(n, now, next, source) => {
                let disk = disk(world, n)?;
                if now {
                    disk.source.clone_from(&source);
                }
                if next {
                    disk.inactive = source;
                }
            }
            Self::Device(n, device) => disk(world, n)?.device = device,
            Self::Readonly(n) => disk(world, n)?.readonly = true,
            Self::Shareable(n) => disk(world, n)?.shareable = true,
            Self::Job(n, kind, done) => {
                disk(world, n)?.job = Some(Job {
                    kind,
                    done: Bytes(done),
                    total: Bytes(1),
                    ready: done == 1,
                });
            }
            Self::Power(n, power) => machine(world, n)?.power = power,
            Self::Transient(n) => machine(world, n)?.persistent = false,
            Self::ManagedSave(n) => machine(world, n)?.managed_save = true,
            Self::Snapshot(n) => machine(world, n)?.snapshots.push("s".to_owned()),
            Self::Agent(n, agent) => machine(world, n)?.agent = agent,
            Self::Note(n, note) => {
                let note = note.map(|(serial, current)| Note {
                    serial,
                    current: current.map(|n| some_id(world, n)),
                    snapshots: Snapshots::default(),
                    ..Note::default()
                });
                machine(world, n)?.note = note;
            }
            Self::Undefined(n) => guest(world, n)?.machine = None,
            Self::Renamed(n, name) => {
                let guest = guest(world, n)?;
                guest.vm.name.clone_from(&name);
                guest.machine.as_mut()?.name = name;
            }
            Self::TwinDisk(n) => {
                let disks = &mut machine(world, n)?.disks;
                let twin = disks.first()?.clone();
                disks.push(twin);
            }
            Self::NoDisks(n) => machine(world, n)?.disks.clear(),
            Self::LoseBackup(n) => {
                let id = some_id(world, n);
                for guest in world.guests.values_mut() {
                    guest.record.backups.remove(&id);
                }
            }
            Self::Parent(n, parent) => {
                let parent = parent.map(|n| some_id(world, n));
                backup(world, n)?.parent = parent;
            }
            Self::Edge(n, to) => {
                let to = some_id(world, to);
                let backup = backup(world, n)?;
                backup.disks.values_mut().next()?.parent.as_mut()?.backup = to;
            }
            Self::Place(n, place) => backup(world, n)?.link = place,
            Self::Created(n, at) => backup(world, n)?.created = at,
            Self::OnStorage(n, id) => {
                let at = &mut backup(world, n)?.storage;
                Arc::make_mut(at).id = StorageId::new(id);
            }
            Self::Unusable(n) => {
                backup(world, n)?.marks.unusable = Some(Unusable {
                    code: "missing".to_owned(),
                    file: None,
                });
            }
            Self::Removed(n) => backup(world, n)?.marks.removed = Some(Timestamp::MAX),
            Self::Delta(n, delta) => {
                let delta = delta.map(|(path, base)| Delta {
                    path: path.into(),
                    base: base.into(),
                });
                backup(world, n)?.disks.values_mut().next()?.delta = delta;
            }
            Self::LoseFile(n) => drop(backup(world, n)?.disks.remove(&Target::new("vda"))),
            Self::Serial(n, serial) => guest(world, n)?.record.serial = serial,
            Self::Current(n, current) => {
                let current = current.map(|n| some_id(world, n));
                guest(world, n)?.record.current = current;
            }
            Self::Served(n, at) => {
                let served = &mut guest(world, n)?.record.served;
                served.insert("nightly".to_owned(), at);
            }
            Self::Failures(n, at, slotted) => {
                let slot = Slot {
                    schedule: "nightly".to_owned(),
                    at: make::at("2026-11-23T02:00:00Z"),
                };
                let backup = some_id(world, n);
                guest(world, n)?.record.failures.push(Failed {
                    backup,
                    at,
                    slots: Vec::from_iter(slotted.then_some(slot)),
                    error: StepError {
                        fault: Fault::Io,
                        text: "it failed".to_owned(),
                        hint: None,
                    },
                });
            }
            Self::Unassigned(n) => guest(world, n)?.record.assigned = None,
            Self::InForce(n, last) => {
                let rules = last.map(|last| Rules {
                    policy: "all".to_owned(),
                    timezone: "UTC".to_owned(),
                    min_backups: 1,
                    retention: Some(Retention {
                        keep_last: last,
                        ..Retention::default()
                    }),
                    schedules: BTreeMap::new(),
                });
                guest(world, n)?.record.retention = rules.map(Box::new);
            }
            Self::Open(n, alive) => {
                let guest = guest(world, n)?;
                let vm = guest.vm.clone();
                let op = Op::Merge(Merge { vm, leave: false });
                let program = knib::action::program(&op, Some(guest)).unwrap_or_default();
                guest.open.push(open(op, program, alive));
            }
            Self::Storage(found) => world.storages.get_mut("nas")?.found = found,
            Self::Free(free) => {
                world.storages.get_mut("nas")?.space.as_mut()?.free = Bytes(free);
            }
            Self::PrimaryFree(free) => {
                world.primaries.values_mut().next()?.free = Bytes(free);
            }
            Self::ForgetPolicy => world.applied.policies.clear(),
            Self::ForgetStorage => world.applied.storages.clear(),
            Self::NoState => world.state = None,
            Self::Now(now) => world.now = now,
        }
        Some(())
    }
}

fn open(op: Op, program: Program, alive: bool) -> Open {
    let shape: Vec<_> = program.stages.iter().map(Vec::len).collect();
    Open {
        action: ActionId::new("interrupted/1"),
        op,
        marks: shape.iter().map(|length| vec![None; *length]).collect(),
        receipts: shape.iter().map(|length| vec![None; *length]).collect(),
        intended: shape.iter().map(|length| vec![None; *length]).collect(),
        program,
        direction: Direction::Forward,
        error: None,
        since: make::at("2026-11-23T02:00:00Z"),
        command: "apply".to_owned(),
        pid: 1,
        alive,
    }
}
