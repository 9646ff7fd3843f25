//! VMs that leave: by another policy, by none at all, by being undefined. Nothing of knib stays with
//! them, and their backups stay with knib.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::Disk;
use crate::support::KIB;
use crate::support::MIB;
use crate::support::Vm;
use crate::support::oracle;
use crate::support::tool::qemu_img;
use crate::support::tool::virsh;
use crate::support::vm::Xml;

use super::judge::assert_holds;
use super::site::Site;
use super::site::assert_unchanged;

/// What `qemu-img` says of a disk and everything below it, but for how much room it takes.
fn layers(disk: &Path) -> String {
    let args = ["info", "-U", "--backing-chain", "--output=json"].map(Path::new);
    let said = qemu_img(args.into_iter().chain([disk])).must();
    let mut said: Value = serde_json::from_str(&said).expect("qemu-img prints JSON");
    forget_room(&mut said);
    format!("{said:#}\n")
}

fn forget_room(value: &mut Value) {
    match value {
        Value::Object(keys) => {
            keys.remove("actual-size");
            keys.remove("dirty-flag");
            keys.values_mut().for_each(forget_room);
        }
        Value::Array(all) => all.iter_mut().for_each(forget_room),
        _ => {}
    }
}

/// Both definitions and the layers of each disk. Two things of the live one go with the process alone
/// and are not compared: the number that libvirt gives each layer that QEMU opens, and the empty
/// element that it leaves where there was metadata.
fn trace(vm: &Vm) -> String {
    let [live, inactive] = [Xml::Live, Xml::Inactive].map(|which| vm.xml(which));
    let mut live = live;
    while let Some(at) = live.find(" index='") {
        let end = at + live[at + 8..].find('\'').expect("it is closed") + 9;
        live.replace_range(at..end, "");
    }
    live = live.replace("  <metadata/>\n", "");
    let disks = vm.disks.values().map(|disk| layers(disk));
    [live, inactive].into_iter().chain(disks).collect()
}

/// A VM with a qcow2 disk and a raw one.
fn vm(site: &Site, name: &str) -> Vm {
    site.vm(name)
        .disk(Disk::qcow2("vda", 8 * MIB))
        .disk(Disk::raw("vdb", 4 * MIB))
        .define()
}

fn nobody(site: &Site) {
    let policies = "policies:\n  all:";
    let file = site.path("knib.yaml");
    let text = fs::read_to_string(&file).expect("the sandbox has a policy");
    let (before, _) = text.split_once(policies).expect("it has policies");
    site.policy(&format!("{before}policies: {{}}\n"));
}

#[test]
fn an_empty_policy_leaves_no_trace_of_knib() {
    let site = Site::new();
    let vms = ["on", "off"].map(|name| vm(&site, name));
    vms[0].start_paused();
    // What somebody else keeps there stays.
    let metadata = [
        "metadata",
        &vms[1].name,
        "--uri",
        "urn:other",
        "--key",
        "o",
        "--set",
        "<x/>",
        "--config",
    ];
    virsh(metadata).must();
    let before: Vec<_> = vms.iter().map(trace).collect();
    for vm in &vms {
        vm.write("vda", 0, 0x11, 256 * KIB);
        vm.write("vdb", 0, 0x22, 128 * KIB);
    }
    site.apply().exits(0);
    let mut taken = Vec::new();
    for vm in &vms {
        vm.write("vda", 128 * KIB, 0x33, 256 * KIB);
        taken.push((site.backup(vm, &[]), vm.truth("vda")));
        vm.write("vdb", MIB, 0x44, 64 * KIB);
        assert!(vm.xml(Xml::Inactive).contains("urn:knib"));
    }

    nobody(&site);
    site.refuses(
        &vms[0],
        &["apply", "--auto-approve"],
        1,
        &["every VM would leave", "--allow-empty"],
    );
    site.knib(["apply", "--auto-approve", "--allow-empty"])
        .exits(0);
    for (vm, before) in vms.iter().zip(&before) {
        assert_unchanged(before, &trace(vm));
        site.assert_no_delta(vm);
    }
    let plan = site.knib(["plan", "--detailed-exitcode"]).exits(0);
    assert!(plan.stdout.contains("No changes"), "{plan}");
    let listed = site.knib(["vm", "list"]).exits(0).stdout;
    assert_eq!(listed.matches(" left ").count(), 2, "{listed}");
    let stays: Vec<_> = vms.iter().map(|vm| site.backups(vm).len()).collect();
    assert_eq!(stays, [2, 2]);
    for (backup, truth) in &taken {
        assert_holds(&backup.file("vda"), truth);
    }
    vms[0].destroy();
    for vm in &vms {
        for target in ["vda", "vdb"] {
            assert_holds(&vm.disks[target], &vm.truth(target));
        }
    }
}

#[test]
fn a_vm_that_is_not_selected_any_more_leaves_and_comes_back_with_a_full() {
    let site = Site::new();
    let vms = ["a", "b"].map(|name| vm(&site, name));
    vms[0].start_paused();
    site.apply().exits(0);
    vms[0].write("vda", 0, 0x11, 64 * KIB);
    let all = "select: { names: [\"$RUN-*\"] }";
    let one = "select: { names: [\"$RUN-b\"] }";
    site.change_policy(all, one);
    site.apply().exits(0);
    for (target, file) in &vms[0].disks {
        assert_eq!(vms[0].source(target), *file);
    }
    assert!(!vms[0].xml(Xml::Inactive).contains("urn:knib"));
    let status = site.knib(["status", "--format", "json"]).exits(0).json();
    let of = |name: &str| {
        let mut all = status.as_array().expect("a list").iter();
        all.find(|vm| vm["name"] == name).expect("it is listed")
    };
    assert_eq!(
        (&of(&vms[0].name)["left"], &of(&vms[1].name)["left"]),
        (&true.into(), &false.into())
    );

    // A line less, and nobody would be left: that is refused like an empty policy.
    site.change_policy(one, "select: { names: [\"$RUN-c\"] }");
    site.refuses(
        &vms[1],
        &["apply", "--auto-approve"],
        1,
        &["every VM would leave", "--allow-empty"],
    );
    site.change_policy("select: { names: [\"$RUN-c\"] }", all);
    site.apply().exits(0);
    let back = site.backup(&vms[0], &[]);
    assert_eq!((back.kind(), &back.0["chain"]), ("full", &2.into()));
    assert_holds(&back.file("vda"), &vms[0].truth("vda"));
}

#[test]
fn an_undefined_vm_keeps_its_backups_and_what_it_wrote_last() {
    let site = Site::new();
    let vm = vm(&site, "a");
    vm.write("vda", 0, 0x11, 64 * KIB);
    let first = (site.first(&vm), vm.truth("vda"));
    vm.write("vda", 128 * KIB, 0x22, 64 * KIB);
    let truth = vm.truth("vda");
    let [uuid, xml] = [vm.uuid(), vm.xml(Xml::Inactive)];
    let delta = vm.source("vda");
    virsh(["undefine", &vm.name]).must();

    let before = oracle::listing(&site.primary());
    let plan = site.knib(["plan"]).exits(0);
    let said = plan
        .to_string()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    assert!(
        said.contains("is not defined here any more; what it wrote last is in"),
        "{plan}"
    );
    site.apply().exits(0);
    site.knib(["apply", "--auto-approve"]).exits(0);
    assert_eq!(
        oracle::listing(&site.primary()),
        before,
        "primary was touched"
    );
    let gone = site
        .knib(["vm", "list", "--format", "json"])
        .exits(0)
        .json();
    let gone = gone
        .as_array()
        .expect("a list")
        .iter()
        .find(|one| one["uuid"] == uuid.as_str());
    let gone = gone.expect("it is listed");
    assert_eq!(
        (&gone["state"], &gone["left"]),
        (&"gone".into(), &true.into())
    );
    assert_holds(&first.0.file("vda"), &first.1);
    site.knib(["chain", "finish", &vm.name]).exits(1);

    // Defined again it goes on where it was.
    let file = site.path("again.xml");
    fs::write(&file, xml).expect("the directory is the test's own");
    virsh([Path::new("define"), &file]).must();
    site.apply().exits(0);
    let next = site.backup(&vm, &[]);
    assert_eq!(next.parent(), Some(first.0.id()));
    assert_holds(&next.file("vda"), &truth);
    assert!(!delta.exists(), "it was merged");

    // Its last backup can go without it, and its delta stays.
    virsh(["undefine", &vm.name]).must();
    let before = oracle::listing(&site.primary());
    site.knib(["backup", "delete", next.id()]).exits(0);
    assert!(!next.dir().exists());
    assert_eq!(
        oracle::listing(&site.primary()),
        before,
        "primary was touched"
    );
    assert_holds(&first.0.file("vda"), &first.1);
}
