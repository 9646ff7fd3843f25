//! Where schedules begin, and what is asked there. Every history was made by knib itself.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::rc::Rc;

use knib::model::ground::Ground;
use knib::model::id::BackupId;
use knib::model::id::JobId;
use knib::model::id::Target;
use knib::model::id::VmId;
use knib::model::layout;
use knib::model::machine::Format;
use knib::model::orphan::Orphan;
use knib::model::plan::Plan;
use knib::model::policy::Policy;
use knib::model::policy::VerifyPolicy;
use knib::model::seconds::Seconds;
use knib::model::world::World;
use knib::planner;
use knib::planner::Options;
use knib::planner::jobs;
use knib::planner::removal::Removal;
use knib::planner::request::BackupRun;
use knib::planner::restore;
use knib::planner::restore::InPlace;
use knib::planner::restore::NewVm;
use knib::planner::restore::OneDisk;
use knib::planner::snapshots::Asked;
use knib::policy::Sources;

use crate::crash::bench::Bench;
use crate::crash::bench::Desk;
use crate::crash::bench::From;
use crate::crash::bench::Kept;
use crate::crash::bench::Ran;
use crate::crash::bench::tell;
use crate::crash::explore::TROUBLES;
use crate::sim::Definition;
use crate::sim::DiskDef;
use crate::sim::Image;
use crate::sim::Node;
use crate::sim::STORAGE;
use crate::sim::Site;
use crate::sim::Trouble;
use crate::sim::Vm;

/// The VM of every story.
pub(crate) const DB: &str = "db000000-0000-4000-8000-000000000001";
/// What its first disk lies on, and other VMs may as well.
pub(crate) const TEMPLATE: &str = "/images/template.qcow2";
/// Cells of a disk.
pub(crate) const CELLS: usize = 16;

/// Where schedules begin, and what is asked there.
#[derive(Clone)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) kept: Kept,
    pub(crate) ask: Ask,
    /// So many backups there are when it went well.
    pub(crate) backups: usize,
    /// Those that may be gone.
    pub(crate) goes: BTreeSet<BackupId>,
    /// What is tried.
    pub(crate) troubles: Vec<Trouble>,
}

/// What is asked.
#[derive(Clone)]
pub(crate) enum Ask {
    /// `knib apply`, whatever is due.
    Apply,
    /// `knib backup run`.
    Backup(BackupRun),
    /// End the chain.
    Finish,
    /// `knib backup delete`.
    Delete(Removal),
    /// `knib state check --fix`.
    Clear(Vec<Orphan>),
    /// `knib backup pin`, or `unpin`.
    Pin(BackupId, bool),
    /// `knib restore new`.
    Restore(NewVm),
    /// `knib restore vm`.
    InPlace(InPlace),
    /// `knib restore vm` of one that is not defined, on what there is where its backup is.
    Again(InPlace, Box<Ground>),
    /// `knib restore disk`.
    OneDisk(OneDisk),
    /// What a restore without a state left.
    Rest,
    /// `knib snapshot`.
    Snapshot(Asked),
    /// `knib backup validate`.
    Validate(BackupId),
    /// `knib job retry`, or `cancel`.
    Job(jobs::Asked, JobId),
    /// `knib backup verify`.
    Verify(BackupId),
}

impl Ask {
    pub(crate) fn plan(&self, policy: &Policy, world: &World, options: &Options) -> Plan {
        match self {
            Self::Apply => planner::reconcile(policy, world, options),
            Self::Backup(asked) => planner::request::backup(asked, Some(policy), world, options),
            Self::Rest => restore::rest(world, options),
            Self::Restore(asked) => restore::new_vm(asked, &Ground::default(), world, options),
            Self::OneDisk(asked) => restore::disk(asked, &Ground::default(), world, options),
            Self::InPlace(asked) => restore::vms(asked, &Ground::default(), world, options),
            Self::Again(asked, ground) => restore::vms(asked, ground, world, options),
            Self::Snapshot(asked) => {
                planner::snapshots::plan(asked, &VmId::new(DB), Some(policy), world, options)
            }
            Self::Delete(asked) => planner::removal::delete(asked, world, options),
            Self::Clear(found) => planner::request::clear(found, world, options),
            Self::Pin(backup, pinned) => {
                planner::request::pin((&VmId::new(DB), backup), *pinned, world, options)
            }
            Self::Job(asked, job) => {
                planner::jobs::ask(*asked, (&VmId::new(DB), job), world, options)
            }
            Self::Validate(backup) => {
                let of = (&VmId::new(DB), backup);
                planner::validations::ask(of, Some(policy), world, options)
            }
            Self::Verify(backup) => {
                let asked = [(VmId::new(DB), backup.clone())];
                planner::verify::ask(&asked, false, world, options)
            }
            Self::Finish => planner::request::finish(&VmId::new(DB), world, options),
        }
    }
}

/// Deleting backups, whatever is left.
pub(crate) fn delete(backups: &[&BackupId]) -> Ask {
    let of_vm = |id: &&BackupId| (VmId::new(DB), (*id).clone());
    Ask::Delete(Removal {
        backups: backups.iter().map(of_vm).collect(),
        force: true,
    })
}

fn policy(names: &str, lines: &str) -> Rc<Policy> {
    policy_of(names, 3, lines)
}

/// A policy over VMs with such names, with chains of such a size.
pub(crate) fn policy_of(names: &str, chain_size: i64, lines: &str) -> Rc<Policy> {
    let text = format!(
        "version: 1\nstorage: {{ nas: {{ path: /backup }} }}\nofferings: {{ plain: {{ backupChainSize: {chain_size} }} }}\n\
         policies:\n  all:\n    select: {{ names: [\"{names}\"] }}\n    offering: plain\n    storage: nas\n    {lines}\n"
    );
    load(&text)
}

fn load(text: &str) -> Rc<Policy> {
    let mut sources = Sources::default();
    sources.add("knib.yaml", text.as_bytes());
    let (policy, findings) = knib::policy::load(&sources);
    Rc::new(policy.unwrap_or_else(|| panic!("the policy has errors: {findings:#?}")))
}

/// A policy with one schedule.
pub(crate) fn nightly(quiesce: &str) -> Rc<Policy> {
    policy("db-*", &schedule(quiesce))
}

/// The same, and backups may be run from.
pub(crate) fn quickly() -> Rc<Policy> {
    let mut policy = nightly("none").as_ref().clone();
    let offerings = policy.offerings.values_mut();
    offerings.for_each(|offering| offering.allow_quick_restore = true);
    Rc::new(policy)
}

/// The same, and two backups stay.
pub(crate) fn rotating() -> Rc<Policy> {
    let lines = format!("{}\n    retention: {{ keepLast: 2 }}", schedule("none"));
    policy("db-*", &lines)
}

/// The same with backups that are compressed: by jobs that are carried out or only kept, or at once.
pub(crate) fn compressed(mode: &str, jobs: bool) -> Rc<Policy> {
    let offering = format!("plain: {{ backupChainSize: 2, compress: true, compressMode: {mode} }}");
    let settings = format!("backup.compression.task.enabled: {jobs}");
    load(&format!(
        "version: 1\nsettings: {{ {settings} }}\nstorage: {{ nas: {{ path: /backup }} }}\nofferings: {{ {offering} }}\n\
         policies:\n  all:\n    select: {{ names: [\"db-*\"] }}\n    offering: plain\n    storage: nas\n    {}\n",
        schedule("none")
    ))
}

/// The same, and the newest backup is booted: its agent is waited for, a picture is taken, and a program is run.
pub(crate) fn validating() -> Rc<Policy> {
    let offering = "plain: { backupChainSize: 3, validate: { command: /usr/bin/health } }";
    load(&format!(
        "version: 1\nstorage: {{ nas: {{ path: /backup }} }}\nofferings: {{ {offering} }}\n\
         policies:\n  all:\n    select: {{ names: [\"db-*\"] }}\n    offering: plain\n    storage: nas\n    {}\n",
        schedule("none")
    ))
}

/// The same, and what a storage holds is read again after twelve hours.
pub(crate) fn verifying() -> Rc<Policy> {
    let mut policy = nightly("none").as_ref().clone();
    let verify = VerifyPolicy {
        interval: Seconds(12 * 3600),
        rate_limit: None,
    };
    let storages = policy.storages.values_mut();
    storages.for_each(|storage| storage.verify = Some(verify.clone()));
    Rc::new(policy)
}

/// The same for VMs that are not here.
pub(crate) fn nobody() -> Rc<Policy> {
    policy("web-*", &schedule("none"))
}

fn schedule(quiesce: &str) -> String {
    format!("schedules: {{ nightly: {{ cron: \"0 2 * * *\", quiesce: {quiesce} }} }}")
}

/// One VM with a qcow2 disk over a template, a raw disk and a CD-ROM; it is on.
pub(crate) fn site() -> Site {
    let mut site = Site::new(7);
    let mut template = Image::empty(Format::Qcow2, CELLS - 4);
    let mut vda = Image::over(TEMPLATE, CELLS);
    let mut vdb = Image::empty(Format::Raw, CELLS);
    for at in 0..CELLS {
        let roll = site.dice.roll();
        if at < CELLS - 4 {
            template.cells[at] = Some(roll);
        }
        if at % 3 == 0 {
            vda.cells[at] = Some(roll + 1);
            vdb.cells[at] = Some(roll + 2);
        }
    }
    let files = [
        (TEMPLATE, template),
        ("/images/db-01.qcow2", vda),
        ("/images/db-01-data.raw", vdb),
    ];
    for (path, image) in files {
        site.files.put(path, Node::Image(image.into()));
    }
    let image = |path: &str, format| knib::model::step::Image::new(path, format);
    let cdrom = DiskDef {
        device: knib::model::machine::Device::Cdrom,
        image: None,
        ..DiskDef::hard_disk("sda", image("/images/none", Format::Raw))
    };
    let definition = Definition {
        id: VmId::new(DB),
        name: "db-01".to_owned(),
        note: None,
        disks: vec![
            DiskDef::hard_disk("vda", image("/images/db-01.qcow2", Format::Qcow2)),
            DiskDef::hard_disk("vdb", image("/images/db-01-data.raw", Format::Raw)),
            cdrom,
        ],
        networks: Vec::new(),
        channel: false,
    };
    let mut vm = Vm::off(definition);
    for disk in &vm.stored.disks[..2] {
        let chain = site.chain_at_start(disk).expect("it is whole");
        let seen = site.files.seen(&chain).expect("it is whole");
        vm.wrote.insert(disk.target.clone(), seen);
    }
    site.vms.insert(VmId::new(DB), vm);
    assert!(site.start(&VmId::new(DB)), "it starts");
    site
}

/// What came before.
pub(crate) struct Story {
    kept: Kept,
    desk: Desk,
}

impl Story {
    pub(crate) fn new(policy: &Rc<Policy>) -> Self {
        Self {
            kept: Kept::new(site(), Rc::clone(policy)),
            desk: Desk::new(),
        }
    }

    pub(crate) fn site(mut self, change: impl FnOnce(&mut Site)) -> Self {
        change(&mut self.kept.site);
        self.kept.site.watch();
        self
    }

    /// From here on backups are read there.
    pub(crate) fn read_from(mut self, from: From) -> Self {
        self.kept.read_from(from);
        self
    }

    pub(crate) fn policy(mut self, policy: &Rc<Policy>) -> Self {
        self.kept.policy = Rc::clone(policy);
        self
    }

    /// The guest lives on for a while.
    pub(crate) fn time_passes(self) -> Self {
        self.site(|site| (0..6).for_each(|_| site.pass()))
    }

    pub(crate) fn stop(self) -> Self {
        self.site(|site| assert!(site.stop(&VmId::new(DB)), "it was on"))
    }

    pub(crate) fn start(self) -> Self {
        self.site(|site| assert!(site.start(&VmId::new(DB)), "it was off"))
    }

    /// `knib apply` at an instant, without any trouble.
    pub(crate) fn apply(self, at: &str) -> Self {
        self.does(at, &Ask::Apply)
    }

    /// Something that is asked at an instant, without any trouble.
    pub(crate) fn does(self, at: &str, ask: &Ask) -> Self {
        self.wait(at).done(ask).time_passes()
    }

    /// A snapshot, and something new on top of it.
    pub(crate) fn snapshot(self, name: &str) -> Self {
        let asked = Asked::Create(Some(name.to_owned()));
        self.done(&Ask::Snapshot(asked)).time_passes()
    }

    /// The VM is stopped, goes on from a snapshot and is started.
    pub(crate) fn revert(self, name: &str) -> Self {
        let asked = Ask::Snapshot(Asked::Revert(name.to_owned()));
        self.stop().done(&asked).start().time_passes()
    }

    pub(crate) fn delete(self, name: &str) -> Self {
        let asked = Ask::Snapshot(Asked::Delete(name.to_owned()));
        self.done(&asked).time_passes()
    }

    fn done(mut self, ask: &Ask) -> Self {
        self.kept = tell(async {
            let bench = Bench::from(&self.kept, &self.desk, Vec::new());
            let policy = Rc::clone(&bench.policy);
            let ran = bench.run(|world, options| ask.plan(&policy, world, options));
            match ran.await {
                Ran::Through(report) => {
                    let actions = &report.plan.actions;
                    let failed = actions.iter().any(|action| action.error.is_some());
                    assert!(!failed, "it goes well: {report:?}");
                }
                Ran::Broke(text) => panic!("{text}"),
                Ran::Killed => panic!("nothing kills it"),
            }
            bench.keep()
        });
        self
    }

    /// It becomes an instant.
    pub(crate) fn wait(mut self, at: &str) -> Self {
        self.kept.wait(at.parse().expect("an instant"));
        self
    }

    /// The newest backup.
    pub(crate) fn latest(&self) -> BackupId {
        let backups = self.kept.site.moments.keys();
        backups.max().expect("there is a backup").clone()
    }

    /// What there is where a backup is.
    pub(crate) fn ground(&self, backup: &BackupId) -> Ground {
        let dir = layout::backup_dir(STORAGE.into(), &VmId::new(DB), backup);
        let files = &self.kept.site.files;
        let text = files.read(&dir.join(layout::DOMAIN_INACTIVE));
        let text = String::from_utf8(text.expect("it is in the backup")).expect("it is text");
        let stored = Site::stored(&text).expect("it is a definition");
        Ground {
            stored: BTreeMap::from([(backup.clone(), stored)]),
            ..Ground::default()
        }
    }

    /// The backups so far, oldest first.
    pub(crate) fn backups(&self) -> Vec<BackupId> {
        self.kept.site.moments.keys().cloned().collect()
    }

    /// `more` backups come of it.
    pub(crate) fn asks(self, name: impl Into<String>, ask: Ask, more: usize) -> Scenario {
        Scenario {
            name: name.into(),
            backups: self.kept.site.moments.len() + more,
            kept: self.kept,
            ask,
            goes: BTreeSet::new(),
            troubles: TROUBLES.to_vec(),
        }
    }

    /// Backups are deleted, and these are gone then.
    pub(crate) fn deletes(self, name: &str, asked: &[&BackupId], gone: &[&BackupId]) -> Scenario {
        let ask = delete(asked);
        let mut scenario = self.asks(name, ask, 0);
        scenario.goes = gone.iter().copied().cloned().collect();
        scenario.backups -= gone.len();
        scenario
    }
}

pub(crate) fn target(name: &str) -> Target {
    Target::new(name)
}
