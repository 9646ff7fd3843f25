//! Jobs: what comes of attempts at them, and of settings that change between attempts.

use knib::model::change::Change;
use knib::model::job::Job;
use knib::model::job::JobKind;
use knib::model::job::JobState;
use knib::model::lease::Lease;
use knib::model::lease::Subject;
use knib::model::op::Compress;
use knib::model::op::Compression;
use knib::model::op::OneBackup;
use knib::model::op::Op;
use knib::model::op::Phase;
use knib::model::op::Retry;
use knib::model::policy::CompressionLibrary;
use knib::model::seconds::Seconds;
use knib::state::StateError;

use super::Place;
use super::action;
use super::at;
use super::backup_id;
use super::index::policy;
use super::program;
use super::vm;

/// A backup is compressed, in one of so many attempts, a minute after the last.
pub(super) fn start(backup: u32, attempts: u32) -> Op {
    let phase = Phase::Start {
        how: Compression {
            library: CompressionLibrary::Zstd,
            coroutines: 1,
            rate: None,
        },
        room: 1000,
        timeout: Seconds(60),
        at_once: None,
    };
    let of = OneBackup {
        vm: vm(1),
        backup: backup_id(backup),
        storage: None,
        at: at(0),
    };
    let retry = Retry {
        attempts: Some(attempts),
        interval: Seconds(60),
    };
    Op::Compress(Box::new(Compress { of, phase, retry }))
}

#[test]
fn what_was_tried_goes_by_the_settings_in_force() {
    let place = Place::new();
    let state = place.open();
    let run = state.start_run("apply", at(0)).expect("a run");
    let backup = super::backup(&vm(1), &backup_id(1), None);
    let job = Job::new(backup_id(1), JobKind::Start, at(0));
    let id = job.id();
    let wished = Change::Wished { vm: vm(1), job };
    let changes = [Change::Published(Box::new(backup)), wished];
    super::apply(&state, &run.id, &action(0), &changes).expect("wished");
    let leases = [Lease::shared(Subject::Backup(backup_id(1)))];
    let fails = |n, attempts, began, ended| {
        let op = start(1, attempts);
        state.begin(&run.id, &action(n), &op, &program(&[]), &leases, at(began))?;
        state.turn_back(&action(n), &super::error("no room"))?;
        state.close(&action(n), false, &[], at(ended))
    };
    let stands = || {
        let job = state.job(&vm(1).uuid, &id).expect("read").expect("there");
        (job.state, job.attempts, job.not_before)
    };
    let follows = |attempts, interval| {
        let mut policy = policy();
        policy.settings.compression.attempts = attempts;
        policy.settings.compression.retry_interval = Seconds(interval);
        state.set_policy(&policy).expect("kept");
        stands()
    };

    fails(1, 2, 10, 40).expect("tried");
    assert_eq!(stands(), (JobState::Waiting, 1, at(100)));
    assert_eq!(follows(2, 30), (JobState::Waiting, 1, at(70)));
    assert_eq!(follows(1, 30).0, JobState::Failed);
    assert_eq!(follows(3, 500), (JobState::Waiting, 1, at(540)));

    // An attempt brings its settings along: its policy is kept when all that it says is done.
    fails(2, 2, 110, 140).expect("tried");
    assert_eq!(stands().0, JobState::Failed);
    let again = fails(3, 2, 150, 160);
    assert!(matches!(again, Err(StateError::Overtaken(_))), "{again:?}");
    fails(4, 4, 150, 160).expect("tried once more");
    assert_eq!(stands(), (JobState::Waiting, 3, at(220)));
    place.check();
}
