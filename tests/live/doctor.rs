//! `knib doctor`: what is well is told so, what is not with what to do, and nothing is changed by it.

use crate::cli::schemas::assert_all_valid;
use crate::support::Disk;
use crate::support::MIB;

use super::site::Site;
use super::site::assert_unchanged;

#[test]
fn trouble_is_told_before_it_comes() {
    let site = Site::new();
    let vm = site
        .vm("a")
        .disk(Disk::qcow2("vda", 4 * MIB))
        .start_paused();
    site.first(&vm);
    let before = site.picture(&vm);
    let well = site.knib(["doctor"]).exits(0);
    assert!(well.stdout.contains("Nothing needs to be done"), "{well}");
    let found = site.knib(["doctor", "--format", "json"]).exits(0).json();
    assert_all_valid("finding", &found);

    // Only root may read what is on the storage, and a VM could not be started from it.
    site.change_policy(
        "backupChainSize: 0",
        "backupChainSize: 0, allowQuickRestore: true",
    );
    site.apply().exits(0);
    site.change_policy("minFree: 1MiB", "minFree: 900TiB");
    let found = site.knib(["doctor", "--format", "json"]).exits(3).json();
    let all = found.as_array().expect("a list").iter();
    let wrong = all.filter(|one| one["severity"] != "note");
    let codes: Vec<_> = wrong
        .map(|one| one["code"].as_str().expect("a code"))
        .collect();
    assert_eq!(codes, ["storage_unreadable", "storage_full"]);
    let said = site.knib(["doctor"]).exits(3).stdout;
    assert!(said.contains("chgrp -R GROUP DIR"), "{said}");
    assert_unchanged(&before, &site.picture(&vm));
}
