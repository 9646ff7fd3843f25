//! Observing, definitions, notes.

use std::collections::BTreeMap;

use knib::host::Definition;
use knib::host::Host;
use knib::host::Local;
use knib::model::fault::Fault;
use knib::model::id::BackupId;
use knib::model::id::VmId;
use knib::model::machine::Agent;
use knib::model::machine::Device;
use knib::model::machine::Note;
use knib::model::machine::Power;
use knib::model::machine::Source;
use knib::model::snapshot::Snapshots;

use crate::host::lab::*;

#[tokio::test]
async fn the_host_says_who_it_is() {
    let identity = host().await.identity().await.expect("told");
    let uuid = format!("<uuid>{}</uuid>", identity.id);
    assert!(virsh(&["capabilities"]).contains(&uuid), "{uuid}");
    let version = virsh(&["version"]);
    assert!(
        version.contains(&format!("Using library: libvirt {}", identity.libvirt)),
        "{version}"
    );
    assert!(
        version.contains(&format!("Running hypervisor: QEMU {}", identity.qemu)),
        "{version}"
    );
    assert_eq!(identity.hostname, virsh(&["hostname"]).trim());
}

#[tokio::test]
async fn a_daemon_that_does_not_answer_is_named() {
    let uri = "qemu+unix:///system?socket=/nonexistent/libvirt-sock";
    let error = Local::connect(uri).await.expect_err("nobody listens there");
    assert_eq!(error.tried, format!("connect to libvirt at {uri}"));
    assert!(
        error.cause.contains("No such file or directory"),
        "{}",
        error.cause
    );
    assert!(error.hint.expect("a hint").contains("is libvirtd running"));
    for uri in ["qemu+ssh://elsewhere/system", "test:///default"] {
        let error = Local::connect(uri).await.expect_err("not this host's QEMU");
        assert_eq!(error.fault, Fault::Unsupported, "{error}");
    }
}

#[tokio::test]
async fn a_vm_off_and_on() {
    let lab = Lab::new();
    let (a, b) = (
        lab.image("a.qcow2", "qcow2", MIB),
        lab.image("b.raw", "raw", MIB),
    );
    let vm = lab.vm_with(
        &[("vda", &a), ("vdb", &b)],
        "<disk type='file' device='cdrom'><target dev='sda' bus='sata'/></disk>\
         <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>",
    );
    let host = host().await;
    let off = vm.machine(&host).await;
    assert_eq!(
        (off.power.clone(), off.persistent, off.managed_save),
        (Power::Off, true, false)
    );
    assert_eq!(
        (&off.id, &off.name, off.agent),
        (&vm.id, &vm.name, Agent::Silent)
    );
    let targets: Vec<_> = off.disks.iter().map(|disk| disk.target.as_str()).collect();
    assert_eq!(targets, ["vda", "vdb", "sda"]);
    assert_eq!(off.disks[0].head(), Some(&*a.path));
    assert_eq!(off.disks[0].source, off.disks[0].inactive);
    assert_eq!(
        (off.disks[0].live.len(), off.disks[2].device),
        (0, Device::Cdrom)
    );
    assert_eq!((&off.disks[2].source, off.disks[2].readonly), (&None, true));

    vm.start();
    let on = vm.machine(&host).await;
    assert_eq!(on.power, Power::Paused { io_error: false });
    assert_eq!(on.disks[1].live, [&*b.path]);
    assert_eq!(on.disks[1].source, off.disks[1].source);
    assert_eq!(on.disks[1].inactive, off.disks[1].inactive);
    assert!(on.disks.iter().all(|disk| disk.job.is_none()));
    virsh(&["resume", &vm.name]);
    assert_eq!(vm.machine(&host).await.power, Power::Running);

    let all = host.machines().await.expect("listed");
    let listed = all
        .iter()
        .find(|machine| machine.id == vm.id)
        .expect("it is among them");
    assert_eq!(listed.disks, vm.machine(&host).await.disks);
}

#[tokio::test]
async fn what_a_start_or_a_revert_would_bring_back_is_seen() {
    let lab = Lab::new();
    let a = lab.image("a.qcow2", "qcow2", MIB);
    let vm = lab.vm(&[("vda", &a)]);
    let host = host().await;
    vm.start();
    virsh(&["managedsave", &vm.name]);
    let machine = vm.machine(&host).await;
    assert_eq!((machine.power, machine.managed_save), (Power::Off, true));
    virsh(&["managedsave-remove", &vm.name]);
    virsh(&["snapshot-create-as", &vm.name, "before-upgrade"]);
    assert_eq!(vm.machine(&host).await.snapshots, ["before-upgrade"]);
}

#[tokio::test]
async fn the_two_definitions_of_a_disk_are_told_apart() {
    let lab = Lab::new();
    let (a, b) = (
        lab.image("a.qcow2", "qcow2", MIB),
        lab.image("b.qcow2", "qcow2", MIB),
    );
    let vm = lab.vm(&[("vda", &a)]);
    vm.start();
    virsh(&[
        "attach-disk",
        &vm.name,
        b.path.as_str(),
        "vdb",
        "--subdriver",
        "qcow2",
        "--config",
    ]);
    let host = host().await;
    let machine = vm.machine(&host).await;
    let vdb = machine.disk(&target("vdb")).expect("its next start has it");
    assert_eq!(vdb.source, None);
    assert_eq!(vdb.inactive.as_ref().and_then(Source::file), Some(&*b.path));
}

#[tokio::test]
async fn a_transient_vm_has_no_persistent_definition() {
    let lab = Lab::new();
    let a = lab.image("a.qcow2", "qcow2", MIB);
    let vm = lab.vm(&[("vda", &a)]);
    vm.start();
    virsh(&["undefine", &vm.name]);
    let host = host().await;
    let machine = vm.machine(&host).await;
    assert!(!machine.persistent);
    assert_eq!(machine.disks[0].inactive, None);
    let error = host
        .definition(&vm.id, Definition::Persistent)
        .await
        .expect_err("it has none");
    assert_eq!(error.fault, Fault::Conflict);
    let live = host
        .definition(&vm.id, Definition::Live)
        .await
        .expect("it runs");
    assert!(live.contains(a.path.as_str()));
}

#[tokio::test]
async fn paths_are_canonical_however_they_are_spelled() {
    let lab = Lab::new();
    let a = lab.image("a.qcow2", "qcow2", MIB);
    std::os::unix::fs::symlink(lab.dir(), lab.path("link")).expect("linked");
    // A relative link through `..`, as between the directories of backups.
    std::fs::create_dir(lab.path("b2")).expect("made");
    let up = lab.dir();
    let name = format!("../link/{}", a.path.file_name().expect("a file"));
    qemu_img(&[
        "create",
        "-q",
        "-f",
        "qcow2",
        "-F",
        "qcow2",
        "-b",
        &name,
        up.join("b2/b.qcow2").as_str(),
    ]);
    let vm = lab.vm(&[("vda", &qcow2(&lab.path("link/b2/b.qcow2")))]);
    vm.start();
    let host = host().await;
    let machine = vm.machine(&host).await;
    assert_eq!(
        machine.disks[0].live,
        [lab.path("b2/b.qcow2"), a.path.clone()]
    );
    assert_eq!(machine.disks[0].head(), Some(&*lab.path("b2/b.qcow2")));
    let layers = host
        .layers(&qcow2(&lab.path("link/b2/b.qcow2")))
        .await
        .expect("read");
    let layers: Vec<_> = layers.into_iter().map(|layer| layer.path).collect();
    assert_eq!(layers, machine.disks[0].live);
    // libvirt knows the base by its own spelling; the canonical one finds it.
    host.commit(&vm.id, &target("vda"), &lab.path("b2/b.qcow2"), &a.path)
        .await
        .expect("begun");
    wait_for("the commit", || {
        virsh(&["dumpxml", &vm.name])
            .contains("ready='yes'")
            .then_some(())
    });
    host.end_job(&vm.id, &target("vda"), true)
        .await
        .expect("pivoted");
    assert_eq!(vm.machine(&host).await.disks[0].live, [a.path]);
}

#[tokio::test]
async fn definitions_come_with_their_secrets() {
    let lab = Lab::new();
    let a = lab.image("a.qcow2", "qcow2", MIB);
    let vm = lab.vm_with(
        &[("vda", &a)],
        "<graphics type='vnc' autoport='yes' listen='127.0.0.1' passwd='s3cret'/><video><model type='vga'/></video>",
    );
    let host = host().await;
    vm.start();
    for (which, flags) in [
        (Definition::Live, &[][..]),
        (Definition::Persistent, &["--inactive"]),
    ] {
        let xml = host.definition(&vm.id, which).await.expect("read");
        let args = [&["dumpxml", "--security-info", &vm.name], flags].concat();
        assert_eq!(xml.trim_end(), virsh(&args).trim_end());
        assert!(xml.contains("s3cret"));
    }
    vm.stop();
    let live = host
        .definition(&vm.id, Definition::Live)
        .await
        .expect("read");
    assert_eq!(
        live,
        host.definition(&vm.id, Definition::Persistent)
            .await
            .expect("read")
    );
}

#[tokio::test]
async fn a_note_is_written_and_taken_away() {
    let lab = Lab::new();
    let a = lab.image("a.qcow2", "qcow2", MIB);
    let vm = lab.vm(&[("vda", &a)]);
    let host = host().await;
    let first = Note {
        serial: 1,
        current: None,
        snapshots: Snapshots::default(),
        ..Note::default()
    };
    host.note(&vm.id, Some(&first)).await.expect("written");
    assert_eq!(vm.machine(&host).await.note, Some(first));
    vm.start();
    let second = Note {
        serial: 2,
        current: Some(BackupId::new("20261123-020000-3fa9c1d2")),
        snapshots: Snapshots::default(),
        ..Note::default()
    };
    host.note(&vm.id, Some(&second)).await.expect("written");
    assert_eq!(vm.machine(&host).await.note, Some(second));
    for flags in [&[][..], &["--inactive"]] {
        let xml = virsh(&[&["dumpxml", &vm.name], flags].concat());
        assert!(
            xml.contains(r#"serial="2" current="20261123-020000-3fa9c1d2""#),
            "{xml}"
        );
    }
    for _ in 0..2 {
        host.note(&vm.id, None).await.expect("taken away");
        assert_eq!(vm.machine(&host).await.note, None);
    }
    assert!(!virsh(&["dumpxml", &vm.name]).contains("urn:knib"));
}

#[tokio::test]
async fn tags_are_read() {
    let lab = Lab::new();
    let a = lab.image("a.qcow2", "qcow2", MIB);
    let vm = lab.vm(&[("vda", &a)]);
    virsh(&[
        "metadata",
        &vm.name,
        "urn:knib:tags:1",
        "--key",
        "knib",
        "--set",
        "<tags><tag k='env' v='prod'/><tag k='tier' v='1'/></tags>",
    ]);
    let tags = vm.machine(&host().await).await.tags;
    let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
    assert_eq!(
        tags,
        BTreeMap::from([pair("env", "prod"), pair("tier", "1")])
    );
}

#[tokio::test]
async fn a_vm_that_is_not_there_is_gone() {
    let host = host().await;
    let nobody = VmId::new("00000000-0000-4000-8000-00000000dead");
    let error = host.machine(&nobody).await.expect_err("nobody");
    assert_eq!(error.fault, Fault::Gone);
    assert!(error.to_string().contains(nobody.as_str()), "{error}");
    assert_eq!(
        host.note(&nobody, None).await.expect_err("nobody").fault,
        Fault::Gone
    );
    assert_eq!(
        host.undefine(&nobody).await.expect_err("nobody").fault,
        Fault::Gone
    );
}

/// VMs come and go while others are listed.
#[tokio::test]
async fn listing_outlives_vms_that_vanish() {
    let lab = Lab::new();
    let a = lab.image("a.qcow2", "qcow2", MIB);
    let stays = lab.vm(&[("vda", &a)]);
    let host = host().await;
    let churn = std::thread::spawn(|| {
        for _ in 0..10 {
            let lab = Lab::new();
            let a = lab.image("a.qcow2", "qcow2", MIB);
            drop(lab.vm(&[("vda", &a)]));
        }
    });
    while !churn.is_finished() {
        let all = host.machines().await.expect("listed");
        assert!(all.iter().any(|machine| machine.id == stays.id));
    }
    churn.join().expect("no panic");
}
