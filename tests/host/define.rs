//! Definitions changed, made and taken away.

use knib::host::Definition;
use knib::host::Head;
use knib::host::Host;
use knib::host::Renewal;
use knib::model::fault::Fault;
use knib::model::id::VmId;
use knib::model::machine::Format;
use knib::model::machine::Note;
use knib::model::op::Manner;

use crate::host::lab::*;

fn head(name: &str, image: &knib::model::step::Image) -> Head {
    Head::new(target(name), image.clone())
}

#[tokio::test]
async fn disks_that_are_pointed_side_by_side_all_are() {
    let lab = Lab::new();
    let image = |name: &str| lab.image(name, "qcow2", MIB);
    let [a, b, c] = ["a", "b", "c"].map(image);
    let vm = lab.vm(&[("vda", &a), ("vdb", &b), ("vdc", &c)]);
    let host = host().await;
    for round in 0..8 {
        let [a, b, c] = ["a", "b", "c"].map(|name| image(&format!("{name}{round}")));
        let [vda, vdb, vdc] = [head("vda", &a), head("vdb", &b), head("vdc", &c)].map(|one| [one]);
        let (one, two, three) = tokio::join!(
            host.point(&vm.id, &vda),
            host.point(&vm.id, &vdb),
            host.point(&vm.id, &vdc)
        );
        one.and(two).and(three).expect("pointed");
        for (target, image) in [("vda", a), ("vdb", b), ("vdc", c)] {
            assert_eq!(vm.source(target, &["--inactive"]), image.path, "{round}");
        }
    }
}

fn new_id() -> VmId {
    VmId::new(
        std::fs::read_to_string("/proc/sys/kernel/random/uuid")
            .expect("there")
            .trim(),
    )
}

#[tokio::test]
async fn disks_are_pointed_elsewhere() {
    let lab = Lab::new();
    let (a, b) = (
        lab.image("a.raw", "raw", MIB),
        lab.image("b.qcow2", "qcow2", MIB),
    );
    qemu_io(&a, &["write -P 1 0 64k"]);
    let vm = lab.vm_with(
        &[("vda", &a), ("vdb", &b)],
        "<graphics type='vnc' autoport='yes' listen='127.0.0.1' passwd='s3cret'/><video><model type='vga'/></video>",
    );
    let host = host().await;
    // A definition that names the files below, and is believed.
    vm.start();
    let overlay = new_overlay("vda", &lab.path("a.1"));
    host.snapshot(&vm.id, &[overlay], &[target("vdb")], None)
        .await
        .expect("taken");
    vm.stop();
    let before = host
        .definition(&vm.id, Definition::Persistent)
        .await
        .expect("read");
    assert!(before.contains("<backingStore"));

    let odd = lab.overlay("it's \"a\" & <b>, c", &qcow2(&lab.path("a.1")));
    host.point(&vm.id, &[head("vda", &odd)])
        .await
        .expect("pointed");
    let after = virsh(&["dumpxml", "--security-info", "--inactive", &vm.name]);
    assert!(!after.contains("<backingStore") && after.contains("s3cret"));
    assert_eq!(vm.source("vda", &["--inactive"]), odd.path);
    assert_eq!(vm.source("vdb", &["--inactive"]), b.path);
    vm.start();
    let live = vm.machine(&host).await.disks[0].live.clone();
    assert_eq!(live, [odd.path.clone(), lab.path("a.1"), a.path.clone()]);
    vm.stop();

    // Back to where it began: the rest is as it was, byte for byte.
    host.point(&vm.id, &[head("vda", &qcow2(&lab.path("a.1")))])
        .await
        .expect("pointed");
    let back = host
        .definition(&vm.id, Definition::Persistent)
        .await
        .expect("read");
    let start = before.find("\n      <backingStore").expect("one");
    let end = before.rfind("</backingStore>").expect("one") + "</backingStore>".len();
    assert_eq!(back, [&before[..start], &before[end..]].concat());

    let error = host
        .point(&vm.id, &[head("vdz", &a)])
        .await
        .expect_err("no such disk");
    assert_eq!(error.fault, Fault::Conflict);
}

#[tokio::test]
async fn a_running_vm_keeps_its_disks_until_the_next_start() {
    let lab = Lab::new();
    let (a, b) = (
        lab.image("a.qcow2", "qcow2", MIB),
        lab.image("b.qcow2", "qcow2", MIB),
    );
    let vm = lab.vm(&[("vda", &a)]);
    vm.start();
    let host = host().await;
    host.point(&vm.id, &[head("vda", &b)])
        .await
        .expect("pointed");
    let machine = vm.machine(&host).await;
    assert_eq!(machine.disks[0].head(), Some(&*a.path));
    assert_eq!(
        machine.disks[0]
            .inactive
            .as_ref()
            .and_then(|source| source.file()),
        Some(&*b.path)
    );
}

/// From the definition of a VM that runs, in the middle of a commit: the hardest to start from.
#[tokio::test]
async fn a_new_vm_runs_beside_its_original() {
    let lab = Lab::new();
    let (a, b) = (
        lab.image("a.qcow2", "qcow2", MIB),
        lab.image("b.raw", "raw", MIB),
    );
    let golden = lab.image("golden", "qcow2", MIB);
    std::fs::write(lab.path("console"), "").expect("written");
    let devices = format!(
        "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{golden}'/>\
         <target dev='vdc' bus='virtio'/><readonly/></disk>\
         <disk type='file' device='cdrom'><target dev='sda' bus='sata'/></disk>\
         <interface type='user'><mac address='52:54:00:aa:bb:01'/><model type='virtio'/></interface>\
         <serial type='file'><source path='{console}'/></serial>\
         <channel type='unix'><source mode='bind' path='{agent}'/>\
         <target type='virtio' name='org.qemu.guest_agent.0'/></channel>\
         <graphics type='vnc' port='{port}' autoport='no' listen='127.0.0.1' passwd='s3cret'/>\
         <video><model type='vga'/></video>",
        golden = golden.path,
        console = lab.path("console"),
        agent = lab.path("agent.sock"),
        port = 20_000 + std::process::id() % 30_000,
    );
    run("chown", &["libvirt-qemu", lab.dir().as_str()]);
    let vm = lab.vm_with(&[("vda", &a), ("vdb", &b)], &devices);
    let host = host().await;
    host.note(
        &vm.id,
        Some(&Note {
            serial: 3,
            ..Note::default()
        }),
    )
    .await
    .expect("written");
    vm.start();
    let overlay = new_overlay("vda", &lab.path("a.1"));
    host.snapshot(&vm.id, &[overlay], &[target("vdb"), target("vdc")], None)
        .await
        .expect("taken");
    host.commit(&vm.id, &target("vda"), &lab.path("a.1"), &a.path)
        .await
        .expect("begun");
    let definition = host
        .definition(&vm.id, Definition::Live)
        .await
        .expect("read");
    assert!(definition.contains("<mirror"));

    let copy = lab.image("copy", "raw", MIB);
    let id = new_id();
    let renewal = Renewal {
        id: id.clone(),
        name: format!("{}-new", vm.name),
        heads: vec![head("vda", &copy)],
        nvram: None,
        manner: Manner::default(),
    };
    host.define(&definition, &renewal).await.expect("defined");
    let new = Vm::named(&renewal.name);
    assert_eq!(new.id, id);
    let machine = new.machine(&host).await;
    let disks: Vec<_> = machine
        .disks
        .iter()
        .map(|disk| disk.target.as_str())
        .collect();
    assert_eq!(
        disks,
        ["vda", "vdc", "sda"],
        "its other writable disk is dropped"
    );
    assert_eq!(machine.disks[0].head(), Some(&*copy.path));
    assert_eq!((machine.note, machine.persistent), (None, true));
    let xml = virsh(&["dumpxml", "--security-info", &new.name]);
    assert!(
        !xml.contains("52:54:00:aa:bb:01") && xml.contains("<mac address="),
        "{xml}"
    );
    assert!(
        xml.contains("s3cret") && !xml.contains("<seclabel"),
        "{xml}"
    );
    // Its console and its agent speak to nobody else's files and sockets.
    assert!(!xml.contains(&lab.at("agent.sock")), "{xml}");
    assert!(!xml.contains(&lab.at("console")), "{xml}");
    new.start();
    assert_eq!(new.machine(&host).await.disks[0].live, [&*copy.path]);
    assert_eq!(vm.source("vda", &[]), lab.at("a.1"));

    let again = host
        .define(&definition, &renewal)
        .await
        .expect_err("it is there");
    assert_eq!(again.fault, Fault::Conflict);
    let same_name = Renewal {
        id: new_id(),
        ..renewal
    };
    let error = host
        .define(&definition, &same_name)
        .await
        .expect_err("the name is taken");
    assert_eq!(error.fault, Fault::Conflict, "{error}");
}

#[tokio::test]
async fn a_vm_with_uefi_variables() {
    let lab = Lab::new();
    let a = lab.image("a.qcow2", "qcow2", MIB);
    for name in ["CODE.fd", "VARS.fd", "vm_VARS.fd", "new_VARS.fd"] {
        let file = std::fs::File::create(lab.path(name)).expect("made");
        file.set_len(4 * MIB).expect("sized");
    }
    let vm = lab.vm(&[("vda", &a)]);
    let os = format!(
        "<loader readonly='yes' type='pflash'>{}</loader><nvram template='{}'>{}</nvram>",
        lab.path("CODE.fd"),
        lab.path("VARS.fd"),
        lab.path("vm_VARS.fd"),
    );
    let xml = virsh(&["dumpxml", &vm.name]).replace("</type>", &format!("</type>{os}"));
    std::fs::write(lab.path("edited.xml"), xml).expect("written");
    virsh(&["define", &lab.at("edited.xml")]);
    let host = host().await;
    let definition = host
        .definition(&vm.id, Definition::Persistent)
        .await
        .expect("read");
    assert_eq!(
        vm.machine(&host).await.firmware.nvram,
        Some(lab.path("vm_VARS.fd"))
    );

    let mut renewal = Renewal {
        id: new_id(),
        name: format!("{}-new", vm.name),
        heads: vec![head("vda", &lab.image("copy", "qcow2", MIB))],
        nvram: Some(lab.path("new_VARS.fd")),
        manner: Manner::default(),
    };
    host.define(&definition, &renewal).await.expect("defined");
    let new = Vm::named(&renewal.name);
    assert_eq!(new.machine(&host).await.firmware.nvram, renewal.nvram);
    new.start();
    let error = host.undefine(&new.id).await.expect_err("it is on");
    assert_eq!(error.fault, Fault::Conflict);
    new.stop();
    host.undefine(&new.id).await.expect("gone");
    assert_eq!(
        host.machine(&new.id).await.expect_err("gone").fault,
        Fault::Gone
    );
    assert!(!lab.path("new_VARS.fd").exists() && lab.path("copy").exists());
    assert!(lab.path("vm_VARS.fd").exists());

    // Without a file of its own it gets one that libvirt chooses, never the original's.
    renewal.nvram = None;
    renewal.id = new_id();
    host.define(&definition, &renewal).await.expect("defined");
    let new = Vm::named(&renewal.name);
    let nvram = new
        .machine(&host)
        .await
        .firmware
        .nvram
        .expect("libvirt's choice");
    assert!(nvram.as_str().contains(&renewal.name), "{nvram}");
    let xml = virsh(&["dumpxml", &new.name]);
    assert!(
        xml.contains(&format!("template='{}'", lab.path("VARS.fd"))),
        "{xml}"
    );
}

#[tokio::test]
async fn a_vm_whose_saved_run_would_be_lost_is_not_taken_away() {
    let lab = Lab::new();
    let vm = lab.vm(&[("vda", &lab.image("a.qcow2", "qcow2", MIB))]);
    vm.start();
    virsh(&["managedsave", &vm.name]);
    let host = host().await;
    assert_eq!(
        host.undefine(&vm.id)
            .await
            .expect_err("a run is saved")
            .fault,
        Fault::Conflict
    );
    virsh(&["managedsave-remove", &vm.name]);
    host.undefine(&vm.id).await.expect("taken away");
    assert!(lab.path("a.qcow2").exists());
    assert_eq!(Format::named("qcow2"), Format::Qcow2);
}
