//! Backups that are compressed by jobs or while they are copied: what `qemu-img` is told, what the files hold then, and
//! that every other backup goes on as before.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use crate::cli::schemas::assert_all_valid;
use crate::support::Disk;
use crate::support::KIB;
use crate::support::MIB;
use crate::support::Vm;
use crate::support::knib::Knib;
use crate::support::knib::Output;
use crate::support::oracle;
use crate::support::tool::qemu_img;
use crate::support::tool::run;

use super::judge::assert_holds;
use super::site::Backup;
use super::site::Site;

pub(super) const PLAIN: &str = "plain: { backupChainSize: 0 }";
pub(super) const COMPRESSED: &str = "plain: { backupChainSize: 0, compress: true }";

/// Backups are compressed, as these settings say.
pub(super) fn site(settings: &str) -> Site {
    let site = Site::with(PLAIN, COMPRESSED);
    site.change_policy("version: 1\n", &format!("version: 1\n{}", line(settings)));
    site
}

/// Settings in one line of a policy, each under `backup.compression`.
pub(super) fn line(settings: &str) -> String {
    let each = settings.split(", ").filter(|one| !one.is_empty());
    let each: Vec<_> = each
        .map(|one| format!("backup.compression.{one}"))
        .collect();
    format!("settings: {{ {} }}\n", each.join(", "))
}

/// A `qemu-img` that writes down what it is told, and with which I/O priority, before it does it. `first` is done before
/// that, as a line of a shell script.
pub(super) fn told(site: &Site, first: &str) {
    let real = run("which", ["qemu-img"]).must();
    let log = site.path("told");
    let script = format!(
        "#!/bin/sh\necho \"$(ionice -p $$) $*\" >>{}\n{first}\nexec {} \"$@\"\n",
        log.display(),
        real.trim()
    );
    let file = site.make_dir("bin").join("qemu-img");
    fs::write(&file, script).expect("the directory is the test's own");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("it is the test's own");
}

/// knib with that `qemu-img`.
pub(super) fn knib(site: &Site, args: &[&str]) -> Knib {
    let path = std::env::var("PATH").expect("there is a PATH");
    let bin = site.path("bin");
    site.knib_with(args)
        .env("PATH", format!("{}:{path}", bin.display()))
}

/// What `qemu-img` was told so far, of these commands.
pub(super) fn lines(site: &Site, with: &str) -> Vec<String> {
    let log = fs::read_to_string(site.path("told")).unwrap_or_default();
    let lines = log.lines().filter(|line| line.contains(with));
    lines.map(str::to_owned).collect()
}

/// What is done about jobs.
pub(super) const JOBS: [&str; 4] = ["apply", "--auto-approve", "--only", "jobs"];

#[track_caller]
pub(super) fn jobs(site: &Site, flags: &[&str]) -> Vec<Value> {
    let list = ["job", "list", "--format", "json"];
    let listed = site.knib(list.iter().chain(flags)).exits(0).json();
    if listed != serde_json::json!([]) {
        assert_all_valid("job", &listed);
    }
    listed.as_array().expect("a list is an array").clone()
}

/// How each job stands: `start done`.
#[track_caller]
pub(super) fn states(site: &Site, flags: &[&str]) -> Vec<String> {
    let word = |job: &Value, key: &str| job[key].as_str().expect("a word").to_owned();
    let all = jobs(site, flags).into_iter();
    all.map(|job| format!("{} {}", word(&job, "type"), word(&job, "state")))
        .collect()
}

/// Files that wait to take the place of others.
pub(super) fn beside(site: &Site) -> String {
    run(
        "find",
        [
            site.storage().as_path(),
            Path::new("-name"),
            Path::new("*.comp"),
        ],
    )
    .must()
}

/// What a file is known by in a backup's record: its length and the digest of its bytes.
pub(super) fn is_as_recorded(backup: &Backup, disk: &str) {
    let bytes = fs::read(backup.file(disk)).expect("a backup's file is there");
    let digest = format!("blake3:{}", blake3::hash(&bytes).to_hex());
    let record = fs::read_to_string(backup.dir().join("backup.json")).expect("a record");
    let record: Value = serde_json::from_str(&record).expect("JSON");
    for said in [backup.disk(disk), &record["disks"][disk]] {
        assert_eq!(said["size"], bytes.len(), "{disk} of {}", backup.id());
        assert_eq!(said["digest"], digest.as_str(), "{disk} of {}", backup.id());
    }
    assert_eq!(record["disks"][disk]["becomes"], Value::Null);
}

/// Two disks, some of which a compression makes smaller, and some of it written again for each backup.
struct Written {
    vm: Vm,
    /// Each backup with what its disks hold.
    taken: Vec<(Backup, [std::path::PathBuf; 2])>,
}

const DISKS: [&str; 2] = ["vda", "vdb"];

/// A full backup, and so many that continue it, each with its own content.
fn written(site: &Site, backups: u8) -> Written {
    let vm = site
        .vm("a")
        .disk(Disk::qcow2("vda", 8 * MIB))
        .disk(Disk::raw("vdb", 4 * MIB))
        .start_paused();
    let mut taken = Vec::new();
    for n in 0..backups {
        for disk in DISKS {
            vm.write(disk, u64::from(n) * 256 * KIB, n + 1, MIB);
            vm.zero(disk, u64::from(n) * 512 * KIB, 64 * KIB);
        }
        let truths = DISKS.map(|disk| vm.truth(disk));
        let backup = if n == 0 {
            site.first(&vm)
        } else {
            site.backup(&vm, &[])
        };
        taken.push((backup, truths));
    }
    Written { vm, taken }
}

impl Written {
    /// Every backup holds what it held, its files are what its record says, and its children name it as before.
    #[track_caller]
    fn assert_whole(&self, site: &Site, compression: &str) {
        let now = site.backups(&self.vm);
        assert_eq!(now.len(), self.taken.len());
        for (backup, (before, truths)) in now.iter().zip(&self.taken) {
            assert_eq!(backup.0["compression"], compression, "{}", backup.id());
            for (disk, truth) in DISKS.iter().zip(truths) {
                let file = backup.file(disk);
                assert_holds(&file, truth);
                is_as_recorded(backup, disk);
                assert_eq!(backup.disk(disk)["birth"], before.disk(disk)["birth"]);
                let check = ["check", "-q", "-f", "qcow2"].map(Path::new);
                qemu_img(check.into_iter().chain([file.as_path()])).must();
            }
        }
    }
}

fn plan(site: &Site) -> String {
    let said = site.knib(["plan"]).exits(0).stdout;
    said.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn jobs_compress_a_chain_as_the_settings_say() {
    let site = site("task.enabled: false");
    told(&site, "");
    let written = written(&site, 3);
    let before: Vec<u64> = written
        .taken
        .iter()
        .map(|(backup, _)| backup.0["size"].as_u64().expect("bytes"))
        .collect();

    // The task is off: jobs wait, and nothing is compressed.
    knib(&site, &JOBS).run().exits(0);
    assert_eq!(states(&site, &[]), ["start scheduled"; 3]);
    assert_eq!(lines(&site, " -c "), [] as [String; 0]);
    written.assert_whole(&site, "pending");

    let on = line("coroutines: 4, rate.limit: 500MB/s");
    site.change_policy(&line("task.enabled: false"), &on);
    assert!(plan(&site).contains("compress with zstd, 4 clusters at a time, 500 MB/s at most"));
    knib(&site, &JOBS).run().exits(0);
    let converted = lines(&site, " -c ");
    assert_eq!(converted.len(), 6, "{converted:#?}");
    for line in &converted {
        assert!(line.starts_with("idle "), "{line}");
        for flags in [" -W ", " -m 4 ", " -r 500000000 ", "compression_type=zstd"] {
            assert!(line.contains(flags), "{flags} is missing in {line}");
        }
    }
    assert_eq!(lines(&site, "compare -p").len(), 6);

    written.assert_whole(&site, "compressed");
    for (backup, before) in site.backups(&written.vm).iter().zip(before) {
        assert_eq!(backup.0["uncompressed_size"], before);
        assert!(backup.0["size"].as_u64().expect("bytes") < before);
        for disk in DISKS {
            let data = &oracle::info(&backup.file(disk))["format-specific"]["data"];
            assert_eq!(data["compression-type"], "zstd");
        }
    }
    assert_eq!(beside(&site), "");
    let mut all = states(&site, &[]);
    all.sort();
    assert_eq!(all, [["finalize done"; 3], ["start done"; 3]].concat());
    assert_eq!(states(&site, &["--type", "finalize"]), ["finalize done"; 3]);
    assert_eq!(states(&site, &["--vm", &written.vm.name]).len(), 6);
    assert_eq!(
        states(&site, &["--backup", written.taken[1].0.id()]).len(),
        2
    );
    let id = format!("{}.start", written.taken[1].0.id());
    assert_eq!(states(&site, &["--id", &id]), ["start done"]);
    assert_eq!(
        states(&site, &["--executing", "--scheduled"]),
        [] as [String; 0]
    );
    site.knib(["plan", "--detailed-exitcode"]).exits(0);

    // The chain goes on over what was compressed, and a restore checks every digest of it.
    written.vm.write("vda", 3 * MIB, 0x77, MIB);
    let next = site.backup(&written.vm, &[]);
    assert_eq!(next.parent(), Some(written.taken[2].0.id()));
    assert_holds(&next.file("vda"), &written.vm.truth("vda"));
    let name = format!("{}-copy", site.run);
    site.knib(["restore", "new", next.id(), "--name", &name])
        .exits(0);
    let copy = site.defined("copy");
    for disk in DISKS {
        assert_holds(&copy.source(disk), &written.vm.truth(disk));
    }
}

#[test]
fn one_apply_backs_up_compresses_and_swaps() {
    let site = site("coroutines: 2");
    let vm = site.vm("a").disk(Disk::qcow2("vda", 8 * MIB)).define();
    vm.write("vda", 0, 0x5a, 2 * MIB);
    site.apply().exits(0);
    let backup = site.newest(&vm);
    assert_eq!(backup.0["compression"], "compressed");
    assert_holds(&backup.file("vda"), &vm.truth("vda"));

    // What would not be smaller stays as it is, and that is known.
    let empty = site.backup(&vm, &[]);
    let inode = fs::metadata(empty.file("vda")).expect("it is there").ino();
    site.apply().exits(0);
    let kept = site.newest(&vm);
    assert_eq!(kept.0["compression"], "kept");
    assert_eq!(kept.0["size"], kept.0["uncompressed_size"]);
    assert_eq!(
        fs::metadata(kept.file("vda")).expect("it is there").ino(),
        inode
    );
    is_as_recorded(&kept, "vda");
    assert_eq!(beside(&site), "");
    site.knib(["plan", "--detailed-exitcode"]).exits(0);
}

#[test]
fn a_copy_is_compressed_at_once() {
    let site = Site::with(
        PLAIN,
        "plain: { backupChainSize: 0, compress: true, compressionLibrary: zlib, compressMode: inline }",
    );
    told(&site, "");
    let vm = site
        .vm("a")
        .disk(Disk::qcow2("vda", 8 * MIB))
        .start_paused();
    vm.write("vda", 0, 0x5a, 2 * MIB);
    knib(&site, &["apply", "--auto-approve"]).run().exits(0);
    let full = (site.newest(&vm), vm.truth("vda"));
    vm.write("vda", MIB, 0x33, 2 * MIB);
    vm.zero("vda", 0, 64 * KIB);
    knib(&site, &["backup", "run", &vm.name]).run().exits(0);
    let next = (site.newest(&vm), vm.truth("vda"));

    let converted = lines(&site, " -c ");
    assert_eq!(converted.len(), 2, "{converted:#?}");
    assert!(
        converted
            .iter()
            .all(|line| line.contains("compression_type=zlib"))
    );
    for (backup, truth) in [&full, &next] {
        assert_eq!(backup.0["compression"], "compressed");
        assert_holds(&backup.file("vda"), truth);
        is_as_recorded(backup, "vda");
        let size = |key: &str| backup.0[key].as_u64().expect("bytes");
        assert!(size("size") < size("uncompressed_size"));
    }
    assert_eq!(jobs(&site, &[]), [] as [Value; 0]);
    assert_eq!(next.0.parent(), Some(full.0.id()));
    assert_eq!(beside(&site), "");
}

/// What is said, on one line.
pub(super) fn said(output: &Output) -> String {
    let said = format!("{}{}", output.stdout, output.stderr);
    said.split_whitespace().collect::<Vec<_>>().join(" ")
}
