//! An interrupted action that can never be done, since its VM is gone, is given up by hand.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::Disk;
use crate::support::KIB;
use crate::support::MIB;
use crate::support::oracle;
use crate::support::tool::virsh;
use crate::support::vm::Xml;

use super::judge::assert_holds;
use super::site::Site;
use super::site::assert_unchanged;

#[test]
fn what_an_undefined_vm_keeps_from_ending_is_given_up_by_hand() {
    let site = Site::new();
    let vm = site.vm("a").disk(Disk::qcow2("vda", 4 * MIB)).define();
    vm.write("vda", 0, 0x11, 192 * KIB);
    site.first(&vm);
    vm.write("vda", 64 * KIB, 0x22, 192 * KIB);
    let truth = vm.truth("vda");
    // Killed where the overlay is made and the stage is there; then the VM is gone.
    let run = site.knib_with(["backup", "run", &vm.name]);
    let _killed = run.env("KNIB_CRASH_AT", "snapshot").run();
    let xml = site.path("vm.xml");
    fs::write(&xml, vm.xml(Xml::Inactive)).expect("it can be written");
    virsh(["undefine", &vm.name]).must();
    let files = || [site.primary(), site.storage()].map(|tree| oracle::listing(&tree));
    let before = files().concat();

    site.apply().exits(5);
    let plan = site.knib(["plan", "--format", "json"]).json();
    let findings = plan["findings"].as_array().expect("findings");
    let is_stuck = |found: &&Value| found["code"] == "interrupted";
    let stuck = findings.iter().find(is_stuck).expect("it says so");
    let hint = stuck["hint"].as_str().expect("it says what to do");
    let (_, id) = hint.split_once("--abandon ").expect("and how");
    let give_up = ["apply", "--auto-approve", "--abandon", id];
    let refused = site.knib(give_up).exits(3);
    assert!(refused.stdout.contains("give up its backup"), "{refused}");
    assert!(
        refused.stderr.contains("--allow-destructive 1"),
        "{refused}"
    );
    site.knib(["apply", "--auto-approve", "--abandon", "x/1"])
        .exits(1);
    let said = ["--allow-destructive", "1"];
    site.knib(give_up.iter().chain(&said)).exits(0);
    assert_unchanged(&before, &files().concat());
    site.knib(give_up.iter().chain(&said)).exits(1);
    let log = site.knib(["log", "--failed"]).exits(0).stdout;
    assert!(log.contains("abandoned"), "{log}");

    // Nothing holds the VM, and what was written is in its next backup.
    virsh([Path::new("define"), &xml]).must();
    let listed = site.knib(["state", "check", "--format", "json"]).json();
    let mut kinds = listed.as_array().expect("a list").iter();
    assert!(kinds.any(|one| one["kind"] == "stage"), "{listed}");
    let next = site.backup(&vm, &[]);
    assert_holds(&next.file("vda"), &truth);
    assert_holds(&vm.source("vda"), &truth);
}
