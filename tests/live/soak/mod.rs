//! A soak: a guest that writes all the time, an operation every few seconds, and knib and QEMU killed at random moments.
//! Every backup holds one instant of both disks that was not over when it was asked for, whatever was killed.
//!
//! A few seconds where nothing else is said. So many minutes: `KNIB_SOAK_MINUTES=60 cargo test --features test-hooks
//! --test main live::soak`. Each is a line in `target/tmp/soak.txt`.

mod guest;
mod watch;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

use crate::sim::Dice;
use crate::support::Disk;
use crate::support::Vm;
use crate::support::deadline::wait_for;
use crate::support::deadline::wait_until;
use crate::support::knib::Output;
use crate::support::oracle;
use crate::support::tool::run;
use crate::support::tool::virsh;
use crate::support::vm::Xml;

use super::judge::restored;
use super::site::Backup;
use super::site::Site;

use watch::Watch;

const MINUTE: Duration = Duration::from_secs(60);
/// How long it takes, without its end, where no minutes are asked for.
const SHORT: Duration = Duration::from_secs(15);
const TARGETS: [&str; 2] = ["vda", "vdb"];
/// So many backups are kept.
const LIVING: usize = 10;

/// What is killed while an operation is under way.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Trouble {
    No,
    Knib,
    Qemu,
    Both,
}

/// What happened since the last line.
#[derive(Clone, Debug, Default)]
struct Counts {
    operations: usize,
    knib_kills: usize,
    qemu_kills: usize,
    compared: usize,
    restored: usize,
    /// The most that any knib used.
    most: Watch,
}

struct Soak {
    site: Site,
    vm: Vm,
    dice: Dice,
    /// At which number the guest was in each backup that lives.
    backups: BTreeMap<String, u32>,
    /// The guest said that it had written this one.
    told: u32,
    counts: Counts,
    /// How long an operation takes that nothing disturbs.
    usual: Duration,
    log: Vec<String>,
}

impl Soak {
    fn new(seed: u64) -> Self {
        let site = Site::with("backupChainSize: 0", "backupChainSize: 6");
        // What a restore makes is nobody's to back up.
        site.change_policy("$RUN-*", &format!("{}-a", site.run));
        let sector = site.path("boot-sector");
        fs::write(&sector, guest::boot_sector()).expect("the directory is the test's own");
        let vm = site.vm("a").disk(Disk::qcow2(TARGETS[0], guest::SIZE));
        let vm = vm.disk(Disk::raw(TARGETS[1], guest::SIZE)).define();
        let write = format!("write -s {} 0 {}", sector.display(), guest::SECTOR);
        let disk = vm.source(TARGETS[0]).display().to_string();
        run("qemu-io", ["-f", "qcow2", "-c", &write, &disk]).must();
        let xml = site.path("writes.xml");
        fs::write(&xml, guest::definition(&vm)).expect("so is this");
        virsh([Path::new("define"), &xml]).must();
        let mut soak = Self {
            site,
            vm,
            dice: Dice::new(seed),
            backups: BTreeMap::new(),
            told: 0,
            counts: Counts::default(),
            usual: Duration::from_secs(1),
            log: Vec::new(),
        };
        soak.is_on();
        soak.ask(&["apply", "--auto-approve"], Trouble::No);
        soak.look(0);
        soak
    }

    fn console(&self) -> PathBuf {
        self.site.path(&format!("{}.console", self.vm.name))
    }

    /// Starts the guest when it is off, and hears from it.
    fn is_on(&mut self) {
        if self.vm.state() == "shut off" {
            self.look_at_disks();
            let _ = fs::remove_file(self.console());
            virsh(["start", &self.vm.name]).must();
            self.log.push("started".to_owned());
        }
        let console = self.console();
        self.told = wait_for("a word of the guest", 60, || {
            let told = guest::told(&console);
            (told > self.told.max(1)).then_some(told)
        });
    }

    /// Runs knib, and kills what is to be killed at some moment of it.
    fn ask(&mut self, words: &[&str], trouble: Trouble) -> Output {
        let moment = self.usual.mul_f64(self.chance() * 1.1);
        self.log
            .push(format!("{words:?}, {trouble:?} after {moment:?}"));
        self.counts.operations += 1;
        let began = Instant::now();
        let mut knib = self.site.knib_with(words).start();
        let watching = Watch::begin(knib.pid());
        if trouble != Trouble::No {
            thread::sleep(moment);
        }
        let mut codes = vec![Some(0)];
        if matches!(trouble, Trouble::Knib | Trouble::Both) {
            knib.kill();
            self.counts.knib_kills += 1;
            codes.push(None);
        }
        if matches!(trouble, Trouble::Qemu | Trouble::Both) && self.vm.state() != "shut off" {
            self.vm.kill();
            self.counts.qemu_kills += 1;
            codes.push(Some(5));
        }
        let output = knib.finish();
        self.counts.most = self.counts.most.or(watching.join().expect("it only looks"));
        if trouble == Trouble::No && words[0] == "backup" {
            self.usual = began.elapsed();
        }
        assert!(codes.contains(&output.code()), "{words:?}\n{output}");
        self.log.push(format!("    {:?}", output.code()));
        output
    }

    fn chance(&mut self) -> f64 {
        let sides: u32 = 1_000_000;
        f64::from(self.roll(sides)) / f64::from(sides)
    }

    fn roll(&mut self, sides: u32) -> u32 {
        let roll = self.dice.below(sides as usize);
        u32::try_from(roll).expect("it is below the sides")
    }

    /// One operation, and whatever it takes to be where the next one can come.
    fn turn(&mut self) {
        self.is_on();
        let before = self.told;
        let trouble = match self.roll(10) {
            0..4 => Trouble::No,
            4..7 => Trouble::Knib,
            7..9 => Trouble::Qemu,
            _ => Trouble::Both,
        };
        let name = self.vm.name.clone();
        match self.roll(20) {
            _ if self.backups.len() > LIVING => self.delete(trouble),
            0..12 => drop(self.ask(&["backup", "run", &name], trouble)),
            12 => drop(self.ask(&["backup", "run", &name, "--full"], trouble)),
            13 => drop(self.ask(&["backup", "run", &name, "--isolated"], trouble)),
            14 => drop(self.ask(&["chain", "finish", &name], trouble)),
            15..17 => self.delete(trouble),
            _ => self.restore(trouble),
        }
        self.told = self.told.max(guest::told(&self.console()));
        if self.roll(2) == 0 {
            self.goes_on();
        }
        self.ask(&["apply", "--auto-approve"], Trouble::No);
        self.look(before);
    }

    /// The guest is started, unless a layer is put away that is merged.
    fn goes_on(&mut self) {
        let heads = self.vm.sources(Xml::Inactive);
        if heads.values().all(|head| head.exists()) {
            self.is_on();
        }
    }

    /// Any but the newest one.
    fn delete(&mut self, trouble: Trouble) {
        let newest = self.site.newest(&self.vm).id().to_owned();
        let ids: Vec<_> = self.backups.keys().filter(|id| **id != newest).collect();
        if let Some(id) = ids.get(self.dice.below(ids.len())) {
            let id = (*id).clone();
            self.ask(&["backup", "delete", &id, "--force"], trouble);
        }
    }

    /// Any of them as a new VM, which knib has made whole when nothing was killed.
    fn restore(&mut self, trouble: Trouble) {
        let ids: Vec<_> = self.backups.keys().cloned().collect();
        let id = ids[self.dice.below(ids.len())].clone();
        self.restore_this(&id, trouble);
    }

    fn restore_this(&mut self, id: &str, trouble: Trouble) {
        let short = format!("new{}", self.counts.operations);
        let name = format!("{}-{short}", self.site.run);
        self.ask(&["restore", "new", id, "--name", &name], trouble);
        if matches!(trouble, Trouble::Knib | Trouble::Both) {
            self.ask(&["apply", "--auto-approve"], Trouble::No);
        } else {
            assert!(virsh(["domuuid", &name]).ok, "{name} is not there");
        }
        if virsh(["domuuid", &name]).ok {
            let sources = self.site.defined(&short).sources(Xml::Inactive);
            let shown = instant(|target| sources[target].clone(), &name);
            assert_eq!(shown, self.backups[id], "{name}, of {id}");
            self.counts.restored += 1;
            virsh(["undefine", &name]).must();
            for file in sources.into_values() {
                fs::remove_file(file).expect("it is the test's own");
            }
        }
        let primary = oracle::listing(&self.site.primary());
        assert!(!primary.contains(&name), "{primary}");
    }

    /// Backups that are new hold an instant that came after this number, and nothing is left over or to be done.
    fn look(&mut self, before: u32) {
        let listed = self.site.backups(&self.vm);
        let mut seen = BTreeMap::new();
        for backup in &listed {
            let known = self.backups.get(backup.id()).copied();
            let at = known.unwrap_or_else(|| {
                self.counts.compared += 1;
                let at = holds(backup);
                assert!(at >= before, "{} shows {at}, before {before}", backup.id());
                at
            });
            seen.insert(backup.id().to_owned(), at);
        }
        self.backups = seen;
        assert_eq!(self.site.leftovers(), [] as [String; 0]);
        let heads = self.vm.sources(Xml::Inactive);
        let mut unused = oracle::deltas(&self.site.primary());
        unused.retain(|delta| !heads.values().any(|head| head == delta));
        assert_eq!(unused, [] as [PathBuf; 0]);
        let plan = self.site.knib(["plan", "--detailed-exitcode"]);
        assert_eq!(plan.code(), Some(0), "there is something to do:\n{plan}");
    }

    /// While it is off: its disks hold all that it said it had written.
    fn look_at_disks(&mut self) {
        if self.vm.state() == "shut off" {
            let told = self.told.max(guest::told(&self.console()));
            let at = instant(|target| self.vm.source(target), "the VM's disks");
            assert!(at >= told, "{at} is on the disks, and {told} was told");
        }
    }

    /// Every backup comes back, and nothing of knib's is left on primary.
    fn end(&mut self) {
        if self.vm.state() != "shut off" {
            self.vm.destroy();
        }
        self.look_at_disks();
        for backup in self.site.backups(&self.vm) {
            assert_eq!(holds(&backup), self.backups[backup.id()]);
            self.counts.compared += 1;
            self.restore_this(backup.id(), Trouble::No);
        }
        let name = self.vm.name.clone();
        self.ask(&["chain", "finish", &name], Trouble::No);
        self.look_at_disks();
        self.site.assert_no_delta(&self.vm);
        self.look(0);
        let root = self.site.root().display().to_string();
        wait_until("the end of all that knib had started", 60, || {
            !run("pgrep", ["-f", &root]).ok
        });
    }
}

impl Drop for Soak {
    #[expect(clippy::print_stdout, reason = "what went before the failure")]
    fn drop(&mut self) {
        if thread::panicking() {
            let last = self.log.len().saturating_sub(40);
            println!("the last of it was:\n{}", self.log[last..].join("\n"));
            println!("{}", self.site.knib(["log"]));
        }
    }
}

/// The number at which these images show the guest.
#[track_caller]
fn instant(image: impl Fn(&str) -> PathBuf, what: &str) -> u32 {
    let disks = TARGETS.map(|target| {
        let raw = restored(&image(target));
        fs::read(raw.path()).expect("it was written just now")
    });
    guest::instant(&disks).unwrap_or_else(|wrong| panic!("{what}: {wrong}"))
}

fn holds(backup: &Backup) -> u32 {
    instant(|target| backup.file(target), backup.id())
}

/// A line for what happened since the one before.
fn line(since: Instant, counts: &Counts, living: usize) -> String {
    format!(
        "after {} s: {} operations, {} kills of knib, {} of QEMU, {} backups compared, {} restored, {living} live, \
         knib at most {} KiB and {} descriptors\n",
        since.elapsed().as_secs(),
        counts.operations,
        counts.knib_kills,
        counts.qemu_kills,
        counts.compared,
        counts.restored,
        counts.most.kib,
        counts.most.descriptors
    )
}

#[test]
#[expect(clippy::print_stdout, reason = "a test says how much it tried")]
fn a_guest_writes_and_whatever_is_killed_every_backup_comes_back() {
    let minutes = env::var("KNIB_SOAK_MINUTES").map(|text| text.parse().expect("a number"));
    let (lines, each) = minutes.map_or((1, SHORT), |minutes: usize| (minutes, MINUTE));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let seed = now.expect("it is after 1970").as_secs();
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("soak.txt");
    let mut file = File::create(&path).expect("it is the tests' own");
    let mut soak = Soak::new(seed);
    let mut most = Vec::new();
    let began = Instant::now();
    for n in 1..=lines {
        let end = Instant::now() + each;
        while Instant::now() < end {
            soak.turn();
        }
        if n == lines {
            soak.end();
        }
        let counts = std::mem::take(&mut soak.counts);
        let line = line(began, &counts, soak.backups.len());
        print!("{line}");
        file.write_all(line.as_bytes()).expect("there is room");
        most.push(counts.most);
    }
    watch::assert_flat(&most);
}
