//! A VM with two disks whose every content is known, and what must be true of it however knib died.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::live::judge::assert_holds;
use crate::live::quick::readable;
use crate::live::site::Site;
use crate::support::Disk;
use crate::support::KIB;
use crate::support::MIB;
use crate::support::Vm;
use crate::support::knib::Output;
use crate::support::oracle;
use crate::support::vm::Xml;

/// The disks, each larger than what is ever written at once.
const DISKS: [(&str, u64); 2] = [("vda", 2 * MIB), ("vdb", MIB)];

/// What each disk holds at an instant, in raw files.
pub(super) type Truths = [PathBuf; 2];

/// How a run went that was to be killed.
#[derive(Debug)]
pub(super) struct Told {
    /// It did not come to its end.
    pub(super) killed: bool,
    /// What it changed, in order.
    pub(super) changes: Vec<String>,
    /// What the disks held before it, and with what the guest wrote since.
    pub(super) before: Truths,
    pub(super) after: Truths,
}

impl Told {
    pub(super) fn last(&self) -> &str {
        self.changes.last().map_or("nothing", String::as_str)
    }
}

pub(super) struct World {
    pub(super) site: Site,
    pub(super) vm: Vm,
    pub(super) on: bool,
    /// What each backup holds, of those that were looked at.
    pub(super) backups: BTreeMap<String, Truths>,
    /// What the disks may hold at the next look, the likeliest first.
    pub(super) may_hold: Vec<Truths>,
    /// What they held when something was made that they may go back to.
    pub(super) kept: Vec<Truths>,
    /// Backups are booted that hold nothing to boot: what did so ends with 5.
    pub(super) judges: bool,
    /// Counts writes, so that each is another one.
    writes: u64,
    /// Counts times that the operation was asked for.
    pub(super) round: usize,
}

impl World {
    pub(super) fn new() -> Self {
        let site = Site::with(
            "backupChainSize: 0",
            "backupChainSize: 0, allowQuickRestore: true",
        );
        readable(&site);
        let vm = site.vm("a").disk(Disk::qcow2(DISKS[0].0, DISKS[0].1));
        let vm = vm.disk(Disk::raw(DISKS[1].0, DISKS[1].1)).define();
        let mut world = Self {
            site,
            vm,
            on: false,
            backups: BTreeMap::new(),
            may_hold: Vec::new(),
            kept: Vec::new(),
            judges: false,
            writes: 0,
            round: 0,
        };
        world.write();
        world.site.apply().exits(0);
        let now = world.truths();
        world.look_at_backups(&[&now]);
        world
    }

    /// On or off, as the story wants it.
    pub(super) fn power(&mut self, on: bool) {
        self.on = on;
        let is_on = self.vm.state() != "shut off";
        match (on, is_on) {
            (true, false) => self.vm.start_paused(),
            (false, true) => self.vm.destroy(),
            _ => {}
        }
    }

    /// Something else than ever before, on one disk and then on the other.
    pub(super) fn write(&mut self) {
        self.writes += 1;
        let (target, size) = DISKS[usize::from(self.writes.is_multiple_of(2))];
        let pattern = u8::try_from(self.writes % 255 + 1).expect("a byte");
        let at = self.writes * 5 % (size / (64 * KIB)) * 64 * KIB;
        self.vm.write(target, at, pattern, 64 * KIB);
    }

    pub(super) fn truths(&self) -> Truths {
        DISKS.map(|(target, _)| self.vm.truth(target))
    }

    pub(super) fn goes_back_to(&self, truths: &Truths) {
        for ((target, _), truth) in DISKS.iter().zip(truths) {
            self.vm.goes_back_to(target, truth);
        }
    }

    /// A backup, made in peace.
    pub(super) fn backup(&mut self, flags: &[&str]) -> String {
        self.write();
        let now = self.truths();
        let id = self.site.backup(&self.vm, flags).id().to_owned();
        self.backups.insert(id.clone(), now);
        id
    }

    pub(super) fn newest(&self) -> String {
        self.site.newest(&self.vm).id().to_owned()
    }

    pub(super) fn knib(&self, args: &[&str]) -> Output {
        self.site.knib(args).exits(0)
    }

    /// Another line of the policy.
    pub(super) fn policy(&self, before: &str, after: &str) {
        self.site.change_policy(before, after);
    }

    /// Asks for the operation and has knib die after so many changes.
    pub(super) fn killed(&mut self, at: usize, ask: &[String]) -> Told {
        self.round += 1;
        let before = self.truths();
        let run = self.site.knib_with(ask);
        let output = run.env("KNIB_CRASH_AT", at.to_string()).run();
        let killed = output.code().is_none();
        assert!(killed || self.ended(&output), "{ask:?}\n{output}");
        let line = |line: &str| Some(line.strip_prefix("change ")?.split_once(": ")?.1.to_owned());
        let changes: Vec<_> = output.stderr.lines().filter_map(line).collect();
        assert!(!killed || changes.len() == at, "{ask:?}\n{output}");
        Told {
            killed,
            changes,
            after: before.clone(),
            before,
        }
    }

    /// The guest goes on, and knows nothing of knib. It cannot be started where a layer was put away that is merged.
    pub(super) fn write_since(&mut self, told: &mut Told) {
        let heads = self.vm.sources(Xml::Inactive);
        if heads.values().all(|head| head.exists()) {
            self.write();
        }
        told.after = self.truths();
    }

    /// The next apply ends what was begun.
    pub(super) fn recover(&mut self) {
        let output = self.site.apply();
        assert!(self.ended(&output), "{output}");
    }

    fn ended(&self, output: &Output) -> bool {
        output.code() == Some(0) || (self.judges && output.code() == Some(5))
    }

    /// Every backup that is new holds what the disks held at one of these instants.
    pub(super) fn look_at_backups(&mut self, instants: &[&Truths]) {
        let mut seen = BTreeMap::new();
        for backup in self.site.backups(&self.vm) {
            let truths = self.backups.remove(backup.id()).unwrap_or_else(|| {
                let file = |n: usize| backup.file(DISKS[n].0);
                pick(instants, file, &format!("backup {}", backup.id()))
            });
            seen.insert(backup.id().to_owned(), truths);
        }
        self.backups = seen;
    }

    /// The disks hold what they may, which is what they hold from now on.
    pub(super) fn look_at_disks(&mut self) {
        if self.vm.state() != "shut off" {
            self.vm.destroy();
        }
        let may_hold: Vec<_> = self.may_hold.iter().collect();
        let shown = pick(
            &may_hold,
            |n| self.vm.source(DISKS[n].0),
            "the VM's own disk",
        );
        self.goes_back_to(&shown);
        self.may_hold = vec![shown];
    }

    /// What always must hold: of the disks, nothing is left over, and there is nothing to do.
    pub(super) fn assert_sound(&mut self) {
        self.look_at_disks();
        assert_eq!(self.site.leftovers(), [] as [String; 0]);
        let plan = self.site.knib(["plan", "--detailed-exitcode"]);
        assert_eq!(plan.code(), Some(0), "there is something to do:\n{plan}");
        self.power(self.on);
    }

    /// Every backup once more.
    pub(super) fn end(&mut self) {
        let all = self.site.backups(&self.vm);
        for backup in &all {
            for ((target, _), truth) in DISKS.iter().zip(&self.backups[backup.id()]) {
                oracle::assert_same(&backup.file(target), truth);
            }
        }
        let newest = self.site.newest(&self.vm);
        // With the judge that a test of the tests can turn round.
        assert_holds(&newest.file(DISKS[0].0), &self.backups[newest.id()][0]);
    }
}

/// Which of these the two files hold together.
fn pick(among: &[&Truths], file: impl Fn(usize) -> PathBuf, what: &str) -> Truths {
    let holds = |truths: &&&Truths| {
        (0..DISKS.len()).all(|n| oracle::difference(&file(n), &truths[n]).is_none())
    };
    match among.iter().find(holds) {
        Some(truths) => (*truths).clone(),
        None => panic!(
            "{what} holds nothing that it may hold: {}",
            file(0).display()
        ),
    }
}
