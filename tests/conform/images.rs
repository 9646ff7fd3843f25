//! Copies of frozen layers.

use camino::Utf8PathBuf;
use knib::host::Convert;
use knib::host::Host;
use knib::model::op::Compression;
use knib::model::policy::CompressionLibrary;

use crate::conform::ground::Ground;
use crate::conform::trace::Trace;

/// Copies these layers, top first.
async fn copy<G: Ground>(trace: &mut Trace<G>, layers: &[&str], backing: Option<&str>, to: &str) {
    write(trace, layers, backing, to, None).await;
}

/// The same, compressed, beside which nobody is to be kept waiting.
async fn compress<G: Ground>(trace: &mut Trace<G>, file: &str, backing: Option<&str>, to: &str) {
    let how = Compression {
        library: CompressionLibrary::Zstd,
        coroutines: 2,
        rate: None,
    };
    write(trace, &[file], backing, to, Some(how)).await;
}

/// Whether two images show the same.
async fn compare<G: Ground>(trace: &mut Trace<G>, one: &str, other: &str) {
    let images = [one, other].map(|name| trace.image(name));
    let host = trace.host();
    let compared = host.compare(&images[0], &images[1], &trace.task()).await;
    let said = compared.as_ref().map_or("not known", |same| match same {
        true => "the same",
        false => "not the same",
    });
    trace
        .did(&format!("{one} and {other} show {said}"), compared)
        .await;
}

/// One image takes the place of another.
async fn replace<G: Ground>(trace: &mut Trace<G>, from: &str, to: &str) {
    let paths = [from, to].map(|name| trace.image(name).path);
    let replaced = trace.host().replace(&paths[0], &paths[1]).await;
    trace
        .did(&format!("{from} in the place of {to}"), replaced)
        .await;
}

async fn write<G: Ground>(
    trace: &mut Trace<G>,
    layers: &[&str],
    backing: Option<&str>,
    to: &str,
    compression: Option<Compression>,
) {
    let to = trace.image(to);
    let convert = Convert {
        layers: layers.iter().map(|name| trace.image(name)).collect(),
        backing: backing.map(Utf8PathBuf::from),
        to: to.path,
        format: to.format,
        compression,
        idle: compression.is_some(),
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
    // The lower of two, then the upper one, which continues it.
    for (file, below) in [
        ("a-full.qcow2", None),
        ("a-next.qcow2", Some("a-full.qcow2")),
    ] {
        compress(trace, file, below, "smaller.qcow2").await;
        compare(trace, file, "smaller.qcow2").await;
        compare(trace, "a-last.qcow2", "smaller.qcow2").await;
        replace(trace, "smaller.qcow2", file).await;
    }
    compare(trace, "a-full.qcow2", "nothing.qcow2").await;
    replace(trace, "nothing.qcow2", "a-full.qcow2").await;
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
