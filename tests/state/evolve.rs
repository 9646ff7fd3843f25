//! A file that a newer program of the same schema wrote to is still read.

use knib::model::receipt::Consistency;
use knib::model::receipt::Receipt;
use knib::state::Filter;
use knib::state::State;
use serde_json::Value;

use super::Place;
use super::action;
use super::at;
use super::backup_id;
use super::backup_op;
use super::error;
use super::index;
use super::program;
use super::vm;

/// Every column that holds JSON.
const COLUMNS: [(&str, &str); 13] = [
    ("backup", "spec"),
    ("failure", "slots"),
    ("failure", "error"),
    ("offering", "spec"),
    ("policy", "spec"),
    ("policy", "since"),
    ("action", "op"),
    ("action", "error"),
    ("step", "spec"),
    ("step", "receipt"),
    ("meta", "value"),
    ("vm", "snapshots"),
    ("vm", "retention"),
];

/// A state with something in every table.
fn full(place: &Place) -> State {
    let state = index::with(place, &index::one_of_each());
    state.set_policy(&index::policy()).expect("kept");
    let run = state.start_run("apply", at(3)).expect("a run");
    let op = backup_op(&vm(1), &backup_id(7));
    let (undone, open) = (action(1), action(2));
    for id in [&undone, &open] {
        state
            .begin(&run.id, id, &op, &program(&[2]), &[], at(3))
            .expect("begun");
    }
    state.turn_back(&undone, &error("x")).expect("turned");
    state.close(&undone, false, &[], at(4)).expect("closed");
    let frozen = Receipt::Frozen {
        at: at(4),
        consistency: Consistency::Crash,
        thaw_owed: true,
    };
    state.intend(&open, 0, at(4)).expect("intended");
    state.done(&open, 0, 0, &frozen, at(4)).expect("done");
    state.leave_open(&open, &error("y")).expect("left");
    state
}

fn texts(place: &Place, table: &str, column: &str) -> Vec<String> {
    let sql = place.sql();
    let mut read = sql
        .prepare(&format!(
            "SELECT DISTINCT {column} FROM {table} WHERE json_valid({column})"
        ))
        .expect("a query");
    let rows = read.query_map([], |row| row.get(0)).expect("rows");
    rows.collect::<Result<_, _>>().expect("texts")
}

#[test]
fn keys_that_are_not_known_are_passed_over() {
    let place = Place::new();
    let state = full(&place);
    let everything = |state: &State| {
        (
            state.records().expect("records"),
            state.applied().expect("applied"),
            state.policy().expect("policy"),
            state.opens().expect("opens"),
            state.history(&Filter::default()).expect("history"),
        )
    };
    let before = everything(&state);
    let sql = place.sql();
    sql.execute_batch("DROP TRIGGER step_stays; DROP TRIGGER action_stays_closed")
        .expect("dropped");
    for (table, column) in COLUMNS {
        let texts = texts(&place, table, column);
        assert!(!texts.is_empty(), "{table}.{column}");
        for text in texts {
            let mut value: Value = serde_json::from_str(&text).expect("JSON");
            add_keys(&mut value, column);
            let update = format!("UPDATE {table} SET {column} = ?1 WHERE {column} = ?2");
            sql.execute(&update, [value.to_string(), text])
                .expect("changed");
        }
    }
    assert_eq!(everything(&state), before);
}

/// Adds a key to every object, but to maps, whose keys are names.
fn add_keys(value: &mut Value, name: &str) {
    const MAPS: [&str; 7] = [
        "disks",
        "schedules",
        "tags",
        "since",
        "storages",
        "offerings",
        "policies",
    ];
    match value {
        Value::Object(object) => {
            for (key, value) in object.iter_mut() {
                add_keys(value, key);
            }
            // One key alone may be the name of a kind, which no other joins.
            if object.len() > 1 && !MAPS.contains(&name) {
                object.insert("of_a_newer_knib".to_owned(), serde_json::json!([1]));
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| add_keys(value, "")),
        _ => {}
    }
}

#[test]
fn a_kind_that_is_not_known_is_told_by_name() {
    let place = Place::new();
    let state = full(&place);
    place
        .sql()
        .execute_batch(
            "DROP TRIGGER step_stays;
             UPDATE step SET spec = '{\"step\":\"teleport\"}' WHERE action = 'plan/2'",
        )
        .expect("changed");
    let told = state.opens().expect_err("not understood").to_string();
    assert!(
        told.contains("plan/2") && told.contains("teleport"),
        "{told}"
    );
    // What only tells goes on telling.
    let runs = state.history(&Filter::default()).expect("history");
    let mut steps = runs
        .iter()
        .flat_map(|run| &run.actions)
        .flat_map(|action| &action.steps);
    assert!(steps.any(|step| step.what.contains("teleport")));
    state.records().expect("records");
}
