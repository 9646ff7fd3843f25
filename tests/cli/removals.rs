//! Backups that go: how it is drawn, what is said, and the JSON of it.

use std::sync::Arc;

use knib::cli::render::Look;
use knib::cli::render::report;
use knib::model::id::BackupId;
use knib::model::plan::Outcome;
use knib::model::plan::Plan;
use knib::model::world::World;
use knib::planner::removal;
use knib::planner::removal::Removal;
use serde_json::Value;

use crate::cli::masks;
use crate::cli::plans;
use crate::cli::schemas::assert_all_valid;
use crate::cli::schemas::assert_valid;
use crate::planner::make;
use crate::support::Disk;
use crate::support::KIB;
use crate::support::Live;
use crate::support::MIB;

/// A VM with a chain of three.
fn three() -> (World, Vec<BackupId>) {
    let mut world = make::world("2026-11-24T09:00:00Z");
    let mut guest = make::vm("db-01", &["vda"]);
    for position in 1..=3 {
        let created = format!("2026-11-2{position}T02:00:00Z");
        make::backed_up(&mut guest, &created, position);
    }
    let ids = guest.record.backups.keys().cloned().collect();
    make::add(&mut world, guest);
    (world, ids)
}

fn delete(world: &World, ids: &[&BackupId], force: bool) -> Plan {
    let vm = world.guests.keys().next().expect("the VM");
    let backups = ids.iter().map(|id| (vm.clone(), (*id).clone())).collect();
    removal::delete(&Removal { backups, force }, world, &make::options())
}

#[test]
fn what_goes_and_what_stays_for_others() {
    let (world, ids) = three();
    let _masks = masks::bind();
    insta::assert_snapshot!("needed", plans::drawn(&delete(&world, &[&ids[0]], false)));
    let all = delete(&world, &[&ids[2], &ids[0], &ids[1]], true);
    insta::assert_snapshot!("whole_chain", plans::drawn(&all));
    let mut refused = delete(&world, &[&ids[2], &ids[0], &ids[1]], false);
    insta::assert_snapshot!("last_good", plans::drawn(&refused));
    for action in &mut refused.actions {
        action.result = Some(Outcome::Blocked);
    }
    let told = report::human(
        &refused,
        &std::collections::BTreeMap::new(),
        false,
        Look::PLAIN,
    );
    assert!(told.contains("blocked"), "{told}");
}

#[test]
fn a_plan_removes_what_nothing_needs_before_it_backs_up() {
    let policy = make::one_policy("schedules: { nightly: { cron: \"0 2 * * *\" } }");
    let (world, ids) = three();
    let mut world = make::applied(&policy, &world, "2026-11-26T03:00:00Z");
    let guest = world.guests.values_mut().next().expect("the VM");
    // An isolated one, and the first of a chain that goes on.
    let let_go = Some(make::at("2026-11-25T09:00:00Z"));
    let mut alone = guest.record.backups[&ids[0]].as_ref().clone();
    alone.id = BackupId::new("20261120-020000-00000000");
    (alone.link, alone.parent) = (None, None);
    alone.marks.removed = let_go;
    guest
        .record
        .backups
        .insert(alone.id.clone(), Arc::new(alone));
    let first = guest.record.backups.get_mut(&ids[0]).expect("it is there");
    Arc::make_mut(first).marks.removed = let_go;
    let plan = make::plan(&policy, &world);
    insta::assert_snapshot!(make::lines(&plan), @r"
    delete delete.db-01/20261120-020000-00000000
    backup backup.db-01/nightly@2026-11-26T02:00Z chain 1 at 4, vda incremental
    ");
}

#[test]
fn deleting_pinning_and_finishing_say_what_became_of_it() {
    let live = Live::new();
    let vm = live
        .vm("db-01")
        .disk(Disk::qcow2("vda", 4 * MIB))
        .start_paused();
    live.policy(super::first_run::POLICY);
    vm.write("vda", 0, 0x11, 64 * KIB);
    live.knib(["apply", "--auto-approve"]).exits(0);
    live.knib(["backup", "run", &vm.name]).exits(0);
    let list = |all: &[&str]| {
        let args = ["backup", "list", "--format", "json"];
        live.knib(args.iter().chain(all)).exits(0).json()
    };
    let id = |list: &Value, n: usize| list[n]["id"].as_str().expect("an id").to_owned();
    let two = list(&[]);
    let [first, second] = [id(&two, 0), id(&two, 1)];
    let _masks = masks::bind();
    let latest = format!("{}@latest", vm.name);
    insta::assert_snapshot!("pin", live.knib(["backup", "pin", &latest]));
    insta::assert_snapshot!("delete_pinned", live.knib(["backup", "delete", &second]));
    insta::assert_snapshot!("unpin", live.knib(["backup", "unpin", &latest]));
    insta::assert_snapshot!("delete_needed", live.knib(["backup", "delete", &first]));
    insta::assert_snapshot!("delete_again", live.knib(["backup", "delete", &first]));
    assert_eq!(list(&[]).as_array().map(Vec::len), Some(1));
    let all = list(&["--all"]);
    assert_all_valid("backup", &all);
    assert_eq!(all[0]["status"], "removed");
    insta::assert_snapshot!("finish", live.knib(["chain", "finish", &vm.name]));
    insta::assert_snapshot!("finish_again", live.knib(["chain", "finish", &vm.name]));
    live.knib(["backup", "run", &vm.name]).exits(0);
    let args = ["backup", "delete", &second, "--format", "json"];
    let plan = live.knib(args).exits(0).json();
    assert_valid("plan", &plan);
    let verbs = plan["actions"].as_array().expect("an array").iter();
    let verbs: Vec<_> = verbs
        .map(|one| (one["verb"].clone(), one["result"].clone()))
        .collect();
    let deleted = (Value::from("delete"), Value::from("done"));
    assert_eq!(verbs, [deleted.clone(), deleted]);
    insta::assert_snapshot!(
        "delete_last",
        live.knib(["backup", "delete", &latest, "--force"])
    );
    assert_eq!(list(&["--all"]), Value::Array(Vec::new()));
    insta::assert_snapshot!("log", live.knib(["log"]));
}
