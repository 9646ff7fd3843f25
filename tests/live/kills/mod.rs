//! knib killed on the real host, right after each thing that it changes, outside or in its journal, in each operation.
//!
//! An operation is done again and again in one world, and dies one change later each time, until it comes to its end.
//! After each death the next apply has to end what was begun: every backup and every disk then holds one of the
//! contents that it may have, by `qemu-img compare`, nothing is left over, and the next plan is empty.
//!
//! Here each operation is killed once. At every change: `KNIB_CRASH_REAL=all cargo test --features test-hooks --test main
//! live::kills`; from the fifth on: `KNIB_CRASH_REAL=5-`; in the fifth: `KNIB_CRASH_REAL=5`; one operation alone, by the
//! name that is printed: `KNIB_CRASH_STORY=backup_running`

mod soak;
mod stories;
mod world;

use std::collections::BTreeMap;
use std::env;

use crate::crash::matrix;

use world::Told;
use world::World;

/// How much is tried.
const REAL: &str = "KNIB_CRASH_REAL";

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
        if !told.killed {
            assert!(told.changes.len() >= story.changes, "{told:?}");
            break;
        }
        *kills.entry(told.last().to_owned()).or_default() += 1;
        if story.writes {
            world.write_since(&mut told);
        }
        world.recover();
        (story.check)(world, &told);
        world.assert_sound();
    }
    matrix::real(story.verb, &kills);
}

/// Kills operations one after another: in one world, or each in its own when that is done in full.
fn kill(stories: &[(&str, Story)]) {
    let only = env::var("KNIB_CRASH_STORY").ok();
    let wanted = |name: &str| only.as_ref().is_none_or(|only| only == name);
    let stories = stories.iter().filter(|(name, _)| wanted(name));
    let mut shared: Option<World> = None;
    for (name, story) in stories {
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

macro_rules! kills {
    ($($test:ident: $($name:ident)*;)*) => {
        $(
            #[test]
            fn $test() {
                kill(&[$((stringify!($name), stories::$name())),*]);
            }
        )*

        /// So many operations are killed.
        pub(crate) const STORIES: usize = [$($(stringify!($name)),*),*].len();
    };
}

kills! {
    while_it_runs: backup_running backup_full_running finish_running delete_running snapshot_create_running
        snapshot_delete_running leave_running;
    while_it_is_off: backup_stopped backup_isolated_stopped finish_stopped delete_stopped snapshot_revert_stopped
        adopt_stopped pin storage_create compress;
    in_a_restore: restore_new restore_new_quick restore_disk_stopped restore_vm_stopped restore_vm_quick
        discard_stopped validate;
}
