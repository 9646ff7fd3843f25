//! The scenarios: for each verb the ways it can be gone about.

use knib::model::id::JobId;
use knib::model::id::VmId;
use knib::model::machine::Agent;
use knib::model::orphan::Orphan;
use knib::model::orphan::OrphanKind;
use knib::planner::jobs;
use knib::planner::request::BackupRun;
use knib::planner::snapshots::Asked;

use crate::crash::scenario::Ask;
use crate::crash::scenario::CELLS;
use crate::crash::scenario::DB;
use crate::crash::scenario::Scenario;
use crate::crash::scenario::Story;
use crate::crash::scenario::compressed;
use crate::crash::scenario::delete;
use crate::crash::scenario::nightly;
use crate::crash::scenario::nobody;
use crate::crash::scenario::rotating;
use crate::crash::scenario::target;
use crate::crash::scenario::validating;
use crate::sim::STORAGE;
use crate::sim::Trouble;

/// Whether the guest is on when it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Power {
    On,
    Off,
}

impl Power {
    pub(super) fn set(self, story: Story) -> Story {
        match self {
            Self::On => story,
            Self::Off => story.stop(),
        }
    }
}

/// After the first backup, an hour before the next one is due.
pub(super) fn backed_up() -> Story {
    Story::new(&nightly("none"))
        .time_passes()
        .apply("2026-11-22T12:00:01Z")
}

pub(super) fn due(story: Story) -> Story {
    story.wait("2026-11-23T02:30:00Z")
}

/// Nothing is on record, and the storage is an empty directory.
pub(crate) fn first(power: Power) -> Scenario {
    let story = power.set(Story::new(&nightly("none")).time_passes());
    story.asks(format!("first, {power:?}"), Ask::Apply, 1)
}

pub(crate) fn incremental(power: Power) -> Scenario {
    let story = power.set(due(backed_up()));
    story.asks(format!("incremental, {power:?}"), Ask::Apply, 1)
}

/// The third of a chain of three.
pub(crate) fn end_of_chain(power: Power) -> Scenario {
    let story = backed_up()
        .apply("2026-11-23T02:30:00Z")
        .wait("2026-11-24T02:30:00Z");
    let story = power.set(story);
    story.asks(format!("end of chain, {power:?}"), Ask::Apply, 1)
}

fn asked(isolated: bool, full: bool) -> Ask {
    Ask::Backup(BackupRun {
        vm: VmId::new(DB),
        isolated,
        full,
        quiesce: None,
        storage: None,
    })
}

/// Beside a chain that goes on.
pub(crate) fn isolated(power: Power) -> Scenario {
    let story = power.set(backed_up());
    story.asks(format!("isolated, {power:?}"), asked(true, false), 1)
}

/// A new chain, although the old one could go on.
pub(crate) fn full(power: Power) -> Scenario {
    let story = power.set(backed_up());
    story.asks(format!("full, {power:?}"), asked(false, true), 1)
}

/// Somebody put two overlays on top of a delta.
pub(crate) fn three_layers(power: Power) -> Scenario {
    let vm = VmId::new(DB);
    let cover = |story: Story, path: &str| {
        let covered = story.site(|site| {
            let covered = site.foreign_overlay(&vm, &target("vda"), path);
            covered.expect("nothing is in the way");
        });
        covered.time_passes()
    };
    let story = cover(backed_up(), "/images/db-01.before-upgrade");
    let story = due(cover(story, "/images/db-01.after-upgrade"));
    let story = power.set(story);
    story.asks(format!("three layers, {power:?}"), Ask::Apply, 1)
}

/// Both disks are larger than they were.
pub(crate) fn grown(power: Power) -> Scenario {
    let story = backed_up().site(|site| {
        site.resize(&VmId::new(DB), &target("vda"), CELLS + 6);
        site.resize(&VmId::new(DB), &target("vdb"), CELLS + 1);
    });
    let story = power.set(due(story.time_passes()));
    story.asks(format!("grown, {power:?}"), Ask::Apply, 1)
}

/// One disk was cut, and grew again; the other was cut. Such deltas are merged while the VM is off.
pub(crate) fn cut() -> Scenario {
    let vm = VmId::new(DB);
    let story = backed_up().site(|site| {
        site.resize(&vm, &target("vda"), CELLS - 8);
        site.resize(&vm, &target("vdb"), CELLS - 6);
    });
    let story = story.time_passes().site(|site| {
        site.resize(&vm, &target("vda"), CELLS - 2);
    });
    let story = due(story.time_passes()).stop();
    story.asks("cut, Off", Ask::Apply, 1)
}

/// No policy selects the VM any more.
pub(crate) fn leave(power: Power) -> Scenario {
    let story = power.set(backed_up().policy(&nobody()));
    story.asks(format!("leave, {power:?}"), Ask::Apply, 0)
}

/// The chain is ended by hand.
pub(crate) fn finish(power: Power) -> Scenario {
    let story = power.set(backed_up());
    story.asks(format!("finish, {power:?}"), Ask::Finish, 0)
}

fn snapshot(asked: Asked) -> Ask {
    Ask::Snapshot(asked)
}

/// Between two backups.
pub(crate) fn create(power: Power) -> Scenario {
    let story = power.set(backed_up());
    let ask = snapshot(Asked::Create(Some("s1".to_owned())));
    story.asks(format!("create, {power:?}"), ask, 0)
}

/// The agent freezes the guest far too late.
pub(crate) fn create_frozen() -> Scenario {
    let story = backed_up().site(|site| {
        let vm = site.vms.get_mut(&VmId::new(DB)).expect("it is there");
        vm.agent = Agent::Connected;
        vm.slow_freeze = Some(5);
    });
    let ask = snapshot(Asked::Create(Some("s1".to_owned())));
    story.asks("create, frozen", ask, 0)
}

/// The delta that one snapshot keeps is merged below two of them.
pub(crate) fn backup_over_snapshots(power: Power) -> Scenario {
    let story = power.set(due(backed_up().snapshot("s1").snapshot("s2")));
    story.asks(format!("over snapshots, {power:?}"), Ask::Apply, 1)
}

/// It is merged below a branch that the VM does not use as well.
pub(crate) fn backup_below_branches(power: Power) -> Scenario {
    let branched = backed_up().snapshot("s1").snapshot("s2").revert("s1");
    let story = power.set(due(branched.snapshot("s3")));
    story.asks(format!("below branches, {power:?}"), Ask::Apply, 1)
}

/// The chain goes on: what was written since its current backup is below the snapshot.
pub(crate) fn revert_above_delta() -> Scenario {
    let story = backed_up().snapshot("s1").snapshot("s2").stop();
    story.asks("revert above", snapshot(Asked::Revert("s1".to_owned())), 0)
}

/// The chain ends: its delta is above the snapshot, and goes.
pub(crate) fn revert_below_delta() -> Scenario {
    let story = Story::new(&nightly("none"))
        .snapshot("s1")
        .apply("2026-11-22T12:00:01Z");
    let story = story.stop();
    story.asks("revert below", snapshot(Asked::Revert("s1".to_owned())), 0)
}

/// The delta stays, for a snapshot on another branch keeps it.
pub(crate) fn revert_beside_delta() -> Scenario {
    let story = Story::new(&nightly("none"))
        .snapshot("s1")
        .apply("2026-11-22T12:00:01Z");
    let story = story.snapshot("s2").stop();
    story.asks("revert beside", snapshot(Asked::Revert("s1".to_owned())), 0)
}

/// The branch that is left was all that kept a deleted snapshot from going.
pub(crate) fn revert_and_sweep() -> Scenario {
    let story = backed_up().snapshot("s1").snapshot("s2").revert("s1");
    let story = story.delete("s1").stop();
    story.asks(
        "revert and sweep",
        snapshot(Asked::Revert("s2".to_owned())),
        0,
    )
}

/// Of a straight line of three.
pub(crate) fn delete_in_line(name: &str, power: Power) -> Scenario {
    let story = backed_up().snapshot("s1").snapshot("s2").snapshot("s3");
    let ask = snapshot(Asked::Delete(name.to_owned()));
    power
        .set(story)
        .asks(format!("delete {name} in line, {power:?}"), ask, 0)
}

/// Below the delta of a backup, which lies on another file afterwards.
pub(crate) fn delete_below_delta(power: Power) -> Scenario {
    let story = backed_up().snapshot("s1").snapshot("s2");
    let story = power.set(story.apply("2026-11-23T02:30:00Z"));
    let ask = snapshot(Asked::Delete("s2".to_owned()));
    story.asks(format!("delete below a delta, {power:?}"), ask, 0)
}

/// The backup after that.
pub(crate) fn backup_after_delete(power: Power) -> Scenario {
    let story = backed_up().snapshot("s1").snapshot("s2");
    let story = story.apply("2026-11-23T02:30:00Z").delete("s2");
    let story = power.set(story.wait("2026-11-24T02:30:00Z"));
    story.asks(format!("backup after delete, {power:?}"), Ask::Apply, 1)
}

/// s1 <- s2 <- s3, and the VM goes on from s1 with s4.
fn branches() -> Story {
    let line = backed_up().snapshot("s1").snapshot("s2").snapshot("s3");
    line.revert("s1").snapshot("s4")
}

/// Where branches meet it is only marked; in one that the VM does not use, or uses, it goes.
pub(crate) fn delete_in_branches(name: &str, power: Power) -> Scenario {
    let ask = snapshot(Asked::Delete(name.to_owned()));
    power
        .set(branches())
        .asks(format!("delete {name} in branches, {power:?}"), ask, 0)
}

/// The end of a branch that the VM does not use goes, and then the marked one where it began.
pub(crate) fn delete_last_branch(power: Power) -> Scenario {
    let story = branches().delete("s1").delete("s2");
    let ask = snapshot(Asked::Delete("s3".to_owned()));
    power
        .set(story)
        .asks(format!("delete the last branch, {power:?}"), ask, 0)
}

/// The note stays while snapshots do.
pub(crate) fn leave_with_snapshots(power: Power) -> Scenario {
    let story = backed_up().snapshot("s1").snapshot("s2").revert("s1");
    let story = power.set(story.policy(&nobody()));
    story.asks(format!("leave with snapshots, {power:?}"), Ask::Apply, 0)
}

/// The agent freezes the guest, at once or far too late.
pub(crate) fn frozen(quiesce: &str, late: Option<u32>) -> Scenario {
    let story = Story::new(&nightly(quiesce)).site(|site| {
        let vm = site.vms.get_mut(&VmId::new(DB)).expect("it is there");
        vm.agent = Agent::Connected;
    });
    let story = story.time_passes().apply("2026-11-22T12:00:01Z");
    let story = due(story.site(|site| {
        let vm = site.vms.get_mut(&VmId::new(DB)).expect("it is there");
        vm.slow_freeze = late;
    }));
    story.asks(format!("frozen, {quiesce}, late {late:?}"), Ask::Apply, 1)
}

/// Somebody else froze the guest and is not done yet.
pub(crate) fn frozen_by_others() -> Scenario {
    let story = due(backed_up().policy(&nightly("preferred"))).site(|site| {
        let vm = site.vms.get_mut(&VmId::new(DB)).expect("it is there");
        vm.agent = Agent::Connected;
        vm.frozen = true;
        vm.frozen_by_others = true;
    });
    let mut scenario = story.asks("frozen by others", Ask::Apply, 1);
    // A run that was killed in its snapshot cannot know who froze the guest, and thaws it.
    scenario
        .troubles
        .retain(|trouble| *trouble != Trouble::Kill);
    scenario
}

/// knib has a defect, wherever it is.
pub(crate) fn defect() -> Scenario {
    let mut scenario = incremental(Power::On);
    "defect".clone_into(&mut scenario.name);
    scenario.troubles = vec![Trouble::Panic];
    scenario
}

/// Somebody keeps a snapshot of the VM: no delta may stay on it, and none may be merged below it.
pub(crate) fn foreign_snapshot(power: Power) -> Scenario {
    let story = due(backed_up()).site(|site| {
        let vm = site.vms.get_mut(&VmId::new(DB)).expect("it is there");
        vm.snapshots.push("before-upgrade".to_owned());
    });
    let story = power.set(story);
    story.asks(format!("foreign snapshot, {power:?}"), Ask::Apply, 1)
}

/// A chain of three that has ended, and the first of the next one.
fn four() -> Story {
    backed_up()
        .apply("2026-11-23T02:30:00Z")
        .apply("2026-11-24T02:30:00Z")
        .apply("2026-11-25T02:30:00Z")
}

/// A backup is due that pushes the last one of a chain out, and with it the chain.
pub(crate) fn rotation(power: Power) -> Scenario {
    let story = Story::new(&rotating())
        .time_passes()
        .apply("2026-11-22T12:00:01Z")
        .apply("2026-11-23T02:30:00Z")
        .apply("2026-11-24T02:30:00Z")
        .apply("2026-11-25T02:30:00Z");
    let chain = story.backups()[..3].to_vec();
    let story = power.set(story.wait("2026-11-26T02:30:00Z"));
    let mut scenario = story.asks(format!("rotation, {power:?}"), Ask::Apply, 1);
    scenario.goes = chain.into_iter().collect();
    scenario.backups -= 3;
    scenario
}

/// The newest of a chain, whose delta the VM writes to.
pub(crate) fn delete_current(power: Power) -> Scenario {
    let story = power.set(backed_up().apply("2026-11-23T02:30:00Z"));
    let last = story.latest();
    story.deletes(&format!("delete current, {power:?}"), &[&last], &[&last])
}

/// One that others need.
pub(crate) fn delete_needed() -> Scenario {
    let story = four();
    let all = story.backups();
    story.deletes("delete needed", &[&all[0]], &[])
}

/// The last one that needs another, which was let go before.
pub(crate) fn delete_last_needing() -> Scenario {
    let story = four();
    let all = story.backups();
    let story = story.does("2026-11-25T03:00:00Z", &delete(&[&all[1]]));
    story.deletes("delete last needing", &[&all[2]], &[&all[1], &all[2]])
}

/// A whole chain, in no order.
pub(crate) fn delete_chain() -> Scenario {
    let story = four();
    let all = story.backups();
    let three = [&all[1], &all[2], &all[0]];
    story.deletes("delete chain", &three, &three)
}

pub(crate) fn pin() -> Scenario {
    let story = backed_up();
    let last = story.latest();
    story.asks("pin", Ask::Pin(last, true), 0)
}

/// A file of the first of two is gone, and a backup is due.
pub(crate) fn damaged(power: Power) -> Scenario {
    let story = backed_up().apply("2026-11-23T02:30:00Z");
    let first = story.backups()[0].clone();
    let dir = knib::model::layout::backup_dir(STORAGE.into(), &VmId::new(DB), &first);
    let story = story.site(|site| {
        let file = dir.join("vdb.qcow2");
        site.published.remove(&file);
        site.files.remove(&file);
    });
    let story = power.set(story.wait("2026-11-24T02:30:00Z"));
    story.asks(format!("damaged, {power:?}"), Ask::Apply, 1)
}

/// A stage that nobody remembers.
pub(crate) fn clear() -> Scenario {
    let vm = VmId::new(DB);
    let id = knib::model::id::BackupId::new("20260101-010101-0a0a0a0a");
    let dir = knib::model::layout::stage_dir(STORAGE.into(), &vm, &id);
    let story = backed_up().site(|site| {
        site.files.make_dir(&dir).expect("its VM has backups");
        let written = site.files.write(&dir.join("vda.qcow2"), b"half");
        written.expect("the directory is there");
    });
    let orphan = Orphan {
        path: dir,
        kind: OrphanKind::Stage,
        size: knib::model::bytes::Bytes(4),
        vm: None,
        removable: true,
    };
    story.asks("clear", Ask::Clear(vec![orphan]), 0)
}

/// So many backups that wait to be compressed.
fn waiting(backups: usize) -> Story {
    let days = ["22T12:00:01Z", "23T02:30:00Z"];
    let story = Story::new(&compressed("job", false)).time_passes();
    days[..backups]
        .iter()
        .fold(story, |story, at| story.apply(&format!("2026-11-{at}")))
}

/// A full backup is compressed.
pub(crate) fn compress_one() -> Scenario {
    let story = waiting(1).policy(&compressed("job", true));
    story.asks("compress one", Ask::Apply, 0)
}

/// A parent and its child, which ended their chain, side by side.
pub(crate) fn compress_chain() -> Scenario {
    let story = waiting(2).policy(&compressed("job", true));
    story.asks("compress chain", Ask::Apply, 0)
}

/// The current one, while the backup that continues it and ends the chain is made, and compressed as well.
pub(crate) fn compress_beside() -> Scenario {
    let story = waiting(1).policy(&compressed("job", true));
    let story = story.wait("2026-11-23T02:30:00Z");
    story.asks("compress beside", Ask::Apply, 1)
}

/// A backup whose job waits is let go, and stays for one that needs it.
pub(crate) fn compress_let_go() -> Scenario {
    let story = waiting(2);
    let first = story.backups()[0].clone();
    let story = story.does("2026-11-23T03:00:00Z", &delete(&[&first]));
    let story = story.policy(&compressed("job", true));
    story.asks("compress, let go", Ask::Apply, 0)
}

/// It is compressed while it is copied.
pub(crate) fn compress_inline(power: Power) -> Scenario {
    let story = Story::new(&compressed("inline", true)).time_passes();
    let story = power.set(due(story.apply("2026-11-22T12:00:01Z")));
    story.asks(format!("compress inline, {power:?}"), Ask::Apply, 1)
}

/// The second of a chain is booted.
pub(crate) fn validate(power: Power) -> Scenario {
    let story = power.set(backed_up().apply("2026-11-23T02:30:00Z"));
    let last = story.latest();
    story.asks(format!("validate, {power:?}"), Ask::Validate(last), 0)
}

/// A policy wants it, with all its steps.
pub(crate) fn validate_as_planned() -> Scenario {
    let story = Story::new(&nightly("none")).site(|site| {
        let vm = site.vms.get_mut(&VmId::new(DB)).expect("it is there");
        vm.stored.channel = true;
        vm.agent = Agent::Connected;
    });
    let story = story.time_passes().apply("2026-11-22T12:00:01Z");
    let story = story.policy(&validating());
    story.asks("validate as planned", Ask::Apply, 0)
}

/// A job that waits is ended.
pub(crate) fn job_cancel() -> Scenario {
    let story = waiting(1);
    let job = JobId::of(&story.latest(), "start");
    story.asks("job cancel", Ask::Job(jobs::Asked::Cancel, job), 0)
}

/// One that was ended is tried again.
pub(crate) fn job_retry() -> Scenario {
    let story = waiting(1);
    let job = JobId::of(&story.latest(), "start");
    let cancel = Ask::Job(jobs::Asked::Cancel, job.clone());
    let story = story.does("2026-11-22T13:00:00Z", &cancel);
    let story = story.policy(&compressed("job", true));
    story.asks("job retry", Ask::Job(jobs::Asked::Retry, job), 0)
}
