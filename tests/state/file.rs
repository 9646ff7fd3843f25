//! The file: made whole or not at all, and told apart from everything that it is not.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use camino::Utf8PathBuf;
use knib::state::Filter;
use knib::state::State;
use knib::state::StateError;

use super::Place;
use super::action;
use super::at;
use super::child::Other;
use super::fingerprint;

/// What both ways of opening say.
fn answers(place: &Place) -> [StateError; 2] {
    let before = fingerprint(place.dir());
    let looked = State::look(&place.path()).expect_err("not a state to look at");
    let opened = State::open(&place.path()).expect_err("not a state to open");
    let after = fingerprint(place.dir());
    assert_eq!(
        after, before,
        "a file that is not understood is not touched"
    );
    for error in [&looked, &opened] {
        assert!(error.to_string().contains(place.path().as_str()), "{error}");
        assert!(error.hint().is_some());
    }
    [looked, opened]
}

#[test]
fn a_new_file_is_the_owners_alone_and_keeps_its_id() {
    let place = Place::new();
    let path = place.dir().join("lib/knib/state.db");
    let state = State::open(&path).expect("made");
    let mode = |path: Utf8PathBuf| path.metadata().expect("there").permissions().mode() & 0o7777;
    assert_eq!(mode(path.clone()), 0o600);
    assert_eq!(mode(place.dir().join("lib/knib")), 0o700);
    let id = state.id().clone();
    assert_eq!(id.as_str().len(), 36);
    drop(state);
    assert_eq!(State::open(&path).expect("opened").id(), &id);
    let other = State::open(&place.path()).expect("made");
    assert_ne!(other.id(), &id);

    // What sqlite's manual calls the safe settings are in force, seen from outside.
    let sql = place.sql();
    let header = |name: &str| -> i64 {
        sql.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0))
            .expect("a number")
    };
    assert_eq!(
        header("application_id"),
        i64::from(u32::from_be_bytes(*b"knib"))
    );
    assert_eq!(header("user_version"), 7);
    let lax = "pragma_table_list WHERE schema = 'main' AND name NOT LIKE 'sqlite_%' AND NOT strict";
    assert_eq!(place.count(lax), 0);
}

#[test]
fn a_link_and_its_target_are_one_file_with_one_set_of_locks() {
    let place = Place::new();
    let state = place.open();
    let run = state.start_run("apply", at(0)).expect("a run");
    super::apply(&state, &run.id, &action(0), &[]).expect("applied");
    let elsewhere = place.dir().join("elsewhere");
    fs::create_dir(&elsewhere).expect("made");
    let link = elsewhere.join("link.db");
    std::os::unix::fs::symlink(place.path(), &link).expect("linked");
    let looked = State::look(&link).expect("looked").expect("there");
    let runs = looked.history(&Filter::default()).expect("history");
    assert!(runs[0].alive);
}

#[test]
fn a_file_that_is_being_made_is_there_whole_or_not_at_all() {
    let mut made = 0;
    for round in 0..40_u32 {
        let place = Place::new();
        let mut maker = Other::start("make", &place.path());
        assert_eq!(maker.says().as_deref(), Some("making"));
        for _ in 0..round * 4_000 {
            std::hint::spin_loop();
        }
        let said = maker.kill();
        match State::look(&place.path()).expect("looked") {
            None => assert_eq!(said, [] as [&str; 0]),
            Some(state) => {
                made += 1;
                assert!(said.is_empty() || said == [state.id().as_str()]);
            }
        }
        let state = place.open();
        let run = state.start_run("apply", at(0)).expect("a run");
        let left: Vec<_> = fs::read_dir(format!("{}.run", place.path()))
            .expect("a listing")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        assert_eq!(left, [run.id.as_str()]);
        place.check();
    }
    assert!(made < 40, "some were killed before");
}

#[test]
fn an_empty_file_is_not_a_new_state() {
    let place = Place::new();
    fs::write(place.path(), "").expect("written");
    for error in answers(&place) {
        assert!(matches!(error, StateError::Damaged { .. }), "{error}");
        let hint = error.hint().expect("a hint");
        assert!(hint.contains("knib state rebuild"), "{hint}");
    }
}

#[test]
fn other_files_are_told() {
    let place = Place::new();
    fs::write(place.path(), "version: 1\nconnect: qemu:///system\n").expect("written");
    for error in answers(&place) {
        assert!(matches!(error, StateError::NotOurs { .. }), "{error}");
    }
    fs::remove_file(place.path()).expect("removed");
    place
        .sql()
        .execute_batch("CREATE TABLE bookmarks (url)")
        .expect("made");
    for error in answers(&place) {
        assert!(matches!(error, StateError::NotOurs { .. }), "{error}");
    }
    fs::remove_file(place.path()).expect("removed");
    fs::create_dir(place.path()).expect("made");
    for error in answers(&place) {
        assert!(matches!(error, StateError::NotOurs { .. }), "{error}");
    }
}

#[test]
fn a_truncated_file_is_told_with_the_copy_beside_it() {
    let place = Place::new();
    let state = place.open();
    let run = state.start_run("apply", at(0)).expect("a run");
    super::apply(&state, &run.id, &action(0), &[]).expect("applied");
    state
        .copy_to(&place.dir().join("state.db.kept"))
        .expect("copied");
    drop((state, run));
    let whole = fs::read(place.path()).expect("content");
    for length in [50, 100, 600, 4096, 5000, whole.len() - 1] {
        fs::write(place.path(), &whole[..length]).expect("written");
        for error in answers(&place) {
            let damaged = matches!(error, StateError::Damaged { .. });
            let unreadable = matches!(error, StateError::NotOurs { .. }) && length < 512;
            assert!(damaged || unreadable, "{length}: {error}");
            if damaged {
                let hint = error.hint().expect("a hint");
                assert!(hint.contains("state.db.kept"), "{hint}");
                assert!(hint.contains("knib state rebuild"), "{hint}");
            }
        }
    }
}

#[test]
fn damage_inside_is_told_when_it_is_met() {
    let place = Place::new();
    let state = place.open();
    let run = state.start_run("apply", at(0)).expect("a run");
    super::apply(&state, &run.id, &action(0), &[]).expect("applied");
    drop((state, run));
    let mut content = fs::read(place.path()).expect("content");
    let root: usize = place
        .sql()
        .query_row(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'action'",
            [],
            |row| row.get(0),
        )
        .expect("a page");
    content[(root - 1) * 4096..root * 4096].fill(0xa5);
    fs::write(place.path(), content).expect("written");
    let state = place.look();
    let answer = state.history(&Filter::default());
    assert!(
        matches!(answer, Err(StateError::Damaged { .. })),
        "{answer:?}"
    );
}

#[test]
fn a_newer_file_is_refused_by_its_version() {
    let place = Place::new();
    let state = place.open();
    let looked = place.look();
    place
        .sql()
        .execute_batch("PRAGMA user_version = 8")
        .expect("set");
    // Also by those who had it open when a newer program brought it up to date.
    let late = [
        state.start_run("apply", at(0)).map(drop),
        state.opens().map(drop),
        looked.opens().map(drop),
    ];
    for answer in late {
        assert!(
            matches!(answer, Err(StateError::Newer { .. })),
            "{answer:?}"
        );
    }
    drop((state, looked));
    fs::remove_dir_all(format!("{}.run", place.path())).expect("removed");
    for error in answers(&place) {
        let expected = StateError::Newer {
            path: place.path(),
            found: 8,
            known: 7,
        };
        assert_eq!(error, expected);
        assert!(error.to_string().contains("schema 8"), "{error}");
    }
}

#[test]
fn a_file_in_wal_mode_is_not_looked_at_and_is_put_right_by_the_next_writer() {
    let place = Place::new();
    drop(place.open());
    let wal = |place: &Place| {
        place
            .sql()
            .execute_batch("PRAGMA journal_mode = wal")
            .expect("set");
    };
    wal(&place);
    let before = fingerprint(place.dir());
    let error = State::look(&place.path()).expect_err("refused");
    assert!(error.to_string().contains("journal_mode=delete"), "{error}");
    assert_eq!(fingerprint(place.dir()), before);
    drop(place.open());
    place.look();
}

#[test]
fn a_file_that_was_replaced_takes_no_more_writing() {
    let place = Place::new();
    let state = place.open();
    let copy = place.dir().join("other.db");
    state.copy_to(&copy).expect("copied");
    fs::rename(&copy, place.path()).expect("replaced");
    let answer = state.start_run("apply", at(0)).map(drop);
    assert!(matches!(answer, Err(StateError::Io { .. })), "{answer:?}");
    assert!(
        answer
            .expect_err("an error")
            .to_string()
            .contains("replaced")
    );
}

#[test]
fn a_copy_is_a_state_and_takes_nobodys_place() {
    let place = Place::new();
    let state = place.open();
    let copy = place.dir().join("copy.db");
    state.copy_to(&copy).expect("copied");
    let copied = State::look(&copy).expect("looked").expect("there");
    assert_eq!(copied.id(), state.id());
    let mode = copy.metadata().expect("there").permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let before = fs::read(&copy).expect("content");
    assert!(state.copy_to(&copy).is_err());
    assert_eq!(fs::read(&copy).expect("content"), before);
    assert_eq!(fs::read_dir(place.dir()).expect("a listing").count(), 3);
}
