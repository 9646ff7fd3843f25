//! Whether a run is alive is known at once, whatever it died of.

use std::fs;
use std::fs::File;

use knib::model::id::ActionId;
use knib::model::lease::Lease;
use knib::model::lease::Subject;
use knib::state::StateError;

use super::Place;
use super::action;
use super::at;
use super::backup_id;
use super::backup_op;
use super::child::Other;
use super::error;
use super::merge_op;
use super::program;
use super::vm;

fn locks(place: &Place) -> usize {
    let dir = format!("{}.run", place.path());
    fs::read_dir(dir).map_or(0, Iterator::count)
}

#[test]
fn what_a_killed_process_held_can_be_taken_up_at_once() {
    let place = Place::new();
    let state = place.open();
    let mut other = Other::start("hold", &place.path());
    other.says().expect("it began");
    let pid = other.pid();
    let held = ActionId::new("held/0");

    let run = state.start_run("apply", at(10)).expect("a run");
    let begin = || {
        let lease = Lease::exclusive(Subject::Vm(vm(1).uuid));
        let op = merge_op(&vm(1));
        state.begin(&run.id, &action(0), &op, &program(&[]), &[lease], at(11))
    };
    let holder = |answer| match answer {
        Err(StateError::Held(holder)) => holder,
        other => panic!("held: {other:?}"),
    };
    let living = holder(begin());
    assert!(living.alive);
    assert_eq!((living.operation.as_str(), living.pid), ("backup", pid));
    assert_eq!(living.command, "restore");
    assert_eq!(holder(state.adopt(&run.id, &held, at(11))), living);
    assert!(state.opens().expect("opens")[0].alive);

    other.kill();
    assert!(!holder(begin()).alive);
    assert!(!state.opens().expect("opens")[0].alive);
    assert!(!place.look().opens().expect("opens")[0].alive);
    state.adopt(&run.id, &held, at(12)).expect("adopted");

    let open = state.opens().expect("opens").remove(0);
    assert!(open.alive);
    assert_eq!(
        (open.pid, open.command.as_str()),
        (std::process::id(), "apply")
    );
    assert_eq!(open.since, at(1));
    let mine = holder(begin());
    assert_eq!(
        (mine.pid, mine.alive, mine.since),
        (std::process::id(), true, at(12))
    );
    // Its leases came along.
    assert_eq!(place.count("lease WHERE action = 'held/0'"), 2);
    let again = holder(state.adopt(&run.id, &held, at(13)));
    assert!(again.alive);
}

#[test]
fn two_who_ask_at_once_do_not_take_each_other_for_the_run() {
    let place = Place::new();
    let state = place.open();
    let mut other = Other::start("hold", &place.path());
    let run = other.says().expect("it began");
    other.kill();
    // The lock file is still there, and somebody else is asking at this very instant.
    let lock = format!("{}.run/{run}", place.path());
    let asking = File::open(&lock).expect("there");
    asking.try_lock_shared().expect("asked");
    assert!(!state.opens().expect("opens")[0].alive);
    let run = state.start_run("apply", at(0)).expect("a run");
    assert!(!fs::exists(lock).expect("asked"), "swept all the same");
    let held = ActionId::new("held/0");
    state.adopt(&run.id, &held, at(1)).expect("adopted");
}

#[test]
fn a_run_sweeps_what_dead_ones_left_and_leaves_nothing_itself() {
    let place = Place::new();
    let state = place.open();
    let mut dead = Other::start("hold", &place.path());
    dead.says().expect("it began");
    dead.kill();
    let leftover = format!("{}.run/.tmpHalf", place.path());
    fs::write(leftover, "half a file").expect("written");
    assert_eq!(locks(&place), 2);

    let first = state.start_run("apply", at(0)).expect("a run");
    assert_eq!(locks(&place), 1);
    let second = state.start_run("apply", at(0)).expect("another");
    assert_eq!(locks(&place), 2, "a living run's file stays");
    first.finish(&state, at(1)).expect("finished");
    drop(second);
    assert_eq!(locks(&place), 0);
}

#[test]
fn what_was_left_open_is_nobodys_while_its_run_goes_on() {
    let place = Place::new();
    let state = place.open();
    let run = state.start_run("apply", at(0)).expect("a run");
    let op = backup_op(&vm(1), &backup_id(1));
    let id = action(0);
    state
        .begin(&run.id, &id, &op, &program(&[1]), &[], at(1))
        .expect("begun");
    state.leave_open(&id, &error("no room")).expect("left");
    let open = state.opens().expect("opens").remove(0);
    assert!(!open.alive);
    assert_eq!(open.error, Some(error("no room")));
    // The same run may try again.
    state.adopt(&run.id, &id, at(2)).expect("adopted");
    assert!(state.opens().expect("opens")[0].alive);
}

#[test]
fn a_run_that_did_nothing_leaves_no_trace() {
    let place = Place::new();
    let state = place.open();
    let idle = state.start_run("apply", at(0)).expect("a run");
    let busy = state.start_run("apply", at(0)).expect("a run");
    super::apply(&state, &busy.id, &action(0), &[]).expect("applied");
    idle.finish(&state, at(1)).expect("finished");
    assert_eq!(place.count("run"), 1);
    busy.finish(&state, at(1)).expect("finished");
    assert_eq!(place.count("run WHERE ended IS NOT NULL"), 1);
}

#[test]
fn two_processes_write_at_once() {
    let place = Place::new();
    let state = place.open();
    let children = ["one", "two"].map(|name| Other::start(&format!("write {name}"), &place.path()));
    // Reading goes on meanwhile, and never sees half of anything.
    let looker = place.look();
    while place.count("run WHERE ended IS NOT NULL") < 2 {
        let both = |state: &knib::state::State| Ok((state.opens()?, state.records()?));
        let (opens, _) = looker.read(both).expect("read");
        assert!(opens.len() <= 2, "{opens:?}");
    }
    for child in children {
        child.ends_well();
    }
    assert_eq!(place.count("action WHERE state = 'done'"), 100);
    assert_eq!(state.opens().expect("opens"), []);
    place.check();
}
