//! The index: what SQL reloads is what was learned in memory, whatever the changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use camino::Utf8PathBuf;
use knib::model::backup::Backup;
use knib::model::backup::Compressed;
use knib::model::backup::OfferingCopy;
use knib::model::backup::Remark;
use knib::model::backup::StorageRef;
use knib::model::backup::Unusable;
use knib::model::backup::VmRef;
use knib::model::bytes::Bytes;
use knib::model::change::Change;
use knib::model::digest::Digest;
use knib::model::id::BackupId;
use knib::model::id::HostId;
use knib::model::id::JobId;
use knib::model::id::StorageId;
use knib::model::id::Target;
use knib::model::job::Job;
use knib::model::job::JobKind;
use knib::model::job::JobState;
use knib::model::machine::Format;
use knib::model::policy::First;
use knib::model::policy::MinFree;
use knib::model::policy::Offering;
use knib::model::policy::Policy;
use knib::model::policy::Retention;
use knib::model::policy::Select;
use knib::model::policy::Settings;
use knib::model::policy::Storage;
use knib::model::policy::VmPolicy;
use knib::model::retention::Rules;
use knib::model::snapshot::Snapshots;
use knib::model::step::Image;
use knib::model::verification::Found;
use knib::model::world::Applied;
use knib::model::world::Identity;
use knib::model::world::World;
use knib::state::State;
use knib::state::StateError;
use proptest::collection::vec;
use proptest::prelude::*;

use super::Place;
use super::action;
use super::apply;
use super::at;
use super::backup;
use super::backup_id;
use super::slot;
use super::target;
use super::vm;

/// One of a few changes, with numbers that choose the rest of it.
#[derive(Clone, Debug)]
struct Seed {
    kind: u8,
    vm: u32,
    pick: usize,
    text: String,
    when: i64,
}

fn seed() -> impl Strategy<Value = Seed> {
    (0..19_u8, 0..3_u32, 0..8_usize, "[a'\"é/]{0,2}", -5..5_i64).prop_map(
        |(kind, vm, pick, text, when)| Seed {
            kind,
            vm,
            pick,
            text,
            when,
        },
    )
}

/// A seed of a kind, for one change of it.
fn plain(kind: u8) -> Seed {
    Seed {
        kind,
        vm: 1,
        pick: 1,
        text: "x".to_owned(),
        when: 0,
    }
}

/// One change of each kind that needs nothing else.
pub(super) fn one_of_each() -> Vec<Change> {
    let kinds = [0, 1, 3, 5, 7, 8, 11, 13, 17];
    kinds
        .map(|kind| change(&plain(kind), 9, &empty_world()))
        .into()
}

fn empty_world() -> World {
    World {
        format: 1,
        now: at(0),
        host: Identity {
            id: HostId::new("5f3c"),
            hostname: "hv1".to_owned(),
            libvirt: "9.0.0".to_owned(),
            qemu: "7.2.0".to_owned(),
            uri: "qemu:///system".to_owned(),
        },
        state: None,
        guests: BTreeMap::new(),
        storages: BTreeMap::new(),
        applied: Applied::default(),
        open: Vec::new(),
        primaries: BTreeMap::new(),
        findings: Vec::new(),
    }
}

fn offering(seed: &Seed) -> Offering {
    Offering {
        description: Some(seed.text.clone()),
        compress: seed.pick.is_multiple_of(2),
        backup_chain_size: Some(seed.when),
        ..Offering::default()
    }
}

fn vm_policy(seed: &Seed) -> VmPolicy {
    VmPolicy {
        offering: seed.text.clone(),
        storage: Some("nas1".to_owned()),
        select: Select::default(),
        priority: seed.when,
        schedules: BTreeMap::new(),
        retention: Some(Retention {
            keep_last: 3,
            ..Retention::default()
        }),
        min_backups: 1,
        exclude_disks: vec![target("vdb")],
        first: First::default(),
        paused: seed.pick == 0,
        validate: None,
    }
}

/// What a seed means in a world: a change that could happen there.
fn change(seed: &Seed, n: u32, world: &World) -> Change {
    let vm = vm(seed.vm);
    let name = seed.text.clone();
    let record = world.guests.get(&vm.uuid).map(|guest| &guest.record);
    let known: Vec<&Backup> = record.map_or(Vec::new(), |record| {
        record.backups.values().map(AsRef::as_ref).collect()
    });
    let picked = known.get(seed.pick % known.len().max(1)).copied();
    match seed.kind {
        0 => Change::Storage {
            storage: StorageRef {
                name,
                id: StorageId::new(format!("id {}", seed.pick)),
            },
            path: Utf8PathBuf::from(format!("/mnt/{}", seed.when)),
        },
        1 => Change::Offering {
            name,
            spec: offering(seed),
        },
        2 => Change::OfferingRemoved { name },
        3 => Change::Policy {
            name,
            spec: Box::new(vm_policy(seed)),
            since: BTreeMap::from([(seed.text.clone(), at(seed.when))]),
        },
        4 => Change::PolicyRemoved { name },
        5 => Change::Assigned {
            vm,
            policy: name,
            since: at(seed.when),
        },
        6 => Change::Unassigned { vm },
        7 => Change::Touched {
            vm,
            serial: n.into(),
            current: picked.map(|backup| backup.id.clone()),
        },
        8 => {
            let half = jiff::SignedDuration::from_millis(500);
            let mut slots = vec![slot(&name, seed.when), slot("nightly", -seed.when)];
            slots[1].at += half;
            Change::Served { vm, slots }
        }
        // Learned again later: marks, and other bytes of the same identity.
        9 | 10 if picked.is_some() => {
            let mut again = picked.expect("some").clone();
            again.marks.pinned = seed.pick.is_multiple_of(2);
            again.marks.removed = Some(at(seed.when));
            again.marks.unusable = Some(unusable(name));
            for disk in again.disks.values_mut() {
                disk.size = Bytes(u64::from(n));
                disk.digest = Digest::of(&n.to_be_bytes());
            }
            Change::Published(Box::new(again))
        }
        11 => Change::Published(Box::new(of_two_disks(&vm, n, None, seed))),
        13 => {
            let mut snapshots = Snapshots::default();
            let file = Image::new(format!("/images/{n}"), Format::Raw);
            snapshots.add(&name, at(seed.when), [(target("vda"), file)].into());
            Change::Snapshots { vm, snapshots }
        }
        14 if picked.is_some() => {
            let mut job = Job::new(
                picked.expect("some").id.clone(),
                JobKind::Finalize,
                at(seed.when),
            );
            job.files = compressed(n);
            Change::Wished { vm, job }
        }
        15 if picked.is_some() => Change::Job {
            vm,
            job: JobId::of(&picked.expect("some").id, "finalize"),
            state: [JobState::Waiting, JobState::Failed, JobState::Cancelled][seed.pick % 3],
            not_before: (seed.pick.is_multiple_of(3)).then(|| at(seed.when)),
        },
        16 if picked.is_some() => Change::Remarked {
            vm,
            backup: picked.expect("some").id.clone(),
            remark: remark(seed, n),
        },
        18 if picked.is_some() => Change::Verified {
            vm,
            backup: picked.expect("some").id.clone(),
            at: at(seed.when),
            found: found(seed),
        },
        17 => Change::Retained {
            vm,
            rules: Box::new(rules(seed, n)),
        },
        _ => Change::Published(Box::new(of_two_disks(&vm, n, picked, seed))),
    }
}

fn found(seed: &Seed) -> Found {
    match seed.pick % 3 {
        0 => Found::Whole,
        1 => Found::Unread,
        _ => Found::Damaged(unusable(seed.text.clone())),
    }
}

fn remark(seed: &Seed, n: u32) -> Remark {
    let files = compressed(n);
    match seed.pick % 3 {
        0 => Remark::Becomes { files },
        1 => Remark::Compressed { files },
        _ => Remark::Unusable {
            why: (n.is_multiple_of(2)).then(|| unusable(seed.text.clone())),
        },
    }
}

fn unusable(file: String) -> Unusable {
    Unusable {
        code: "damaged".to_owned(),
        file: Some(file),
    }
}

fn compressed(n: u32) -> BTreeMap<Target, Compressed> {
    let file = Compressed {
        size: Bytes(1),
        digest: Digest::of(&n.to_le_bytes()),
    };
    BTreeMap::from([(target("vda"), file)])
}

fn rules(seed: &Seed, n: u32) -> Rules {
    Rules {
        policy: seed.text.clone(),
        timezone: seed.text.clone(),
        min_backups: n,
        ..Rules::default()
    }
}

/// A second disk stands alone, whatever the parent.
fn of_two_disks(vm: &VmRef, n: u32, parent: Option<&Backup>, seed: &Seed) -> Backup {
    let mut backup = backup(vm, &backup_id(n), parent);
    backup.created = at(seed.when);
    backup.offering = Some(Arc::new(OfferingCopy {
        name: seed.text.clone(),
        spec: offering(seed),
    }));
    let mut disk = backup.disks[&target("vda")].clone();
    disk.parent = None;
    disk.birth = Digest::of(seed.text.as_bytes());
    backup.disks.insert(target("vdb"), disk);
    backup
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn sql_reloads_what_was_learned(actions in vec(vec(seed(), 0..9), 1..6)) {
        let place = Place::new();
        let state = place.open();
        let run = state.start_run("apply", at(0)).expect("a run");
        let mut world = empty_world();
        let mut n = 0;
        for (number, seeds) in actions.iter().enumerate() {
            let mut changes = Vec::new();
            for seed in seeds {
                n += 1;
                let change = change(seed, n, &world);
                world.learn(&change);
                changes.push(change);
            }
            apply(&state, &run.id, &action(number), &changes).expect("applied");
        }
        drop(state);

        let state = place.look();
        let records = state.records().expect("records");
        let in_memory: BTreeMap<_, _> = world
            .guests
            .iter()
            .map(|(id, guest)| (id.clone(), (guest.vm.clone(), guest.record.clone())))
            .collect();
        prop_assert_eq!(&records, &in_memory);
        for n in 0..4 {
            let id = vm(n).uuid;
            prop_assert_eq!(state.record(&id).expect("a record"), records.get(&id).cloned());
        }
        prop_assert_eq!(state.applied().expect("applied"), world.applied);
        place.check();
    }
}

/// A state that holds some changes.
pub(super) fn with(place: &Place, changes: &[Change]) -> State {
    let state = place.open();
    let run = state.start_run("apply", at(0)).expect("a run");
    apply(&state, &run.id, &action(0), changes).expect("applied");
    run.finish(&state, at(2)).expect("finished");
    state
}

pub(super) fn chain(vm: &VmRef) -> [Backup; 2] {
    let full = backup(vm, &backup_id(1), None);
    let incremental = backup(vm, &backup_id(2), Some(&full));
    [full, incremental]
}

pub(super) fn published(backups: &[Backup]) -> Vec<Change> {
    let publish = |backup: &Backup| Change::Published(Box::new(backup.clone()));
    backups.iter().map(publish).collect()
}

#[test]
fn sqlite_itself_keeps_a_file_that_another_continues() {
    let place = Place::new();
    let [full, incremental] = chain(&vm(1));
    let state = with(&place, &published(&[full, incremental]));
    let sql = place.sql();
    let delete = |id: &BackupId| sql.execute("DELETE FROM backup WHERE id = ?1", [id.as_str()]);
    assert!(delete(&backup_id(1)).is_err());
    assert_eq!(
        state.records().expect("read")[&vm(1).uuid].1.backups.len(),
        2
    );
    assert!(delete(&backup_id(2)).is_ok());
    assert!(delete(&backup_id(1)).is_ok());
    assert_eq!(place.count("backup_disk"), 0);
}

#[test]
fn a_parent_is_known_by_id_and_identity() {
    let place = Place::new();
    let [full, incremental] = chain(&vm(1));
    let state = with(&place, &published(std::slice::from_ref(&full)));
    let run = state.start_run("apply", at(3)).expect("a run");
    let vda = target("vda");

    let mut other_bytes = incremental.clone();
    let disk = other_bytes.disks.get_mut(&vda).expect("a disk");
    disk.parent.as_mut().expect("a parent").birth = Digest::of(b"other");
    let mut of_another_vm = incremental.clone();
    of_another_vm.vm = Arc::new(vm(2));
    let mut reborn = full.clone();
    reborn.disks.get_mut(&vda).expect("a disk").birth = Digest::of(b"other");
    let wrong = [
        published(&[other_bytes]),
        published(&[of_another_vm]),
        published(&[incremental.clone(), reborn]),
    ];
    let before = state.records().expect("read");
    for (n, changes) in wrong.iter().enumerate() {
        let answer = apply(&state, &run.id, &action(n + 1), changes);
        assert!(
            matches!(answer, Err(StateError::Refused(_))),
            "{n}: {answer:?}"
        );
        assert_eq!(state.records().expect("read"), before);
        assert_eq!(state.opens().expect("opens").len(), n + 1, "it stays open");
    }
    // In one action the order does not matter.
    let [full, incremental] = chain(&vm(3));
    let changes = published(&[incremental, full]);
    apply(&state, &run.id, &action(9), &changes).expect("applied");
    place.check();
}

#[test]
fn two_vms_may_have_backups_of_one_id() {
    let place = Place::new();
    let both = [1, 2].map(|n| backup(&vm(n), &backup_id(7), None));
    let state = with(&place, &published(&both));
    let records = state.records().expect("read");
    for backup in both {
        assert_eq!(*records[&backup.vm.uuid].1.backups[&backup_id(7)], backup);
    }
}

#[test]
fn a_vm_goes_by_the_name_it_had_last() {
    let place = Place::new();
    let old = vm(1);
    let new = VmRef {
        name: "renamed".to_owned(),
        ..vm(1)
    };
    let backup = backup(&old, &backup_id(1), None);
    let mut changes = published(std::slice::from_ref(&backup));
    changes.push(Change::Unassigned { vm: new.clone() });
    // Pinned later: what it says of the VM is what was so then.
    changes.extend(published(&[backup]));
    let state = with(&place, &changes);
    assert_eq!(
        state.record(&old.uuid).expect("read").expect("there").0,
        new
    );
}

#[test]
fn one_vms_record_does_not_depend_on_anothers() {
    let place = Place::new();
    let backups = [1, 2].map(|n| backup(&vm(n), &backup_id(n), None));
    let state = with(&place, &published(&backups));
    place
        .sql()
        .execute(
            "UPDATE backup SET spec = '{' WHERE id = ?1",
            [backup_id(2).as_str()],
        )
        .expect("broken");
    let (_, record) = state.record(&vm(1).uuid).expect("read").expect("there");
    assert_eq!(record.backups.len(), 1);
    for answer in [
        state.records().map(drop),
        state.record(&vm(2).uuid).map(drop),
    ] {
        let Err(StateError::Damaged { why, .. }) = answer else {
            panic!("damaged: {answer:?}")
        };
        assert!(why.contains(backup_id(2).as_str()), "{why}");
    }
}

pub(super) fn policy() -> Policy {
    Policy {
        connect: "qemu:///system".to_owned(),
        state: "/var/lib/knib/state.db".into(),
        timezone: "Europe/Paris".to_owned(),
        settings: Settings::default(),
        storages: BTreeMap::from([(
            "nas1".to_owned(),
            Storage {
                path: "/mnt/nas1".into(),
                min_free: MinFree::Percent(2.5),
                verify: None,
            },
        )]),
        offerings: BTreeMap::new(),
        policies: BTreeMap::from([("databases".to_owned(), vm_policy(&plain(3)))]),
        digest: Digest::of(b"policy"),
        origins: BTreeMap::new(),
    }
}

#[test]
fn the_policy_last_applied_is_kept() {
    let place = Place::new();
    let state = place.open();
    assert_eq!(state.policy().expect("read"), None);
    let mut policy = policy();
    state.set_policy(&policy).expect("kept");
    policy.timezone = "UTC".to_owned();
    state.set_policy(&policy).expect("kept");
    assert_eq!(place.look().policy().expect("read"), Some(policy));
}
