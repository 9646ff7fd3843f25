//! VMs that are off, are defined, and have two definitions.

use camino::Utf8Path;
use knib::host::Convert;
use knib::host::Definition;
use knib::host::Exchange;
use knib::host::Host;
use knib::host::Renewal;
use knib::model::bytes::Bytes;
use knib::model::id::Target;
use knib::model::id::VmId;
use knib::model::machine::Disk;
use knib::model::machine::Format;
use knib::model::machine::Note;
use knib::model::op::Manner;
use knib::model::snapshot::Snapshots;

use crate::conform::ground::Ground;
use crate::conform::trace::Trace;

const CELL: u64 = 64 << 10;

/// Puts overlays on both disks and writes something else into each.
async fn cover<G: Ground>(trace: &mut Trace<G>, n: u8) {
    let vda = trace.overlay("vda", &format!("a.{n}.qcow2"));
    let vdb = trace.overlay("vdb", &format!("b.{n}.qcow2"));
    let vm = trace.ground.vm();
    let made = trace.host().snapshot(&vm, &[vda, vdb], &[], None).await;
    trace.did("snapshot", made).await;
    let at = usize::from(n);
    trace.write("vda", at..at + 3, 10 + n);
    trace.write("vdb", at..at + 2, 20 + n);
}

async fn commit<G: Ground>(trace: &mut Trace<G>, top: &str, base: &str) {
    let (top, base) = (trace.image(top), trace.image(base));
    let committed = trace
        .host()
        .commit_offline(&top, &base, &trace.task())
        .await;
    trace
        .did(
            &format!("commit {}", top.path.file_name().unwrap_or_default()),
            committed,
        )
        .await;
}

async fn point<G: Ground>(trace: &mut Trace<G>, target: &str, name: &str) {
    let heads = [trace.head(target, name)];
    let vm = trace.ground.vm();
    let pointed = trace.host().point(&vm, &heads).await;
    trace
        .did(&format!("point {target} to {name}"), pointed)
        .await;
}

async fn remove<G: Ground>(trace: &mut Trace<G>, name: &str) {
    let path = trace.image(name).path;
    let removed = trace.host().remove(&path).await;
    trace.did(&format!("remove {name}"), removed).await;
}

pub(super) async fn overlays_of_a_stopped_vm<G: Ground>(trace: &mut Trace<G>) {
    let vm = trace.ground.vm();
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
    cover(trace, 1).await;
    cover(trace, 2).await;
    let overlays = [trace.overlay("vda", "a.3.qcow2")];
    let others = [Target::new("vdb")];
    let made = trace.host().snapshot(&vm, &overlays, &others, None).await;
    trace.did("snapshot of one", made).await;
    trace.start().await;
    trace.write("vda", 7..9, 5);
    trace.stop().await;
}

pub(super) async fn a_commit_of_a_stopped_vm<G: Ground>(trace: &mut Trace<G>) {
    trace.write("vda", 0..4, 1);
    trace.write("vdb", 0..4, 2);
    cover(trace, 1).await;
    cover(trace, 2).await;
    trace.write("vda", 0..1, 0);
    // The middle one: what lies above it is put on its base.
    commit(trace, "a.1.qcow2", "a.qcow2").await;
    point(trace, "vda", "a.2.qcow2").await;
    let (above, base) = (trace.image("a.2.qcow2"), trace.image("a.qcow2"));
    let put = trace.host().rebase(&above, &base).await;
    trace.did("rebase", put).await;
    remove(trace, "a.1.qcow2").await;
    // The head.
    commit(trace, "a.2.qcow2", "a.qcow2").await;
    point(trace, "vda", "a.qcow2").await;
    remove(trace, "a.2.qcow2").await;
    // Two at once, into a raw file; and once more is the same as once.
    commit(trace, "b.2.qcow2", "b.raw").await;
    commit(trace, "b.2.qcow2", "b.raw").await;
    point(trace, "vdb", "b.raw").await;
    trace.start().await;
    trace.stop().await;
}

pub(super) async fn a_commit_of_sizes_that_differ<G: Ground>(trace: &mut Trace<G>) {
    trace.write("vda", 0..16, 1);
    trace.write("vdb", 0..16, 2);
    cover(trace, 1).await;
    for (top, base, target) in [
        ("a.1.qcow2", "a.qcow2", "vda"),
        ("b.1.qcow2", "b.raw", "vdb"),
    ] {
        let (image, below) = (trace.image(top), trace.image(base));
        trace.ground.resize(&image.path, 20);
        trace.write(target, 18..20, 7);
        commit(trace, top, base).await;
        trace.ground.resize(&image.path, 8);
        // A commit never makes the base smaller.
        commit(trace, top, base).await;
        let cut = trace.host().shrink(&below, Bytes(8 * CELL)).await;
        trace.did("shrink", cut).await;
        let cut = trace.host().shrink(&below, Bytes(9 * CELL)).await;
        trace.ended("shrink to more", &cut);
        point(trace, target, base).await;
    }
    trace.start().await;
    trace.stop().await;
}

pub(super) async fn a_vm_defined_from_another<G: Ground>(trace: &mut Trace<G>) {
    let vm = trace.ground.vm();
    trace.write("vda", 0..4, 1);
    let note = Note {
        serial: 7,
        current: None,
        snapshots: Snapshots::default(),
        ..Note::default()
    };
    let noted = trace.host().note(&vm, Some(&note)).await;
    trace.did("note", noted).await;
    cover(trace, 1).await;
    let name = trace.host().machine(&vm).await.expect("it is there").name;
    let text = trace.host().definition(&vm, Definition::Persistent).await;
    let text = text.expect("it is there");
    let renewal = |first: &str, name: String| Renewal {
        id: VmId::new(format!("{first}{}", &vm.as_str()[8..])),
        name,
        heads: vec![trace.head("vda", "a.qcow2")],
        nvram: None,
        manner: Manner::default(),
    };
    let copy = renewal("c0c0c0c0", format!("{name}-copy"));
    let same_name = renewal("c0c0c0c1", format!("{name}-copy"));
    let same_id = renewal("c0c0c0c0", format!("{name}-other"));
    let defined = trace.host().define(&text, &copy).await;
    trace.did("define", defined).await;
    trace.observe_vm(&copy.id).await;
    for (what, renewal) in [("the same name", same_name), ("the same id", same_id)] {
        let defined = trace.host().define(&text, &renewal).await;
        trace.ended(what, &defined);
    }
    let gone = trace.host().undefine(&copy.id).await;
    trace.did("undefine", gone).await;
    trace.observe_vm(&copy.id).await;
    let gone = trace.host().undefine(&copy.id).await;
    trace.ended("undefine again", &gone);
    trace.start().await;
    let refused = trace.host().undefine(&vm).await;
    trace.did("undefine one that is on", refused).await;
    trace.stop().await;
}

pub(super) async fn a_definition_that_is_behind<G: Ground>(trace: &mut Trace<G>) {
    let vm = trace.ground.vm();
    trace.write("vda", 0..4, 1);
    let note = Note {
        serial: 7,
        current: None,
        snapshots: Snapshots::default(),
        ..Note::default()
    };
    let older = trace.ground.definition();
    let noted = trace.host().note(&vm, Some(&note)).await;
    trace.did("note", noted).await;
    cover(trace, 1).await;
    trace.start().await;
    trace.ground.bring_back(&older);
    trace.say("an older definition");
    trace.observe().await;
    let overlays = [
        trace.overlay("vda", "a.2.qcow2"),
        trace.overlay("vdb", "b.2.qcow2"),
    ];
    let made = trace.host().snapshot(&vm, &overlays, &[], None).await;
    trace.did("snapshot", made).await;
    trace.stop().await;
    let noted = trace.host().note(&vm, Some(&note)).await;
    trace.did("note", noted).await;
}

/// A file of its own with what an image shows, as a restore writes it.
async fn written<G: Ground>(trace: &mut Trace<G>, from: &str, to: &str) {
    let convert = Convert {
        layers: vec![trace.image(from)],
        backing: None,
        to: trace.image(to).path,
        format: Format::Qcow2,
        compression: None,
        idle: false,
    };
    let made = trace.host().convert(&convert, &trace.task()).await;
    trace.ended("convert", &made);
}

pub(super) async fn disks_that_come_and_go<G: Ground>(trace: &mut Trace<G>) {
    let vm = trace.ground.vm();
    trace.write("vda", 0..4, 1);
    let text = trace.host().definition(&vm, Definition::Persistent).await;
    let text = text.expect("it is there");
    for copy in ["c.qcow2", "d.qcow2", "e.qcow2"] {
        written(trace, "a.qcow2", copy).await;
    }
    let (vda, vdb) = (Target::new("vda"), Target::new("vdb"));
    let come = trace.head("vdc", "c.qcow2");
    let attached = trace.host().attach(&vm, &text, &vda, &come).await;
    trace.did("attach", attached).await;
    let again = trace.host().attach(&vm, &text, &vda, &come).await;
    trace.ended("attach again", &again);
    trace.write("vdc", 4..6, 3);
    trace.start().await;
    let files = [trace.image("a.qcow2").path];
    let found = trace.host().finds(&vm, &files).await;
    trace.ended("finds", &found);
    trace.write("vdc", 0..2, 4);
    trace.stop().await;

    // What it would be is not what it is.
    let heads = [trace.head("vda", "d.qcow2")];
    let described = trace.host().described(&vm, &heads).await;
    let described = described.expect("it is there");
    let seen = trace.host().stored(&described).await;
    let seen = seen.expect("it is a definition");
    let names = |disk: &Disk| {
        format!(
            "{} {:?}",
            disk.target,
            disk.head().and_then(Utf8Path::file_name)
        )
    };
    let names: Vec<_> = seen.disks.iter().map(names).collect();
    trace.say(&format!("described: {names:?}"));
    trace.observe().await;
    let exchange = Exchange {
        heads: heads.to_vec(),
        added: vec![trace.head("vdb", "e.qcow2")],
        definition: text,
        removed: vec![Target::new("vdc")],
    };
    let swapped = trace.host().swap(&vm, &exchange).await;
    trace.did("swap in one that is there", swapped).await;
    let fewer = Exchange {
        removed: vec![vdb],
        heads: Vec::new(),
        added: Vec::new(),
        definition: String::new(),
    };
    let swapped = trace.host().swap(&vm, &fewer).await;
    trace.did("swap out", swapped).await;
    let swapped = trace.host().swap(&vm, &exchange).await;
    trace.did("swap", swapped).await;
    trace.start().await;
    trace.stop().await;
}
