//! Calls that cannot do what they are asked, and leave everything as it was.

use knib::host::Definition;
use knib::host::Host;
use knib::host::NewOverlay;
use knib::host::ReadFrom;
use knib::model::bytes::Bytes;
use knib::model::id::Target;
use knib::model::id::VmId;

use crate::conform::ground::Ground;
use crate::conform::trace::Trace;

async fn snapshot<G: Ground>(
    trace: &mut Trace<G>,
    what: &str,
    overlays: &[NewOverlay],
    others: &[&str],
) {
    let vm = trace.ground.vm();
    let others: Vec<_> = others.iter().copied().map(Target::new).collect();
    let made = trace.host().snapshot(&vm, overlays, &others, None).await;
    trace.did(what, made).await;
}

async fn refused_overlays<G: Ground>(trace: &mut Trace<G>) {
    let [vda, vdb, vdz] = ["vda", "vdb", "vdz"].map(|target| {
        let name = format!("{target}.new.qcow2");
        trace.overlay(target, &name)
    });
    let in_the_way = trace.overlay("vdb", "in-the-way.qcow2");
    let nowhere = trace.overlay("vdb", "nowhere/b.qcow2");
    let both = [vda.clone(), in_the_way];
    snapshot(trace, "a file in the way", &both, &[]).await;
    let both = [vda.clone(), nowhere];
    snapshot(trace, "a directory that is not there", &both, &[]).await;
    let both = [vda.clone(), vdz];
    snapshot(trace, "a disk that is not there", &both, &["vdb"]).await;
    snapshot(trace, "all disks", &[vda, vdb], &[]).await;
}

pub(super) async fn overlays_that_cannot_be_made<G: Ground>(trace: &mut Trace<G>) {
    trace.write("vda", 0..4, 1);
    let in_the_way = trace.image("in-the-way.qcow2").path;
    let written = trace.host().write(&in_the_way, b"somebody's").await;
    trace.did("write", written).await;
    refused_overlays(trace).await;
    let gone = trace.image("vda.new.qcow2").path;
    for (target, name) in [("vda", "a.qcow2"), ("vdb", "b.raw")] {
        let heads = [trace.head(target, name)];
        let vm = trace.ground.vm();
        trace.host().point(&vm, &heads).await.expect("it is off");
    }
    for path in [gone, trace.image("vdb.new.qcow2").path] {
        trace.host().remove(&path).await.expect("nobody uses it");
    }
    trace.start().await;
    refused_overlays(trace).await;
    let vm = trace.ground.vm();
    let (top, base) = (
        trace.image("vda.new.qcow2").path,
        trace.image("a.qcow2").path,
    );
    let begun = trace
        .host()
        .commit(&vm, &Target::new("vda"), &top, &base)
        .await;
    trace.ended("commit", &begun);
    trace.follow("vda").await;
    let both = [
        trace.overlay("vda", "a.2.qcow2"),
        trace.overlay("vdb", "b.2.qcow2"),
    ];
    snapshot(trace, "beside a job", &both, &[]).await;
    let ended = trace.host().end_job(&vm, &Target::new("vda"), true).await;
    trace.ended("end job", &ended);
    trace.follow("vda").await;
    trace.stop().await;
}

pub(super) async fn commits_that_cannot_be_made<G: Ground>(trace: &mut Trace<G>) {
    let vm = trace.ground.vm();
    trace.start().await;
    for n in 1..=2 {
        let overlay = [trace.overlay("vda", &format!("a.{n}.qcow2"))];
        snapshot(trace, "snapshot", &overlay, &["vdb"]).await;
    }
    let vda = Target::new("vda");
    let ended = trace.host().end_job(&vm, &vda, true).await;
    trace.ended("end a job that is not there", &ended);
    let ended = trace.host().end_job(&vm, &vda, false).await;
    trace.ended("give up a job that is not there", &ended);
    for (target, top, base) in [
        ("vda", "a.1.qcow2", "a.2.qcow2"),
        ("vda", "a.1.qcow2", "a.1.qcow2"),
        ("vda", "a.2.qcow2", "elsewhere.qcow2"),
        ("vda", "elsewhere.qcow2", "a.qcow2"),
        ("vda", "a.2.qcow2", "b.raw"),
        ("vdz", "a.2.qcow2", "a.qcow2"),
    ] {
        let (upper, lower) = (trace.image(top).path, trace.image(base).path);
        let begun = trace
            .host()
            .commit(&vm, &Target::new(target), &upper, &lower)
            .await;
        trace
            .did(&format!("commit {top} of {target} into {base}"), begun)
            .await;
    }
    let (top, base) = (trace.image("a.2.qcow2"), trace.image("a.1.qcow2"));
    let reader = trace.ground.reader(&base.path);
    let begun = trace.host().commit(&vm, &vda, &top.path, &base.path).await;
    trace.did("beside a reader", begun).await;
    drop(reader);
    let begun = trace.host().commit(&vm, &vda, &top.path, &base.path).await;
    trace.ended("without one", &begun);
    let begun = trace.host().commit(&vm, &vda, &top.path, &base.path).await;
    trace.ended("a second one", &begun);
    trace.follow("vda").await;
    trace.stop().await;
    let begun = trace.host().commit(&vm, &vda, &top.path, &base.path).await;
    trace.did("with the VM off", begun).await;
    let job = trace.host().job(&vm, &vda).await;
    trace.ended("a job of one that is off", &job);
}

pub(super) async fn images_in_use<G: Ground>(trace: &mut Trace<G>) {
    let vm = trace.ground.vm();
    let overlays = [
        trace.overlay("vda", "a.1.qcow2"),
        trace.overlay("vdb", "b.1.qcow2"),
    ];
    snapshot(trace, "snapshot", &overlays, &[]).await;
    let (top, base) = (trace.image("a.1.qcow2"), trace.image("a.qcow2"));
    trace.start().await;
    for running in [true, false] {
        let idle = trace.host().idle(&top).await;
        trace.ended("idle top", &idle);
        let idle = trace.host().idle(&base).await;
        trace.ended("idle base", &idle);
        let put = trace.host().rebase(&top, &base).await;
        trace.ended("rebase", &put);
        let committed = trace
            .host()
            .commit_offline(&top, &base, &trace.task())
            .await;
        trace.ended("commit", &committed);
        let cut = trace.host().shrink(&top, Bytes(1 << 20)).await;
        trace.ended("shrink to its size", &cut);
        if running {
            trace.stop().await;
        }
    }
    let reader = trace.ground.reader(&base.path);
    let idle = trace.host().idle(&base).await;
    trace.ended("idle beside a reader", &idle);
    let committed = trace
        .host()
        .commit_offline(&top, &base, &trace.task())
        .await;
    trace.ended("commit beside a reader", &committed);
    drop(reader);
    let reader = trace.ground.reader(&top.path);
    trace.start().await;
    drop(reader);
    trace.start().await;
    let pointed = trace
        .host()
        .point(&vm, &[trace.head("vdz", "a.qcow2")])
        .await;
    trace.did("point a disk that is not there", pointed).await;
    trace.stop().await;
}

pub(super) async fn files_that_are_gone<G: Ground>(trace: &mut Trace<G>) {
    let nothing = trace.image("nothing.qcow2");
    let (there, base) = (trace.image("there.qcow2"), trace.image("a.qcow2"));
    let written = trace.host().write(&there.path, b"a file").await;
    trace.ended("write", &written);
    let below = nothing.path.join("below");
    trace.say("nothing");
    let ended = trace.host().layers(&nothing).await;
    trace.ended("layers", &ended);
    let ended = trace.host().is_blank(&nothing).await;
    trace.ended("is blank", &ended);
    let ended = trace.host().idle(&nothing).await;
    trace.ended("idle", &ended);
    let ended = trace
        .host()
        .commit_offline(&nothing, &base, &trace.task())
        .await;
    trace.ended("commit", &ended);
    let ended = trace.host().rebase(&nothing, &base).await;
    trace.ended("rebase", &ended);
    let ended = trace
        .host()
        .digest(&nothing.path, ReadFrom::Memory, &trace.task())
        .await;
    trace.ended("digest", &ended);
    let ended = trace.host().read(&nothing.path).await;
    trace.ended("read", &ended);
    let ended = trace.host().sync(&nothing.path).await;
    trace.ended("sync", &ended);
    let ended = trace.host().list(&nothing.path).await;
    trace.ended("list", &ended);
    let ended = trace.host().remove(&nothing.path).await;
    trace.ended("remove", &ended);
    let ended = trace.host().rename(&nothing.path, &below).await;
    trace.ended("rename", &ended);
    let ended = trace.host().write(&below, b"").await;
    trace.ended("write below", &ended);
    let ended = trace.host().make_dir(&below).await;
    trace.ended("make a directory below", &ended);
    let ended = trace.host().rename(&there.path, &below).await;
    trace.ended("rename to below", &ended);
    trace.say("something else");
    let ended = trace.host().rename(&there.path, &base.path).await;
    trace.ended("rename onto", &ended);
    let ended = trace.host().make_dir(&there.path).await;
    trace.ended("make a directory of a file", &ended);
    let ended = trace.host().list(&there.path).await;
    trace.ended("list a file", &ended);
    let dir = trace.ground.dir().join("dir");
    for what in ["make a directory", "make it again"] {
        let ended = trace.host().make_dir(&dir).await;
        trace.ended(what, &ended);
    }
    let ended = trace.host().read(&dir).await;
    trace.ended("read a directory", &ended);
    let moved = dir.join("there");
    let ended = trace.host().rename(&there.path, &moved).await;
    trace.ended("rename into it", &ended);
    let read = trace.host().read(&moved).await;
    trace.say(&format!("it holds {:?}", read.ok()));
    let ended = trace.host().remove(&dir).await;
    trace.did("remove it with all it holds", ended).await;
    let vda = trace.overlay("vda", "a.1.qcow2");
    trace.ground.lose(&base.path);
    trace.say("the base of a disk");
    snapshot(trace, "snapshot", &[vda], &["vdb"]).await;
    trace.start().await;
}

pub(super) async fn a_vm_that_is_gone<G: Ground>(trace: &mut Trace<G>) {
    let id = format!("c0c0c0c0{}", &trace.ground.vm().as_str()[8..]);
    let (vm, vda) = (VmId::new(id), Target::new("vda"));
    let (top, base) = (trace.image("a.1.qcow2").path, trace.image("a.qcow2").path);
    let overlays = [trace.overlay("vda", "a.1.qcow2")];
    let heads = [trace.head("vda", "a.qcow2")];
    let ended = trace.host().machine(&vm).await;
    trace.ended("machine", &ended);
    for which in [Definition::Live, Definition::Persistent] {
        let ended = trace.host().definition(&vm, which).await;
        trace.ended("definition", &ended);
    }
    let ended = trace.host().snapshot(&vm, &overlays, &[], None).await;
    trace.ended("snapshot", &ended);
    let ended = trace.host().is_frozen(&vm).await;
    trace.ended("is frozen", &ended);
    let ended = trace.host().thaw(&vm).await;
    trace.ended("thaw", &ended);
    let ended = trace.host().note(&vm, None).await;
    trace.ended("note", &ended);
    let ended = trace.host().point(&vm, &heads).await;
    trace.ended("point", &ended);
    let ended = trace.host().commit(&vm, &vda, &top, &base).await;
    trace.ended("commit", &ended);
    let ended = trace.host().job(&vm, &vda).await;
    trace.ended("job", &ended);
    let ended = trace.host().end_job(&vm, &vda, true).await;
    trace.ended("end job", &ended);
    let ended = trace.host().undefine(&vm).await;
    trace.ended("undefine", &ended);
    let all = trace.host().machines().await.expect("it answers");
    let there = all.iter().any(|machine| machine.id == trace.ground.vm());
    let gone = all.iter().any(|machine| machine.id == vm);
    trace.say(&format!("among all: {there}, {gone}"));
    // Of one that is there and off, the agent answers nothing.
    let vm = trace.ground.vm();
    let ended = trace.host().is_frozen(&vm).await;
    trace.ended("is frozen", &ended);
    let ended = trace.host().thaw(&vm).await;
    trace.ended("thaw", &ended);
}
