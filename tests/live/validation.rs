//! Backups that are booted, in throwaway VMs of the real hypervisor.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::Value;

use crate::support::Disk;
use crate::support::MIB;
use crate::support::Vm;
use crate::support::deadline::wait_until;
use crate::support::oracle;
use crate::support::tool::virsh;
use crate::support::vm::Xml;

use super::quick::readable;
use super::site::Backup;
use super::site::Site;

const PLAIN: &str = "plain: { backupChainSize: 0 }";

/// With an offering that boots its backups.
fn validating(how: &str) -> Site {
    let site = Site::with(PLAIN, &offering(how));
    readable(&site);
    site
}

fn offering(how: &str) -> String {
    format!("plain: {{ backupChainSize: 0, validate: {{ interval: 0s, {how} }} }}")
}

/// The guest boots with these words from its next start on.
fn boots_with(vm: &Vm, site: &Site, words: &str) {
    let xml = vm.xml(Xml::Inactive);
    let (before, rest) = xml.split_once("<cmdline>").expect("it boots a kernel");
    let (_, after) = rest.split_once("</cmdline>").expect("it is closed");
    let file = site.path("again.xml");
    let text = format!("{before}<cmdline>{words}</cmdline>{after}");
    fs::write(&file, text).expect("the directory is the test's own");
    virsh([Path::new("define"), &file]).must();
}

fn shown(site: &Site, backup: &Backup) -> Value {
    let show = ["backup", "show", backup.id(), "--format", "json"];
    site.knib(show).exits(0).json()
}

fn reasons(shown: &Value) -> String {
    let reasons = shown["validated"]["reasons"].as_array().expect("an array");
    let texts: Vec<_> = reasons
        .iter()
        .map(|one| one.as_str().expect("a text"))
        .collect();
    texts.join("; ")
}

/// Owner, mode and content of every file of a backup but its record, its picture and what tells who reads it.
fn files(backup: &Backup) -> Vec<(String, u32, u32, u32, String)> {
    let dir = backup.dir();
    let all = fs::read_dir(&dir).expect("it is there");
    let names = all.map(|entry| {
        entry
            .expect("it is read")
            .file_name()
            .into_string()
            .expect("text")
    });
    let mut names: Vec<_> = names
        .filter(|name| name != "backup.json" && name != "screenshot.png")
        .collect();
    names.sort();
    let one = |name: String| {
        let path = dir.join(&name);
        let about = fs::metadata(&path).expect("it is there");
        let sum = oracle::file_sha256(&path);
        (name, about.uid(), about.gid(), about.mode(), sum)
    };
    names.into_iter().map(one).collect()
}

/// Nothing of a throwaway VM is anywhere.
fn assert_nothing_left(site: &Site, vm: &Vm) {
    let name = format!("knib-validate-{}", vm.name);
    let all = virsh(["list", "--all", "--name"]).must();
    assert!(!all.lines().any(|line| line == name), "{all}");
    let log = Path::new("/var/log/libvirt/qemu").join(format!("{name}.log"));
    assert!(!log.exists(), "{} is there", log.display());
    let primary = oracle::listing(&site.primary());
    assert!(!primary.contains("knib-validate"), "{primary}");
    assert_eq!(site.leftovers(), [] as [String; 0]);
}

const LISTS: &str = "command: /bin/ls, arguments: [/sys/class/net], expectedOutput: lo";

/// One guest, four backups: each is booted without a network and changes nothing; what the guest fails at
/// is told, and costs one full backup.
#[test]
fn a_guest_is_booted_and_judged() {
    let trial = |command: &str, boot: &str| {
        let steps = "steps: [waitForBoot, screenshot, executeCommand], screenshotWait: 0s";
        offering(&format!("{steps}, bootTimeout: {boot}, {command}"))
    };
    let long = trial(LISTS, "2m");
    let site = Site::with(PLAIN, &long);
    readable(&site);
    let disk = Disk::qcow2("vda", 16 * MIB).ext4();
    let (vm, guest) = site.vm("a").disk(disk).boot();
    boots_with(&vm, &site, "console=ttyS0 console=tty0 panic=-1");
    let primary = fs::metadata(vm.source("vda")).expect("it is there");

    // One plan: the backup, and what becomes of it.
    site.apply().exits(0);
    let first = site.newest(&vm);
    let seen = shown(&site, &first);
    assert_eq!(seen["validation"], "valid", "{seen:#}");
    assert_eq!(reasons(&seen), "");
    let picture = first.dir().join("screenshot.png");
    assert_eq!(
        seen["validated"]["screenshot"],
        picture.to_str().expect("text")
    );
    assert_shows_something(&picture);
    if let Ok(copy) = std::env::var("KNIB_KEEP_SCREENSHOT") {
        fs::copy(&picture, copy).expect("it is kept");
    }
    assert_nothing_left(&site, &vm);
    assert_eq!(
        primary.uid(),
        fs::metadata(vm.source("vda")).expect("there").uid()
    );

    // Black, and a command that fails: both are told, and the next backup is full.
    guest.write_file("vda", "second", 64);
    boots_with(&vm, &site, "console=ttyS0 quiet panic=-1 vga=normal");
    let fails =
        "command: /bin/sh, arguments: [-c, \"clear >/dev/tty0; echo no such table >&2; exit 1\"]";
    let fails = trial(fails, "2m");
    site.change_policy(&long, &fails);
    let second = site.backup(&vm, &[]);
    let before = files(&second);
    site.knib(["backup", "validate", second.id()]).exits(5);
    assert_eq!(
        files(&second),
        before,
        "a backup was changed by being booted"
    );
    let seen = shown(&site, &second);
    assert_eq!(seen["validation"], "invalid");
    let said = reasons(&seen);
    assert!(
        said.contains("/bin/sh exited with 1, 0 was expected: no such table"),
        "{said}"
    );
    assert!(said.contains("screen shows nothing"), "{said}");
    let status = site.knib(["status"]).exits(0).stdout;
    assert!(status.contains("is invalid"), "{status}");

    // Nothing else was wrong with it: the chain after it is not ended once more.
    let other = trial(
        "command: /bin/echo, arguments: [one], expectedOutput: two",
        "2m",
    );
    site.change_policy(&fails, &other);
    let third = site.backup(&vm, &[]);
    assert_eq!((second.kind(), third.kind()), ("incremental", "full"));
    site.knib(["backup", "validate", third.id()]).exits(5);
    let said = reasons(&shown(&site, &third));
    assert!(
        said.contains(r#"printed "one", "two" was expected"#),
        "{said}"
    );

    // A kernel that panics never answers.
    boots_with(&vm, &site, "console=ttyS0 quiet rdinit=/nowhere panic=0");
    let short = trial(LISTS, "5s");
    site.change_policy(&other, &short);
    let fourth = site.backup(&vm, &[]);
    assert_eq!(fourth.parent(), Some(third.id()));
    site.knib(["backup", "validate", fourth.id()]).exits(5);
    let said = reasons(&shown(&site, &fourth));
    assert!(said.contains("no guest agent answered within 5s"), "{said}");
    assert_eq!(site.backup(&vm, &[]).kind(), "incremental");
    assert_nothing_left(&site, &vm);
}

/// It decodes, and more than one colour fills at least 2 % of it.
fn assert_shows_something(picture: &Path) {
    let file = fs::File::open(picture).expect("it is there");
    let decoder = png::Decoder::new(std::io::BufReader::new(file));
    let mut reader = decoder.read_info().expect("it is PNG");
    let mut data = vec![0; reader.output_buffer_size().expect("it fits")];
    let frame = reader.next_frame(&mut data).expect("it decodes");
    let pixel = frame.line_size / frame.width as usize;
    let mut colours = std::collections::HashMap::new();
    for one in data[..frame.buffer_size()].chunks_exact(pixel) {
        *colours.entry(one.to_vec()).or_insert(0usize) += 1;
    }
    let all: usize = colours.values().sum();
    let filling = colours.values().filter(|n| **n * 50 >= all).count();
    assert!(filling > 1, "{colours:?} of {all}");
}

/// A VM that never ran: nobody knows whether anything should answer.
#[test]
fn a_backup_that_cannot_be_judged_is_not_invalid() {
    let site = validating("steps: [waitForBoot], bootTimeout: 2s");
    let deaf = site.vm("deaf").disk(Disk::qcow2("vda", MIB)).define();
    let silent = site
        .vm("silent")
        .agent()
        .disk(Disk::qcow2("vda", MIB))
        .define();
    site.apply().exits(5);
    for (vm, why) in [
        (&deaf, "no channel for a guest agent"),
        (&silent, "none was connected when it was made"),
    ] {
        let backup = site.newest(vm);
        let seen = shown(&site, &backup);
        assert_eq!(seen["validation"], "unable", "{seen:#}");
        assert!(reasons(&seen).contains(why), "{seen:#}");
        assert_eq!(site.backup(vm, &[]).kind(), "incremental");
        assert_nothing_left(&site, vm);
    }
    // Tried again in an hour, of the newest; what waits for an older one is over.
    let list = ["job", "list", "--type", "validate", "--format", "json"];
    let jobs = site.knib(list).exits(0).json();
    assert_eq!(jobs[0]["state"], "held");
    assert_eq!(jobs[0]["attempts"], 1);
}

/// Whoever holds the backup is named; and what is killed leaves nothing, once somebody looks.
#[test]
fn a_killed_validation_leaves_nothing() {
    let site = validating("steps: [screenshot], screenshotWait: 1h");
    let vm = site.vm("a").device("<interface type='user'/>");
    let vm = vm.disk(Disk::qcow2("vda", MIB)).define();
    site.knib(["apply", "--auto-approve", "--only", "config"])
        .exits(0);
    let backup = site.backup(&vm, &[]);
    let name = format!("knib-validate-{}", vm.name);
    let running = || {
        let all = virsh(["list", "--name"]).must();
        all.lines().any(|line| line == name)
    };
    let mut knib = site.knib_with(["backup", "validate", backup.id()]).start();
    wait_until("the throwaway VM", 60, running);
    let devices = virsh(["dumpxml", &name]).must();
    assert!(
        !devices.contains("<interface") && devices.contains("<video>"),
        "{devices}"
    );
    assert_eq!(shown(&site, &backup)["validation"], "validating");
    let listed = site.knib(["vm", "list"]).exits(0).stdout;
    assert!(!listed.contains("knib-validate"), "{listed}");
    for command in ["delete", "validate"] {
        let mut args = vec!["backup", command, backup.id(), "--lock-timeout", "0s"];
        args.extend((command == "delete").then_some("--force"));
        let held = site.knib(args).exits(6);
        let holder = format!("pid {}", knib.pid());
        assert!(
            held.stderr.contains("validate by knib") && held.stderr.contains(&holder),
            "{held}"
        );
    }

    knib.kill();
    wait_until("libvirt to end it", 60, || !running());
    let interrupted = site.knib(["plan"]).exits(0).stdout;
    assert!(interrupted.contains("validate"), "{interrupted}");
    // It would be held again from the beginning, for an hour.
    let job = format!("{}.validate", backup.id());
    site.knib(["job", "cancel", &job]).exits(0);
    site.apply().exits(5);
    assert_nothing_left(&site, &vm);
    assert_eq!(shown(&site, &backup)["validation"], "none");
    site.knib(["backup", "delete", backup.id(), "--force"])
        .exits(0);
}
