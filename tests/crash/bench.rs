//! Runs of the real engine, with the real planner and a real journal, over the simulated host.

use std::cell::Cell;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::rc::Rc;

use camino::Utf8PathBuf;
use jiff::SignedDuration;
use jiff::Timestamp;
use knib::engine;
use knib::engine::Engine;
use knib::engine::Report;
use knib::model::backup::Maker;
use knib::model::id::PlanId;
use knib::model::plan::Plan;
use knib::model::policy::Policy;
use knib::model::world::World;
use knib::planner;
use knib::planner::Options;
use knib::state::State;
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio::time::Instant;

use crate::sim::STORAGE;
use crate::sim::Sim;
use crate::sim::Site;
use crate::sim::Trouble;

/// When every story begins.
const BEGINNING: &str = "2026-11-22T12:00:00Z";

/// A directory with a state file that may be thrown away.
pub(crate) struct Desk(tempfile::TempDir);

impl Desk {
    /// In memory where that can be had: what a schedule costs is mostly the journal's.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        Self(dir.expect("a temporary directory"))
    }

    pub(crate) fn state(&self) -> Utf8PathBuf {
        let path = self.0.path().join("state.db");
        Utf8PathBuf::from_path_buf(path).expect("temporary directories have plain names")
    }

    /// Puts a state file there, as it was kept.
    fn put(&self, content: &[u8]) {
        fs::write(self.state(), content).expect("the state can be written");
    }

    fn content(&self) -> Vec<u8> {
        fs::read(self.state()).expect("the state can be read")
    }
}

/// How a run ended.
pub(crate) enum Ran {
    /// With a report on its plan.
    Through(Box<Report>),
    /// It could not see, or not write its journal.
    Broke(String),
    /// It was killed.
    Killed,
}

/// Where backups are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// Where the record says.
    Record,
    /// What is asked names a storage; later runs go by the record.
    Storage,
    /// There is no record, but a journal of what was asked.
    StorageAlone,
}

/// Everything that outlives a run.
pub(crate) struct Bench<'a> {
    pub(crate) sim: Rc<Sim>,
    pub(crate) policy: Rc<Policy>,
    pub(crate) from: Cell<From>,
    desk: &'a Desk,
    /// Open until the run that opened it is killed.
    state: RefCell<Option<Rc<State>>>,
    clock: Rc<dyn Fn() -> Timestamp>,
    runs: Cell<usize>,
}

/// A bench at one instant, from which any number of schedules begin.
#[derive(Clone)]
pub(crate) struct Kept {
    pub(crate) site: Site,
    pub(crate) policy: Rc<Policy>,
    from: From,
    state: Vec<u8>,
    now: Timestamp,
    runs: usize,
}

impl Kept {
    /// Nothing has happened yet.
    pub(crate) fn new(site: Site, policy: Rc<Policy>) -> Self {
        Self {
            site,
            policy,
            from: From::Record,
            state: no_state(),
            now: BEGINNING.parse().expect("an instant"),
            runs: 0,
        }
    }

    /// It becomes an instant.
    pub(crate) fn wait(&mut self, at: Timestamp) {
        self.now = at;
    }

    /// From here on backups are read there.
    pub(crate) fn read_from(&mut self, from: From) {
        self.from = from;
        if from == From::StorageAlone {
            self.state = no_state();
        }
    }
}

/// A state on which nothing is on record.
fn no_state() -> Vec<u8> {
    let desk = Desk::new();
    drop(State::open(&desk.state()).expect("a state can be made"));
    desk.content()
}

impl<'a> Bench<'a> {
    /// Goes on from where it was kept, with trouble to come. Inside of a paused runtime.
    pub(crate) fn from(kept: &Kept, desk: &'a Desk, script: Vec<(usize, Trouble)>) -> Self {
        desk.put(&kept.state);
        let sim = Sim::new(kept.site.clone(), script);
        let (begun, start, ticks) = (Instant::now(), kept.now, Rc::clone(&sim));
        let clock = move || {
            let waited = SignedDuration::try_from(begun.elapsed()).expect("it fits");
            ticks.now(start, waited)
        };
        Self {
            sim,
            policy: Rc::clone(&kept.policy),
            from: Cell::new(kept.from),
            desk,
            state: RefCell::default(),
            clock: Rc::new(clock),
            runs: Cell::new(kept.runs),
        }
    }

    pub(crate) fn keep(&self) -> Kept {
        Kept {
            site: self.sim.site.borrow().clone(),
            policy: Rc::clone(&self.policy),
            from: self.from.get(),
            state: self.desk.content(),
            now: self.now(),
            runs: self.runs.get(),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    pub(crate) fn state(&self) -> Rc<State> {
        let open = || State::open(&self.desk.state()).expect("the state can be opened");
        let mut state = self.state.borrow_mut();
        Rc::clone(state.get_or_insert_with(|| Rc::new(open())))
    }

    /// `knib apply`, from its first look to its last.
    pub(crate) async fn apply(&self) -> Ran {
        let policy = Rc::clone(&self.policy);
        self.run(move |world, options| planner::reconcile(&policy, world, options))
            .await
    }

    /// A run that does what `plan` makes of the world.
    pub(crate) async fn run(&self, plan: impl FnOnce(&World, &Options) -> Plan) -> Ran {
        self.sim.revive();
        let tasks = LocalSet::new();
        let run = tasks.run_until(async {
            tokio::select! {
                biased;
                () = self.sim.death() => Ran::Killed,
                ran = self.live(plan) => ran,
            }
        });
        let ran = run.await;
        if self.sim.is_dead() {
            self.state.take();
            return Ran::Killed;
        }
        ran
    }

    async fn live(&self, plan: impl FnOnce(&World, &Options) -> Plan) -> Ran {
        let state = self.state();
        let run = state.start_run("apply", self.now()).expect("a run begins");
        let world = match self.observe(&state).await {
            Ok(world) => world,
            Err(error) => return Ran::Broke(error),
        };
        let plan = plan(&world, &self.options());
        self.sim.take_on(&plan);
        let sim = Rc::clone(&self.sim);
        let clock = Rc::clone(&self.clock);
        let engine = Rc::new(Engine {
            host: Rc::clone(&self.sim),
            state: Rc::clone(&state),
            run: run.id.clone(),
            maker: Maker {
                host: world.host.id.clone(),
                hostname: world.host.hostname.clone(),
                state: state.id().clone(),
                knib: "0.1.0".to_owned(),
            },
            uri: world.host.uri.clone(),
            clock: Box::new(move || clock()),
            sink: Box::new(move |event| sim.hear(event)),
            stop: self.sim.stop(),
        });
        let report = engine.apply(plan, 2, mpsc::unbounded_channel().1).await;
        if self.sim.is_dead() {
            return Ran::Killed;
        }
        run.finish(&state, self.now()).expect("a run ends");
        match report {
            Ok(report) => Ran::Through(Box::new(report)),
            Err(error) => Ran::Broke(error.to_string()),
        }
    }

    async fn observe(&self, state: &State) -> Result<World, String> {
        if self.from.get() != From::Record {
            let world = engine::observe_only(&self.sim, Some(state), STORAGE.into(), self.now());
            let world = world.await.map_err(|error| error.to_string())?;
            return world.ok_or_else(|| "there is no storage".to_owned());
        }
        let storages: BTreeMap<_, _> = self
            .policy
            .storages
            .iter()
            .map(|(name, storage)| (name.clone(), storage.path.clone()))
            .collect();
        let world = engine::observe(&self.sim, Some(state), &storages, self.now()).await;
        world.map_err(|error| error.to_string())
    }

    fn options(&self) -> Options {
        let n = self.runs.get() + 1;
        self.runs.set(n);
        Options {
            id: PlanId::new(format!("plan{n}")),
            uri: "qemu:///system".to_owned(),
            version: "0.1.0".to_owned(),
            clock_given: false,
            only: None,
            vm: None,
            show_kept: false,
            allowed: std::collections::BTreeSet::new(),
        }
    }
}

/// Runs a story to its end, waiting for nothing.
pub(crate) fn tell<T>(story: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime.expect("a runtime").block_on(story)
}
