//! VMs that run.

use knib::host::Host;
use knib::model::id::Target;
use knib::model::machine::Note;
use knib::model::snapshot::Snapshots;

use crate::conform::ground::Ground;
use crate::conform::trace::Trace;

/// Puts an overlay on `vda` and, with `both`, on `vdb`, and writes something else into each.
async fn cover<G: Ground>(trace: &mut Trace<G>, n: u8, both: bool) {
    let mut overlays = vec![trace.overlay("vda", &format!("a.{n}.qcow2"))];
    let mut others = vec![Target::new("vdb")];
    if both {
        overlays.push(trace.overlay("vdb", &format!("b.{n}.qcow2")));
        others.clear();
    }
    let vm = trace.ground.vm();
    let made = trace.host().snapshot(&vm, &overlays, &others, None).await;
    trace.did("snapshot", made).await;
    let at = usize::from(n);
    trace.write("vda", at..at + 3, 10 + n);
    trace.write("vdb", at..at + 2, 20 + n);
}

/// A running VM with three layers on `vda`.
async fn tower<G: Ground>(trace: &mut Trace<G>) {
    trace.start().await;
    trace.write("vda", 0..4, 1);
    cover(trace, 1, false).await;
    cover(trace, 2, false).await;
    trace.write("vda", 0..1, 0);
}

async fn commit<G: Ground>(trace: &mut Trace<G>, top: &str, base: &str) {
    let (vm, vda) = (trace.ground.vm(), Target::new("vda"));
    let (top, base) = (trace.image(top).path, trace.image(base).path);
    let begun = trace.host().commit(&vm, &vda, &top, &base).await;
    trace.ended("commit", &begun);
    trace.follow("vda").await;
}

async fn end<G: Ground>(trace: &mut Trace<G>, pivot: bool) {
    let (vm, vda) = (trace.ground.vm(), Target::new("vda"));
    let ended = trace.host().end_job(&vm, &vda, pivot).await;
    trace.ended("end job", &ended);
    trace.follow("vda").await;
}

async fn remove<G: Ground>(trace: &mut Trace<G>, name: &str) {
    let path = trace.image(name).path;
    let removed = trace.host().remove(&path).await;
    trace.did("remove", removed).await;
}

pub(super) async fn overlays_of_a_running_vm<G: Ground>(trace: &mut Trace<G>) {
    let vm = trace.ground.vm();
    trace.start().await;
    trace.write("vda", 0..4, 1);
    trace.write("vdb", 0..4, 2);
    let note = Note {
        serial: 7,
        current: None,
        snapshots: Snapshots::default(),
        ..Note::default()
    };
    let noted = trace.host().note(&vm, Some(&note)).await;
    trace.did("note", noted).await;
    cover(trace, 1, true).await;
    cover(trace, 2, false).await;
    cover(trace, 3, true).await;
    trace.stop().await;
    trace.start().await;
    let noted = trace.host().note(&vm, None).await;
    trace.did("no note", noted).await;
    trace.stop().await;
}

pub(super) async fn a_commit_of_a_middle_layer<G: Ground>(trace: &mut Trace<G>) {
    tower(trace).await;
    cover(trace, 3, true).await;
    commit(trace, "a.1.qcow2", "a.qcow2").await;
    remove(trace, "a.1.qcow2").await;
    trace.stop().await;
    trace.start().await;
    commit(trace, "a.2.qcow2", "a.qcow2").await;
    trace.stop().await;
}

pub(super) async fn a_commit_of_the_active_layer<G: Ground>(trace: &mut Trace<G>) {
    tower(trace).await;
    commit(trace, "a.2.qcow2", "a.1.qcow2").await;
    trace.write("vda", 0..2, 9);
    end(trace, true).await;
    remove(trace, "a.2.qcow2").await;
    // Two at once. The one between cannot be looked at meanwhile.
    cover(trace, 3, true).await;
    commit(trace, "a.3.qcow2", "a.qcow2").await;
    end(trace, true).await;
    remove(trace, "a.3.qcow2").await;
    remove(trace, "a.1.qcow2").await;
    trace.stop().await;
    trace.start().await;
    trace.stop().await;
}

pub(super) async fn a_commit_that_is_given_up<G: Ground>(trace: &mut Trace<G>) {
    tower(trace).await;
    commit(trace, "a.2.qcow2", "a.1.qcow2").await;
    trace.blur(&["a.1.qcow2"]);
    end(trace, false).await;
    trace.write("vda", 6..8, 9);
    trace.stop().await;
    trace.start().await;
    commit(trace, "a.2.qcow2", "a.1.qcow2").await;
    trace.blur(&[]);
    end(trace, true).await;
    trace.stop().await;
}

pub(super) async fn a_vm_that_goes_off_in_a_commit<G: Ground>(trace: &mut Trace<G>) {
    tower(trace).await;
    commit(trace, "a.2.qcow2", "a.1.qcow2").await;
    trace.write("vda", 6..8, 9);
    trace.blur(&["a.1.qcow2"]);
    trace.stop().await;
    let (vm, vda) = (trace.ground.vm(), Target::new("vda"));
    let job = trace.host().job(&vm, &vda).await;
    trace.say(&format!("job: {:?}", job.map_err(|error| error.fault)));
    let ended = trace.host().end_job(&vm, &vda, true).await;
    trace.did("end job", ended).await;
    // A layer that was halfway in its base is committed again.
    let (top, base) = (trace.image("a.2.qcow2"), trace.image("a.1.qcow2"));
    let committed = trace
        .host()
        .commit_offline(&top, &base, &trace.task())
        .await;
    trace.blur(&[]);
    trace.did("commit", committed).await;
    trace.contents().await;
    trace.start().await;
    trace.stop().await;
}

pub(super) async fn a_pull_of_everything_below<G: Ground>(trace: &mut Trace<G>) {
    tower(trace).await;
    let (vm, vda) = (trace.ground.vm(), Target::new("vda"));
    let begun = trace.host().pull(&vm, &vda).await;
    trace.ended("pull", &begun);
    trace.write("vda", 2..3, 8);
    trace.follow("vda").await;
    let head = [trace.head("vda", "a.2.qcow2")];
    let pointed = trace.host().point(&vm, &head).await;
    trace.did("point", pointed).await;
    trace.stop().await;
    trace.contents().await;
    trace.start().await;
    cover(trace, 3, true).await;
    trace.stop().await;
    let none = trace.host().pull(&vm, &vda).await;
    trace.did("pull", none).await;
    // The same by qemu-img.
    let top = trace.image("a.3.qcow2");
    let flat = trace.host().flatten(&top, &trace.task()).await;
    trace.ended("flatten", &flat);
    let head = [trace.head("vda", "a.3.qcow2")];
    let pointed = trace.host().point(&vm, &head).await;
    trace.did("point", pointed).await;
    trace.contents().await;
    trace.start().await;
    let busy = trace.host().flatten(&top, &trace.task()).await;
    trace.did("flatten", busy).await;
    trace.stop().await;
}
