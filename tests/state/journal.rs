//! The journal protocol: what it stores, and what it does not take.

use knib::model::backup::VmRef;
use knib::model::bytes::Bytes;
use knib::model::change::Change;
use knib::model::digest::Digest;
use knib::model::id::PlanId;
use knib::model::lease::Lease;
use knib::model::lease::Subject;
use knib::model::machine::Format;
use knib::model::program::Direction;
use knib::model::program::Mark;
use knib::model::program::Program;
use knib::model::receipt::Receipt;
use knib::model::step::Image;
use knib::model::step::Step;
use knib::state::Filter;
use knib::state::Outcome;
use knib::state::State;
use knib::state::StateError;

use super::Place;
use super::action;
use super::at;
use super::backup_id;
use super::backup_op;
use super::error;
use super::merge_op;
use super::program;
use super::target;
use super::vm;

const DONE: Receipt = Receipt::Done;

#[test]
fn an_open_action_comes_back_as_it_was_left() {
    let place = Place::new();
    let state = place.open();
    let run = state.start_run("apply", at(0)).expect("a run");
    let (vm, op) = (vm(1), backup_op(&vm(1), &backup_id(1)));
    // A stage without steps keeps its place.
    let program = program(&[1, 0, 2, 1, 0]);
    let held = [Lease::exclusive(Subject::Vm(vm.uuid.clone()))];
    let id = action(0);
    state
        .begin(&run.id, &id, &op, &program, &held, at(1))
        .expect("begun");
    let copied = Receipt::Copied {
        size: Bytes(7),
        digest: Digest::of(b"x"),
        virtual_size: Bytes(u64::MAX),
        uncompressed: Some(Bytes(9)),
    };
    state.intend(&id, 0, at(2)).expect("intended");
    state.done(&id, 0, 0, &DONE, at(3)).expect("done");
    state.intend(&id, 1, at(4)).expect("nothing to intend");
    state.intend(&id, 2, at(5)).expect("intended");
    state.done(&id, 2, 1, &copied, at(6)).expect("done");
    // Taken up again: what was intended first stays.
    state.intend(&id, 2, at(7)).expect("intended again");

    drop(state);
    let state = place.look();
    let opens = state.opens().expect("opens");
    let [open] = opens.as_slice() else {
        panic!("one open action: {opens:?}")
    };
    assert_eq!(state.opens_of(&vm.uuid).expect("opens"), opens);
    assert_eq!(state.opens_of(&super::vm(2).uuid).expect("opens"), []);
    assert_eq!(
        (&open.action, &open.op, &open.program),
        (&id, &op, &program)
    );
    let (intended, done) = (Some(Mark::Intended), Some(Mark::Done));
    let marks = vec![vec![done], vec![], vec![intended, done], vec![None], vec![]];
    assert_eq!(open.marks, marks);
    let receipts = vec![
        vec![Some(DONE)],
        vec![],
        vec![None, Some(copied)],
        vec![None],
        vec![],
    ];
    assert_eq!(open.receipts, receipts);
    let times = vec![
        vec![Some(at(2))],
        vec![],
        vec![Some(at(5)); 2],
        vec![None],
        vec![],
    ];
    assert_eq!(open.intended, times);
    assert_eq!(open.direction, Direction::Forward);
    assert_eq!((&open.error, open.since), (&None, at(1)));
    assert_eq!(open.command, "apply");
    assert_eq!((open.pid, open.alive), (std::process::id(), true));
    place.check();
}

#[test]
fn closing_takes_leases_and_openness_away() {
    let place = Place::new();
    let state = place.open();
    let run = state.start_run("apply", at(0)).expect("a run");
    let held = [Lease::exclusive(Subject::Vm(vm(1).uuid))];
    let op = merge_op(&vm(1));
    let id = action(0);
    assert!(!state.plan_applied(&PlanId::new("plan")).expect("asked"));
    state
        .begin(&run.id, &id, &op, &program(&[1]), &held, at(1))
        .expect("begun");
    state.intend(&id, 0, at(2)).expect("intended");
    state.done(&id, 0, 0, &DONE, at(3)).expect("done");
    assert_eq!(place.count("lease"), 1);
    state.close(&id, true, &[], at(4)).expect("closed");
    assert_eq!(place.count("lease"), 0);
    assert_eq!(state.opens().expect("opens"), []);

    let again = state.begin(&run.id, &id, &op, &program(&[1]), &[], at(5));
    assert_eq!(again, Err(StateError::Applied(id)));
    assert!(state.plan_applied(&PlanId::new("plan")).expect("asked"));
    for other in ["pla", "plan/0", "plan2", "plam"] {
        assert!(!state.plan_applied(&PlanId::new(other)).expect("asked"));
    }
}

#[test]
fn a_backup_that_was_undone_is_a_failure_on_record() {
    let place = Place::new();
    let state = place.open();
    let run = state.start_run("apply", at(0)).expect("a run");
    for n in 0..60 {
        let op = backup_op(&vm(n % 2), &backup_id(n));
        let id = action(n as usize);
        let now = at(i64::from(n));
        state
            .begin(&run.id, &id, &op, &program(&[2, 1]), &[], now)
            .expect("begun");
        state.intend(&id, 0, now).expect("intended");
        state.done(&id, 0, 1, &DONE, now).expect("done");
        let why = error(&format!("reason {n}"));
        state.turn_back(&id, &why).expect("turned");
        let open = state.opens().expect("opens").remove(0);
        assert_eq!((open.direction, open.error), (Direction::Back, Some(why)));
        state.undone(&id, 0, 1, now).expect("undone");
        state.undone(&id, 0, 0, now).expect("undone");
        state.close(&id, false, &[], now).expect("closed");
    }
    let (_, record) = state.record(&vm(1).uuid).expect("read").expect("there");
    assert_eq!(record.failures.len(), 30);
    let last = record.failures.last().expect("one");
    assert_eq!((last.at, &last.backup), (at(59), &backup_id(59)));
    assert_eq!(last.error, error("reason 59"));
    assert_eq!(last.slots, [super::slot("nightly", 0)]);

    // The last fifty of a VM stay, and other verbs leave none.
    for n in 60..120 {
        let op = match n {
            119 => merge_op(&vm(1)),
            n => backup_op(&vm(1), &backup_id(n)),
        };
        let id = action(n as usize);
        state
            .begin(&run.id, &id, &op, &program(&[]), &[], at(0))
            .expect("begun");
        state.turn_back(&id, &error("no room")).expect("turned");
        state.close(&id, false, &[], at(0)).expect("closed");
    }
    let records = state.records().expect("read");
    let failures = &records[&vm(1).uuid].1.failures;
    assert_eq!(failures.len(), 50);
    assert_eq!(failures[0].backup, backup_id(69));
    assert_eq!(failures[49].backup, backup_id(118));
    assert_eq!(records[&vm(0).uuid].1.failures.len(), 30);
}

/// Brings a new action's first step to a mark.
fn brought_to(state: &State, run: &knib::state::Run, n: usize, mark: Option<Mark>) {
    let id = action(n);
    state
        .begin(
            &run.id,
            &id,
            &merge_op(&vm(1)),
            &program(&[1, 1]),
            &[],
            at(0),
        )
        .expect("begun");
    if mark.is_some() {
        state.intend(&id, 0, at(0)).expect("intended");
    }
    if mark == Some(Mark::Done) {
        state.done(&id, 0, 0, &DONE, at(0)).expect("done");
    }
    if mark == Some(Mark::Undone) {
        state.turn_back(&id, &error("x")).expect("turned");
        state.undone(&id, 0, 0, at(0)).expect("undone");
    }
}

#[test]
fn sqlite_itself_refuses_every_illegal_mark() {
    let place = Place::new();
    let state = place.open();
    let run = state.start_run("apply", at(0)).expect("a run");
    let marks = [
        None,
        Some(Mark::Intended),
        Some(Mark::Done),
        Some(Mark::Undone),
    ];
    let word = |mark| match mark {
        None => "NULL",
        Some(Mark::Intended) => "'intended'",
        Some(Mark::Done) => "'done'",
        Some(Mark::Undone) => "'undone'",
    };
    let mut n = 0;
    for before in marks {
        for after in marks {
            for back in [false, true] {
                brought_to(&state, &run, n, before);
                if back {
                    state.turn_back(&action(n), &error("x")).expect("turned");
                }
                let back = back || before == Some(Mark::Undone);
                let legal = match (before, after) {
                    (None, Some(Mark::Intended)) | (Some(Mark::Intended), Some(Mark::Done)) => {
                        !back
                    }
                    (Some(Mark::Intended | Mark::Done), Some(Mark::Undone)) => back,
                    _ => false,
                };
                let times = if after.is_some() { "'t'" } else { "NULL" };
                let taken = place.sql().execute(
                    &format!(
                        "UPDATE step SET mark = {}, receipt = '\"done\"',
                             intended = {times}, marked = {times}
                         WHERE action = ?1 AND stage = 0",
                        word(after)
                    ),
                    [action(n).as_str()],
                );
                assert_eq!(
                    taken.is_ok(),
                    legal,
                    "{before:?} -> {after:?}, back: {back}"
                );
                n += 1;
            }
        }
    }
}

type Call = fn(&State) -> knib::state::Result<()>;

/// What does not fit where actions 0 to 6 stand.
const REFUSED: [(&str, Call); 18] = [
    ("0: not intended", |s| {
        s.done(&action(0), 0, 0, &DONE, at(1))
    }),
    ("0: not begun", |s| s.undone(&action(0), 0, 0, at(1))),
    ("0: never turned", |s| {
        s.close(&action(0), false, &[], at(1))
    }),
    ("1: stage 0 is not done", |s| s.intend(&action(1), 1, at(1))),
    ("1: goes forward", |s| s.undone(&action(1), 0, 0, at(1))),
    ("1: not undone", |s| s.close(&action(1), false, &[], at(1))),
    ("2: done already", |s| {
        s.done(&action(2), 0, 0, &DONE, at(1))
    }),
    ("2: half done", |s| s.close(&action(2), true, &[], at(1))),
    ("3: undone already", |s| s.undone(&action(3), 0, 0, at(1))),
    ("3: goes back", |s| s.intend(&action(3), 1, at(1))),
    ("3: is undone", |s| s.done(&action(3), 0, 0, &DONE, at(1))),
    ("3: has turned", |s| s.close(&action(3), true, &[], at(1))),
    ("4: no way back", |s| s.turn_back(&action(4), &error("x"))),
    ("5: closed", |s| s.close(&action(5), true, &[], at(1))),
    ("5: closed", |s| s.leave_open(&action(5), &error("x"))),
    ("5: closed", |s| s.undone(&action(5), 0, 0, at(1))),
    ("6: closed", |s| s.close(&action(6), true, &[], at(1))),
    ("6: closed", |s| s.turn_back(&action(6), &error("x"))),
];

/// What is about something that is not there.
const UNKNOWN: [(&str, Call); 8] = [
    ("no action", |s| s.intend(&action(9), 0, at(1))),
    ("no stage", |s| s.intend(&action(0), 2, at(1))),
    ("no step", |s| s.done(&action(1), 0, 1, &DONE, at(1))),
    ("no step to undo", |s| s.undone(&action(1), 7, 0, at(1))),
    ("nothing to turn", |s| s.turn_back(&action(9), &error("x"))),
    ("nothing to leave", |s| {
        s.leave_open(&action(9), &error("x"))
    }),
    ("nothing to close", |s| {
        s.close(&action(9), true, &[], at(1))
    }),
    ("nothing to intend", |s| s.intend(&action(5), 0, at(1))),
];

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let place = Place::new();
    let state = place.open();
    let run = state.start_run("apply", at(0)).expect("a run");
    brought_to(&state, &run, 0, None);
    brought_to(&state, &run, 1, Some(Mark::Intended));
    brought_to(&state, &run, 2, Some(Mark::Done));
    brought_to(&state, &run, 3, Some(Mark::Undone));
    for n in [4, 5] {
        brought_to(&state, &run, n, Some(Mark::Done));
        state.intend(&action(n), 1, at(0)).expect("intended");
        state.done(&action(n), 1, 0, &DONE, at(0)).expect("done");
    }
    state.close(&action(5), true, &[], at(0)).expect("closed");
    brought_to(&state, &run, 6, Some(Mark::Undone));
    state.close(&action(6), false, &[], at(0)).expect("closed");

    let content = || std::fs::read(place.path()).expect("content");
    let before = content();
    for (why, call) in REFUSED {
        let answer = call(&state);
        let refused = matches!(answer, Err(StateError::Refused(_)));
        assert!(refused, "{why}: {answer:?}");
    }
    for (why, call) in UNKNOWN {
        let answer = call(&state);
        let unknown = matches!(answer, Err(StateError::Unknown(_)));
        assert!(unknown, "{why}: {answer:?}");
    }
    assert!(content() == before);

    let sql = place.sql();
    for batch in [
        "DELETE FROM action WHERE id = 'plan/0'",
        "UPDATE step SET spec = '{}' WHERE action = 'plan/0'",
        "UPDATE action SET direction = 'forward' WHERE id = 'plan/3'",
        "INSERT INTO step (action, stage, n, spec, mark, intended, marked)
         VALUES ('plan/0', 5, 0, '{}', 'intended', 't', 't')",
    ] {
        let answer = sql.execute_batch(batch);
        assert!(answer.is_err(), "{batch}");
    }
    place.check();
}

#[test]
fn an_abandoned_publish_can_turn_back_while_it_is_only_intended() {
    let place = Place::new();
    let state = place.open();
    let run = state.start_run("apply", at(0)).expect("a run");
    brought_to(&state, &run, 0, Some(Mark::Done));
    let id = action(0);
    state.intend(&id, 1, at(1)).expect("intended");
    state
        .turn_back(&id, &error("gone for good"))
        .expect("turned");
    state.undone(&id, 1, 0, at(2)).expect("undone");
    state.undone(&id, 0, 0, at(2)).expect("undone");
    state.close(&id, false, &[], at(3)).expect("closed");
}

#[test]
fn a_program_from_before_another_action_of_the_vm_is_not_begun() {
    let place = Place::new();
    let state = place.open();
    let run = state.start_run("apply", at(0)).expect("a run");
    let touched = |vm| Change::Touched {
        vm,
        serial: 4,
        current: None,
    };
    super::apply(&state, &run.id, &action(0), &[touched(vm(1))]).expect("applied");
    let begin = |n, vm: &VmRef, claim| {
        let merge = Step::Merge {
            vm: vm.uuid.clone(),
            claim,
            target: target("vda"),
            top: Image::new("/images/top", Format::Qcow2),
            base: Image::new("/images/base", Format::Qcow2),
            above: None,
            branches: Vec::new(),
        };
        let program = Program {
            stages: vec![vec![merge]],
            no_return: 0,
        };
        state.begin(&run.id, &action(n), &merge_op(vm), &program, &[], at(2))
    };
    let overtaken = Err(StateError::Overtaken(vm(1).name));
    assert_eq!(begin(1, &vm(1), 3), overtaken);
    assert_eq!(begin(1, &vm(1), 4), overtaken);
    assert_eq!(state.opens().expect("opens"), []);
    assert_eq!(begin(1, &vm(1), 5), Ok(()));
    assert_eq!(begin(2, &vm(2), 1), Ok(()));
}

#[test]
fn a_run_that_ended_begins_nothing() {
    let place = Place::new();
    let state = place.open();
    let run = state.start_run("apply", at(0)).expect("a run");
    brought_to(&state, &run, 0, None);
    let id = run.id.clone();
    run.finish(&state, at(1)).expect("finished");
    let late = state.begin(
        &id,
        &action(1),
        &merge_op(&vm(1)),
        &program(&[]),
        &[],
        at(2),
    );
    assert!(matches!(late, Err(StateError::Unknown(_))), "{late:?}");
    let late = state.adopt(&id, &action(0), at(2));
    assert!(matches!(late, Err(StateError::Unknown(_))), "{late:?}");
}

#[test]
fn what_is_given_up_is_over_wherever_it_stands() {
    let place = Place::new();
    let state = place.open();
    let run = state.start_run("apply", at(0)).expect("a run");
    let op = backup_op(&vm(1), &backup_id(1));
    let lease = [Lease::exclusive(Subject::Vm(vm(1).uuid))];
    let begin = |n| state.begin(&run.id, &action(n), &op, &program(&[1, 1]), &lease, at(1));
    begin(1).expect("begun");
    state.intend(&action(1), 0, at(2)).expect("intended");
    let other = state.start_run("apply", at(3)).expect("a run");
    let Err(StateError::Held(holder)) = state.abandon(&other.id, &action(1), at(4)) else {
        panic!("a living run's action is given up");
    };
    assert!(holder.alive);
    state
        .leave_open(&action(1), &error("no storage"))
        .expect("left");
    state
        .abandon(&other.id, &action(1), at(5))
        .expect("given up");
    assert_eq!(state.opens().expect("read"), []);
    begin(2).expect("what it held is free");
    let again = state.abandon(&other.id, &action(1), at(6));
    assert!(matches!(again, Err(StateError::Unknown(_))), "{again:?}");
    let runs = state.history(&Filter::default()).expect("read");
    let past = runs.iter().flat_map(|run| &run.actions);
    let outcomes: Vec<_> = past.map(|past| (past.id.clone(), past.outcome)).collect();
    assert!(
        outcomes.contains(&(action(1), Outcome::Abandoned)),
        "{outcomes:?}"
    );
    // It is on record as a backup that failed, with what it failed of.
    assert_eq!(place.count("failure WHERE error LIKE '%no storage%'"), 1);
    place.check();
}
