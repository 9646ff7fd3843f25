//! Copies of frozen layers.

use camino::Utf8PathBuf;
use knib::host::Convert;
use knib::host::Host;

use crate::conform::ground::Ground;
use crate::conform::trace::Trace;

/// Copies these layers, top first.
async fn copy<G: Ground>(trace: &mut Trace<G>, layers: &[&str], backing: Option<&str>, to: &str) {
    let to = trace.image(to);
    let convert = Convert {
        layers: layers.iter().map(|name| trace.image(name)).collect(),
        backing: backing.map(Utf8PathBuf::from),
        to: to.path,
        format: to.format,
        compression: None,
        idle: false,
    };
    let copied = trace.host().convert(&convert, &trace.task()).await;
    let what = format!("copy {layers:?} over {backing:?}");
    // What a failure leaves is for whoever asked to remove.
    if copied.is_err() {
        let removed = trace.host().remove(&convert.to).await;
        removed.expect("nothing there is as good as removed");
    }
    trace.did(&what, copied).await;
}

async fn cover<G: Ground>(trace: &mut Trace<G>, n: u8) {
    let vda = trace.overlay("vda", &format!("a.{n}.qcow2"));
    let vdb = trace.overlay("vdb", &format!("b.{n}.qcow2"));
    let vm = trace.ground.vm();
    let made = trace.host().snapshot(&vm, &[vda, vdb], &[], None).await;
    trace.did("snapshot", made).await;
    let at = usize::from(n) * 2;
    trace.write("vda", at..at + 3, 10 + n);
    trace.write("vda", at + 1..at + 2, 0);
    trace.write("vdb", at..at + 2, 20 + n);
}

async fn copies<G: Ground>(trace: &mut Trace<G>) {
    trace.write("vda", 0..8, 1);
    trace.write("vdb", 0..8, 2);
    cover(trace, 1).await;
    copy(trace, &["a.qcow2"], None, "a-full.qcow2").await;
    copy(trace, &["b.raw"], None, "b-full.qcow2").await;
    copy(trace, &["b.raw"], None, "b-full.raw").await;
    cover(trace, 2).await;
    copy(trace, &["a.1.qcow2"], Some("a-full.qcow2"), "a-next.qcow2").await;
    copy(trace, &["a.1.qcow2"], None, "a-whole.qcow2").await;
    copy(trace, &["a.1.qcow2"], None, "a-whole.raw").await;
    cover(trace, 3).await;
    copy(
        trace,
        &["a.2.qcow2", "a.1.qcow2"],
        Some("a-full.qcow2"),
        "a-both.qcow2",
    )
    .await;
    copy(
        trace,
        &["b.2.qcow2", "b.1.qcow2"],
        Some("b-full.qcow2"),
        "b-both.qcow2",
    )
    .await;
    copy(trace, &["a.2.qcow2"], Some("a-next.qcow2"), "a-last.qcow2").await;
    // What is there is overwritten.
    copy(trace, &["a.2.qcow2"], Some("a-next.qcow2"), "a-last.qcow2").await;
    for wrong in [
        &["a.1.qcow2", "a.2.qcow2"][..],
        &["a.2.qcow2", "a.qcow2"],
        &["a.2.qcow2", "b.1.qcow2"],
    ] {
        copy(trace, wrong, Some("a-full.qcow2"), "wrong.qcow2").await;
    }
    copy(trace, &["nothing.qcow2"], None, "wrong.qcow2").await;
    copy(
        trace,
        &["nothing.qcow2"],
        Some("a-full.qcow2"),
        "wrong.qcow2",
    )
    .await;
}

pub(super) async fn copies_of_a_running_vm<G: Ground>(trace: &mut Trace<G>) {
    trace.start().await;
    copies(trace).await;
    copy(trace, &["a.3.qcow2"], Some("a-last.qcow2"), "wrong.qcow2").await;
    copy(
        trace,
        &["a.3.qcow2", "a.2.qcow2"],
        Some("a-next.qcow2"),
        "wrong.qcow2",
    )
    .await;
    copy(trace, &["a.3.qcow2"], None, "wrong.qcow2").await;
    trace.stop().await;
}

pub(super) async fn copies_of_a_stopped_vm<G: Ground>(trace: &mut Trace<G>) {
    copies(trace).await;
    copy(
        trace,
        &["a.3.qcow2"],
        Some("a-last.qcow2"),
        "a-newest.qcow2",
    )
    .await;
    // Branches, and one on nothing.
    for on in ["a.1.qcow2", "b.raw", "nothing.qcow2"] {
        let (on, path) = (trace.image(on), trace.image("branch.qcow2").path);
        let made = trace.host().create(&path, &on).await;
        trace.did("create", made).await;
        let removed = trace.host().remove(&path).await;
        trace.did("remove", removed).await;
    }
    let base = trace.image("a.qcow2").path;
    trace.ground.lose(&base);
    copy(trace, &["a.3.qcow2"], None, "wrong.qcow2").await;
    copy(trace, &["a.3.qcow2"], Some("a-last.qcow2"), "orphan.qcow2").await;
}
