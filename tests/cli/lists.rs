//! Lists and shows, drawn from worlds made by hand.

use std::sync::Arc;

use jiff::tz::TimeZone;
use knib::cli::render::Look;
use knib::cli::render::lists;
use knib::cli::render::lists::When;
use knib::cli::view::Known;
use knib::cli::view::backup;
use knib::cli::view::backup::Status;
use knib::cli::view::chain;
use knib::cli::view::offering;
use knib::cli::view::storage;
use knib::cli::view::vm;
use knib::model::backup::Unusable;
use knib::model::fault::Fault;
use knib::model::id::BackupId;
use knib::model::program::StepError;
use knib::model::record::Failed;
use knib::model::world::World;

use crate::planner::make;

/// A VM with a chain of three, the middle one of which is damaged, and a failure; another one without
/// any backup.
fn world() -> (knib::model::policy::Policy, World) {
    let policy = make::one_policy("schedules: { nightly: { cron: \"0 2 * * *\" } }");
    let mut world = make::world("2026-11-20T09:00:00Z");
    make::add(&mut world, make::vm("db-01", &["vda"]));
    make::add(&mut world, make::vm("web-01", &["vda"]));
    let mut world = make::applied(&policy, &world, "2026-11-24T10:00:00Z");
    let guest = world
        .guests
        .values_mut()
        .find(|guest| guest.vm.name == "db-01");
    let guest = guest.expect("it was added");
    guest.record.backups.clear();
    guest.record.current = None;
    for (day, position) in [(21, 1), (22, 2), (23, 3)] {
        make::backed_up(guest, &format!("2026-11-{day}T02:00:00Z"), position);
    }
    let damaged = guest
        .record
        .backups
        .keys()
        .nth(1)
        .cloned()
        .expect("the second");
    let backup = guest.record.backups.get_mut(&damaged).expect("it is there");
    Arc::make_mut(backup).marks.unusable = Some(Unusable {
        code: "damaged".to_owned(),
        file: Some("vda.qcow2".to_owned()),
    });
    guest.record.failures.push(Failed {
        backup: BackupId::new("20261124-020000-00000000"),
        at: make::at("2026-11-24T02:03:00Z"),
        slots: Vec::new(),
        error: StepError {
            fault: Fault::NoSpace,
            text: "could not copy vda of db-01: no space left".to_owned(),
            hint: None,
        },
    });
    (policy, world)
}

fn when() -> When {
    When {
        now: make::at("2026-11-24T10:00:00Z"),
        zone: TimeZone::get("Europe/Paris").expect("a zone"),
    }
}

fn known(world: &World) -> Known<'_> {
    Known {
        guests: &world.guests,
        applied: &world.applied,
    }
}

#[test]
fn backups() {
    let (_, world) = world();
    let each = world.guests.values();
    let all: Vec<_> = each
        .flat_map(|guest| backup::of_guest(known(&world), guest))
        .collect();
    let drawn = lists::backups(&all, &when(), Look::PLAIN);
    insta::assert_snapshot!(drawn + "\n" + &lists::backup(&all[1], &when(), Look::PLAIN));
}

#[test]
fn what_descends_from_damage_is_unusable() {
    let (_, world) = world();
    let guest = world
        .guests
        .values()
        .find(|guest| guest.vm.name == "db-01")
        .expect("it was added");
    let all = backup::of_guest(known(&world), guest);
    let status: Vec<_> = all.iter().map(|one| one.status).collect();
    assert_eq!(
        status,
        [
            Status::BackedUp,
            Status::Unusable,
            Status::Unusable,
            Status::Failed
        ]
    );
    assert_eq!(all[0].needed_by, [all[1].id.clone(), all[2].id.clone()]);
    assert_eq!(all[0].frees_bytes.0, 0, "others need its files");
    assert!(all[2].current && !all[2].end_of_chain);
}

#[test]
fn chains_storages_offerings() {
    let (policy, world) = world();
    let each = world.guests.values();
    let chains: Vec<_> = each
        .flat_map(|guest| chain::of_guest(known(&world), guest))
        .collect();
    let storages = storage::all(&world, Some(&policy));
    let offerings = offering::all(known(&world));
    insta::assert_snapshot!(
        [
            lists::chains(&chains, &when(), Look::PLAIN),
            lists::storages(&storages, &when(), Look::PLAIN),
            lists::offerings(&offerings, Look::PLAIN),
        ]
        .join("\n")
    );
}

#[test]
fn vms_and_status() {
    let (policy, mut world) = world();
    make::add(&mut world, make::vm("ci-runner", &["vda"]));
    let plan = make::plan(&policy, &world);
    let all = vm::all(&world, Some(&plan));
    let drawn = lists::vms(&all, &when(), Look::PLAIN);
    insta::assert_snapshot!(drawn + "\n" + &lists::status(&all, &when(), Look::PLAIN));
}
