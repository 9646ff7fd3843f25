//! What became so after the plan was made, where only the run itself can see it: the backup fails before it writes
//! anything where it must not, and the next one works.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::support::Disk;
use crate::support::KIB;
use crate::support::MIB;
use crate::support::Vm;
use crate::support::deadline::wait_until;
use crate::support::oracle;
use crate::support::tool::qemu_img;
use crate::support::tool::run;

use super::judge::assert_holds;
use super::site::Site;
use super::site::assert_unchanged;

/// A stopped VM whose first backup is planned, and the plan.
fn planned() -> (Site, Vm, PathBuf) {
    let site = Site::new();
    let vm = site.vm("a").disk(Disk::qcow2("vda", 4 * MIB)).define();
    vm.write("vda", 0, 0x11, 64 * KIB);
    let config = ["apply", "--auto-approve", "--only", "config"];
    site.knib(config).exits(0);
    let plan = site.path("plan.json");
    let args = ["plan", "-o"].map(Path::new);
    site.knib(args.into_iter().chain([plan.as_path()])).exits(0);
    (site, vm, plan)
}

/// The plan fails with these words and leaves the disk as it was.
#[track_caller]
fn fails(site: &Site, vm: &Vm, plan: &Path, words: &[&str]) {
    ends(site, vm, plan, 5, words);
}

#[track_caller]
fn ends(site: &Site, vm: &Vm, plan: &Path, code: i32, words: &[&str]) {
    let args = ["apply", "--auto-approve"].map(Path::new);
    let failed = site.knib(args.into_iter().chain([plan])).exits(code);
    let said = failed.to_string();
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    for word in words {
        assert!(said.contains(word), "{word:?} is not said in:\n{failed}");
    }
    assert_eq!(vm.source("vda"), vm.disks["vda"]);
    assert_eq!(site.leftovers(), [] as [String; 0]);
}

/// The next backup, asked for, is as good as any.
#[track_caller]
fn goes_on(site: &Site, vm: &Vm) {
    let backup = site.backup(vm, &[]);
    assert_holds(&backup.file("vda"), &vm.truth("vda"));
    site.assert_one_delta_each(vm);
}

#[test]
fn a_storage_that_was_unmounted() {
    let (site, vm, plan) = planned();
    let away = site.path("away");
    fs::rename(site.storage(), &away).expect("the directory is the test's own");
    site.make_dir("storage");
    fails(&site, &vm, &plan, &["is not the storage", "not mounted?"]);
    // Whatever is written here would be hidden below what is mounted next.
    fs::remove_dir(site.storage()).expect("nothing was written to it");
    fs::rename(&away, site.storage()).expect("the directory is the test's own");
    goes_on(&site, &vm);
}

#[test]
fn another_owner_of_the_backups() {
    let (site, vm, plan) = planned();
    let dir = site.storage().join(vm.uuid());
    fs::create_dir(&dir).expect("no backup was made yet");
    let owner = r#"{"host_uuid":"10000000-0000-4000-8000-000000000009","hostname":"hv9",
        "state_id":"10000000-0000-4000-8000-000000000008","since":"2026-11-23T00:00:00Z"}"#;
    fs::write(dir.join("owner.json"), owner).expect("the directory is the test's own");
    let before = oracle::listing(&site.storage());
    fails(&site, &vm, &plan, &["belong to hv9", "knib vm adopt"]);
    assert_unchanged(&before, &oracle::listing(&site.storage()));
    fs::remove_dir_all(&dir).expect("the directory is the test's own");
    goes_on(&site, &vm);
}

/// The file that the plan will make beside the disk.
fn overlay(site: &Site, plan: &Path) -> PathBuf {
    fn find(value: &Value, primary: &str) -> Option<PathBuf> {
        match value {
            Value::String(text) if text.starts_with(primary) && text.contains(".knib-") => {
                Some(text.into())
            }
            Value::Array(all) => all.iter().find_map(|one| find(one, primary)),
            Value::Object(all) => all.values().find_map(|one| find(one, primary)),
            _ => None,
        }
    }
    let text = fs::read(plan).expect("it was saved");
    let plan: Value = serde_json::from_slice(&text).expect("it is JSON");
    let primary = site.primary().display().to_string();
    find(&plan["actions"], &primary).expect("a backup makes an overlay")
}

#[test]
fn somebodys_file_where_the_overlay_goes() {
    let (site, vm, plan) = planned();
    let file = overlay(&site, &plan);
    let create = ["create", "-q", "-f", "qcow2"].map(Path::new);
    qemu_img(create.into_iter().chain([file.as_path(), Path::new("4M")])).must();
    let write = ["-f", "qcow2", "-c", "write -P 7 1M 64k"].map(Path::new);
    run("qemu-io", write.into_iter().chain([file.as_path()])).must();
    let before = oracle::file_sha256(&file);
    fails(
        &site,
        &vm,
        &plan,
        &["a file that is not empty is in the way"],
    );
    assert_eq!(oracle::file_sha256(&file), before);
    fs::remove_file(&file).expect("the directory is the test's own");
    goes_on(&site, &vm);
}

#[test]
fn an_empty_overlay_that_nothing_uses() {
    let (site, vm, plan) = planned();
    let file = overlay(&site, &plan);
    let create = ["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"].map(Path::new);
    let paths = [vm.disks["vda"].as_path(), &file];
    qemu_img(create.into_iter().chain(paths)).must();
    let args = ["apply", "--auto-approve"].map(Path::new);
    site.knib(args.into_iter().chain([plan.as_path()])).exits(0);
    assert_holds(&site.newest(&vm).file("vda"), &vm.truth("vda"));
    site.assert_one_delta_each(&vm);
}

#[test]
fn a_stopped_vms_disk_that_something_else_writes() {
    let (site, vm, plan) = planned();
    let socket = site.path("nbd.sock");
    let mut writer = Command::new("qemu-nbd")
        .args(["-t", "-f", "qcow2", "-k"])
        .args([&socket, &vm.disks["vda"]])
        .spawn()
        .expect("qemu-nbd is installed");
    wait_until("the writer", 60, || socket.exists());
    let words = ["is off here, but something has", "another host"];
    ends(&site, &vm, &plan, 3, &words);
    writer.kill().expect("it is the test's own");
    writer.wait().expect("it ends");
    goes_on(&site, &vm);
}
