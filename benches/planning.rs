//! How long planning takes, and how much memory, over a world of 1,000 VMs and 100,000 backups: with a
//! backup due for every VM, with retention that lets one of each go, and with an edit of it that would
//! let ten go; and how long `knib status` takes with 1,000 backups on record.
//!
//! `cargo bench --bench planning`: needs libvirt at `qemu:///system`. The world is made first; what is
//! timed is `reconcile` alone, with a slot due for every VM. Peak memory is of the whole process, the
//! world included. `status` is a process of its own.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::hint::black_box;
use std::io::Write;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use camino::Utf8Path;
use jiff::SignedDuration;
use jiff::Timestamp;
use knib::model::backup::Backup;
use knib::model::backup::Delta;
use knib::model::backup::DiskFile;
use knib::model::backup::Edge;
use knib::model::backup::Link;
use knib::model::backup::Maker;
use knib::model::backup::Marks;
use knib::model::backup::OfferingCopy;
use knib::model::backup::StorageRef;
use knib::model::backup::VmRef;
use knib::model::bytes::Bytes;
use knib::model::change::Change;
use knib::model::digest::Digest;
use knib::model::id::ActionId;
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
use knib::model::op::Named;
use knib::model::op::Op;
use knib::model::policy::Offering;
use knib::model::policy::Policy;
use knib::model::program::Program;
use knib::model::receipt::Consistency;
use knib::model::record::Assigned;
use knib::model::retention::Rules;
use knib::model::snapshot::Snapshots;
use knib::model::world;
use knib::model::world::Applied;
use knib::model::world::AppliedPolicy;
use knib::model::world::AppliedStorage;
use knib::model::world::Guest;
use knib::model::world::Identity;
use knib::model::world::Space;
use knib::model::world::StorageFound;
use knib::model::world::StorageSeen;
use knib::model::world::World;
use knib::planner;
use knib::planner::Options;
use knib::state::State;

const VMS: u32 = 1_000;
const BACKUPS: u32 = 100;
const CHAIN: u32 = 8;
const ROUNDS: usize = 5;
const ON_RECORD: usize = 1_000;
const STORAGE: &str = "5a7b0b5e-0000-4000-8000-000000000001";

const POLICY: &str = "version: 1
storage: { nas: { path: /nas } }
offerings: { plain: {} }
policies:
  all:
    select: { names: [\"*\"] }
    offering: plain
    storage: nas
    schedules: { nightly: { cron: \"0 2 * * *\", jitter: 30m } }
";

/// One more than there are is one too many.
const RETENTION: &str =
    "    retention: { keepLast: 100, keepDaily: 60, keepWeekly: 12, keepMonthly: 6, keepYearly: 2 }
";

fn main() {
    let before = peak();
    let policy = policy("");
    let mut world = world(&policy);
    let made = peak();
    let mut out = std::io::stdout();
    let mut say = |text: String| {
        let _ = writeln!(out, "{text}");
    };
    say(format!("{VMS} VMs, {} backups", VMS * BACKUPS));
    say(planned("a backup due for each", &policy, &world));
    let rotating = self::policy(RETENTION);
    let rules = Rules::of("all", &rotating.policies["all"], &rotating.timezone);
    for guest in world.guests.values_mut() {
        guest.record.retention = Some(Box::new(rules.clone()));
    }
    let known = world.applied.policies.get_mut("all").expect("it is there");
    known.spec = rotating.policies["all"].clone();
    say(planned("with retention", &rotating, &world));
    say(format!(
        "peak memory: {} in all, the world {}",
        peak(),
        made.less(before)
    ));
    let edited = self::policy(&RETENTION.replace("100", "91"));
    say(planned("with retention edited", &edited, &world));
    say(format!("peak memory with that: {}", peak()));
    let mut times = status(&world);
    times.sort_unstable();
    say(format!(
        "knib status, {ON_RECORD} backups: {} (median of {}, slowest {})",
        shown(times[times.len() / 2]),
        times.len(),
        shown(times[times.len() - 1])
    ));
}

/// The policy, with more lines of its own.
fn policy(more: &str) -> Policy {
    let mut sources = knib::policy::Sources::default();
    sources.add("knib.yaml", format!("{POLICY}{more}"));
    let (policy, findings) = knib::policy::load(&sources);
    policy.unwrap_or_else(|| panic!("the policy has errors: {findings:?}"))
}

/// How long it takes to plan, and what is planned.
fn planned(what: &str, policy: &Policy, world: &World) -> String {
    let mut times = Vec::new();
    let mut summary = String::new();
    for round in 0..ROUNDS {
        let options = Options {
            id: PlanId::new(format!("round-{round}")),
            uri: "qemu:///system".to_owned(),
            version: "bench".to_owned(),
            clock_given: false,
            only: None,
            vm: None,
            show_kept: false,
            allowed: BTreeSet::new(),
        };
        let begun = Instant::now();
        let plan = black_box(planner::reconcile(policy, world, &options));
        times.push(begun.elapsed());
        let of = |verb: &str| plan.summary.verbs.get(verb).copied().unwrap_or_default();
        summary = format!(
            "{} to back up, {} to let go, {} to delete, {} blocked",
            of("backup"),
            of("expire"),
            of("delete"),
            plan.summary.blocked
        );
    }
    times.sort_unstable();
    format!(
        "planning, {what}: {} (median of {ROUNDS}, slowest {}): {summary}",
        shown(times[ROUNDS / 2]),
        shown(times[ROUNDS - 1])
    )
}

/// Times of `knib status` with a state that knows some of the world's backups.
fn status(world: &World) -> Vec<Duration> {
    let dir = tempfile::tempdir().expect("a directory to work in");
    let path = Utf8Path::from_path(dir.path()).expect("it is UTF-8");
    let path = path.join("state.db");
    let guests = world.guests.values().take(ON_RECORD / BACKUPS as usize);
    let backups = guests.flat_map(|guest| guest.record.backups.values());
    let changes: Vec<_> = backups
        .map(|backup| Change::Published(Box::new(Backup::clone(backup))))
        .collect();
    let state = State::open(&path).expect("a state");
    let run = state.start_run("bench", world.now).expect("a run");
    let action = ActionId::new("bench.1");
    let op = Op::OfferingDelete(Named {
        name: "bench".to_owned(),
    });
    let program = Program::default();
    state
        .begin(&run.id, &action, &op, &program, &[], world.now)
        .and_then(|()| state.close(&action, true, &changes, world.now))
        .and_then(|()| run.finish(&state, world.now))
        .expect("a state that can be written");
    (0..4 * ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            let done = Command::new(env!("CARGO_BIN_EXE_knib"))
                .args(["status", "--state", path.as_str()])
                .current_dir(dir.path())
                .output()
                .expect("a program that starts");
            assert!(done.status.success(), "{done:?}");
            begun.elapsed()
        })
        .collect()
}

fn shown(time: Duration) -> String {
    format!("{:.3} s", time.as_secs_f64())
}

/// The most memory this process had at once.
fn peak() -> Bytes {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    Bytes(kib.unwrap_or_default() * 1024)
}

fn world(policy: &Policy) -> World {
    let now: Timestamp = "2026-11-23T03:00:00Z".parse().expect("an instant");
    let space = |device| Space {
        free: Bytes(1 << 50),
        total: Bytes(1 << 51),
        kind: "ext4".to_owned(),
        device,
    };
    let storage = StorageSeen {
        path: "/nas".into(),
        known: Some(StorageId::new(STORAGE)),
        found: StorageFound::Marked(StorageId::new(STORAGE)),
        space: Some(space(2)),
        vms: BTreeMap::new(),
    };
    let since = now - SignedDuration::from_hours(24 * 200);
    let spec = policy.policies["all"].clone();
    let known = AppliedPolicy {
        spec,
        since: BTreeMap::from([("nightly".to_owned(), since)]),
    };
    let offering = knib::model::world::AppliedOffering {
        spec: policy.offerings["plain"].clone(),
        removed: false,
    };
    let guests = (0..VMS)
        .map(|n| guest(n, now, since))
        .map(|guest| (guest.vm.uuid.clone(), guest));
    World {
        format: world::FORMAT,
        now,
        host: Identity {
            id: HostId::new("40570000-0000-4000-8000-000000000001"),
            hostname: "kvm1".to_owned(),
            libvirt: "9.0.0".to_owned(),
            qemu: "7.2.0".to_owned(),
            uri: "qemu:///system".to_owned(),
        },
        state: Some(StateId::new("57a7e000-0000-4000-8000-000000000001")),
        guests: guests.collect(),
        storages: BTreeMap::from([("nas".to_owned(), storage)]),
        applied: Applied {
            storages: BTreeMap::from([(
                "nas".to_owned(),
                AppliedStorage {
                    id: StorageId::new(STORAGE),
                    path: "/nas".into(),
                },
            )]),
            offerings: BTreeMap::from([("plain".to_owned(), offering)]),
            policies: BTreeMap::from([("all".to_owned(), known)]),
        },
        primaries: BTreeMap::from([("/images".into(), space(1))]),
        findings: Vec::new(),
        open: Vec::new(),
    }
}

fn guest(n: u32, now: Timestamp, since: Timestamp) -> Guest {
    let vm = VmRef {
        name: format!("vm-{n:04}"),
        uuid: VmId::new(format!("{n:08x}-0000-4000-8000-000000000000")),
    };
    let mut guest = Guest::new(vm.clone());
    guest.record.assigned = Some(Assigned {
        policy: "all".to_owned(),
        since,
    });
    let base = format!("/images/{}.qcow2", vm.name);
    let mut last: Option<BackupId> = None;
    for day in (1..=BACKUPS).rev() {
        let created = now - SignedDuration::from_hours(24 * i64::from(day));
        let id = BackupId::allot(created, &vm.uuid, 0);
        let number = BACKUPS - day;
        let position = number % CHAIN + 1;
        let parent = last.clone().filter(|_| position > 1);
        let ends = position == CHAIN;
        let delta = Delta {
            path: format!("{base}.knib-{id}").into(),
            base: base.clone().into(),
        };
        let digest = Digest::of(id.as_str().as_bytes());
        let file = DiskFile {
            name: "vda.qcow2".to_owned(),
            parent: parent.clone().map(|backup| Edge {
                birth: Digest::of(backup.as_str().as_bytes()),
                backup,
            }),
            virtual_size: Bytes(40 << 30),
            size: Bytes(1 << 30),
            birth: digest,
            digest,
            uncompressed: None,
            becomes: None,
            delta: (!ends).then_some(delta),
        };
        let mut backup = Backup {
            format: 1,
            id: id.clone(),
            vm: Arc::new(vm.clone()),
            created,
            parent,
            link: Some(Link {
                chain: number / CHAIN + 1,
                position,
            }),
            consistency: Consistency::Filesystem,
            policy: Some("all".to_owned()),
            offering: Some(Arc::new(OfferingCopy {
                name: "plain".to_owned(),
                spec: Offering::default(),
            })),
            slots: Vec::new(),
            storage: Arc::new(StorageRef {
                name: "nas".to_owned(),
                id: StorageId::new(STORAGE),
            }),
            origin: Arc::new(Maker {
                host: HostId::new("40570000-0000-4000-8000-000000000001"),
                hostname: "kvm1".to_owned(),
                state: StateId::new("57a7e000-0000-4000-8000-000000000001"),
                knib: "bench".to_owned(),
            }),
            disks: [(Target::new("vda"), Box::new(file))].into(),
            files: vec!["domain.xml".to_owned(), "domain.inactive.xml".to_owned()],
            sums: BTreeMap::new(),
            marks: Marks::default(),
        };
        // As it is read from the state.
        if let Some((_, other)) = guest.record.backups.last_key_value() {
            backup.share_with(other);
        }
        guest.record.backups.insert(id.clone(), Arc::new(backup));
        guest.record.current = (!ends).then(|| id.clone());
        last = Some(id);
    }
    guest.record.serial = u64::from(BACKUPS);
    let delta = guest
        .record
        .current
        .clone()
        .map(|id| format!("{base}.knib-{id}"));
    let note = Note {
        serial: guest.record.serial,
        current: guest.record.current.clone(),
        snapshots: Snapshots::default(),
        ..Note::default()
    };
    guest.machine = Some(machine(&vm, &base, delta.as_deref(), note));
    guest
}

fn machine(vm: &VmRef, base: &str, delta: Option<&str>, note: Note) -> Machine {
    let paths: Vec<&str> = delta.into_iter().chain([base]).collect();
    let source = Source::File {
        path: paths[0].into(),
        format: Format::Qcow2,
    };
    let layer = |path: &&str| Layer {
        path: (*path).into(),
        format: Format::Qcow2,
        virtual_size: Bytes(40 << 30),
        allocated: Bytes(1 << 30),
        internal_snapshots: 0,
        encrypted: false,
        compression: None,
        data_file: false,
    };
    let disk = Disk {
        target: Target::new("vda"),
        device: Device::Disk,
        source: Some(source.clone()),
        inactive: Some(source),
        readonly: false,
        shareable: false,
        in_use: false,
        live: paths.iter().map(|path| (*path).into()).collect(),
        job: None,
        layers: paths.iter().map(layer).collect(),
        off_chain: Vec::new(),
        unreadable: Vec::new(),
    };
    Machine {
        id: vm.uuid.clone(),
        name: vm.name.clone(),
        power: Power::Running,
        persistent: true,
        managed_save: false,
        snapshots: Vec::new(),
        agent: Agent::Connected,
        note: Some(note),
        tags: BTreeMap::new(),
        disks: vec![disk],
        firmware: Firmware::default(),
    }
}
