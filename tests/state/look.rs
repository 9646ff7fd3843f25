//! Looking writes nothing, on any file, in any state it may be found in.

use std::process::Command;

use knib::state::Filter;
use knib::state::State;
use knib::state::StateError;

use super::Place;
use super::action;
use super::at;
use super::child;
use super::child::Other;
use super::fingerprint;
use super::merge_op;
use super::program;
use super::vm;

/// Reads everything there is.
fn read_all(state: &State) {
    state.records().expect("records");
    state.record(&vm(1).uuid).expect("a record");
    state.opens().expect("opens");
    state.applied().expect("applied");
    state.policy().expect("policy");
    state.history(&Filter::default()).expect("history");
}

fn populated() -> Place {
    let place = Place::new();
    let state = place.open();
    let run = state.start_run("apply", at(0)).expect("a run");
    let op = merge_op(&vm(1));
    state
        .begin(&run.id, &action(0), &op, &program(&[1]), &[], at(1))
        .expect("begun");
    place
}

/// Leaves a journal without which the file makes no sense.
fn left_by_a_dead_writer() -> Place {
    let place = populated();
    let mut writer = Other::start("spill", &place.path());
    writer.says().expect("it wrote");
    writer.kill();
    let journal = place.dir().join("state.db-journal");
    assert!(journal.metadata().expect("a journal").len() > 512);
    place
}

#[test]
fn nothing_is_written() {
    let place = populated();
    let before = fingerprint(place.dir());
    let state = place.look();
    read_all(&state);
    drop(state);
    assert_eq!(fingerprint(place.dir()), before);
}

#[test]
fn no_file_is_none_and_stays_none() {
    let place = Place::new();
    let before = fingerprint(place.dir());
    assert!(State::look(&place.path()).expect("looked").is_none());
    let deep = place.dir().join("no/such/dir/state.db");
    assert!(State::look(&deep).expect("looked").is_none());
    assert_eq!(fingerprint(place.dir()), before);
}

#[test]
fn who_looks_cannot_write() {
    for place in [populated(), left_by_a_dead_writer()] {
        let before = fingerprint(place.dir());
        let run = place.look().start_run("apply", at(2));
        assert!(matches!(run, Err(StateError::Denied { .. })), "{run:?}");
        assert_eq!(fingerprint(place.dir()), before);
    }
}

#[test]
fn a_dead_writers_half_is_not_seen_and_stays_for_the_next_writer() {
    let place = left_by_a_dead_writer();
    let before = fingerprint(place.dir());
    let looked = place.look();
    assert_eq!(looked.records().expect("records").len(), 0);
    assert_eq!(looked.opens().expect("opens").len(), 1);
    read_all(&looked);
    assert_eq!(fingerprint(place.dir()), before);

    // The next writer rolls it back; who looked before still sees what was there.
    let state = place.open();
    assert_eq!(state.id(), looked.id());
    assert_eq!(state.records().expect("records").len(), 0);
    assert!(!place.dir().join("state.db-journal").exists());
    assert_eq!(looked.opens().expect("opens").len(), 1);
    drop((state, looked));
    place.check();
}

#[test]
fn a_writer_in_the_middle_does_not_disturb() {
    let place = populated();
    let mut writer = Other::start("spill", &place.path());
    // It has the file for itself, and wrote half of what it means to.
    writer.says().expect("it wrote");
    let before = fingerprint(place.dir());
    let looked = place.look();
    assert_eq!(looked.records().expect("records").len(), 0);
    assert_eq!(looked.opens().expect("opens").len(), 1);
    read_all(&looked);
    assert_eq!(fingerprint(place.dir()), before);
    // Who wants to write waits, and is told.
    let answer = State::open(&place.path());
    assert!(
        matches!(answer, Err(StateError::Locked { .. })),
        "{answer:?}"
    );
    writer.kill();
}

#[test]
fn a_read_only_file_system_is_enough() {
    for place in [populated(), left_by_a_dead_writer()] {
        let expected = place.look().id().clone();
        let before = fingerprint(place.dir());
        let own = child::command("look", &place.path());
        let mut inside = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            inside.args(["--user", "--map-root-user"]);
        }
        inside.args(["--mount", "sh", "-ec"]).arg(
            "mount --bind \"$DIR\" \"$DIR\"; mount -o remount,bind,ro \"$DIR\"
             if touch \"$DIR/x\" 2>/dev/null; then exit 9; fi
             exec \"$0\" \"$@\"",
        );
        inside.env("DIR", place.dir());
        inside.arg(own.get_program()).args(own.get_args());
        for (key, value) in own.get_envs() {
            inside.env(key, value.expect("set"));
        }
        let said = Other::spawn(inside).ends_well();
        assert_eq!(said, [expected.as_str(), "0 records, 1 open"]);
        assert_eq!(fingerprint(place.dir()), before);
    }
}

#[test]
fn reading_together_is_of_one_instant() {
    let place = populated();
    let looker = place.look();
    let writer = place.sql();
    writer.busy_timeout(std::time::Duration::ZERO).expect("set");
    let open = looker.read(|state| {
        let before = state.opens()?;
        // A writer cannot come between: it waits until the reading is over.
        let between = writer.execute("UPDATE action SET attended = 0", []);
        assert!(between.is_err(), "{between:?}");
        assert_eq!(state.opens()?, before);
        Ok(before)
    });
    assert_eq!(open.expect("read").len(), 1);
    writer
        .execute("UPDATE action SET attended = 0", [])
        .expect("free again");
}
