//! A process that is killed at any instant leaves the journal as one of its calls left it: the last
//! that returned, or the one it was in.

use std::time::Duration;
use std::time::Instant;

use camino::Utf8Path;
use knib::model::backup::VmRef;
use knib::model::change::Change;
use knib::model::id::RunId;
use knib::model::lease::Lease;
use knib::model::lease::Subject;
use knib::model::receipt::Receipt;
use knib::state::Result;
use knib::state::State;

use super::Place;
use super::action;
use super::at;
use super::backup;
use super::backup_id;
use super::backup_op;
use super::child::Other;
use super::child::say;
use super::error;
use super::program;
use super::slot;
use super::vm;

type Call = Box<dyn Fn(&State, &RunId) -> Result<()>>;

/// Two backups, one of which goes back, and one that is left open.
fn script() -> Vec<Call> {
    const DONE: Receipt = Receipt::Done;
    fn begin(n: u32) -> Call {
        let vm = vm(n);
        let leases = [
            Lease::exclusive(Subject::Vm(vm.uuid.clone())),
            Lease::shared(Subject::Backup(backup_id(90))),
        ];
        let (op, program) = (backup_op(&vm, &backup_id(n)), program(&[1, 2, 1]));
        Box::new(move |s, run| s.begin(run, &action(n as usize), &op, &program, &leases, at(1)))
    }
    fn changes(vm: &VmRef) -> Vec<Change> {
        let full = backup(vm, &backup_id(1), None);
        let next = backup(vm, &backup_id(2), Some(&full));
        vec![
            Change::Published(Box::new(full)),
            Change::Published(Box::new(next)),
            Change::Touched {
                vm: vm.clone(),
                serial: 4,
                current: Some(backup_id(2)),
            },
            Change::Served {
                vm: vm.clone(),
                slots: vec![slot("nightly", 0), slot("weekly", 0)],
            },
        ]
    }
    vec![
        begin(1),
        Box::new(|s, _| s.intend(&action(1), 0, at(2))),
        Box::new(|s, _| s.done(&action(1), 0, 0, &DONE, at(3))),
        Box::new(|s, _| s.intend(&action(1), 1, at(4))),
        begin(2),
        Box::new(|s, _| s.done(&action(1), 1, 1, &DONE, at(5))),
        Box::new(|s, _| s.intend(&action(2), 0, at(5))),
        Box::new(|s, _| s.done(&action(1), 1, 0, &DONE, at(6))),
        Box::new(|s, _| s.turn_back(&action(2), &error("no room"))),
        Box::new(|s, _| s.intend(&action(1), 2, at(7))),
        Box::new(|s, _| s.undone(&action(2), 0, 0, at(8))),
        Box::new(|s, _| s.done(&action(1), 2, 0, &DONE, at(9))),
        Box::new(|s, _| s.close(&action(1), true, &changes(&vm(1)), at(10))),
        Box::new(|s, _| s.close(&action(2), false, &changes(&vm(2)), at(11))),
        begin(3),
        Box::new(|s, _| s.leave_open(&action(3), &error("gone"))),
    ]
}

/// The child's part: each call that returned is said.
pub(super) fn play(path: &Utf8Path) {
    let state = State::open(path).expect("open");
    let run = state.start_run("apply", at(0)).expect("a run");
    say("begins");
    for call in script() {
        call(&state, &run.id).expect("taken");
        say("returned");
    }
    say("ends");
}

/// Everything that does not depend on who wrote it.
fn content(place: &Place) -> String {
    let state = place.look();
    let mut opens = state.opens().expect("opens");
    for open in &mut opens {
        (open.pid, open.alive) = (0, false);
    }
    let records = state.records().expect("records");
    let sql = place.sql();
    let mut leases = sql
        .prepare("SELECT action, kind, subject, mode FROM lease")
        .expect("a query");
    let leases: Vec<[String; 4]> = leases
        .query_map([], |row| {
            Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?])
        })
        .expect("rows")
        .collect::<std::result::Result<_, _>>()
        .expect("leases");
    let closed = place.count("action WHERE state <> 'open'");
    format!("{opens:#?}\n{records:#?}\n{leases:#?}\n{closed} closed")
}

/// What is there after each number of calls.
fn expected() -> Vec<String> {
    let place = Place::new();
    let state = place.open();
    let run = state.start_run("apply", at(0)).expect("a run");
    let mut contents = vec![content(&place)];
    for call in script() {
        call(&state, &run.id).expect("taken");
        contents.push(content(&place));
    }
    contents
}

#[test]
fn killed_at_any_instant_the_journal_is_as_a_call_left_it() {
    let expected = expected();
    let calls = expected.len() - 1;
    let mut before = 0;
    let mut within = 0;
    for round in 0..4 * calls {
        let place = Place::new();
        drop(place.open());
        let mut child = Other::start("script", &place.path());
        assert_eq!(child.says().as_deref(), Some("begins"));
        let mut returned = round % calls;
        for _ in 0..returned {
            child.says().expect("returned");
        }
        let pause = Duration::from_micros(150 * (round / calls) as u64);
        let until = Instant::now() + pause;
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        returned += child
            .kill()
            .iter()
            .filter(|said| *said == "returned")
            .count();

        let found = content(&place);
        if found == expected[returned] {
            before += 1;
        } else {
            within += 1;
            assert_eq!(
                Some(&found),
                expected.get(returned + 1),
                "after {returned} calls"
            );
        }
        // Whoever writes next finds the same and can go on.
        let state = place.open();
        let run = state.start_run("apply", at(20)).expect("a run");
        for open in state.opens().expect("opens") {
            state.adopt(&run.id, &open.action, at(21)).expect("adopted");
        }
        place.check();
    }
    assert!(before > 0, "{before} before a call wrote, {within} after");
}
