//! Quick restore of one disk: it comes over the backup itself, to a VM that runs or is started with it, and stands
//! alone when it is written.

use std::path::Path;

use crate::support::Disk;
use crate::support::KIB;
use crate::support::MIB;
use crate::support::oracle;
use crate::support::tool::run;
use crate::support::tool::virsh;
use crate::support::vm::Xml;

use super::judge::assert_holds;
use super::quick::assert_alone;
use super::quick::in_the_middle_of;
use super::quick::owners;
use super::quick::slowly;
use super::quick::with_a_chain;
use super::site::assert_unchanged;

#[test]
fn it_comes_to_a_vm_that_runs_and_to_one_that_is_off() {
    let (site, vm, taken) = with_a_chain(4 * MIB);
    let port = |n| format!("<controller type='pci' index='{n}' model='pcie-root-port'/>");
    let ports: String = (1..5).map(port).collect();
    let ports = format!("<controller type='pci' index='0' model='pcie-root'/>{ports}");
    // Whatever is mounted there from now on, nobody sees who runs already.
    let late = site.make_dir("late").display().to_string();
    run("mount", ["--bind", &late, &late]).must();
    run("mount", ["--make-private", &late]).must();
    let other = site.vm("b").device(&ports);
    let other = other.disk(Disk::qcow2("vda", MIB)).start_paused();
    run(
        "mount",
        ["--bind", &site.storage().display().to_string(), &late],
    )
    .must();

    let [(first, at_first), (second, at_second)] = &taken;
    let restore = ["restore", "disk", second.id(), "vda", "--to", &other.name];
    let restore = [&restore[..], &["--quick"]].concat();
    let with = |more: &[&'static str]| [&restore[..], more].concat();
    site.knib(with(&["--disk-format", "raw"])).exits(64);
    let unseen = [&restore[..], &["--from", &late]].concat();
    let there = || oracle::listing(&site.primary());
    let primary = there();
    let refused = site.knib(unseen).exits(5).to_string();
    let said = refused.split_whitespace().collect::<Vec<_>>().join(" ");
    let words = ["from within the QEMU process", "mounted after that VM"];
    assert!(words.iter().all(|word| said.contains(word)), "{refused}");
    assert_unchanged(&primary, &there());
    assert_eq!(other.sources(Xml::Live).len(), 1);
    let plan = site.knib(with(&["--plan"])).exits(0);
    assert!(plan.stdout.contains("read from the backup"), "{plan}");

    let before = owners(&site);
    let left = slowly(&site, &with(&["--detach"])).run().exits(0);
    assert!(left.stdout.contains("QEMU goes on"), "{left}");
    in_the_middle_of(&other, "vdb");
    other.goes_back_to("vdb", at_second);
    other.write("vdb", 64 * KIB, 0x33, 64 * KIB);
    let delete = ["backup", "delete", "--force", second.id()];
    site.is_held(&delete);
    other.kill();
    other.start_paused();
    site.knib(["restore", "resume", &other.name]).exits(0);
    assert_alone(&site.defined("b"));
    assert_eq!(owners(&site), before);
    other.destroy();
    assert_holds(&other.source("vdb"), &other.truth("vdb"));

    // To the VM it was of, which is off and is started with it.
    vm.destroy();
    let restore = ["restore", "disk", first.id(), "vda", "--to", &vm.name];
    site.knib(restore.iter().chain(&["--quick"])).exits(0);
    assert_eq!(vm.state(), "running");
    assert_eq!(owners(&site), before);
    vm.destroy();
    let came = vm.source("vdb");
    assert_alone(&site.defined("b"));
    assert_holds(&came, at_first);
    let leases = [Path::new("-path"), Path::new("*/leases/*")];
    let leases = run("find", [site.storage().as_path()].into_iter().chain(leases));
    assert_eq!(leases.must(), "");
    assert!(site.leftovers().is_empty());
    let next = site.backup(&vm, &[]);
    assert_eq!(next.kind(), "incremental");
    assert_eq!(next.disk("vdb")["kind"], "full");
    virsh(["start", "--paused", &vm.name]).must();
}
