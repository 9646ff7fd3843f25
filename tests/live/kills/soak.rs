//! An hour of writes, backups and kills, at random; a line a minute tells how it stands.
//!
//! `KNIB_SOAK=60 KNIB_SOAK_LOG=/tmp/soak.log cargo test --features test-hooks --test main live::kills::soak`: for so many
//! minutes, into that file. Here it is only seen that it would run.

use std::env;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use crate::sim::Dice;
use crate::support::oracle;
use crate::support::tool::virsh;

use super::stories::one_of_both;
use super::world::World;

/// No operation changes more things.
const CHANGES: usize = 60;
/// So many turns at least.
const TURNS: usize = 3;

#[derive(Default)]
struct Tally {
    operations: usize,
    kills: usize,
    compared: usize,
    /// What a knib took at most since the last line, in KiB, and how many descriptors it had.
    rss: u64,
    descriptors: usize,
}

/// What a process takes, while it is there.
fn peak(pid: u32) -> thread::JoinHandle<(u64, usize)> {
    thread::spawn(move || {
        let (mut rss, mut descriptors) = (0, 0);
        while let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) {
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let Some(line) = line else { break };
            let number = line.trim().trim_end_matches(" kB");
            rss = number.parse().unwrap_or(rss).max(rss);
            let open = fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
            descriptors = open.max(descriptors);
            thread::sleep(Duration::from_millis(10));
        }
        (rss, descriptors)
    })
}

fn ask(world: &mut World, dice: &mut Dice) -> Vec<String> {
    let name = world.vm.name.clone();
    let words = match dice.below(10) {
        0..4 => vec!["backup", "run", &name],
        4 => vec!["backup", "run", &name, "--isolated"],
        5 => vec!["backup", "run", &name, "--full"],
        6 => vec!["chain", "finish", &name],
        7 => vec!["snapshot", "create", &name],
        _ => {
            let all: Vec<_> = world.backups.keys().cloned().collect();
            let oldest = all.first().expect("one is always kept").clone();
            let kind = if all.len() > 4 { "delete" } else { "verify" };
            return ["backup", kind, &oldest].map(str::to_owned).to_vec();
        }
    };
    words.into_iter().map(str::to_owned).collect()
}

fn turn(world: &mut World, dice: &mut Dice, tally: &mut Tally) {
    let on = if dice.below(6) == 0 {
        !world.on
    } else {
        world.on
    };
    world.power(on);
    for _ in 0..=dice.below(3) {
        world.write();
    }
    let ask = ask(world, dice);
    let at = dice.below(2 * CHANGES) + 1;
    let (mut told, used) = world.killed_and(at, &ask, peak);
    tally.operations += 1;
    tally.rss = tally.rss.max(used.0);
    tally.descriptors = tally.descriptors.max(used.1);
    if told.killed {
        tally.kills += 1;
        world.write_since(&mut told);
        world.recover();
    }
    let known = world.backups.len();
    one_of_both(world, &told);
    tally.compared += usize::from(world.backups.len() > known);
    for name in super::stories::snapshots(world) {
        world.knib(&["snapshot", "delete", &world.vm.name, &name]);
    }
    if dice.below(4) == 0 {
        restore(world, dice);
        tally.compared += 1;
        world.assert_sound();
    }
    assert_eq!(world.site.leftovers(), [] as [String; 0]);
}

/// Any backup comes back as a VM of its own.
fn restore(world: &World, dice: &mut Dice) {
    let all: Vec<_> = world.backups.iter().collect();
    let (backup, truths) = all[dice.below(all.len())];
    let name = format!("{}-new", world.site.run);
    world.knib(&["restore", "new", backup, "--name", &name]);
    let new = world.site.defined("new");
    for (target, truth) in ["vda", "vdb"].iter().zip(truths) {
        oracle::assert_same(&new.source(target), truth);
    }
    virsh(["undefine", &name]).must();
    for file in new.disks.values() {
        fs::remove_file(file).expect("it is the test's own");
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "it can be repeated")]
fn soak() {
    let minutes: u64 = env::var("KNIB_SOAK").map_or(0, |said| said.parse().expect("minutes"));
    let seed = env::var("KNIB_SOAK_SEED").map_or(5, |said| said.parse().expect("a number"));
    println!("KNIB_SOAK={minutes} KNIB_SOAK_SEED={seed}");
    let mut world = World::new();
    let log = env::var_os("KNIB_SOAK_LOG").map_or_else(|| world.site.path("soak"), PathBuf::from);
    let mut log = fs::File::create(log).expect("the log can be written");
    let (mut dice, mut tally) = (Dice::new(seed), Tally::default());
    let began = Instant::now();
    let (mut minute, mut turns) = (0, 0);
    while turns < TURNS || began.elapsed() < Duration::from_secs(60 * minutes) {
        turn(&mut world, &mut dice, &mut tally);
        turns += 1;
        let now = began.elapsed().as_secs() / 60;
        if now > minute {
            minute = now;
            writeln!(
                log,
                "minute {minute}: {} operations, {} kills, {} backups restored or compared, {} are kept; \
                 at most {} KiB and {} descriptors",
                tally.operations,
                tally.kills,
                tally.compared,
                world.backups.len(),
                tally.rss,
                tally.descriptors
            )
            .expect("the log can be written");
            (tally.rss, tally.descriptors) = (0, 0);
            world.forget();
        }
    }
    world.assert_sound();
    for _ in 0..world.backups.len().min(1 + 9 * turns / 10) {
        restore(&world, &mut dice);
    }
    world.end();
    world.knib(&["chain", "finish", &world.vm.name]);
    world.site.assert_no_delta(&world.vm);
}
