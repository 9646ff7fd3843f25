//! Snapshots where something is special: sizes, a lost state, an old definition, other people's snapshots and copies, disks
//! that come and go, wrong names.

use std::fs;
use std::path::Path;

use crate::support::Disk;
use crate::support::MIB;
use crate::support::oracle;
use crate::support::tool::qemu_img;
use crate::support::tool::virsh;
use crate::support::vm::Xml;

use super::judge::assert_holds;
use super::site::Site;
use super::snapshots::Bench;

#[test]
fn sizes_go_back_with_a_snapshot_and_old_bytes_stay_away() {
    let mut bench = Bench::new(Site::new(), false);
    bench.snapshot("s1");
    bench.vm.resize("vda", 12 * MIB);
    bench.vm.write("vda", 11 * MIB, 0x77, MIB);
    bench.snapshot("s2");
    bench.vm.resize("vda", 5 * MIB);
    bench.snapshot("s3");
    bench.vm.resize("vda", 9 * MIB);
    bench.check();
    bench.revert("s2");
    assert_eq!(oracle::virtual_size(&bench.vm.source("vda")), 12 * MIB);
    bench.revert("s3");
    bench.vm.resize("vda", 10 * MIB);
    bench.power_on();
    bench.delete("s2");
    bench.check();
    bench.revert("s1");
    bench.delete("s3");
    bench.check();
    bench.delete("s1");
    bench.site.assert_no_delta(&bench.vm);
    bench.end();
}

#[test]
fn a_layer_that_shrank_is_merged_once_the_vm_is_off() {
    let mut bench = Bench::new(Site::new(), true);
    bench.snapshot("s1");
    bench.vm.resize("vda", 5 * MIB);
    let delete = ["snapshot", "delete", &bench.vm.name, "s1"];
    let words = ["was made smaller", "stop"];
    bench.site.refuses(&bench.vm, &delete, 3, &words);
    bench.power_off();
    bench.delete("s1");
    bench.site.assert_no_delta(&bench.vm);
    bench.end();
}

#[test]
fn snapshots_outlive_the_state_and_an_older_definition() {
    let mut bench = Bench::new(Site::new(), false);
    let before = bench.site.path("before.xml");
    fs::write(&before, bench.vm.xml(Xml::Inactive)).expect("writable");
    bench.snapshot("s1");
    bench.snapshot("s2");
    let lost = bench.site.make_dir("lost");
    for entry in fs::read_dir(bench.site.root()).expect("it is there") {
        let entry = entry.expect("it can be read");
        if entry.file_name().to_string_lossy().starts_with("state.db") {
            let moved = fs::rename(entry.path(), lost.join(entry.file_name()));
            moved.expect("the sandbox is the test's own");
        }
    }
    assert_eq!(bench.names(), ["s1", "s2"]);
    bench.check();
    bench.snapshot("s3");
    assert_eq!(bench.names(), ["s1", "s2", "s3"]);

    // A definition from before all of them writes below them.
    let newest = bench.vm.xml(Xml::Inactive);
    virsh(["define", before.to_str().expect("text")]).must();
    assert_eq!(bench.names(), ["s1", "s2", "s3"]);
    for (verb, name) in [("create", "s4"), ("delete", "s2"), ("revert", "s1")] {
        let args = ["snapshot", verb, &bench.vm.name, name];
        let words = ["writes to the file that snapshot s1 keeps", "older XML"];
        bench.site.refuses(&bench.vm, &args, 3, &words);
    }
    fs::write(&before, newest).expect("writable");
    virsh(["define", before.to_str().expect("text")]).must();
    bench.delete("s1");
    bench.check();
    bench.end();
}

#[test]
fn a_users_snapshot_is_left_alone_and_works_beside_knibs() {
    let site = Site::new();
    let vm = site.vm("a").disk(Disk::qcow2("vda", 8 * MIB)).define();
    vm.write("vda", 0, 0x11, MIB);
    let full = (site.first(&vm), vm.truth("vda"));
    site.knib(["snapshot", "create", &vm.name, "mine"]).exits(0);
    let mine = vm.truth("vda");
    vm.write("vda", MIB, 0x22, MIB);
    virsh(["snapshot-create-as", &vm.name, "theirs"]).must();
    let theirs = vm.truth("vda");
    vm.write("vda", 2 * MIB, 0x33, MIB);

    for (verb, name) in [("create", "more"), ("delete", "mine"), ("revert", "mine")] {
        let args = ["snapshot", verb, &vm.name, name];
        let words = ["snapshots that knib did not make", "virsh snapshot-list"];
        site.refuses(&vm, &args, 3, &words);
    }
    let isolated = (site.backup(&vm, &[]), vm.truth("vda"));
    assert_eq!(isolated.0.kind(), "full");
    virsh(["snapshot-revert", &vm.name, "theirs"]).must();
    assert_holds(&vm.source("vda"), &theirs);
    virsh(["snapshot-delete", &vm.name, "theirs"]).must();
    vm.goes_back_to("vda", &theirs);

    site.knib(["snapshot", "revert", &vm.name, "mine"]).exits(0);
    vm.goes_back_to("vda", &mine);
    assert_holds(&vm.source("vda"), &mine);
    site.knib(["snapshot", "delete", &vm.name, "mine"]).exits(0);
    assert_holds(&vm.source("vda"), &mine);
    vm.write("vda", 3 * MIB, 0x44, MIB);
    let last = (site.backup(&vm, &[]), vm.truth("vda"));
    for (backup, truth) in [full, isolated, last] {
        assert_holds(&backup.file("vda"), &truth);
    }
    assert_holds(&vm.source("vda"), &vm.truth("vda"));
}

#[test]
fn a_copy_that_lies_on_a_snapshot_keeps_what_it_lies_on() {
    let mut bench = Bench::new(Site::new(), false);
    bench.snapshot("s1");
    bench.snapshot("s2");
    let kept = bench.list()[1]["disks"][0]["path"].clone();
    let copy = bench
        .site
        .vm("b")
        .disk(Disk::qcow2("vda", 8 * MIB))
        .define();
    let create = ["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"].map(Path::new);
    let kept = Path::new(kept.as_str().expect("a path"));
    qemu_img(create.into_iter().chain([kept, &copy.disks["vda"]])).must();
    for verb in ["delete", "revert"] {
        let args = ["snapshot", verb, &bench.vm.name, "s2"];
        let words = ["lies on a layer", &copy.name];
        bench.site.refuses(&bench.vm, &args, 3, &words);
    }
    assert_holds(&copy.disks["vda"], &bench.kept["s2"]["vda"]);
    virsh(["undefine", &copy.name]).must();
    bench.delete("s2");
    bench.end();
}

#[test]
fn a_disk_that_was_taken_away_or_replaced_stays_whole() {
    let mut bench = Bench::new(Site::new(), false);
    bench.snapshot("s1");
    bench.snapshot("s2");
    let (away, truth) = (bench.vm.source("vdb"), bench.vm.truth("vdb"));
    let name = bench.vm.name.clone();
    virsh(["detach-disk", &name, "vdb", "--config"]).must();
    let revert = ["snapshot", "revert", &name, "s1"];
    let words = ["has no vdb any more"];
    bench.site.refuses(&bench.vm, &revert, 3, &words);
    let other = bench.site.primary().join("other.qcow2");
    let create = ["create", "-q", "-f", "qcow2"].map(Path::new).into_iter();
    qemu_img(create.chain([other.as_path(), Path::new("1M")])).must();
    let attach = ["attach-disk", &name, other.to_str().expect("text"), "vdb"];
    virsh(attach.iter().chain(&["--subdriver", "qcow2", "--config"])).must();
    let words = ["another disk than snapshot s1 keeps"];
    bench.site.refuses(&bench.vm, &revert, 3, &words);

    for snapshot in ["s1", "s2"] {
        bench
            .site
            .knib(["snapshot", "delete", &name, snapshot])
            .exits(0);
    }
    assert_eq!(bench.names(), [] as [String; 0]);
    assert_holds(&away, &truth);
    assert_holds(&bench.vm.disks["vda"], &bench.vm.truth("vda"));
    assert_eq!(oracle::chain(&away).len(), 3);
}

#[test]
fn names_that_are_wrong_and_a_vm_that_runs_change_nothing() {
    let mut bench = Bench::new(Site::new(), true);
    bench.snapshot("before-upgrade");
    let name = bench.vm.name.clone();
    let refuses = |args: [&str; 2], code, words: &[&str]| {
        let args = ["snapshot", args[0], &name, args[1], "--lock-timeout", "1s"];
        bench.site.refuses(&bench.vm, &args, code, words);
    };
    refuses(
        ["revert", "before-upgrad"],
        1,
        &["did you mean before-upgrade"],
    );
    refuses(["delete", "after"], 1, &["there is before-upgrade"]);
    refuses(
        ["create", "before-upgrade"],
        3,
        &["has a snapshot before-upgrade already"],
    );
    let help = format!("virsh shutdown {name}");
    refuses(["revert", "before-upgrade"], 3, &["runs", &help]);
    let unknown = bench.site.knib(["snapshot", "list", "nobody"]).exits(1);
    assert!(unknown.stderr.contains("there is no VM"), "{unknown}");

    // Its own name says when.
    bench.site.knib(["snapshot", "create", &name]).exits(0);
    let human = bench.site.knib(["snapshot", "list", &name]).exits(0).stdout;
    let tree: Vec<_> = human
        .lines()
        .map(|line| line.trim_end().chars().take(6).collect::<String>())
        .collect();
    assert_eq!(tree[1], "before", "{human}");
    assert!(tree[2].starts_with("└─ 20"), "{human}");
    assert_eq!(tree[3], "   └─ ", "{human}");
    let status = bench
        .site
        .knib(["status", "--format", "json"])
        .exits(0)
        .json();
    let all = status.as_array().expect("a list is an array");
    let of_it = all.iter().find(|vm| vm["name"] == name.as_str());
    assert_eq!(of_it.expect("it is listed")["snapshots"], 2);
}
