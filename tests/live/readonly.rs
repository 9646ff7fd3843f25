//! Commands that only look write nothing anywhere: they run on read-only mounts, and leave no trace on others.

use crate::support::Disk;
use crate::support::MIB;
use crate::support::oracle;

use super::site::Site;
use super::site::assert_unchanged;

/// Everything that only looks.
fn looks() -> Vec<Vec<&'static str>> {
    let human = [
        "lint",
        "plan",
        "status",
        "log",
        "backup list",
        "backup list --all",
        "chain list",
        "storage list",
        "offering list",
        "vm list",
        "vm list --unprotected",
        "schema",
    ];
    let mut all: Vec<Vec<&str>> = Vec::new();
    for command in human {
        let words: Vec<_> = command.split(' ').collect();
        if command != "schema" {
            all.push([&words[..], &["--format", "json"]].concat());
        }
        all.push(words);
    }
    all
}

#[test]
fn looking_works_where_nothing_can_be_written_and_changes_nothing() {
    let site = Site::new();
    let vm = site
        .vm("a")
        .disk(Disk::qcow2("vda", 4 * MIB))
        .start_paused();
    let stopped = site.vm("b").disk(Disk::raw("vda", 4 * MIB)).define();
    site.first(&vm);
    let backup = site.backup(&vm, &[]);
    let latest = format!("{}@latest", stopped.name);
    // The sandbox holds state, storage and primary.
    let before = oracle::listing(site.root());
    site.mount_read_only("");
    for command in looks() {
        site.knib(&command).exits(0);
    }
    site.knib(["plan", "--detailed-exitcode"]).exits(0);
    for which in [backup.id(), &latest] {
        site.knib(["backup", "show", which]).exits(0);
    }
    let restore = ["restore", "new", &latest, "--name", "x", "--plan"];
    site.knib(restore).exits(0);
    site.unmount("");
    assert_unchanged(&before, &oracle::listing(site.root()));

    // And where it could write, it does not.
    for command in looks() {
        site.knib(&command).exits(0);
    }
    assert_unchanged(&before, &oracle::listing(site.root()));
}

#[test]
fn looking_works_before_anything_was_ever_applied() {
    let site = Site::new();
    let vm = site
        .vm("a")
        .disk(Disk::qcow2("vda", 4 * MIB))
        .start_paused();
    let before = (oracle::listing(site.root()), site.picture(&vm));
    site.mount_read_only("");
    let pending = site.knib(["plan", "--detailed-exitcode"]).exits(2);
    assert!(pending.stdout.contains(&vm.name), "{pending}");
    for command in looks() {
        site.knib(&command).exits(0);
    }
    site.unmount("");
    assert_eq!((oracle::listing(site.root()), site.picture(&vm)), before);
    assert!(!site.path("state.db").exists());
}
