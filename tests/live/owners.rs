//! Two states on one storage: a VM that moved goes on where it runs now, and whose it was before leaves it alone.

use std::fs;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use crate::support::Disk;
use crate::support::KIB;
use crate::support::MIB;
use crate::support::Vm;
use crate::support::deadline::wait_until;
use crate::support::knib::Output;
use crate::support::oracle;
use crate::support::tool::run;
use crate::support::tool::virsh;
use crate::support::vm::Xml;

use super::judge::assert_holds;
use super::site::Backup;
use super::site::Site;
use super::site::assert_unchanged;

/// Who runs the second daemon.
const USER: &str = "nobody";

/// A libvirt daemon of an unprivileged user, with everything it has in the sandbox.
struct Second<'a> {
    site: &'a Site,
    daemon: Child,
    uri: String,
}

impl<'a> Second<'a> {
    #[track_caller]
    fn start(site: &'a Site) -> Self {
        let home = site.path("s");
        fs::create_dir_all(home.join("libvirt")).expect("the directory is the test's own");
        // Without a log daemon of its own.
        let conf = "stdio_handler = \"file\"\n";
        fs::write(home.join("libvirt/qemu.conf"), conf).expect("the directory is the test's own");
        run("chown", ["-R", USER, &home.display().to_string()]).must();
        let uid = run("id", ["-u", USER]).must();
        let dirs = [
            "HOME",
            "XDG_RUNTIME_DIR",
            "XDG_CONFIG_HOME",
            "XDG_CACHE_HOME",
            "XDG_DATA_HOME",
        ];
        let daemon = Command::new("setpriv")
            .args([
                "--reuid",
                uid.trim(),
                "--clear-groups",
                "--inh-caps=-all",
                "libvirtd",
            ])
            .env_clear()
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .env("LC_ALL", "C")
            .envs(dirs.map(|name| (name, &home)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("setpriv and libvirtd are installed");
        let socket = home.join("libvirt/libvirt-sock");
        let second = Self {
            site,
            daemon,
            uri: format!("qemu+unix:///session?socket={}", socket.display()),
        };
        wait_until("the second daemon", 30, || second.virsh(&["uri"]).ok);
        second
    }

    fn virsh(&self, args: &[&str]) -> crate::support::tool::Ran {
        run("virsh", ["-q", "-c", &self.uri].iter().chain(args))
    }

    /// Takes the VM from the first daemon, as a migration does. One that was on is started, paused.
    #[track_caller]
    fn take(&self, vm: &Vm) {
        let xml = self.site.path("moved.xml");
        fs::write(&xml, vm.xml(Xml::Inactive)).expect("the directory is the test's own");
        let was_on = vm.state() != "shut off";
        if was_on {
            vm.destroy();
        }
        virsh(["undefine", &vm.name]).must();
        let root = self.site.root().display().to_string();
        let primary = self.site.primary().display().to_string();
        let console = format!("{root}/{}.console", vm.name);
        run("chown", ["-R", USER, &primary]).must();
        run(
            "sh",
            [
                "-c",
                &format!("touch {console} && chown {USER} {root} {console}"),
            ],
        )
        .must();
        self.virsh(&["define", &xml.display().to_string()]).must();
        if was_on {
            self.virsh(&["start", "--paused", &vm.name]).must();
        }
    }

    /// knib with this daemon and a state of its own.
    #[track_caller]
    fn knib(&self, args: &[&str]) -> Output {
        let state = self.site.path("second.db").display().to_string();
        let ours = ["--connect", &self.uri, "--state", &state];
        self.site.knib(ours.iter().chain(args))
    }

    #[track_caller]
    fn backups(&self, vm: &Vm) -> Vec<Backup> {
        let list = ["backup", "list", "--vm", &vm.name, "--format", "json"];
        let listed = self.knib(&list).exits(0).json();
        let all = listed.as_array().expect("a list is an array").clone();
        all.into_iter().map(Backup).collect()
    }
}

impl Drop for Second<'_> {
    fn drop(&mut self) {
        for name in self.virsh(&["list", "--all", "--name"]).stdout.lines() {
            let _ = self.virsh(&["destroy", name]);
            let _ = self.virsh(&["undefine", name]);
        }
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

#[test]
fn a_vm_that_moved_goes_on_with_its_chain_where_it_runs_now() {
    let site = Site::new();
    let disks = [Disk::qcow2("vda", 4 * MIB), Disk::raw("vdb", 2 * MIB)];
    let [vda, vdb] = disks;
    let vm = site.vm("a").disk(vda).disk(vdb).start_paused();
    let mut taken: Vec<[PathBuf; 2]> = Vec::new();
    let mut truths = |vm: &Vm| taken.push(["vda", "vdb"].map(|disk| vm.truth(disk)));
    vm.write("vda", 0, 0x11, 512 * KIB);
    truths(&vm);
    site.first(&vm);
    vm.write("vdb", 64 * KIB, 0x22, 64 * KIB);
    truths(&vm);
    let before = site.backup(&vm, &[]);
    vm.write("vda", 256 * KIB, 0x33, 64 * KIB);
    truths(&vm);

    let second = Second::start(&site);
    second.take(&vm);
    let plan = second.knib(&["plan"]).exits(0);
    let adopts = format!("{}  take over 2 backups on nas from", vm.name);
    assert!(plan.stdout.contains(&adopts), "{plan}");
    second.knib(&["apply", "--auto-approve"]).exits(0);
    second.knib(&["backup", "run", &vm.name]).exits(0);

    let backups = second.backups(&vm);
    let kinds: Vec<_> = backups.iter().map(Backup::kind).collect();
    assert_eq!(kinds, ["full", "incremental", "incremental"]);
    assert_eq!(backups[2].parent(), Some(before.id()));
    for disk in ["vda", "vdb"] {
        assert_eq!(backups[2].disk(disk)["kind"], "incremental", "{disk}");
    }
    for (backup, truths) in backups.iter().zip(&taken) {
        assert_holds(&backup.file("vda"), &truths[0]);
        assert_holds(&backup.file("vdb"), &truths[1]);
    }
    assert_eq!(oracle::deltas(&site.primary()).len(), 2, "one delta a disk");

    let trees = || {
        [site.primary(), site.storage()]
            .map(|tree| oracle::listing(&tree))
            .concat()
    };
    let there = trees();
    let output = site.knib(["plan"]).exits(0);
    let said = output
        .stdout
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    let told = format!("the backups of {} on nas belong to", vm.name);
    assert!(said.contains(&told), "{output}");
    for _ in 0..10 {
        site.apply().exits(0);
        assert_unchanged(&there, &trees());
    }
    let mut deleting = vec!["backup", "delete", "--force"];
    deleting.extend(backups[..2].iter().map(Backup::id));
    site.knib(deleting).exits(3);
    assert_unchanged(&there, &trees());
}

#[test]
fn a_stopped_vm_is_taken_over_by_hand_alone() {
    let site = Site::new();
    let vm = site.vm("a").disk(Disk::qcow2("vda", 2 * MIB)).define();
    vm.write("vda", 0, 0x11, 128 * KIB);
    site.first(&vm);
    vm.write("vda", 64 * KIB, 0x22, 128 * KIB);
    let truth = vm.truth("vda");
    let second = Second::start(&site);
    second.take(&vm);

    let there = oracle::listing(&site.storage());
    let refused = second.knib(&["apply", "--auto-approve"]).exits(3);
    assert!(refused.stdout.contains("knib vm adopt"), "{refused}");
    assert_unchanged(&there, &oracle::listing(&site.storage()));

    second.knib(&["vm", "adopt", &vm.name]).exits(0);
    second.knib(&["vm", "adopt", &vm.name]).exits(0);
    second.knib(&["backup", "run", &vm.name]).exits(0);
    let backups = second.backups(&vm);
    let kinds: Vec<_> = backups.iter().map(Backup::kind).collect();
    assert_eq!(kinds, ["full", "incremental"]);
    assert_holds(&backups[1].file("vda"), &truth);
}

#[test]
fn a_stopped_vm_whose_image_is_open_elsewhere_is_not_touched() {
    let site = Site::new();
    let vm = site.vm("a").disk(Disk::qcow2("vda", 2 * MIB)).define();
    vm.write("vda", 0, 0x11, 128 * KIB);
    site.first(&vm);
    vm.write("vda", 64 * KIB, 0x22, 128 * KIB);
    let truth = vm.truth("vda");
    let image = vm.source("vda");
    let drive = format!("file={},format=qcow2,if=virtio", image.display());
    let mut holder = Command::new("qemu-system-x86_64")
        .args([
            "-nodefaults",
            "-display",
            "none",
            "-S",
            "-m",
            "32",
            "-drive",
            &drive,
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("QEMU is installed");
    let file = image.display().to_string();
    wait_until("the image is held", 30, || {
        !run("qemu-img", ["info", &file]).ok
    });
    site.refuses(
        &vm,
        &["backup", "run", &vm.name],
        3,
        &["something has", "open"],
    );
    holder.kill().expect("it runs");
    holder.wait().expect("it ended");
    assert_holds(&site.backup(&vm, &[]).file("vda"), &truth);
}

#[test]
fn a_tag_selects_a_vm_and_taking_it_away_leaves_it_alone() {
    let site = Site::with("names: [\"$RUN-*\"]", "tags: { tier: $RUN }");
    let vm = site.vm("a").disk(Disk::qcow2("vda", MIB)).start_paused();
    let tag = site.fill_in("tier=$RUN");
    site.knib(["vm", "tag", &vm.name, &tag, "owner=it's <&>"])
        .exits(0);
    for which in [Xml::Live, Xml::Inactive] {
        let xml = vm.xml(which).replace('"', "'");
        assert!(xml.contains(&site.fill_in("k='tier' v='$RUN'")), "{xml}");
    }
    site.first(&vm);
    let list = ["vm", "list", "--format", "json"];
    let protected = |vm: &Vm| {
        let all = site.knib(list).exits(0).json();
        let all = all.as_array().expect("a list is an array").clone();
        let one = all.into_iter().find(|one| one["name"] == vm.name);
        one.expect("it is listed")["protected"] == true
    };
    assert!(protected(&vm));
    site.knib(["vm", "tag", &vm.name, "tier="]).exits(0);
    assert!(!vm.xml(Xml::Inactive).contains("tier"));
    assert!(vm.xml(Xml::Inactive).contains("owner"));
    site.knib(["apply", "--auto-approve", "--allow-empty"])
        .exits(0);
    assert!(!protected(&vm));
    site.assert_no_delta(&vm);
}
