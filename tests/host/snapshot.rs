//! Snapshots, of VMs that are on and off.

use knib::host::Host;
use knib::model::fault::Fault;
use knib::model::machine::Format;
use knib::model::step::Image;

use crate::host::lab::*;

const DRIVES: &str = "<disk type='file' device='cdrom'><target dev='sda' bus='sata'/></disk>";

/// Two disks with data, one of them raw, and further ones that stay.
struct Mixed {
    lab: Lab,
    vm: Vm,
    truth: Truth,
}

impl Mixed {
    fn new() -> Self {
        let lab = Lab::new();
        let (a, b) = (
            lab.image("a.qcow2", "qcow2", MIB),
            lab.image("b.raw", "raw", MIB),
        );
        let c = lab.image("c.qcow2", "qcow2", MIB);
        let shared = lab.image("shared.raw", "raw", MIB);
        let truth = Truth::new(&lab, MIB);
        qemu_io(&b, &["write -P 1 0 64k"]);
        truth.write(1, 0, 64 * KIB);
        let cd = lab.image("cd.iso", "raw", MIB);
        let devices = format!(
            "{DRIVES}<disk type='file' device='cdrom'><source file='{}'/>\
             <target dev='sdb' bus='sata'/></disk>\
             <disk type='file' device='disk'><driver name='qemu' type='raw' cache='none'/>\
             <source file='{}'/><target dev='vdd' bus='virtio'/><shareable/></disk>",
            cd.path, shared.path
        );
        let vm = lab.vm_with(&[("vda", &a), ("vdb", &b), ("vdc", &c)], &devices);
        Self { lab, vm, truth }
    }

    async fn snapshot(&self) -> knib::host::Result<()> {
        let overlays = [
            new_overlay("vda", &self.lab.path("a.1")),
            new_overlay("vdb", &self.lab.path("b 1 it's.qcow2")),
        ];
        let others = [target("vdc"), target("vdd")];
        host()
            .await
            .snapshot(&self.vm.id, &overlays, &others, None)
            .await
    }

    #[track_caller]
    fn is_on_overlays(&self, flags: &[&str]) {
        assert_eq!(self.vm.source("vda", flags), self.lab.at("a.1"));
        assert_eq!(self.vm.source("vdb", flags), self.lab.at("b 1 it's.qcow2"));
        assert_eq!(self.vm.source("vdc", flags), self.lab.at("c.qcow2"));
        assert_eq!(self.vm.source("vdd", flags), self.lab.at("shared.raw"));
        assert_eq!(self.vm.source("sdb", flags), self.lab.at("cd.iso"));
    }
}

#[tokio::test]
async fn of_a_vm_that_is_on() {
    let mixed = Mixed::new();
    mixed.vm.start();
    mixed.vm.write("vdb", 2, 64 * KIB, 64 * KIB);
    mixed.truth.write(2, 64 * KIB, 64 * KIB);
    mixed.snapshot().await.expect("taken");
    mixed.is_on_overlays(&[]);
    mixed.is_on_overlays(&["--inactive"]);
    assert_eq!(
        virsh(&["snapshot-list", "--name", &mixed.vm.name]).trim(),
        ""
    );

    // What the guest writes from now on is in the overlay and not below.
    mixed.vm.write("vdb", 3, 128 * KIB, 64 * KIB);
    let below = Image {
        path: mixed.lab.path("b.raw"),
        format: Format::Raw,
    };
    mixed.truth.is(&below);
    mixed.vm.stop();
    mixed.truth.write(3, 128 * KIB, 64 * KIB);
    mixed.truth.is(&qcow2(&mixed.lab.path("b 1 it's.qcow2")));
}

#[tokio::test]
async fn of_a_vm_that_is_off() {
    let mixed = Mixed::new();
    mixed.snapshot().await.expect("taken");
    mixed.is_on_overlays(&[]);
    let overlay = qcow2(&mixed.lab.path("b 1 it's.qcow2"));
    mixed.truth.is(&overlay);
    let layers = host().await.layers(&overlay).await.expect("read");
    assert_eq!(
        (&layers[1].path, &layers[1].format),
        (&mixed.lab.path("b.raw"), &Format::Raw)
    );

    mixed.vm.start();
    mixed.is_on_overlays(&[]);
    mixed.is_on_overlays(&["--inactive"]);
    mixed.vm.write("vdb", 2, 0, 64 * KIB);
    mixed.vm.stop();
    mixed.truth.write(2, 0, 64 * KIB);
    mixed.truth.is(&overlay);
    // The definition survives a restart of libvirt: it is on disk.
    let stored = std::fs::read_to_string(format!("/etc/libvirt/qemu/{}.xml", mixed.vm.name));
    assert!(stored.expect("there").contains(&mixed.lab.at("a.1")));
}

#[tokio::test]
async fn a_leftover_empty_backing_store_does_not_hide_the_disk() {
    let lab = Lab::new();
    let a = lab.image("a.qcow2", "qcow2", MIB);
    qemu_io(&a, &["write -P 1 0 64k"]);
    let truth = Truth::new(&lab, MIB);
    truth.write(1, 0, 64 * KIB);
    let vm = lab.vm(&[("vda", &a)]);
    let xml = virsh(&["dumpxml", &vm.name]);
    let xml = xml.replacen("<target dev='vda'", "<backingStore/><target dev='vda'", 1);
    std::fs::write(lab.path("edited.xml"), xml).expect("written");
    virsh(&["define", &lab.at("edited.xml")]);
    assert!(virsh(&["dumpxml", &vm.name]).contains("<backingStore/>"));
    let overlay = new_overlay("vda", &lab.path("a.1"));
    host()
        .await
        .snapshot(&vm.id, &[overlay], &[], None)
        .await
        .expect("taken");
    vm.start();
    let machine = vm.machine(&host().await).await;
    assert_eq!(machine.disks[0].live, [lab.path("a.1"), a.path.clone()]);
    vm.stop();
    truth.is(&qcow2(&lab.path("a.1")));
}

#[tokio::test]
async fn a_failure_leaves_every_disk_as_it_was() {
    for on in [true, false] {
        let lab = Lab::new();
        let (a, b) = (
            lab.image("a.qcow2", "qcow2", MIB),
            lab.image("b.raw", "raw", MIB),
        );
        let vm = lab.vm(&[("vda", &a), ("vdb", &b)]);
        if on {
            vm.start();
        }
        let host = host().await;
        let before = virsh(&["domblklist", &vm.name]);
        let good = new_overlay("vda", &lab.path("a.1"));
        let nowhere = new_overlay("vdb", &lab.path("nowhere/b.1"));
        let error = host
            .snapshot(&vm.id, &[good.clone(), nowhere], &[], None)
            .await;
        let error = error.expect_err("the directory is missing");
        // The VM is there: nothing that is missing beside it is `Gone`.
        assert_eq!(error.fault, Fault::Conflict, "{error}");
        assert_eq!(error.tried, format!("snapshot vda, vdb of {}", vm.name));

        std::fs::write(lab.path("b.1"), "something").expect("written");
        let taken = new_overlay("vdb", &lab.path("b.1"));
        let error = host
            .snapshot(&vm.id, &[good.clone(), taken], &[], None)
            .await;
        assert_eq!(error.expect_err("a file is there").fault, Fault::Conflict);
        assert_eq!(std::fs::read(lab.path("b.1")).expect("there"), b"something");

        let stranger = new_overlay("vdz", &lab.path("z.1"));
        let error = host
            .snapshot(&vm.id, &[good, stranger], &[target("vdb")], None)
            .await;
        assert_eq!(error.expect_err("no such disk").fault, Fault::Conflict);
        assert_eq!(virsh(&["domblklist", &vm.name]), before);
        assert!(!lab.path("a.1").exists(), "what was made is taken away");
    }
}

#[tokio::test]
async fn a_disk_that_nobody_named_is_not_touched() {
    let lab = Lab::new();
    let (a, b) = (
        lab.image("a.qcow2", "qcow2", MIB),
        lab.image("b.raw", "raw", MIB),
    );
    let vm = lab.vm(&[("vda", &a), ("vdb", &b)]);
    let overlay = new_overlay("vda", &lab.path("a.1"));
    let error = host()
        .await
        .snapshot(&vm.id, &[overlay], &[], None)
        .await
        .expect_err("vdb");
    assert_eq!(error.fault, Fault::Conflict);
    assert!(error.cause.contains("vdb"), "{error}");
    assert!(!lab.path("a.1").exists());
}

/// libvirt 9.0 would make another file than the one it defines, and the VM could not start.
#[tokio::test]
async fn a_comma_is_refused_where_libvirt_misspells_it() {
    let lab = Lab::new();
    let a = lab.image("a,b.qcow2", "qcow2", MIB);
    let vm = lab.vm(&[("vda", &a)]);
    let (host, overlay) = (host().await, [new_overlay("vda", &lab.path("a,b.1"))]);
    let error = host
        .snapshot(&vm.id, &overlay, &[], None)
        .await
        .expect_err("it is off");
    assert_eq!(error.fault, Fault::Unsupported);
    assert_eq!(vm.source("vda", &[]), a.path);
    vm.start();
    host.snapshot(&vm.id, &overlay, &[], None)
        .await
        .expect("taken");
    assert!(lab.path("a,b.1").exists());
    assert_eq!(vm.source("vda", &["--inactive"]), lab.at("a,b.1"));
}
