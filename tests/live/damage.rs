//! Files on the storage that are not what they were. What can be seen without reading them is seen by
//! every plan; nothing is deleted for it.

use std::fs;
use std::fs::File;
use std::path::Path;
use std::path::PathBuf;
use std::time::SystemTime;

use crate::support::Disk;
use crate::support::KIB;
use crate::support::MIB;
use crate::support::Vm;
use crate::support::oracle;

use super::judge::assert_holds;
use super::site::Backup;
use super::site::Site;
use super::site::assert_unchanged;

type Taken = (Backup, PathBuf);

/// A chain of three and an isolated one.
fn four(site: &Site, vm: &Vm) -> Vec<Taken> {
    let flags: [&[&str]; 4] = [&[], &[], &[], &["--isolated"]];
    let mut taken = Vec::new();
    for (n, flags) in (0..).zip(flags) {
        vm.write("vda", n * 128 * KIB, 0x21, 192 * KIB);
        let backup = if n == 0 {
            site.first(vm)
        } else {
            site.backup(vm, flags)
        };
        taken.push((backup, vm.truth("vda")));
    }
    taken
}

/// The status of each backup, oldest first.
fn statuses(site: &Site, vm: &Vm) -> Vec<String> {
    let list = [
        "backup", "list", "--all", "--vm", &vm.name, "--format", "json",
    ];
    let all = site.knib(list).exits(0).json();
    let all = all.as_array().expect("a list is an array").iter();
    all.map(|one| one["status"].as_str().expect("a status").to_owned())
        .collect()
}

fn cut(file: &Path) {
    let half = fs::metadata(file).expect("it is there").len() / 2;
    let file = File::options().write(true).open(file);
    file.and_then(|file| file.set_len(half))
        .expect("it can be cut");
}

fn lengthen(file: &Path) {
    let mut content = fs::read(file).expect("it is there");
    content.extend([0; 4096]);
    fs::write(file, content).expect("it can be written");
}

fn lose(file: &Path) {
    fs::remove_file(file).expect("it can be removed");
}

#[test]
fn a_file_that_is_not_what_it_was_is_marked_with_what_needs_it_and_nothing_else() {
    for (harm, code) in [
        (cut as fn(&Path), "damaged"),
        (lengthen, "damaged"),
        (lose, "missing"),
    ] {
        let site = Site::new();
        let vm = site
            .vm("a")
            .disk(Disk::qcow2("vda", 8 * MIB))
            .start_paused();
        let taken = four(&site, &vm);
        let damaged = &taken[1].0;
        harm(&damaged.file("vda"));
        let record = damaged.dir().join("backup.json");
        let [before, kept] = [
            oracle::listing(&site.storage()),
            record.display().to_string(),
        ];
        let planned = site.knib(["plan", "--detailed-exitcode"]).exits(2);
        let words = planned
            .stdout
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        assert!(
            words.contains("1 backup cannot be restored without it"),
            "{planned}"
        );
        assert_unchanged(&before, &oracle::listing(&site.storage()));

        site.apply().exits(5);
        assert_eq!(
            statuses(&site, &vm),
            ["backed_up", "unusable", "unusable", "backed_up"]
        );
        let shown = site
            .knib(["backup", "show", damaged.id(), "--format", "json"])
            .exits(0)
            .json();
        assert_eq!(shown["unusable"]["code"], code);
        let text = fs::read_to_string(&record).expect("it is there");
        assert!(text.contains(code), "{text}");
        // Its directory has another time, and nothing else has changed.
        let others = |listing: &str| -> String {
            let dir = format!("{} ", damaged.dir().display());
            let lines = listing
                .lines()
                .filter(|line| !line.starts_with(&kept) && !line.starts_with(&dir));
            lines.map(|line| format!("{line}\n")).collect()
        };
        assert_unchanged(&others(&before), &others(&oracle::listing(&site.storage())));
        site.apply().exits(0);
        let status = site.knib(["status"]).exits(0).stdout;
        assert!(
            status.contains("2 of its backups cannot be restored"),
            "{status}"
        );

        vm.write("vda", MIB, 0x42, 64 * KIB);
        let next = site.backup(&vm, &[]);
        assert_eq!((next.kind(), next.parent()), ("full", None));
        for (backup, truth) in [&taken[0], &taken[3], &(next, vm.truth("vda"))] {
            assert_holds(&backup.file("vda"), truth);
        }
        site.assert_one_delta_each(&vm);
    }
}

#[test]
fn a_touched_file_is_nothing() {
    let site = Site::new();
    let vm = site
        .vm("a")
        .disk(Disk::qcow2("vda", 8 * MIB))
        .start_paused();
    let taken = four(&site, &vm);
    let file = File::options().write(true).open(taken[1].0.file("vda"));
    file.and_then(|file| file.set_modified(SystemTime::UNIX_EPOCH))
        .expect("it can be touched");
    let before = site.picture(&vm);
    let plan = site.knib(["plan", "--detailed-exitcode"]).exits(0);
    assert!(plan.stdout.contains("No changes"), "{plan}");
    site.apply().exits(0);
    assert_unchanged(&before, &site.picture(&vm));
}

#[test]
fn a_backup_whose_directory_is_gone_can_be_deleted() {
    let site = Site::new();
    let vm = site
        .vm("a")
        .disk(Disk::qcow2("vda", 8 * MIB))
        .start_paused();
    let taken = four(&site, &vm);
    fs::remove_dir_all(taken[3].0.dir()).expect("it can be removed");
    site.apply().exits(5);
    let [a, b, c, alone] = ["backed_up", "backed_up", "backed_up", "unusable"];
    assert_eq!(statuses(&site, &vm), [a, b, c, alone]);
    site.knib(["backup", "delete", taken[3].0.id()]).exits(0);
    assert_eq!(statuses(&site, &vm), [a, b, c]);
    site.knib(["plan", "--detailed-exitcode"]).exits(0);
}
