//! Jobs: when they are tried, how many at once, what holds them, and how they end.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::Disk;
use crate::support::MIB;
use crate::support::Vm;
use crate::support::deadline::wait_for;
use crate::support::deadline::wait_until;
use crate::support::tool::run;

use super::compression::COMPRESSED;
use super::compression::JOBS;
use super::compression::PLAIN;
use super::compression::beside;
use super::compression::is_as_recorded;
use super::compression::jobs;
use super::compression::knib;
use super::compression::line;
use super::compression::lines;
use super::compression::said;
use super::compression::site;
use super::compression::states;
use super::compression::told;
use super::judge::assert_holds;
use super::site::Backup;
use super::site::Site;

/// A VM whose disk is easily compressed.
fn vm(site: &Site, name: &str) -> Vm {
    let vm = site.vm(name).disk(Disk::qcow2("vda", 8 * MIB)).define();
    vm.write("vda", 0, 0x5a, 4 * MIB);
    vm
}

#[test]
fn attempts_wait_for_room_and_end() {
    let site = site("task.enabled: false, minimum.free.storage: 3, retry.interval: 30m");
    site.mount_small("small", 16 * MIB);
    site.change_policy("$DIR/storage", &site.path("small").display().to_string());
    site.set_clock("2026-11-23T10:00:00Z");
    let vm = vm(&site, "a");
    let backup = site.first(&vm);
    site.change_policy("task.enabled: false", "task.enabled: true");

    let first = site.knib(JOBS).exits(5);
    for word in ["has 1", "free; compressing", "needs 12"] {
        assert!(
            said(&first).contains(word),
            "{word:?} is not said:\n{first}"
        );
    }
    let job = jobs(&site, &[]).remove(0);
    assert_eq!(job["state"], "held");
    assert_eq!(job["attempts"], 1);
    assert_eq!(job["scheduled_at"], "2026-11-23T10:30:00Z");
    assert!(
        job["error"]
            .as_str()
            .is_some_and(|why| why.contains("needs 12"))
    );

    site.set_clock("2026-11-23T10:29:00Z");
    let held = site.knib(JOBS).exits(0);
    assert!(said(&held).contains("waits until"), "{held}");
    // What is counted from is the attempt, whatever the interval was then.
    site.change_policy("retry.interval: 30m", "retry.interval: 40m");
    site.set_clock("2026-11-23T10:31:00Z");
    site.knib(JOBS).exits(0);
    assert_eq!(jobs(&site, &[])[0]["scheduled_at"], "2026-11-23T10:40:00Z");
    site.change_policy("retry.interval: 40m", "retry.interval: 20m");
    site.knib(JOBS).exits(5);
    let job = jobs(&site, &[]).remove(0);
    assert_eq!(
        (&job["state"], &job["attempts"]),
        (&"failed".into(), &2.into())
    );
    assert_eq!(site.newest(&vm).0["compression"], "failed");
    assert!(
        site.knib(["status"])
            .exits(0)
            .stdout
            .contains("1 job failed")
    );
    site.set_clock("2026-11-23T12:00:00Z");
    site.knib(["plan", "--detailed-exitcode"]).exits(0);
    assert_holds(&backup.file("vda"), &vm.truth("vda"));

    // It was tried often enough for as long as that is so.
    let more = "minimum.free.storage: 1, backup.compression.max.job.retries: 3";
    site.change_policy("minimum.free.storage: 3", more);
    site.knib(JOBS).exits(0);
    assert_eq!(site.newest(&vm).0["compression"], "compressed");
    assert_holds(&backup.file("vda"), &vm.truth("vda"));
    let id = job["id"].as_str().expect("an id");
    site.knib(["job", "retry", id]).exits(3);
}

/// How many of the commands that were written down with a beginning and an end were under way at once.
fn most_at_once(site: &Site) -> usize {
    let log = fs::read_to_string(site.path("times")).expect("something was compressed");
    let (mut now, mut most) = (0_usize, 0);
    for line in log.lines() {
        now = match line {
            "begins" => now + 1,
            _ => now - 1,
        };
        most = most.max(now);
    }
    most
}

/// A `qemu-img` that takes so many seconds longer to compress, and writes down when it does.
fn slow(site: &Site, seconds: f32) {
    let times = site.path("times").display().to_string();
    let real = run("which", ["qemu-img"]).must();
    let real = real.trim();
    told(
        site,
        &format!(
            "case \"$*\" in *' -c '*) echo begins >>{times}; sleep {seconds}; {real} \"$@\"; code=$?; echo ends >>{times}; exit $code;; esac"
        ),
    );
}

#[test]
fn ten_backups_in_sequence_are_compressed_in_parallel() {
    let site = site("task.enabled: false, max.concurrent.compressions.per.host: 2");
    slow(&site, 0.7);
    let vm = vm(&site, "a");
    let mut taken = Vec::new();
    for n in 0..10 {
        vm.write("vda", n * MIB / 2, 0x10, MIB);
        let backup = if n == 0 {
            site.first(&vm)
        } else {
            site.backup(&vm, &[])
        };
        taken.push((backup, vm.truth("vda")));
    }
    let starts: Vec<_> = taken
        .iter()
        .map(|(backup, _)| backup.parent().map(str::to_owned))
        .collect();
    let before = taken.iter().map(|(backup, _)| Some(backup.id().to_owned()));
    let before: Vec<_> = std::iter::once(None).chain(before).take(10).collect();
    assert_eq!(starts, before, "each continues the one before");

    // Two runs at once have two places between them.
    site.change_policy("task.enabled: false", "task.enabled: true");
    let runs = [(), ()].map(|()| knib(&site, &JOBS).start());
    for run in runs {
        let code = run.finish().code();
        assert!(matches!(code, Some(0 | 6)), "{code:?}");
    }
    knib(&site, &JOBS).run().exits(0);
    assert_eq!(most_at_once(&site), 2);
    for (backup, truth) in &taken {
        assert_holds(&backup.file("vda"), truth);
    }
    let all = states(&site, &[]);
    assert_eq!(all.iter().filter(|one| *one == "finalize done").count(), 10);
    assert_eq!(lines(&site, " -c ").len(), 10, "each is compressed once");
    assert_eq!(beside(&site), "");
}

#[test]
fn less_than_one_place_is_no_limit() {
    let site = site("task.enabled: false, max.concurrent.compressions.per.host: -1");
    slow(&site, 5.0);
    let vms = ["a", "b", "c", "d", "e", "f", "g"].map(|name| vm(&site, name));
    site.apply().exits(0);
    site.change_policy("task.enabled: false", "task.enabled: true");
    knib(&site, &JOBS).run().exits(0);
    // On a busy machine one or two may come late; five is what an unset limit admits.
    let most = most_at_once(&site);
    assert!((6..=vms.len()).contains(&most), "{most}");
}

/// The process that works on a file.
fn worker(words: &[&str]) -> Option<String> {
    let all = fs::read_dir("/proc").expect("there is a /proc");
    let found = all.filter_map(Result::ok).find(|process| {
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        line.contains("qemu-img convert") && words.iter().all(|word| line.contains(word))
    })?;
    found.file_name().into_string().ok()
}

#[test]
fn in_any_order_and_beside_a_reader_every_backup_stays_what_it_was() {
    let site = site("task.enabled: false");
    let vm = vm(&site, "a");
    let mut taken: Vec<(Backup, PathBuf)> = Vec::new();
    let mut take = || {
        let n = taken.len() as u64;
        vm.write("vda", n * MIB, 0x10, MIB);
        let backup = if n == 0 {
            site.first(&vm)
        } else {
            site.backup(&vm, &[])
        };
        taken.push((backup, vm.truth("vda")));
        if n == 2 {
            site.knib(["chain", "finish", &vm.name]).exits(0);
        }
    };
    (0..4).for_each(|_| take());
    let all = site.backups(&vm);
    let marks = |key: &str| -> Vec<bool> { all.iter().map(|one| one.0[key] == true).collect() };
    assert_eq!(marks("end_of_chain"), [false, false, true, false]);
    assert_eq!(marks("current"), [false, false, false, true]);
    site.change_policy("task.enabled: false", "task.enabled: true");
    let inodes = || {
        let each = all.iter().map(|one| fs::metadata(one.file("vda")));
        let each = each.map(|file| file.expect("it is there").ino());
        each.collect::<Vec<_>>()
    };
    let before = inodes();
    let swapped = || -> Vec<bool> {
        let now = inodes().into_iter().zip(&before);
        now.map(|(now, before)| now != *before).collect()
    };

    // A restore of the second reads it and the first, and stands still. What continues it is compressed
    // before it, and so is the current one.
    let copy = format!("{}-copy", site.run);
    let target = site.make_dir("slow").display().to_string();
    let gate = Gate::of_converts(&site, &target);
    let restore = [
        "restore",
        "new",
        all[1].id(),
        "--name",
        &copy,
        "--disk-dir",
        &target,
    ];
    let restore = gate.knib(&site, &restore).start();
    let reader = wait_for("the restore", 120, || worker(&[&target]));
    let starts = [0, 1].map(|n: usize| format!("{}.start", all[n].id()));
    for start in &starts {
        site.knib(["job", "cancel", start]).exits(0);
    }
    site.knib(JOBS).exits(0);
    assert_eq!(swapped(), [false, false, true, true]);

    // What is read is compressed beside it.
    for start in &starts {
        site.knib(["job", "retry", start]).exits(0);
    }
    let held = site.knib(JOBS).exits(6);
    assert!(said(&held).contains("restore new"), "{held}");
    assert_eq!(swapped(), [false, false, true, true], "under the reader");
    assert_eq!(beside(&site).lines().count(), 2);
    let waiting = jobs(&site, &["--type", "finalize", "--scheduled"]);
    assert_eq!(waiting.len(), 2);
    assert!(waiting.iter().all(|job| job["attempts"] == 0));
    gate.open();
    restore.finish().exits(0);
    assert!(!Path::new(&format!("/proc/{reader}")).exists());
    assert_holds(&site.defined("copy").source("vda"), &taken[1].1);
    site.knib(JOBS).exits(0);
    assert_eq!(swapped(), [true; 4]);

    // A child after its parent.
    let mut take = || {
        vm.write("vda", 5 * MIB, 0x20, MIB);
        taken.push((site.backup(&vm, &[]), vm.truth("vda")));
    };
    take();
    site.knib(JOBS).exits(0);
    let now = site.backups(&vm);
    assert_eq!(now.len(), 5);
    for (backup, (before, truth)) in now.iter().zip(&taken) {
        assert_eq!(backup.0["compression"], "compressed");
        assert_holds(&backup.file("vda"), truth);
        is_as_recorded(backup, "vda");
        let keys = ["birth", "parent"].map(|key| [backup, before].map(|one| &one.disk("vda")[key]));
        assert!(keys.iter().all(|[now, before]| now == before));
    }
    assert_eq!(beside(&site), "");
    site.knib(["backup", "verify", "--all"]).exits(0);
    site.knib(["plan", "--vm", &vm.name, "--detailed-exitcode"])
        .exits(0);
}

/// A `qemu-img` whose copies wait until it is opened.
struct Gate(PathBuf);

impl Gate {
    /// Those that name this.
    fn of_converts(site: &Site, word: &str) -> Self {
        Self::closed(site, |wait| {
            format!("case \"$*\" in *convert*{word}*) {wait};; esac")
        })
    }

    /// Those that compress do not end, although they are done.
    fn after_compressions(site: &Site) -> Self {
        let real = run("which", ["qemu-img"]).must();
        let real = real.trim();
        Self::closed(site, |wait| {
            format!("case \"$*\" in *' -c '*) {real} \"$@\"; code=$?; {wait}; exit $code;; esac")
        })
    }

    /// `first` says what is done before anything else, with what waits for it.
    fn closed(site: &Site, first: impl FnOnce(&str) -> String) -> Self {
        let gate = site.path("closed");
        fs::write(&gate, "").expect("the directory is the test's own");
        let wait = format!("while [ -e {} ]; do sleep 0.05; done", gate.display());
        told(site, &first(&wait));
        Self(gate)
    }

    fn knib(&self, site: &Site, args: &[&str]) -> crate::support::knib::Knib {
        assert!(self.0.exists(), "it is closed");
        knib(site, args)
    }

    fn open(&self) {
        fs::remove_file(&self.0).expect("it was closed");
    }
}

#[test]
fn a_backup_is_not_deleted_while_it_is_compressed() {
    let site = site("task.enabled: false");
    let vm = vm(&site, "a");
    let first = site.first(&vm);
    vm.write("vda", MIB, 0x33, MIB);
    let last = site.backup(&vm, &[]);
    site.change_policy("task.enabled: false", "task.enabled: true");
    let gate = Gate::of_converts(&site, ".comp");
    let apply = gate.knib(&site, &JOBS).start();
    wait_until("both are being compressed", 120, || {
        states(&site, &["--executing"]).len() == 2
    });
    let delete = ["backup", "delete", last.id(), "--lock-timeout", "1s"];
    let refused = site.knib(delete).exits(6);
    assert!(said(&refused).contains("compress"), "{refused}");

    // One that is let go meanwhile keeps its files for its child, and its job ends.
    site.knib(["backup", "delete", first.id()]).exits(0);
    gate.open();
    apply.finish().exits(6);
    site.knib(JOBS).exits(0);
    let of_first = states(&site, &["--type", "finalize"]);
    assert_eq!(of_first, ["finalize cancelled", "finalize done"]);
    assert_eq!(beside(&site), "");
    assert_holds(&site.newest(&vm).file("vda"), &vm.truth("vda"));
    site.knib(["plan", "--detailed-exitcode"]).exits(0);

    // What waits goes with its backup.
    site.knib(["backup", "delete", last.id(), "--force"])
        .exits(0);
    assert_eq!(jobs(&site, &[]), [] as [Value; 0]);
}

#[test]
fn a_job_that_is_being_tried_can_be_ended_and_tried_again() {
    let site = site("task.enabled: false");
    let vm = vm(&site, "a");
    let backup = site.first(&vm);
    site.change_policy("task.enabled: false", "task.enabled: true");
    let gate = Gate::of_converts(&site, ".comp");
    let apply = gate.knib(&site, &JOBS).start();
    let work = wait_for("the compression", 120, || worker(&[".comp", &vm.uuid()]));
    let id = format!("{}.start", backup.id());
    site.knib(["job", "cancel", &id]).exits(0);
    let ended = apply.finish().exits(5);
    assert!(said(&ended).contains("was cancelled"), "{ended}");
    assert!(!Path::new(&format!("/proc/{work}")).exists());
    assert_eq!(states(&site, &[]), ["start cancelled"]);
    assert_eq!(beside(&site), "");
    site.knib(["plan", "--detailed-exitcode"]).exits(0);

    gate.open();
    site.knib(["job", "retry", &id]).exits(0);
    assert_eq!(states(&site, &["--scheduled"]), ["start scheduled"]);
    site.knib(JOBS).exits(0);
    assert_eq!(site.newest(&vm).0["compression"], "compressed");
    assert_holds(&backup.file("vda"), &vm.truth("vda"));
}

#[test]
fn a_job_whose_knib_was_killed_is_found_and_goes_on() {
    let site = site("task.enabled: false");
    let vm = vm(&site, "a");
    let backup = site.first(&vm);
    site.change_policy("task.enabled: false", "task.enabled: true");
    let gate = Gate::of_converts(&site, ".comp");
    let mut apply = gate.knib(&site, &JOBS).start();
    let work = wait_for("the compression", 120, || worker(&[".comp", &vm.uuid()]));
    apply.kill();
    let _killed = apply.finish();
    wait_until("its qemu-img ends with it", 120, || {
        !Path::new(&format!("/proc/{work}")).exists()
    });
    assert_eq!(states(&site, &[]), ["start scheduled"]);
    let plan = said(&site.knib(["plan", "--only", "jobs"]).exits(0));
    assert!(plan.contains("was interrupted at step 2 of 3"), "{plan}");

    site.knib(["job", "cancel", &format!("{}.start", backup.id())])
        .exits(0);
    site.knib(JOBS).exits(5);
    assert_eq!(beside(&site), "");
    gate.open();
    site.knib(["job", "retry", &format!("{}.start", backup.id())])
        .exits(0);
    site.knib(JOBS).exits(0);
    assert_eq!(site.newest(&vm).0["compression"], "compressed");
    assert_holds(&backup.file("vda"), &vm.truth("vda"));
}

#[test]
fn an_hourly_schedule_keeps_every_slot_while_a_slow_compression_goes_on() {
    let site = Site::with(PLAIN, COMPRESSED);
    site.change_policy(
        "version: 1\n",
        &format!("version: 1\n{}", line("rate.limit: 1MB/s")),
    );
    site.change_policy("0 0 29 2 *", "0 * * * *");
    let clock = site.path("clock");
    let set = |hour: u8| {
        fs::write(&clock, format!("2026-11-23T{hour:02}:00:30Z")).expect("a clock");
    };
    set(9);
    site.set_clock(&format!("@{}", clock.display()));
    let vm = site
        .vm("a")
        .disk(Disk::qcow2("vda", 16 * MIB))
        .start_paused();
    vm.write("vda", 0, 0x5a, 4 * MIB);
    // However fast this machine is, it takes longer than three hours of that clock.
    let gate = Gate::after_compressions(&site);
    let apply = gate
        .knib(&site, &["apply", "--auto-approve"])
        .env("KNIB_AGAIN", "200")
        .start();
    wait_until("the first backup is being compressed", 120, || {
        states(&site, &["--executing"]).contains(&"start executing".to_owned())
    });
    let first = site.newest(&vm);
    let slow = format!("{}.start", first.id());
    let mut taken = vec![(first, vm.truth("vda"))];
    for hour in 10..13 {
        vm.write("vda", 8 * MIB, hour, MIB);
        let truth = vm.truth("vda");
        set(hour);
        wait_until("the slot is served", 120, || {
            site.backups(&vm).len() == taken.len() + 1
        });
        taken.push((site.newest(&vm), truth));
        assert_eq!(states(&site, &["--id", &slow]), ["start executing"]);
    }
    gate.open();
    apply.finish().exits(0);
    let served: Vec<_> = taken[1..]
        .iter()
        .map(|(backup, _)| backup.0["slots"][0]["at"].clone())
        .collect();
    let hours = [10, 11, 12].map(|hour| format!("2026-11-23T{hour}:00:00Z"));
    assert_eq!(served, hours);
    site.apply().exits(0);
    let told = lines(&site, " -c ");
    assert!(
        told.iter().all(|line| line.contains(" -r 1000000 ")),
        "{told:#?}"
    );
    for (backup, truth) in &taken {
        assert_holds(&backup.file("vda"), truth);
    }
    assert!(states(&site, &[]).iter().all(|one| one.ends_with("done")));
    assert_eq!(beside(&site), "");
}
