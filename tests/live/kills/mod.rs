//! knib killed on the real host, right after each thing that it changes, outside or in its journal, in each operation.
//!
//! An operation is done again and again in one world, and dies one change later each time, until it comes to its end.
//! After each death, and after that end, the next apply has to end what was begun: every backup and every disk then
//! holds one of the contents that it may have, by `qemu-img compare`, nothing is left over, and the next plan is empty.
//!
//! Here the first two operations of each test are killed once. All, at every change: `KNIB_CRASH_REAL=all cargo test --features test-hooks --test main
//! live::kills`; from the fifth on: `KNIB_CRASH_REAL=5-`; in the fifth: `KNIB_CRASH_REAL=5`; one operation alone, by the
//! name that is printed: `KNIB_CRASH_STORY=backup_running`

mod stories;
mod world;

use std::collections::BTreeMap;
use std::env;

use crate::crash::matrix;

use world::Told;
use world::World;

/// How much is tried.
const REAL: &str = "KNIB_CRASH_REAL";
/// How many operations of each test are tried where nothing else is said.
const SAMPLE: usize = 2;

/// An operation as it is killed.
struct Story {
    /// What the plan calls it.
    verb: &'static str,
    /// Whether the VM runs.
    on: bool,
    /// Whether the guest goes on writing once knib is dead.
    writes: bool,
    /// It changes so many things at least.
    changes: usize,
    /// How its world begins.
    begin: fn(&mut World),
    /// Brings the world to where the operation can be asked for, each time.
    prepare: fn(&mut World),
    /// What is asked.
    ask: fn(&World) -> Vec<String>,
    /// What must hold afterwards, besides what always must; the world is as before the next time.
    check: fn(&mut World, &Told),
}

/// The changes after which knib is killed, in turn.
fn changes(name: &str, story: &Story) -> Box<dyn Iterator<Item = usize>> {
    let Ok(said) = env::var(REAL) else {
        let seed = usize::from(blake3::hash(name.as_bytes()).as_bytes()[0]);
        return Box::new(std::iter::once(seed % story.changes + 1));
    };
    let number = |text: &str| text.parse::<usize>().expect("KNIB_CRASH_REAL is a number");
    match said.strip_suffix('-') {
        _ if said == "all" => Box::new(1..),
        Some(from) => Box::new(number(from)..),
        None => Box::new(std::iter::once(number(&said))),
    }
}

/// Kills one operation in a world, and tells the matrix.
#[expect(clippy::print_stdout, reason = "a test says how much it tried")]
fn tell(name: &str, story: &Story, world: &mut World) {
    (story.begin)(world);
    let mut kills: BTreeMap<String, usize> = BTreeMap::new();
    for at in changes(name, story) {
        (story.prepare)(world);
        let mut told = world.killed(at, &(story.ask)(world));
        println!("{name}: killed at {at}, after {}", told.last());
        if told.killed {
            *kills.entry(told.last().to_owned()).or_default() += 1;
        } else {
            assert!(told.changes.len() >= story.changes, "{told:?}");
        }
        if story.writes {
            world.write_since(&mut told);
        }
        world.recover();
        (story.check)(world, &told);
        world.assert_sound();
        if !told.killed {
            break;
        }
    }
    matrix::real(story.verb, &kills);
}

/// Kills operations one after another: in one world, or each in its own when that is done in full.
fn kill(stories: Stories) {
    let only = env::var("KNIB_CRASH_STORY").ok();
    let sampled = only.is_none() && env::var(REAL).is_err();
    let mut shared: Option<World> = None;
    for (number, (name, story)) in stories.iter().enumerate() {
        let story = &story();
        if only.as_ref().is_some_and(|only| only != name) || (sampled && number >= SAMPLE) {
            matrix::real(story.verb, &BTreeMap::new());
            continue;
        }
        let world = shared.take().filter(|_| env::var(REAL).is_err());
        let mut world = world.unwrap_or_else(World::new);
        world.power(story.on);
        tell(name, story, &mut world);
        shared = Some(world);
    }
    if let Some(mut world) = shared {
        world.end();
    }
}

/// Operations by name.
type Stories = &'static [(&'static str, fn() -> Story)];

macro_rules! named {
    ($($name:ident)*) => {
        &[$((stringify!($name), stories::$name)),*]
    };
}

const RUNNING: Stories = named![backup_running finish_running backup_full_running delete_running
    snapshot_create_running snapshot_delete_running leave_running];

const STOPPED: Stories = named![snapshot_revert_stopped compress backup_stopped backup_isolated_stopped
    finish_stopped delete_stopped adopt_stopped pin storage_create];

const RESTORES: Stories = named![restore_vm_quick restore_new restore_new_quick restore_disk_stopped
    restore_vm_stopped discard_stopped validate];

/// So many operations tell the matrix.
pub(crate) const STORIES: usize = RUNNING.len() + STOPPED.len() + RESTORES.len();

#[test]
fn while_it_runs() {
    kill(RUNNING);
}

#[test]
fn while_it_is_off() {
    kill(STOPPED);
}

#[test]
fn in_a_restore() {
    kill(RESTORES);
}
