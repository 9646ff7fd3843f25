//! A random walk over a VM's life, held against a model: every living backup holds what the disks held at its instant,
//! and the disks hold what was written.
//!
//! Another seed each run, which is printed. To walk the same way again, or further:
//! `KNIB_WALK_SEED=7 KNIB_WALK_STEPS=200 KNIB_WALKS=20 cargo test --features test-hooks --test main live::walk`

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::time::SystemTime;

use crate::support::Disk;
use crate::support::KIB;
use crate::support::MIB;
use crate::support::Vm;
use crate::support::oracle;
use crate::support::tool::qemu_img;
use crate::support::tool::virsh;

use super::judge::assert_holds;
use super::site::Site;

const STEPS: u64 = 60;
/// So often everything is compared on the way.
const LOOK: u64 = 20;
/// The disk that comes and goes.
const EXTRA: &str = "vdc";

/// What each disk held at an instant.
type Truths = BTreeMap<String, PathBuf>;

/// Numbers that are the same for the same seed (splitmix).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    fn pick<T: Clone>(&mut self, all: &[T]) -> Option<T> {
        let n = self.below(u64::try_from(all.len()).ok()?.max(1));
        all.get(usize::try_from(n).ok()?).cloned()
    }
}

struct Walk {
    site: Site,
    vm: Vm,
    dice: Dice,
    running: bool,
    /// The newest size was smaller than one before: no merge while the VM runs.
    shrunk: bool,
    backups: BTreeMap<String, Truths>,
    snapshots: BTreeMap<String, Truths>,
    /// Where the extra disk is while it is detached.
    detached: Option<PathBuf>,
    told: Vec<String>,
}

impl Walk {
    #[track_caller]
    fn new(seed: u64) -> Self {
        let site = Site::new();
        let mut disks = site.vm("a").disk(Disk::qcow2("vda", 4 * MIB));
        disks = disks.disk(Disk::raw("vdb", 2 * MIB));
        let vm = disks.disk(Disk::qcow2(EXTRA, MIB)).define();
        site.apply().exits(0);
        let mut walk = Self {
            site,
            vm,
            dice: Dice(seed),
            running: false,
            shrunk: false,
            backups: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            detached: None,
            told: Vec::new(),
        };
        walk.learn();
        walk
    }

    fn targets(&self) -> Vec<String> {
        let all = self.vm.disks.keys().cloned();
        all.filter(|target| target != EXTRA || self.detached.is_none())
            .collect()
    }

    fn truths(&self) -> Truths {
        let targets = self.targets().into_iter();
        targets
            .map(|target| (target.clone(), self.vm.truth(&target)))
            .collect()
    }

    /// Keeps what the newest backup must hold, and forgets those that are gone.
    fn learn(&mut self) {
        let listed = self.site.backups(&self.vm);
        let ids: Vec<_> = listed.iter().map(|one| one.id().to_owned()).collect();
        self.backups.retain(|id, _| ids.contains(id));
        for id in ids {
            if !self.backups.contains_key(&id) {
                let truths = self.truths();
                self.backups.insert(id, truths);
            }
        }
    }

    /// Runs knib; whether it did that. What a shrunken disk or a snapshot forbids is refused.
    #[track_caller]
    fn knib(&mut self, args: &[&str]) -> bool {
        let output = self.site.knib(args);
        let code = output.code().expect("nothing kills it");
        let may_refuse = self.shrunk || !self.snapshots.is_empty();
        assert!(code == 0 || (code == 3 && may_refuse), "{args:?}\n{output}");
        if code != 0 {
            self.told.push("    refused".to_owned());
        }
        code == 0
    }

    #[track_caller]
    fn step(&mut self) {
        let name = self.vm.name.clone();
        let targets = self.targets();
        let target = self.dice.pick(&targets).expect("there is a disk");
        let size = fs::metadata(self.vm.truth_file(&target))
            .expect("it has a truth")
            .len();
        let unit = 64 * KIB;
        let at = self.dice.below(size / unit) * unit;
        let length = (self.dice.below(4) + 1).min((size - at) / unit) * unit;
        let roll = self.dice.below(100);
        match roll {
            0..30 => {
                let byte = u8::try_from(self.dice.below(255) + 1).expect("below 256");
                self.tell(format!("write {byte} to {target} at {at}, {length} bytes"));
                self.vm.write(&target, at, byte, length);
            }
            30..36 => {
                self.tell(format!("zero {target} at {at}, {length} bytes"));
                self.vm.zero(&target, at, length);
            }
            36..42 => {
                self.tell(format!("discard {target} at {at}, {length} bytes"));
                self.vm.discard(&target, at, length);
            }
            42..45 => {
                self.tell(format!("grow {target}"));
                self.vm.resize(&target, size + 256 * KIB);
            }
            45..47 if !self.running && size > MIB => {
                self.tell(format!("shrink {target}"));
                self.vm.resize(&target, size - 256 * KIB);
                self.shrunk = true;
            }
            47..62 => {
                self.tell("backup".to_owned());
                if self.knib(&["backup", "run", &name]) {
                    self.learn();
                }
            }
            62..66 => {
                self.tell("isolated backup".to_owned());
                if self.knib(&["backup", "run", &name, "--isolated"]) {
                    self.learn();
                }
            }
            66..74 => self.delete(),
            74..78 => {
                self.tell("finish the chain".to_owned());
                self.knib(&["chain", "finish", &name]);
            }
            78..84 => self.snapshot(),
            84..88 => self.revert(),
            88..91 => self.drop_snapshot(),
            91..94 => self.attach_or_detach(),
            _ => self.start_or_stop(),
        }
    }

    fn tell(&mut self, what: String) {
        self.told.push(what);
    }

    fn delete(&mut self) {
        let ids: Vec<_> = self.backups.keys().cloned().collect();
        let Some(id) = self.dice.pick(&ids) else {
            return;
        };
        self.tell(format!("delete {id}"));
        if self.knib(&["backup", "delete", &id, "--force"]) {
            self.learn();
            assert!(!self.backups.contains_key(&id), "{id} is still listed");
        }
    }

    fn snapshot(&mut self) {
        let snapshot = format!("s{}", self.told.len());
        self.tell(format!("snapshot {snapshot}"));
        let truths = self.truths();
        let name = self.vm.name.clone();
        if self.knib(&["snapshot", "create", &name, &snapshot]) {
            self.snapshots.insert(snapshot, truths);
        }
    }

    fn revert(&mut self) {
        let names: Vec<_> = self.snapshots.keys().cloned().collect();
        let Some(snapshot) = self.dice.pick(&names) else {
            return;
        };
        if self.running || self.detached.is_some() {
            return;
        }
        self.tell(format!("revert to {snapshot}"));
        let name = self.vm.name.clone();
        if self.knib(&["snapshot", "revert", &name, &snapshot]) {
            for (target, truth) in &self.snapshots[&snapshot] {
                self.vm.goes_back_to(target, truth);
            }
            // The layers that come back may be of any size.
            self.shrunk = true;
        }
    }

    fn drop_snapshot(&mut self) {
        let names: Vec<_> = self.snapshots.keys().cloned().collect();
        let Some(snapshot) = self.dice.pick(&names) else {
            return;
        };
        self.tell(format!("delete snapshot {snapshot}"));
        let name = self.vm.name.clone();
        if self.knib(&["snapshot", "delete", &name, &snapshot]) {
            self.snapshots.remove(&snapshot);
        }
    }

    /// Only where no snapshot would miss the disk.
    fn attach_or_detach(&mut self) {
        if self.running || !self.snapshots.is_empty() {
            return;
        }
        match self.detached.take() {
            None => {
                self.tell(format!("detach {EXTRA}"));
                self.detached = Some(self.vm.source(EXTRA));
                virsh(["detach-disk", &self.vm.name, EXTRA, "--config"]).must();
            }
            Some(file) => {
                self.tell(format!("attach {EXTRA}"));
                self.attach(&file);
            }
        }
    }

    fn attach(&self, file: &Path) {
        let xml = format!(
            "<disk type='file' device='disk'><driver name='qemu' type='qcow2' discard='unmap'/><source file='{}'/>\
             <target dev='{EXTRA}' bus='virtio'/><alias name='ua-{EXTRA}'/></disk>",
            file.display()
        );
        let path = self.site.path("attached.xml");
        fs::write(&path, xml).expect("the directory is the test's own");
        let path = path.display().to_string();
        virsh(["attach-device", &self.vm.name, &path, "--config"]).must();
    }

    fn start_or_stop(&mut self) {
        if self.running {
            self.tell("stop".to_owned());
            self.vm.destroy();
        } else {
            self.tell("start".to_owned());
            self.vm.start_paused();
        }
        self.running = !self.running;
    }

    /// Every living backup, and the disks while nothing has them open.
    #[track_caller]
    fn look(&self, judge: fn(&Path, &Path)) {
        for backup in self.site.backups(&self.vm) {
            for (target, truth) in &self.backups[backup.id()] {
                judge(&backup.file(target), truth);
            }
        }
        if !self.running {
            for target in self.targets() {
                oracle::assert_same(&self.vm.source(&target), &self.vm.truth_file(&target));
            }
        }
    }

    /// Without snapshots and chain, as knib found it but for what was written.
    #[track_caller]
    fn end(&mut self) {
        if self.running {
            self.start_or_stop();
        }
        if let Some(file) = self.detached.take() {
            self.attach(&file);
        }
        let name = self.vm.name.clone();
        self.look(assert_holds);
        for snapshot in self.snapshots.keys().cloned().collect::<Vec<_>>() {
            self.site
                .knib(["snapshot", "delete", &name, &snapshot])
                .exits(0);
        }
        self.snapshots.clear();
        self.site.knib(["chain", "finish", &name]).exits(0);
        self.look(assert_holds);
        self.site.assert_no_delta(&self.vm);
        for file in self
            .vm
            .disks
            .values()
            .filter(|file| file.extension().is_some_and(|end| end == "qcow2"))
        {
            qemu_img([Path::new("check"), Path::new("-q"), file]).must();
        }
    }
}

impl Drop for Walk {
    #[expect(clippy::print_stdout, reason = "what went before the failure")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("the steps were:\n{}", self.told.join("\n"));
            println!("{}", self.site.knib(["log"]));
        }
    }
}

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a number")),
    )
}

#[test]
#[expect(
    clippy::print_stdout,
    reason = "a random test says how it can be repeated"
)]
fn a_random_walk_loses_nothing() {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.expect("it is after 1970").as_millis();
    let first = number("KNIB_WALK_SEED")
        .unwrap_or_else(|| u64::try_from(now % 1_000_000_000).expect("small"));
    let steps = number("KNIB_WALK_STEPS").unwrap_or(STEPS);
    for seed in first..first + number("KNIB_WALKS").unwrap_or(1) {
        println!("KNIB_WALK_SEED={seed} KNIB_WALK_STEPS={steps}");
        let mut walk = Walk::new(seed);
        for n in 1..=steps {
            walk.step();
            if n % LOOK == 0 {
                walk.look(oracle::assert_same);
            }
        }
        walk.end();
    }
}
