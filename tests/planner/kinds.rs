//! Full or incremental, disk by disk, and where in its chain a backup stands.

use std::sync::Arc;

use insta::assert_snapshot;
use knib::model::backup::Unusable;
use knib::model::id::BackupId;
use knib::model::id::Target;
use knib::model::machine::Format;
use knib::model::machine::Source;
use knib::model::world::Guest;
use knib::model::world::World;

use super::make;

const NIGHTLY: &str = "schedules:\n  nightly: { cron: \"0 2 * * *\" }";

/// A VM under a nightly policy since yesterday; its slot of 02:00 is due.
fn due(guest: Guest) -> (World, knib::model::policy::Policy) {
    due_under(guest, NIGHTLY)
}

fn due_under(guest: Guest, policy: &str) -> (World, knib::model::policy::Policy) {
    let policy = make::one_policy(policy);
    let mut world = make::world("2026-11-22T12:00:00Z");
    make::add(&mut world, guest);
    let world = make::applied(&policy, &world, "2026-11-23T02:30:00Z");
    (world, policy)
}

fn planned(guest: Guest) -> String {
    let (world, policy) = due(guest);
    make::lines(&make::plan(&policy, &world))
}

#[test]
fn the_first_backup_is_full_and_comes_at_once() {
    let policy = make::one_policy(NIGHTLY);
    let mut world = make::world("2026-11-22T12:00:00Z");
    make::add(&mut world, make::vm("db-01", &["vda", "vdb"]));
    assert_snapshot!(make::lines(&make::plan(&policy, &world)), @r"
    offering_create offering.plain
    policy_create policy.all
    assign assign.db-01
    backup backup.db-01/first chain 1 at 1, vda full: first_of_chain, vdb full: first_of_chain
    retain retention.db-01
    ");
}

#[test]
fn a_chain_goes_on_where_its_deltas_are() {
    let mut guest = make::vm("db-01", &["vda", "vdb"]);
    make::backed_up(&mut guest, "2026-11-22T02:00:00Z", 1);
    assert_snapshot!(planned(guest), @"backup backup.db-01/nightly@2026-11-23T02:00Z chain 1 at 2, vda incremental, vdb incremental");
}

#[test]
fn a_chain_ends_at_its_size() {
    let mut guest = make::vm("db-01", &["vda"]);
    make::backed_up(&mut guest, "2026-11-22T02:00:00Z", 7);
    assert_snapshot!(planned(guest), @"backup backup.db-01/nightly@2026-11-23T02:00Z chain 1 at 8, ends it, vda incremental");
}

#[test]
fn a_chain_that_is_longer_than_it_may_be_now_is_not_continued() {
    let mut guest = make::vm("db-01", &["vda"]);
    make::backed_up(&mut guest, "2026-11-22T02:00:00Z", 9);
    assert_snapshot!(planned(guest), @"backup backup.db-01/nightly@2026-11-23T02:00Z chain 2 at 1, vda full: chain_full");
}

#[test]
fn only_a_disk_that_moved_is_copied_whole() {
    let mut guest = make::vm("db-01", &["vda", "vdb"]);
    make::backed_up(&mut guest, "2026-11-22T02:00:00Z", 1);
    let disk = guest
        .machine
        .as_mut()
        .and_then(|machine| machine.disk_mut(&Target::new("vda")))
        .expect("vda");
    let source = Source::File {
        path: "/ssd/db-01.qcow2".into(),
        format: Format::Qcow2,
    };
    disk.layers = vec![make::layer("/ssd/db-01.qcow2", 1 << 30)];
    disk.live = vec!["/ssd/db-01.qcow2".into()];
    disk.source = Some(source.clone());
    disk.inactive = Some(source);
    assert_snapshot!(planned(guest), @"backup backup.db-01/nightly@2026-11-23T02:00Z chain 1 at 2, vda full: delta_gone, vdb incremental");
}

#[test]
fn a_disk_that_is_new_is_copied_whole() {
    let mut guest = make::vm("db-01", &["vda"]);
    make::backed_up(&mut guest, "2026-11-22T02:00:00Z", 1);
    let more = make::vm("db-01", &["vdb"]).machine.expect("a VM").disks;
    guest.machine.as_mut().expect("a VM").disks.extend(more);
    assert_snapshot!(planned(guest), @"backup backup.db-01/nightly@2026-11-23T02:00Z chain 1 at 2, vda incremental, vdb full: new_disk");
}

#[test]
fn layers_on_top_of_the_delta_belong_to_the_increment() {
    let mut guest = make::vm("db-01", &["vda"]);
    make::backed_up(&mut guest, "2026-11-22T02:00:00Z", 1);
    make::cover(&mut guest, "vda", "/images/db-01.s1", 1 << 20);
    make::cover(&mut guest, "vda", "/images/db-01.s2", 1 << 20);
    let (world, policy) = due(guest);
    let plan = make::plan(&policy, &world);
    let program = plan.actions[0]
        .program
        .as_ref()
        .expect("nothing in its way");
    let steps: Vec<_> = program
        .steps()
        .map(|(_, _, step)| step.synopsis())
        .collect();
    let told: Vec<_> = steps
        .iter()
        .filter(|step| step.starts_with("copy vda") || step.starts_with("merge"))
        .collect();
    insta::with_settings!({ filters => vec![(r"\d{8}-\d{6}-[0-9a-f]{8}", "[id]")] }, {
        assert_snapshot!(told.iter().map(|text| format!("{text}\n")).collect::<String>(), @r"
        copy vda: db-01.s2, db-01.s1, db-01-vda.qcow2.knib-[id] to /nas/668bb2b8-0000-4000-8000-000000000000/.[id].partial/vda.qcow2
        merge vda: db-01-vda.qcow2.knib-[id] into db-01-vda.qcow2
        ");
    });
}

#[test]
fn snapshots_of_somebody_else_forbid_a_delta() {
    let mut guest = make::vm("db-01", &["vda"]);
    make::backed_up(&mut guest, "2026-11-22T02:00:00Z", 1);
    guest
        .machine
        .as_mut()
        .expect("a VM")
        .snapshots
        .push("before-upgrade".to_owned());
    assert_snapshot!(planned(guest), @"backup backup.db-01/nightly@2026-11-23T02:00Z isolated, vda full: foreign_snapshots");
}

#[test]
fn a_note_that_disagrees_ends_trust_in_the_deltas() {
    let mut guest = make::vm("db-01", &["vda"]);
    make::backed_up(&mut guest, "2026-11-22T02:00:00Z", 1);
    guest.machine.as_mut().expect("a VM").note = None;
    assert_snapshot!(planned(guest), @"backup backup.db-01/nightly@2026-11-23T02:00Z chain 2 at 1, vda full: note_disagrees");
}

#[test]
fn a_chain_with_a_backup_that_cannot_be_used_is_not_continued() {
    let mut guest = make::vm("db-01", &["vda"]);
    let first = make::backed_up(&mut guest, "2026-11-21T02:00:00Z", 1);
    make::backed_up(&mut guest, "2026-11-22T02:00:00Z", 2);
    // With no good one left at all, a first backup would be due at once.
    let mut alone = guest.record.backups[&first].as_ref().clone();
    alone.id = BackupId::new("20261120-020000-00000000");
    alone.link = None;
    let kept = (alone.id.clone(), Arc::new(alone));
    guest.record.backups.extend([kept]);
    let backup = guest.record.backups.get_mut(&first).expect("it is there");
    Arc::make_mut(backup).marks.unusable = Some(Unusable {
        code: "missing".to_owned(),
        file: None,
    });
    assert_snapshot!(planned(guest), @"backup backup.db-01/nightly@2026-11-23T02:00Z chain 2 at 1, vda full: parent_unusable");
}

#[test]
fn an_isolated_backup_leaves_the_chain_alone() {
    let mut guest = make::vm("db-01", &["vda"]);
    make::backed_up(&mut guest, "2026-11-22T02:00:00Z", 1);
    let policy = "schedules:\n  nightly: { cron: \"0 2 * * *\" }\n  monthly: { cron: \"0 2 * * *\", isolated: true }";
    let (world, policy) = due_under(guest, policy);
    assert_snapshot!(make::lines(&make::plan(&policy, &world)), @r"
    backup backup.db-01/nightly@2026-11-23T02:00Z chain 1 at 2, vda incremental
    backup backup.db-01/monthly@2026-11-23T02:00Z isolated, vda full: isolated
    ");
}

#[test]
fn what_stands_in_the_way_is_named() {
    let mut guest = make::vm("db-01", &["vda"]);
    make::backed_up(&mut guest, "2026-11-22T02:00:00Z", 1);
    let blocked = |change: &dyn Fn(&mut Guest)| {
        let mut guest = guest.clone();
        change(&mut guest);
        let line = planned(guest);
        line.split_once('!')
            .map(|(_, code)| code.to_owned())
            .unwrap_or(line)
    };
    let machine = |guest: &mut Guest| guest.machine.clone().expect("a VM");
    let saved = |guest: &mut Guest| {
        guest.machine = Some(knib::model::machine::Machine {
            managed_save: true,
            ..machine(guest)
        });
    };
    let transient = |guest: &mut Guest| {
        guest.machine = Some(knib::model::machine::Machine {
            persistent: false,
            ..machine(guest)
        });
    };
    let device = |guest: &mut Guest| {
        let mut machine = machine(guest);
        machine.disks[0].source = Some(Source::Other("block device /dev/sdb".to_owned()));
        machine.disks[0].inactive = machine.disks[0].source.clone();
        guest.machine = Some(machine);
    };
    let differ = |guest: &mut Guest| {
        let mut machine = machine(guest);
        machine.disks[0].inactive = Some(Source::File {
            path: "/images/old.qcow2".into(),
            format: Format::Qcow2,
        });
        guest.machine = Some(machine);
    };
    assert_eq!(blocked(&saved), "managed_save");
    assert_eq!(blocked(&transient), "transient_vm");
    assert_eq!(blocked(&device), "unsupported_disk");
    assert_eq!(blocked(&differ), "definitions_differ");
}
