//! The simulated host with its clock of ticks, and a script that says at which of them what goes wrong.
//! Without one, ticks are counted.

use std::cell::Cell;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use camino::Utf8PathBuf;
use jiff::SignedDuration;
use jiff::Timestamp;
use knib::host::HostError;
use knib::host::Result;
use knib::host::Stop;
use knib::host::StopLevel;
use knib::model::event::Event;
use knib::model::fault::Fault;
use knib::model::id::ActionId;
use knib::model::machine::Agent;
use knib::model::plan::Plan;
use tokio::sync::Notify;
use tokio::sync::watch;

use crate::sim::qemu_img::Half;
use crate::sim::site::Site;
use crate::sim::trouble::Place;
use crate::sim::trouble::Tick;
use crate::sim::trouble::Trouble;

/// A simulated host.
pub(crate) struct Sim {
    pub(crate) site: RefCell<Site>,
    script: RefCell<Vec<(usize, Trouble)>>,
    ticks: RefCell<Vec<Tick>>,
    broken: Cell<Option<&'static str>>,
    orphan: RefCell<Option<Orphan>>,
    begun: Cell<bool>,
    verbs: RefCell<BTreeMap<ActionId, &'static str>>,
    verb: Cell<&'static str>,
    dead: Cell<bool>,
    died: Notify,
    stop: watch::Sender<StopLevel>,
    later: Cell<SignedDuration>,
}

/// A `qemu-img commit` whose knib is gone.
struct Orphan {
    top: Utf8PathBuf,
    base: Utf8PathBuf,
    ticks: u32,
}

/// How many ticks an orphan goes on for.
const ORPHANED: u32 = 12;
/// A schedule that takes more is going round in circles.
const MOST_TICKS: usize = 20_000;
/// What is broken when no block job comes to an end.
const JOBS: &str = "jobs";
/// What a task that hears of its death unwinds with.
struct Died;

enum Fate {
    GoOn,
    Fail(HostError),
    Die,
}

impl Sim {
    pub(crate) fn new(site: Site, script: Vec<(usize, Trouble)>) -> Rc<Self> {
        Rc::new(Self {
            site: RefCell::new(site),
            script: RefCell::new(script),
            ticks: RefCell::default(),
            broken: Cell::new(None),
            orphan: RefCell::default(),
            begun: Cell::new(false),
            verbs: RefCell::default(),
            verb: Cell::new(""),
            dead: Cell::new(false),
            died: Notify::new(),
            stop: watch::Sender::new(StopLevel::No),
            later: Cell::new(SignedDuration::ZERO),
        })
    }

    pub(crate) fn ticks(&self) -> Vec<Tick> {
        self.ticks.borrow().clone()
    }

    pub(crate) fn stop(&self) -> Stop {
        Stop::new(self.stop.subscribe())
    }

    /// The clock: it moves with every tick, with every wait, and when it is set forward.
    pub(crate) fn now(&self, start: Timestamp, waited: SignedDuration) -> Timestamp {
        let ticks = i64::try_from(self.ticks.borrow().len()).expect("there are few ticks");
        start + waited + self.later.get() + SignedDuration::from_millis(ticks)
    }

    pub(crate) fn wait(&self, length: SignedDuration) {
        self.later.set(self.later.get() + length);
    }

    /// Returns when knib is killed.
    pub(crate) async fn death(&self) {
        self.died.notified().await;
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.get()
    }

    /// A new run of knib.
    pub(crate) fn revive(&self) {
        self.dead.set(false);
        self.begun.set(false);
        self.stop.send_replace(StopLevel::No);
        if self.orphan.borrow().is_none() {
            self.site.borrow_mut().programs.clear();
        }
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.broken.get().is_some()
    }

    /// What failed for good works again.
    pub(crate) fn mend(&self) {
        self.broken.take();
    }

    /// Whether anything went wrong at a tick from `since` on, or is still broken.
    pub(crate) fn was_troubled_since(&self, since: usize) -> bool {
        let now = self.ticks.borrow().len();
        let script = self.script.borrow();
        let mut struck = script.iter().map(|(at, _)| *at);
        struck.any(|at| (since..now).contains(&at)) || self.is_broken()
    }

    /// A `qemu-img commit` is half done.
    pub(crate) fn commit_is_at_work(&self, at_work: Option<(Utf8PathBuf, Utf8PathBuf)>) {
        *self.orphan.borrow_mut() = at_work.map(|(top, base)| Orphan {
            top,
            base,
            ticks: u32::MAX,
        });
    }

    /// One tick of a call. Never returns to one that died.
    pub(crate) async fn tick(&self, place: Place, what: &'static str) -> Result<()> {
        match self.happen(place, what) {
            Fate::GoOn => Ok(()),
            Fate::Fail(error) => Err(error),
            Fate::Die => std::future::pending().await,
        }
    }

    /// A plan is carried out: what its actions are, for who looks at the ticks.
    pub(crate) fn take_on(&self, plan: &Plan) {
        let actions = plan.actions.iter();
        let own = actions.filter(|action| action.op.carries_on().is_none());
        let verbs = own.map(|action| (action.id.clone(), action.verb.as_str()));
        self.verbs.borrow_mut().extend(verbs);
    }

    /// Hears what the engine says. Events of a step in the middle are no ticks of their own.
    pub(crate) fn hear(&self, event: &Event) {
        let (what, action) = match event {
            Event::Began { action, .. } => ("began", action),
            Event::Intended { action, .. } => ("intended", action),
            Event::Performed { action, .. } => ("performed", action),
            Event::Marked { action, .. } => ("marked", action),
            Event::TurnedBack { action, .. } => ("turned back", action),
            Event::Closed { action, .. } => ("closed", action),
            Event::Added { .. } | Event::Progress { .. } | Event::Said { .. } => return,
        };
        self.verb
            .set(self.verbs.borrow().get(action).copied().unwrap_or_default());
        self.begun.set(!matches!(event, Event::Closed { .. }));
        if matches!(self.happen(Place::Journal, what), Fate::Die) {
            std::panic::resume_unwind(Box::new(Died));
        }
    }

    fn happen(&self, place: Place, what: &'static str) -> Fate {
        if self.dead.get() {
            return Fate::Die;
        }
        let mut site = self.site.borrow_mut();
        if self.broken.get() == Some(JOBS) {
            site.lose_jobs();
        }
        site.pass();
        self.orphan_works(&mut site);
        let at = self.ticks.borrow().len();
        if at > MOST_TICKS {
            site.complain("it never comes to an end");
            return self.die(&mut site);
        }
        let running = || site.vms.values().filter_map(|vm| vm.running.as_ref());
        let tick = Tick {
            place,
            what,
            verb: self.verb.get(),
            on: running().next().is_some(),
            off: site.vms.values().any(|vm| vm.running.is_none()),
            jobs: running().any(|running| !running.jobs.is_empty()),
            unwritten: running().any(|running| !running.unwritten.is_empty()),
            begun: self.begun.get(),
        };
        self.ticks.borrow_mut().push(tick);
        let due = self
            .script
            .borrow()
            .iter()
            .find(|(tick, _)| *tick == at)
            .map(|(_, trouble)| *trouble);
        match due {
            Some(trouble) => self.strike(&mut site, trouble, place, what),
            None if self.broken.get() == Some(what) && place != Place::After => {
                Fate::Fail(failure(&site, what))
            }
            None => Fate::GoOn,
        }
    }

    fn strike(&self, site: &mut Site, trouble: Trouble, place: Place, what: &'static str) -> Fate {
        let ids: Vec<_> = site.vms.keys().cloned().collect();
        match trouble {
            Trouble::Kill => {
                self.orphan.take();
                return self.die(site);
            }
            Trouble::KillAlone => {
                if let Some(orphan) = self.orphan.borrow_mut().as_mut() {
                    orphan.ticks = ORPHANED;
                }
                return self.die(site);
            }
            Trouble::PowerCut => {
                self.orphan.take();
                site.cut_power();
                return self.die(site);
            }
            Trouble::Panic => std::panic::resume_unwind(Box::new("it was made to panic")),
            Trouble::Fail => return Fate::Fail(failure(site, what)),
            Trouble::FailForGood => {
                self.broken.set(Some(what));
                return Fate::Fail(failure(site, what));
            }
            Trouble::KillQemu => site.kill_qemu(),
            Trouble::Off => {
                for id in &ids {
                    site.stop(id);
                }
            }
            Trouble::On => {
                for id in &ids {
                    site.start(id);
                }
                site.guests_write();
            }
            Trouble::LoseJobs => site.lose_jobs(),
            Trouble::LoseJobsForGood => self.broken.set(Some(JOBS)),
            Trouble::Stop(level) => {
                self.stop.send_replace(level);
                if level == StopLevel::Now && place == Place::Middle {
                    return Fate::Fail(HostError::new(Fault::Stopped, what, "asked to stop"));
                }
            }
        }
        Fate::GoOn
    }

    fn die(&self, site: &mut Site) -> Fate {
        // libvirt ends them when their connection does.
        site.throwaways.clear();
        self.dead.set(true);
        self.died.notify_one();
        Fate::Die
    }

    fn orphan_works(&self, site: &mut Site) {
        let mut orphan = self.orphan.borrow_mut();
        let Some(working) = orphan.as_mut().filter(|orphan| orphan.ticks != u32::MAX) else {
            return;
        };
        working.ticks -= 1;
        if working.ticks == 0 {
            // Its locks kept everybody else away.
            let done = site.commit_offline(&working.top, &working.base, Half::Second);
            if let Err(error) = done {
                site.complain(format!("a commit lost its files: {error}"));
            }
            site.programs.clear();
            *orphan = None;
        }
    }
}

fn failure(site: &Site, what: &str) -> HostError {
    let mut agents = site.vms.values().map(|vm| vm.agent);
    let fault = match what {
        // A thaw that fails comes after the overlays were made.
        "snapshot" if agents.any(|agent| agent == Agent::Connected) => Fault::Agent,
        _ => Fault::Io,
    };
    HostError::new(fault, what, "it was made to fail")
}
