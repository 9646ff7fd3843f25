//! `knib state rebuild`: a state that was lost comes back from the storage and the VMs' own notes.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use serde_json::Value;

use crate::cli::schemas::assert_valid;
use crate::support::Disk;
use crate::support::KIB;
use crate::support::MIB;
use crate::support::Vm;
use crate::support::oracle;
use crate::support::tool::virsh;
use crate::support::vm::Xml;

use super::judge::assert_holds;
use super::site::Backup;
use super::site::Site;
use super::site::assert_unchanged;

const REBUILD: [&str; 4] = ["state", "rebuild", "--format", "json"];

/// Everything that is listed of the backups of a VM by a state, removed ones as well.
fn listed_by(site: &Site, vm: &Vm, state: &str) -> Value {
    let all = ["backup", "list", "--all", "--vm", &vm.name];
    let form = ["--state", state, "--format", "json"];
    let mut all = site.knib(all.iter().chain(&form)).exits(0).json();
    for one in all.as_array_mut().expect("a list is an array") {
        // What keeps a backup is for the next apply to say.
        let one = one.as_object_mut().expect("a backup is an object");
        one.remove("kept_by");
    }
    all
}

fn listed(site: &Site, vm: &Vm) -> Value {
    listed_by(site, vm, &state(site).display().to_string())
}

fn state(site: &Site) -> PathBuf {
    site.path("state.db")
}

fn of_vm<'a>(rebuilt: &'a Value, vm: &Vm) -> &'a Value {
    let vms = rebuilt["vms"].as_array().expect("VMs");
    let mut of_it = vms.iter().filter(|one| one["vm"]["name"] == vm.name);
    of_it.next().expect("the VM is among them")
}

/// The verbs of what is planned now.
fn planned(site: &Site) -> Vec<String> {
    let plan = site.knib(["plan", "--format", "json"]).exits(0).json();
    let actions = plan["actions"].as_array().expect("actions").iter();
    let verb = |action: &Value| action["verb"].as_str().expect("a verb").to_owned();
    actions.map(verb).collect()
}

fn record(backup: &Backup) -> PathBuf {
    backup.dir().join("backup.json")
}

/// Changes a text file with `change`.
fn edit(file: &Path, change: impl FnOnce(String) -> String) {
    let text = fs::read_to_string(file).expect("it is there");
    fs::write(file, change(text)).expect("the directory is the test's own");
}

#[test]
fn a_lost_state_comes_back_and_goes_on_where_it_was() {
    let site = Site::new();
    let disks = [Disk::qcow2("vda", 8 * MIB), Disk::raw("vdb", 4 * MIB)];
    let [vda, vdb] = disks;
    let vm = site.vm("a").disk(vda).disk(vdb).start_paused();
    let gone = site.vm("gone").disk(Disk::qcow2("vda", 2 * MIB)).define();
    vm.write("vda", 0, 0x11, MIB);
    let first = site.first(&vm);
    vm.write("vda", 64 * KIB, 0x22, 128 * KIB);
    let second = site.backup(&vm, &[]);
    vm.write("vdb", 0, 0x33, 128 * KIB);
    let third = site.backup(&vm, &[]);
    site.backup(&vm, &["--isolated"]);
    site.knib(["backup", "delete", second.id()]).exits(0);
    site.knib(["backup", "pin", first.id()]).exits(0);
    site.knib(["snapshot", "create", &vm.name, "before"])
        .exits(0);
    virsh(["undefine", &gone.name]).must();
    let before = listed(&site, &vm);
    let trees = || [site.primary(), site.storage()].map(|tree| oracle::listing(&tree));
    let there = trees();

    // A state that is there stays, unless a person insists.
    let refused = site.knib(REBUILD).exits(1);
    assert!(refused.stderr.contains("--force"), "{refused}");
    fs::remove_file(state(&site)).expect("there is a state");
    let lost = site.knib(["plan"]).exits(1);
    assert!(lost.stderr.contains("knib state rebuild"), "{lost}");
    let shown = site.knib(["state", "rebuild", "--plan"]).exits(0);
    assert!(shown.stdout.contains("Nothing was written."), "{shown}");
    assert!(!state(&site).exists());

    let rebuilt = site.knib(REBUILD).exits(0).json();
    assert_valid("rebuilt", &rebuilt);
    let mode = |path: &Path| {
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path).expect("there").permissions())
    };
    assert_eq!(mode(&state(&site)) & 0o777, 0o600);
    assert_eq!(of_vm(&rebuilt, &vm)["current"], third.id());
    assert_eq!(of_vm(&rebuilt, &gone)["defined"], false);
    assert!(listed(&site, &vm) == before);
    assert!(trees() == there, "nothing but the state was written");
    let snapshots = ["snapshot", "list", &vm.name];
    let snapshots = site.knib(snapshots).exits(0);
    assert!(snapshots.stdout.contains("before"), "{snapshots}");

    let verbs = planned(&site);
    let config = ["policy_create", "assign", "offering_create", "retain"];
    assert!(
        verbs.iter().all(|verb| config.contains(&verb.as_str())),
        "{verbs:?}"
    );
    site.apply().exits(0);
    assert_eq!(planned(&site), [] as [&str; 0]);
    vm.write("vda", MIB, 0x44, 64 * KIB);
    let truth = vm.truth("vda");
    let fourth = site.backup(&vm, &[]);
    assert_eq!(fourth.parent(), Some(third.id()));
    assert_eq!(fourth.disk("vda")["kind"], "incremental");
    assert_holds(&fourth.file("vda"), &truth);

    // Once more over the one that is there, which is kept.
    let before = listed(&site, &vm);
    let rebuilt = site
        .knib(REBUILD.iter().chain(&["--force"]))
        .exits(0)
        .json();
    let kept = rebuilt["kept"].as_str().expect("it was there").to_owned();
    assert!(listed(&site, &vm) == before);
    assert!(listed_by(&site, &vm, &kept) == before);
    assert!(site.leftovers().is_empty());
}

#[test]
fn a_record_that_cannot_be_taken_is_named_and_nothing_is_written() {
    let site = Site::new();
    let vm = site
        .vm("a")
        .disk(Disk::qcow2("vda", 4 * MIB))
        .start_paused();
    vm.write("vda", 0, 0x11, 256 * KIB);
    let first = site.first(&vm);
    let [second, third] = [0x22, 0x33].map(|byte| {
        vm.write("vda", 0, byte, 64 * KIB);
        site.backup(&vm, &[])
    });
    fs::remove_file(state(&site)).expect("there is a state");
    let whole = fs::read_to_string(record(&second)).expect("it is there");
    let newer = |text: String| text.replacen("\"format\": 1", "\"format\": 99", 1);
    let torn = |text: String| text[..text.len() / 2].to_owned();
    let changes: [(&dyn Fn(String) -> String, &str); 2] =
        [(&newer, "newer form"), (&torn, "cannot be understood")];
    for (change, words) in changes {
        edit(&record(&second), change);
        let there = oracle::listing(&site.storage());
        let refused = site.knib(["state", "rebuild"]).exits(1);
        let said = refused
            .stderr
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        assert!(said.contains(words), "{refused}");
        let file = record(&second).display().to_string();
        assert!(said.replace(' ', "").contains(&file), "{refused}");
        assert!(refused.stdout.contains(&vm.name), "{refused}");
        assert!(!state(&site).exists());
        assert_unchanged(&there, &oracle::listing(&site.storage()));
        fs::write(record(&second), &whole).expect("the directory is the test's own");
    }

    // A parent that is gone takes what continues it along, and nothing else.
    let away = site.path("away");
    fs::rename(second.dir(), &away).expect("the directory is the test's own");
    let rebuilt = site.knib(REBUILD).exits(5).json();
    assert_eq!(of_vm(&rebuilt, &vm)["backups"], 1);
    assert_eq!(of_vm(&rebuilt, &vm)["current"], Value::Null);
    assert!(
        rebuilt["findings"][0]["text"]
            .as_str()
            .is_some_and(|text| text.contains(third.id()))
    );
    vm.write("vda", 0, 0x44, 64 * KIB);
    let truth = vm.truth("vda");
    site.apply().exits(0);
    let next = site.backup(&vm, &[]);
    assert_eq!((next.kind(), next.parent()), ("full", None));
    assert_holds(&next.file("vda"), &truth);
    assert!(first.dir().exists() && third.dir().exists());
    site.assert_one_delta_each(&vm);
}

#[test]
fn a_note_that_the_disks_do_not_bear_out_is_not_believed() {
    let site = Site::new();
    let vm = site.vm("a").disk(Disk::qcow2("vda", 4 * MIB)).define();
    vm.write("vda", 0, 0x11, 256 * KIB);
    site.first(&vm);
    vm.write("vda", 64 * KIB, 0x22, 64 * KIB);
    let second = site.backup(&vm, &[]);
    // Somebody merges the delta by hand and says nothing of it.
    let delta = vm.source("vda");
    crate::support::tool::qemu_img(["commit", "-d", &delta.display().to_string()]).must();
    let file = site.path("merged.xml");
    let base = vm.disks["vda"].display().to_string();
    let xml = vm.xml(Xml::Inactive);
    fs::write(&file, xml.replace(&delta.display().to_string(), &base)).expect("the test's own");
    virsh([Path::new("define"), &file]).must();
    fs::remove_file(&delta).expect("it was merged");
    fs::remove_file(state(&site)).expect("there is a state");

    let rebuilt = site.knib(REBUILD).exits(0).json();
    assert_eq!(of_vm(&rebuilt, &vm)["current"], Value::Null);
    site.apply().exits(0);
    vm.write("vda", 0, 0x33, 64 * KIB);
    let truth = vm.truth("vda");
    let next = site.backup(&vm, &[]);
    assert_eq!(next.kind(), "full");
    assert_holds(&next.file("vda"), &truth);
    assert_ne!(next.parent(), Some(second.id()));
}
