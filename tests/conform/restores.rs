//! What restores ask of a host besides: what a definition wants and is not here, what QEMU may read, and a disk whose
//! definition names what lies below it.

use knib::host::Definition;
use knib::host::Head;
use knib::host::Host;
use knib::model::id::Target;

use crate::conform::ground::Ground;
use crate::conform::trace::Trace;

pub(super) async fn what_a_definition_wants<G: Ground>(trace: &mut Trace<G>) {
    let vm = trace.ground.vm();
    let text = trace.host().definition(&vm, Definition::Persistent).await;
    let text = text.expect("it is there");
    let in_one = trace.ground.in_network(&text, "knib-nowhere");
    let in_two = trace.ground.in_network(&in_one, "knib-elsewhere");
    for (what, text) in [
        ("none", text.as_str()),
        ("one", &in_one),
        ("two", &in_two),
        ("no definition", "nonsense"),
    ] {
        let missing = trace.host().missing(text).await;
        trace.ended(what, &missing);
        let mut missing = missing.unwrap_or_default();
        missing.sort();
        trace.say(&format!("missing: {missing:?}"));
    }
    // It can be defined so, and is no reason to say that it is on.
    trace.ground.bring_back(&in_one);
    let started = trace.host().start(&vm).await;
    trace.ended("start without its network", &started);
    trace.observe().await;
    trace.ground.bring_back(&text);
    trace.start().await;
    trace.stop().await;
}

async fn readable<G: Ground>(trace: &mut Trace<G>, what: &str, name: &str) {
    let read = trace.host().readable(&trace.image(name)).await;
    trace.ended(&format!("{name} {what}"), &read);
}

pub(super) async fn what_qemu_may_read<G: Ground>(trace: &mut Trace<G>) {
    let vm = trace.ground.vm();
    let overlays = [trace.overlay("vda", "a.1.qcow2")];
    let others = [Target::new("vdb")];
    let made = trace.host().snapshot(&vm, &overlays, &others, None).await;
    trace.did("snapshot", made).await;
    let [top, base] = ["a.1.qcow2", "a.qcow2"].map(|name| trace.image(name).path);
    for path in [&top, &base] {
        trace.ground.shut(path, false);
    }
    readable(trace, "as it is", "a.1.qcow2").await;
    trace.ground.shut(&base, true);
    readable(trace, "over one that is shut", "a.1.qcow2").await;
    readable(trace, "which is shut", "a.qcow2").await;
    trace.ground.shut(&base, false);
    trace.ground.shut(&top, true);
    readable(trace, "which is shut", "a.1.qcow2").await;
    readable(trace, "below one that is shut", "a.qcow2").await;
    trace.ground.shut(&top, false);
    readable(trace, "as it was", "a.1.qcow2").await;
    readable(trace, "which is not there", "nothing.qcow2").await;
}

pub(super) async fn a_disk_over_files_that_its_definition_names<G: Ground>(trace: &mut Trace<G>) {
    let vm = trace.ground.vm();
    trace.write("vda", 0..4, 1);
    let others = [Target::new("vdb")];
    for n in 1..=2_u8 {
        let overlays = [trace.overlay("vda", &format!("a.{n}.qcow2"))];
        let made = trace.host().snapshot(&vm, &overlays, &others, None).await;
        trace.did("snapshot", made).await;
        let at = usize::from(n) * 2;
        trace.write("vda", at..at + 2, 10 + n);
    }
    let head = |trace: &Trace<G>, top: &str, below: &[&str]| Head {
        backing: below.iter().map(|name| trace.image(name)).collect(),
        ..trace.head("vda", top)
    };
    let all = &["a.1.qcow2", "a.qcow2"][..];
    for (what, below) in [
        ("point with all below", all),
        ("point with nothing said", &[]),
        ("point with all again", all),
    ] {
        let heads = [head(trace, "a.2.qcow2", below)];
        let pointed = trace.host().point(&vm, &heads).await;
        trace.did(what, pointed).await;
        trace.start().await;
        trace.write("vda", 8..9, 20);
        trace.stop().await;
    }
    trace.start().await;
    let begun = trace.host().pull(&vm, &Target::new("vda")).await;
    trace.ended("pull", &begun);
    trace.follow("vda").await;
    trace.stop().await;
    let heads = [head(trace, "a.2.qcow2", &[])];
    let pointed = trace.host().point(&vm, &heads).await;
    trace.did("point with nothing said", pointed).await;
    let heads = [Head {
        backing: vec![trace.image("a.qcow2")],
        ..trace.head("vdz", "a.2.qcow2")
    }];
    let pointed = trace.host().point(&vm, &heads).await;
    trace.did("point a disk that is not there", pointed).await;
}
