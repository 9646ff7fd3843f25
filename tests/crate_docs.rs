//! What the crate's page says is what the code does: the lease table, one row a verb.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use knib::action;
use knib::model::backup::Unusable;
use knib::model::backup::VmRef;
use knib::model::ground::Ground;
use knib::model::id::ActionId;
use knib::model::id::BackupId;
use knib::model::id::StorageId;
use knib::model::id::Target;
use knib::model::id::VmId;
use knib::model::job::JobKind;
use knib::model::lease::Lease;
use knib::model::lease::Mode;
use knib::model::lease::Subject;
use knib::model::machine::Format;
use knib::model::op::Abandon;
use knib::model::op::Adopt;
use knib::model::op::Clear;
use knib::model::op::Compress;
use knib::model::op::Compression;
use knib::model::op::Consolidate;
use knib::model::op::Discard;
use knib::model::op::MarkUnusable;
use knib::model::op::Named;
use knib::model::op::OnBackup;
use knib::model::op::OneBackup;
use knib::model::op::OneJob;
use knib::model::op::Op;
use knib::model::op::Origin;
use knib::model::op::Phase;
use knib::model::op::Retry;
use knib::model::op::Tag;
use knib::model::op::Trial;
use knib::model::op::Validate;
use knib::model::op::Verb;
use knib::model::op::Verify;
use knib::model::op::Wait;
use knib::model::orphan::OrphanKind;
use knib::model::policy::CompressionLibrary;
use knib::model::record::Record;
use knib::model::seconds::Seconds;
use knib::model::step::BackupAt;
use knib::model::step::Image;
use knib::model::world::World;
use knib::planner::files;
use knib::planner::restore;
use knib::planner::restore::How;
use knib::planner::restore::InPlace;
use knib::planner::restore::NewVm;
use knib::planner::restore::OneDisk;
use knib::planner::snapshots;
use knib::planner::snapshots::Asked;
use schemars::schema_for;

use crate::cli::plans;
use crate::planner::make;

/// Rows of the table: the verb, then a word a column.
pub(crate) fn table() -> BTreeMap<String, [String; 3]> {
    let page = include_str!("../src/lib.rs");
    let rows = page
        .lines()
        .filter_map(|line| line.strip_prefix("//! | `"))
        .filter_map(|row| row.split_once("` | "));
    rows.map(|(verb, cells)| {
        let cells: Vec<_> = cells
            .trim_end_matches(" |")
            .split(" | ")
            .map(str::to_owned)
            .collect();
        let cells = cells.try_into().expect("three columns");
        (verb.to_owned(), cells)
    })
    .collect()
}

/// Every verb, as the schema of plans has them.
pub(crate) fn verbs() -> BTreeSet<String> {
    let schema = schema_for!(Verb).to_value();
    let names = schema["enum"].as_array().expect("verbs are names");
    names
        .iter()
        .map(|name| name.as_str().expect("a name").to_owned())
        .collect()
}

/// An action of every verb, with what is on record about its VM.
pub(crate) fn actions() -> Vec<(Op, Record)> {
    let mut all = Vec::new();
    for (plan, world) in plans::every_kind() {
        for action in plan.actions {
            let guest = action.op.guest().and_then(|vm| world.guests.get(&vm.uuid));
            let record = guest.map(|guest| guest.record.clone()).unwrap_or_default();
            all.push((action.op, record));
        }
    }
    let named = Named {
        name: "gold".to_owned(),
    };
    all.push((Op::OfferingDelete(named), Record::default()));
    let mut world = make::world("2026-11-24T09:00:00Z");
    let mut guest = make::vm("db-01", &["vda"]);
    for position in 1..=3 {
        make::backed_up(
            &mut guest,
            &format!("2026-11-2{position}T02:00:00Z"),
            position,
        );
    }
    let asked = NewVm {
        from: guest.vm.uuid.clone(),
        backup: guest.record.current.clone().expect("the third"),
        name: "copy".to_owned(),
        dir: None,
        format: Format::Qcow2,
        keep_mac: false,
        network: None,
        start: false,
        how: How::default(),
    };
    let record = guest.record.clone();
    let current = record.current.clone().expect("the third");
    let of = OneBackup {
        vm: guest.vm.clone(),
        backup: current,
        storage: None,
        at: world.now,
    };
    all.extend(kept(&of).map(|op| (op, record.clone())));
    all.extend(left_over(&guest.vm).map(|op| (op, record.clone())));
    for op in [Op::Expire, Op::Delete, Op::Pin, Op::Unpin] {
        all.push((op(of.clone()), record.clone()));
    }
    all.extend(jobs(&of).into_iter().map(|op| (op, record.clone())));
    let vm = guest.vm.clone();
    let uuid = vm.uuid.clone();
    let asked_vm = vm.clone();
    let tag = Tag {
        vm: vm.clone(),
        tags: BTreeMap::new(),
    };
    all.push((Op::Tag(tag), record.clone()));
    let adopt = Adopt {
        vm,
        estate: None,
        note: None,
    };
    all.push((Op::Adopt(Box::new(adopt)), record.clone()));
    make::add(&mut world, guest);
    let name = || "s1".to_owned();
    for asked in [
        Asked::Create(Some(name())),
        Asked::Revert(name()),
        Asked::Delete(name()),
    ] {
        let plan = snapshots::plan(&asked, &uuid, None, &world, &make::options());
        all.extend(
            plan.actions
                .into_iter()
                .map(|action| (action.op, record.clone())),
        );
    }
    let read = files::plan((&uuid, &asked.backup), None, &world, &make::options());
    all.extend(
        read.actions
            .into_iter()
            .map(|action| (action.op, record.clone())),
    );
    all.extend(restores(&asked_vm, &asked, &record, &world));
    all
}

/// What is learned of a backup that stays.
fn kept(of: &OneBackup) -> [Op; 2] {
    let why = Some(Unusable {
        code: "missing".to_owned(),
        file: None,
    });
    let damaged = MarkUnusable {
        of: of.clone(),
        why,
    };
    let again = Verify {
        of: of.clone(),
        rate: None,
        at_once: 1,
    };
    [Op::MarkUnusable(damaged), Op::Verify(again)]
}

/// What is done about what nobody goes on with.
fn left_over(vm: &VmRef) -> [Op; 2] {
    let over = Clear {
        path: "/nas/x".into(),
        kind: OrphanKind::Stage,
        vm: Some(vm.clone()),
    };
    let given_up = Abandon {
        action: ActionId::new("plan/1"),
        vm: Some(vm.clone()),
        stays: Vec::new(),
    };
    [Op::Clear(over), Op::Abandon(given_up)]
}

/// Every attempt at a job about a backup, and what is decided about one.
fn jobs(of: &OneBackup) -> Vec<Op> {
    let mut all = Vec::new();
    let retry = Retry {
        attempts: None,
        interval: Seconds(0),
    };
    let how = Compression {
        library: CompressionLibrary::Zstd,
        coroutines: 1,
        rate: None,
    };
    let start = Phase::Start {
        how,
        room: 1000,
        timeout: Seconds(0),
        at_once: None,
    };
    for phase in [start, Phase::Finalize] {
        let op = Compress {
            of: of.clone(),
            phase,
            retry,
        };
        all.push(Op::Compress(Box::new(op)));
    }
    let trial = Trial {
        boot: Wait::Always,
        boot_timeout: Seconds(0),
        screenshot: None,
        command: None,
        limit: Seconds(0),
        memory: None,
        vcpus: None,
        ends_chain: false,
    };
    all.push(Op::Validate(Box::new(Validate {
        of: of.clone(),
        dir: "/images".into(),
        trial,
        retry,
        at_once: None,
        asked: false,
    })));
    for op in [Op::JobRetry, Op::JobCancel] {
        let job = OneJob {
            of: of.clone(),
            kind: JobKind::Finalize,
        };
        all.push(op(job));
    }
    all
}

fn restores(vm: &VmRef, asked: &NewVm, record: &Record, world: &World) -> Vec<(Op, Record)> {
    let mut all = Vec::new();
    let in_place = InPlace {
        backups: vec![(vm.uuid.clone(), asked.backup.clone())],
        stop: None,
        discard: false,
        dir: None,
        how: How::default(),
    };
    let consolidated = vm.clone();
    let discard = Discard {
        vm: vm.clone(),
        restore: asked.backup.clone(),
    };
    all.push((Op::Discard(discard), record.clone()));
    let one = OneDisk {
        from: vm.uuid.clone(),
        backup: asked.backup.clone(),
        disk: Target::new("vda"),
        to: vm.uuid.clone(),
        target: None,
        dir: None,
        format: asked.format.clone(),
        how: How::default(),
    };
    let on = OnBackup {
        head: Image::new("/images/copy.qcow2", Format::Qcow2),
        of: BackupAt {
            storage: "/nas".into(),
            id: StorageId::new(make::STORAGE),
            vm: asked.from.clone(),
            backup: asked.backup.clone(),
        },
        below: None,
        ancestors: record.ancestors(&asked.backup),
    };
    let consolidate = Consolidate {
        vm: consolidated,
        carries_on: None,
        disks: BTreeMap::from([(Target::new("vda"), on)]),
    };
    all.push((Op::Consolidate(consolidate), record.clone()));
    let restores = [
        restore::disk(&one, &Ground::default(), world, &make::options()),
        restore::new_vm(asked, &Ground::default(), world, &make::options()),
        restore::vms(&in_place, &Ground::default(), world, &make::options()),
    ];
    all.extend(
        restores
            .into_iter()
            .flat_map(|plan| plan.actions)
            .map(|action| (action.op, record.clone())),
    );
    all
}

fn word(leases: &[Lease], subject: &Subject) -> &'static str {
    let modes = leases
        .iter()
        .filter(|lease| lease.subject == *subject)
        .map(|lease| lease.mode);
    match modes.max() {
        None => "-",
        Some(Mode::Shared) => "shared",
        Some(Mode::Exclusive) => "exclusive",
    }
}

/// The backup an op is about, and what that continues.
pub(crate) fn read(op: &Op, record: &Record) -> (Option<BackupId>, Vec<BackupId>) {
    match op {
        Op::Backup(op) => {
            let parent = op.parent.iter();
            let above = parent.clone().flat_map(|id| record.ancestors(id));
            let continued = parent.cloned().chain(above).collect();
            (Some(op.id.clone()), continued)
        }
        Op::Expire(of)
        | Op::Delete(of)
        | Op::Pin(of)
        | Op::Unpin(of)
        | Op::MarkUnusable(MarkUnusable { of, .. }) => (Some(of.backup.clone()), Vec::new()),
        Op::Verify(op) => {
            let of = &op.of.backup;
            (Some(of.clone()), record.ancestors(of))
        }
        Op::Compress(op) => {
            let of = &op.of.backup;
            (Some(of.clone()), record.ancestors(of))
        }
        Op::Validate(op) => {
            let of = &op.of.backup;
            (Some(of.clone()), record.ancestors(of))
        }
        Op::JobRetry(op) | Op::JobCancel(op) => (Some(op.of.backup.clone()), Vec::new()),
        Op::RestoreVm(op) => from(&op.origin),
        Op::RestoreDisk(op) => from(&op.origin),
        Op::RestoreNew(op) => from(&op.origin),
        Op::Consolidate(op) => {
            let on = op.disks.values().next().expect("a disk");
            (Some(on.of.backup.clone()), on.ancestors.clone())
        }
        Op::Files(op) => (Some(op.backup.clone()), op.ancestors.clone()),
        _ => (None, Vec::new()),
    }
}

fn from(origin: &Origin) -> (Option<BackupId>, Vec<BackupId>) {
    (Some(origin.backup.clone()), origin.ancestors.clone())
}

/// The VM that the table means.
pub(crate) fn vm(op: &Op) -> Option<VmId> {
    let vm = &op.vm()?.uuid;
    Some(match op {
        Op::Validate(_) => vm.throwaway(),
        _ => vm.clone(),
    })
}

/// What is held of it, as the columns have it.
pub(crate) fn found(op: &Op, record: &Record) -> [String; 3] {
    let leases = action::leases(op, record);
    let (backup, continued) = read(op, record);
    let writes = |id: &BackupId| leases.contains(&Lease::exclusive(Subject::Marks(id.clone())));
    let of = |id: &BackupId| match word(&leases, &Subject::Backup(id.clone())) {
        "shared" if writes(id) => "shared, sole writer",
        word => word,
    };
    let vm = vm(op).map(|vm| word(&leases, &Subject::Vm(vm)));
    let words: BTreeSet<_> = continued.iter().map(of).collect();
    assert!(words.len() <= 1, "all ancestors are held alike");
    let counted = leases.len();
    let named = usize::from(vm.is_some_and(|word| word != "-"))
        + usize::from(backup.as_ref().is_some_and(|id| of(id) != "-"))
        + usize::from(backup.as_ref().is_some_and(writes))
        + continued.iter().filter(|id| of(id) != "-").count();
    assert_eq!(counted, named, "{op:?} holds what no column names");
    [vm, backup.as_ref().map(of), words.first().copied()].map(|word| word.unwrap_or("-").to_owned())
}

/// The name of a row.
pub(crate) fn row(op: &Op) -> String {
    match op {
        Op::Compress(op) => format!("compress {}", op.kind().as_str()),
        op => op.verb().as_str().to_owned(),
    }
}

#[test]
fn the_lease_table_is_what_actions_hold() {
    let table = table();
    assert_eq!(
        table
            .keys()
            .map(|row| row.split(' ').next().unwrap_or_default().to_owned())
            .collect::<BTreeSet<_>>(),
        verbs(),
        "a row a verb, or a phase of it"
    );
    let mut strongest: BTreeMap<String, [String; 3]> = BTreeMap::new();
    for (op, record) in actions() {
        let found = found(&op, &record);
        let row = strongest.entry(row(&op)).or_insert_with(|| found.clone());
        for (cell, found) in row.iter_mut().zip(found) {
            // A first backup continues nothing; the table says what the verb may hold.
            if cell == "-" {
                *cell = found;
            }
        }
    }
    assert_eq!(strongest, table);
}
