//! Leases: who may hold what beside whom.

use knib::model::change::Change;
use knib::model::id::ActionId;
use knib::model::id::BackupId;
use knib::model::job::Job;
use knib::model::job::JobKind;
use knib::model::lease::Holder;
use knib::model::lease::Lease;
use knib::model::lease::Mode;
use knib::model::lease::Subject;
use knib::model::op::Op;
use knib::state::StateError;

use super::Place;
use super::action;
use super::at;
use super::backup_id;
use super::backup_op;
use super::error;
use super::merge_op;
use super::program;
use super::vm;

#[test]
fn every_cell_of_the_table() {
    let subjects = [
        Subject::Vm(vm(1).uuid),
        Subject::Vm(vm(2).uuid),
        Subject::Backup(backup_id(1)),
        Subject::Marks(backup_id(1)),
        // Told from the VM of the same name.
        Subject::Backup(BackupId::new(vm(1).uuid.as_str())),
    ];
    let leases: Vec<_> = subjects
        .iter()
        .flat_map(|subject| {
            [Mode::Shared, Mode::Exclusive].map(|mode| Lease {
                subject: subject.clone(),
                mode,
            })
        })
        .collect();
    let place = Place::new();
    let state = place.open();
    let run = state.start_run("apply", at(0)).expect("a run");
    let mut n = 0;
    for held in &leases {
        for wanted in &leases {
            let (first, second) = (action(n), action(n + 1));
            n += 2;
            let begin = |action, lease, now| {
                let (op, program) = (merge_op(&vm(1)), program(&[]));
                state.begin(
                    &run.id,
                    action,
                    &op,
                    &program,
                    std::slice::from_ref(lease),
                    now,
                )
            };
            let close = |action| state.close(action, true, &[], at(7)).expect("closed");
            begin(&first, held, at(5)).expect("begun");
            let answer = begin(&second, wanted, at(6));
            let both_read = (held.mode, wanted.mode) == (Mode::Shared, Mode::Shared);
            let fits = both_read || held.subject != wanted.subject;
            assert_eq!(held.agrees_with(wanted), fits, "{held:?} {wanted:?}");
            assert_eq!(answer.is_ok(), fits, "{held:?} {wanted:?}");
            close(&first);
            if let Err(error) = answer {
                assert_eq!(error, StateError::Held(holder()));
                // Nothing of it was begun.
                begin(&second, wanted, at(8)).expect("free now");
            }
            close(&second);
        }
    }
    place.check();
}

/// Who holds a lease in this test.
fn holder() -> Holder {
    Holder {
        operation: "merge".to_owned(),
        command: "apply".to_owned(),
        pid: std::process::id(),
        alive: true,
        since: at(5),
    }
}

#[test]
fn one_conflict_among_many_begins_nothing() {
    let place = Place::new();
    let state = place.open();
    let run = state.start_run("apply", at(0)).expect("a run");
    let (op, program) = (merge_op(&vm(1)), program(&[2]));
    let read = |n| Lease::shared(Subject::Backup(backup_id(n)));
    let swap = |n| Lease::exclusive(Subject::Backup(backup_id(n)));
    state
        .begin(
            &run.id,
            &action(0),
            &op,
            &program,
            &[read(1), read(2)],
            at(1),
        )
        .expect("begun");
    let answer = state.begin(
        &run.id,
        &action(1),
        &op,
        &program,
        &[read(3), swap(2)],
        at(2),
    );
    assert!(matches!(answer, Err(StateError::Held(_))), "{answer:?}");
    assert_eq!(place.count("action"), 1);
    assert_eq!(place.count("step"), 2);
    assert_eq!(place.count("lease"), 2);
}

#[test]
fn wanted_twice_is_wanted_in_the_stronger_mode() {
    let place = Place::new();
    let state = place.open();
    let run = state.start_run("apply", at(0)).expect("a run");
    let (op, program) = (merge_op(&vm(1)), program(&[]));
    let read = Lease::shared(Subject::Backup(backup_id(1)));
    let swap = Lease::exclusive(Subject::Backup(backup_id(1)));
    let both = [swap, read.clone()];
    state
        .begin(&run.id, &action(0), &op, &program, &both, at(1))
        .expect("begun");
    let answer = state.begin(&run.id, &action(1), &op, &program, &[read], at(2));
    assert!(matches!(answer, Err(StateError::Held(_))), "{answer:?}");
}

#[test]
fn of_several_holders_a_living_one_is_told() {
    let place = Place::new();
    let state = place.open();
    let run = state.start_run("apply", at(0)).expect("a run");
    let read = [Lease::shared(Subject::Backup(backup_id(1)))];
    let swap = [Lease::exclusive(Subject::Backup(backup_id(1)))];
    let program = program(&[]);
    let (first, second) = (merge_op(&vm(1)), backup_op(&vm(2), &backup_id(2)));
    let begin = |n, op, leases| state.begin(&run.id, &action(n), op, &program, leases, at(1));
    begin(0, &first, &read).expect("begun");
    begin(1, &second, &read).expect("begun");
    state.leave_open(&action(0), &error("x")).expect("left");
    let Err(StateError::Held(holder)) = begin(2, &first, &swap) else {
        panic!("held")
    };
    assert_eq!((holder.operation.as_str(), holder.alive), ("backup", true));
    state.leave_open(&action(1), &error("x")).expect("left");
    let Err(StateError::Held(holder)) = begin(2, &first, &swap) else {
        panic!("held")
    };
    assert_eq!((holder.operation.as_str(), holder.alive), ("merge", false));
}

#[test]
fn sqlite_itself_refuses_conflicts_and_loose_ends() {
    let place = Place::new();
    let state = place.open();
    let run = state.start_run("apply", at(0)).expect("a run");
    let held = [Lease::shared(Subject::Vm(vm(1).uuid))];
    for n in 0..3 {
        let op = merge_op(&vm(1));
        let leases = if n == 0 { &held[..] } else { &[] };
        state
            .begin(&run.id, &action(n), &op, &program(&[]), leases, at(1))
            .expect("begun");
    }
    state.close(&action(2), true, &[], at(2)).expect("closed");
    let sql = place.sql();
    let lease = |action: &str, mode: &str| {
        let vm = vm(1).uuid;
        sql.execute(
            "INSERT OR REPLACE INTO lease (action, kind, subject, mode) VALUES (?1, 'vm', ?2, ?3)",
            [action, vm.as_str(), mode],
        )
    };
    assert!(lease("plan/1", "exclusive").is_err(), "a conflict");
    assert!(lease("plan/2", "shared").is_err(), "of a closed action");
    assert!(lease("plan/9", "shared").is_err(), "of no action");
    assert!(lease("plan/1", "shared").is_ok());
    assert!(
        lease("plan/1", "exclusive").is_err(),
        "a stronger one later"
    );
    for batch in [
        "UPDATE lease SET mode = 'exclusive' WHERE action = 'plan/0'",
        "DELETE FROM lease WHERE action = 'plan/0'",
    ] {
        assert!(sql.execute_batch(batch).is_err(), "{batch}");
    }
}

#[test]
fn what_begins_to_compress_gives_way_to_a_swap_that_waits_for_others_that_do() {
    let place = Place::new();
    let state = place.open();
    let run = state.start_run("apply", at(0)).expect("a run");
    let job = |n, kind, not_before| Change::Wished {
        vm: vm(1),
        job: Job::new(backup_id(n), kind, at(not_before)),
    };
    let published = |n| Change::Published(Box::new(super::backup(&vm(1), &backup_id(n), None)));
    let mut changes: Vec<_> = (1..5).map(published).collect();
    changes.extend((1..5).map(|n| job(n, JobKind::Start, 0)));
    changes.push(job(1, JobKind::Finalize, 50));
    super::apply(&state, &run.id, &action(0), &changes).expect("wished");

    let mut actions = 1..;
    let mut begin = |op: Op, leases: &[Lease], now| {
        let action = action(actions.next().expect("there is always one more"));
        let begun = state.begin(&run.id, &action, &op, &program(&[]), leases, at(now));
        begun.map(|()| action)
    };
    let read = |n| (1..=n).map(|n| Lease::shared(Subject::Backup(backup_id(n))));
    let compress = |n| (super::jobs::start(n, 2), read(n).collect::<Vec<_>>());
    let held = |begun: Result<ActionId, StateError>| match begun {
        Err(StateError::Held(holder)) => assert_eq!(holder.operation, "compress"),
        other => panic!("{other:?}"),
    };
    let close = |action| state.close(&action, true, &[], at(99)).expect("closed");

    // A swap that is tried later is in nobody's way; one whose time has come is, for what it waits for.
    let (op, leases) = compress(2);
    let second = begin(op, &leases, 40).expect("it is early");
    let (op, leases) = compress(3);
    held(begin(op.clone(), &leases, 50));
    // Beside somebody who reads it for something else giving way would be in vain.
    let reader = begin(merge_op(&vm(2)), &leases[..1], 51).expect("readers share");
    let third = begin(op, &leases, 52).expect("others read it anyway");
    close(reader);
    let (op, leases) = compress(4);
    held(begin(op.clone(), &leases, 53));
    close(second);
    held(begin(op.clone(), &leases, 54));
    close(third);
    let fourth = begin(op, &leases, 55).expect("nobody is at it");
    close(fourth);
    place.check();
}
