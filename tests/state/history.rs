//! What the journal tells of runs that are over, or are not.

use knib::model::id::ActionId;
use knib::model::program::Mark;
use knib::model::receipt::Receipt;
use knib::state::Filter;
use knib::state::Outcome;
use knib::state::PastRun;
use knib::state::Run;
use knib::state::State;

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

fn told(runs: &[PastRun]) -> Vec<(&str, Vec<(&str, Outcome)>)> {
    runs.iter()
        .map(|run| {
            let actions = run.actions.iter();
            let actions = actions.map(|action| (action.id.as_str(), action.outcome));
            (run.command.as_str(), actions.collect())
        })
        .collect()
}

/// A run that was killed, and one that goes on: it took up what the first left, undid a backup, did
/// something, and left something open.
fn two_runs(place: &Place, state: &State) -> Run {
    let mut killed = Other::start("hold", &place.path());
    killed.says().expect("it began");
    killed.kill();
    let run = state.start_run("apply", at(100)).expect("a run");
    let id = action(0);
    let op = backup_op(&vm(2), &backup_id(1));
    state
        .begin(&run.id, &id, &op, &program(&[1, 1]), &[], at(101))
        .expect("begun");
    state.intend(&id, 0, at(102)).expect("intended");
    state
        .done(&id, 0, 0, &Receipt::Done, at(103))
        .expect("done");
    state.intend(&id, 1, at(104)).expect("intended");
    state.turn_back(&id, &error("no room")).expect("turned");
    state.undone(&id, 1, 0, at(105)).expect("undone");
    state.undone(&id, 0, 0, at(106)).expect("undone");
    state.close(&id, false, &[], at(107)).expect("closed");
    let held = ActionId::new("held/0");
    state.adopt(&run.id, &held, at(108)).expect("adopted");
    super::apply(state, &run.id, &action(1), &[]).expect("applied");
    let (id, op) = (action(2), merge_op(&vm(3)));
    state
        .begin(&run.id, &id, &op, &program(&[1]), &[], at(109))
        .expect("begun");
    state.leave_open(&id, &error("busy")).expect("left");
    run
}

const DONE: (&str, Outcome) = ("plan/1", Outcome::Done);
const UNDONE: (&str, Outcome) = ("plan/0", Outcome::Undone);
const LEFT: (&str, Outcome) = ("plan/2", Outcome::Interrupted);
const TAKEN_UP: (&str, Outcome) = ("held/0", Outcome::Running);
const INTERRUPTED: (&str, Outcome) = ("held/0", Outcome::Interrupted);

#[test]
fn runs_tell_what_they_did() {
    let place = Place::new();
    let state = place.open();
    let _run = two_runs(&place, &state);
    let runs = place.look().history(&Filter::default()).expect("told");
    let expected = [
        ("restore", vec![TAKEN_UP]),
        ("apply", vec![DONE, TAKEN_UP, UNDONE, LEFT]),
    ];
    assert_eq!(told(&runs), expected);
    assert_eq!((runs[0].alive, runs[0].ended), (false, None));
    assert_eq!((runs[1].alive, runs[1].ended), (true, None));

    let undone = &runs[1].actions[2];
    assert_eq!(undone.verb, "backup");
    assert_eq!(undone.vm, Some(vm(2)));
    assert_eq!((undone.started, undone.ended), (at(101), Some(at(107))));
    assert_eq!(undone.error, Some(error("no room")));
    let steps: Vec<_> = undone
        .steps
        .iter()
        .map(|step| (step.stage, step.step, step.what.as_str()))
        .collect();
    let expected = [
        (0, 0, "remove /mnt/nas1/0/0"),
        (1, 0, "remove /mnt/nas1/1/0"),
    ];
    assert_eq!(steps, expected);
    let step = &undone.steps[0];
    assert_eq!(step.mark, Some(Mark::Undone));
    assert_eq!((step.intended, step.marked), (Some(at(102)), Some(at(106))));
}

#[test]
fn a_filter_narrows_what_is_told() {
    let place = Place::new();
    let state = place.open();
    let run = two_runs(&place, &state);
    run.finish(&state, at(110)).expect("finished");
    let all = Filter::default();
    let runs = state.history(&all).expect("told");
    let narrowed = |filter: Filter| state.history(&filter).expect("told");

    let one = narrowed(Filter {
        run: Some(runs[0].id.clone()),
        ..all.clone()
    });
    assert_eq!(told(&one), [("restore", vec![INTERRUPTED])]);
    let late = narrowed(Filter {
        since: Some(at(100)),
        ..all.clone()
    });
    assert_eq!(told(&late).len(), 1);
    assert_eq!(late[0].ended, Some(at(110)));
    let of_a_vm = narrowed(Filter {
        vm: Some(vm(2).uuid),
        ..all.clone()
    });
    assert_eq!(told(&of_a_vm), [("apply", vec![UNDONE])]);
    let failed = narrowed(Filter {
        failed: true,
        ..all
    });
    let expected = [
        ("restore", vec![INTERRUPTED]),
        ("apply", vec![INTERRUPTED, UNDONE, LEFT]),
    ];
    assert_eq!(told(&failed), expected);
}

#[test]
fn a_month_is_remembered_and_what_is_open_for_ever() {
    const DAY: i64 = 86_400;
    let place = Place::new();
    let state = place.open();
    let (op, program) = (merge_op(&vm(1)), program(&[1]));
    let first = state.start_run("apply", at(0)).expect("a run");
    super::apply(&state, &first.id, &action(0), &[]).expect("applied");
    first.finish(&state, at(2)).expect("finished");
    let second = state.start_run("apply", at(3)).expect("a run");
    super::apply(&state, &second.id, &action(1), &[]).expect("applied");
    state
        .begin(&second.id, &action(2), &op, &program, &[], at(4))
        .expect("begun");
    second.finish(&state, at(5)).expect("finished");

    let names = || {
        let runs = state.history(&Filter::default()).expect("told");
        let actions = runs.into_iter().flat_map(|run| run.actions);
        actions
            .map(|action| action.id.to_string())
            .collect::<Vec<_>>()
    };
    let later = |day: i64, n| {
        let (now, id) = (at(day * DAY), action(n));
        let run = state.start_run("apply", now).expect("a run");
        let (op, program) = (merge_op(&vm(1)), super::program(&[]));
        state
            .begin(&run.id, &id, &op, &program, &[], now)
            .expect("begun");
        state.close(&id, true, &[], now).expect("closed");
        run.finish(&state, now).expect("finished");
    };
    later(30, 3);
    assert_eq!(names(), ["plan/0", "plan/1", "plan/2", "plan/3"]);
    later(32, 4);
    assert_eq!(place.count("run"), 3);
    let left = names();
    assert!(!left.contains(&"plan/1".to_owned()), "{left:?}");
    assert!(left.contains(&"plan/2".to_owned()), "{left:?}");
    assert_eq!(place.count("step"), 1);
}
