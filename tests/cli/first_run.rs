//! From a first plan to a restored VM, on a real hypervisor: one snapshot a verb, and every JSON output
//! held against its schema.

use crate::cli::masks;
use crate::cli::schemas::assert_all_valid;
use crate::cli::schemas::assert_valid;
use crate::support::Disk;
use crate::support::KIB;
use crate::support::Live;
use crate::support::MIB;
use crate::support::Vm;
use crate::support::knib::Knib;
use crate::support::oracle;

pub(super) const POLICY: &str = r#"
version: 1
timezone: Europe/Paris
storage:
  nas: { path: $DIR/storage, minFree: 0% }
offerings:
  plain: { backupChainSize: 3, allowQuickRestore: true }
policies:
  databases:
    select: { names: ["$RUN-db-*"] }
    offering: plain
    storage: nas
    schedules:
      nightly: { cron: "0 2 * * *" }
"#;

const START: &str = "2026-11-23T09:00:00Z";
const LATER: &str = "2026-11-23T10:00:00Z";

/// A paused VM, the policy for it, and a clock that stands.
fn scene(live: &Live) -> Vm {
    let vm = live
        .vm("db-01")
        .disk(Disk::qcow2("vda", 16 * MIB))
        .start_paused();
    vm.write("vda", 0, 0x11, 64 * KIB);
    live.policy(POLICY);
    live.set_clock(START);
    vm
}

#[test]
fn from_a_first_plan_to_a_restored_vm() {
    let live = Live::new();
    let vm = scene(&live);
    let _masks = masks::bind();
    let ours = format!("{}*", live.run);
    let later = |args: &[&str]| live.knib_with(args).env("KNIB_NOW", LATER).run();

    insta::assert_snapshot!("plan", live.knib(["plan", "--vm", &ours]));
    insta::assert_snapshot!("plan_steps", live.knib(["plan", "-v", "--vm", &ours]));
    insta::assert_snapshot!(
        "apply",
        live.knib(["apply", "--auto-approve", "--vm", &ours])
    );
    insta::assert_snapshot!(
        "apply_again",
        live.knib(["apply", "--auto-approve", "--vm", &ours])
    );
    vm.write("vda", 0, 0x22, 64 * KIB);
    let truth = vm.truth("vda");
    insta::assert_snapshot!("backup_run", later(&["backup", "run", &vm.name]));
    insta::assert_snapshot!("backup_list", later(&["backup", "list"]));
    let latest = format!("{}@latest", vm.name);
    insta::assert_snapshot!("backup_show", later(&["backup", "show", &latest]));
    insta::assert_snapshot!("chain_list", later(&["chain", "list"]));
    insta::assert_snapshot!("offering_list", later(&["offering", "list"]));
    insta::assert_snapshot!("explain_vm", later(&["explain", "vm", &vm.name]));
    insta::assert_snapshot!("explain_policy", later(&["explain", "policy", "databases"]));
    insta::assert_snapshot!("explain_backup", later(&["explain", "backup", &latest]));
    insta::assert_snapshot!("storage_list", later(&["storage", "list"]));
    insta::assert_snapshot!("log", later(&["log"]));
    let copy = format!("{}-copy", live.run);
    let restore = ["restore", "new", &latest, "--name", &copy];
    insta::assert_snapshot!("restore_plan", later(&[&restore[..], &["--plan"]].concat()));
    insta::assert_snapshot!("restore_new", later(&restore));
    insta::assert_snapshot!("restore_twice", later(&restore));
    oracle::assert_same(&live.defined("copy").source("vda"), &truth);

    let restore = ["restore", "vm", &latest];
    insta::assert_snapshot!("restore_vm_running", later(&restore));
    let restore = [&restore[..], &["--destroy"]].concat();
    insta::assert_snapshot!(
        "restore_vm_plan",
        later(&[&restore[..], &["--plan"]].concat())
    );
    insta::assert_snapshot!("restore_vm", later(&restore));
    oracle::assert_same(&vm.source("vda"), &truth);
}

#[test]
fn json_is_what_its_schemas_say() {
    let live = Live::new();
    let vm = scene(&live);
    let later = |args: &[&str]| {
        live.knib_with(args)
            .env("KNIB_NOW", LATER)
            .arg("--format")
            .arg("json")
            .run()
    };

    let plan = live.knib(["plan", "--format", "json"]).exits(0).json();
    assert_valid("plan", &plan);
    assert!(plan["integrity"].is_string());
    let applied = live
        .knib(["apply", "--auto-approve", "--format", "json"])
        .exits(0);
    assert_valid("plan", &applied.json());
    let actions = applied.json()["actions"].clone();
    let results = actions
        .as_array()
        .expect("an array")
        .iter()
        .map(|action| &action["result"]);
    assert!(results.clone().count() > 0 && results.clone().all(|result| result == "done"));
    assert_valid("plan", &later(&["backup", "run", &vm.name]).exits(0).json());

    assert_all_valid("backup", &later(&["backup", "list"]).exits(0).json());
    let one = later(&["backup", "show", &format!("{}@latest", vm.name)])
        .exits(0)
        .json();
    assert_valid("backup", &one);
    let path = one["disks"][0]["path"].as_str().expect("a path");
    assert_eq!(
        oracle::chain(path.as_ref()).len(),
        2,
        "the file and the one it continues"
    );
    assert_eq!(
        one["size"],
        std::fs::metadata(path).expect("it is there").len()
    );
    assert_all_valid("chain", &later(&["chain", "list"]).exits(0).json());
    assert_all_valid("offering", &later(&["offering", "list"]).exits(0).json());
    let explained = |what: &str, name: &str| later(&["explain", what, name]).exits(0).json();
    assert_valid("explain-vm", &explained("vm", &vm.name));
    assert_valid("explain-policy", &explained("policy", "databases"));
    assert_valid(
        "explain-backup",
        &explained("backup", &format!("{}@latest", vm.name)),
    );
    let forecast = later(&["forecast", "--until", "2026-12-01"])
        .exits(0)
        .json();
    assert_valid("forecast", &forecast);
    let nights = forecast["storages"][0]["days"]
        .as_array()
        .expect("an array");
    assert_eq!(nights.len(), 9, "from the 23rd to the 1st");
    assert_all_valid("storage", &later(&["storage", "list"]).exits(0).json());
    assert_all_valid("run", &later(&["log"]).exits(0).json());
    assert_all_valid("vm", &later(&["vm", "list"]).exits(0).json());
    let status = later(&["status"]).exits(0).json();
    assert_all_valid("vm", &status);
    let all = status.as_array().expect("an array");
    let ours = all
        .iter()
        .find(|one| one["name"] == vm.name.as_str())
        .expect("our VM");
    assert_eq!(ours["position"], 2);
    assert_eq!(ours["chain_size"], 3);
    assert_eq!(ours["next_due"], "2026-11-24T01:00:00Z");
    assert_eq!(ours["last_good"]["id"], one["id"]);
    assert!(ours["delta_bytes"].as_u64() > Some(0));

    live.policy(&POLICY.replace("cron:", "corn:"));
    assert_all_valid("finding", &later(&["lint"]).exits(1).json());
}

#[test]
fn a_world_that_was_saved_gives_the_same_plan() {
    let live = Live::new();
    scene(&live);
    let plan = |args: &[&str]| {
        let run = live
            .knib_with(["plan", "--format", "json"])
            .env("KNIB_IDS", "the same");
        let run = args.iter().fold(run, Knib::arg);
        run.run().exits(0).json()
    };
    let real = plan(&["--world-out", "world.json"]);
    // Nobody answers there: what is replayed needs no host.
    let nobody = "qemu+unix:///system?socket=/nobody";
    let mut replayed = plan(&["--world", "world.json", "--connect", nobody]);
    assert_eq!(replayed["clock"]["given"], true);
    for key in ["host", "clock", "integrity"] {
        replayed[key] = real[key].clone();
    }
    assert_eq!(replayed, real);
}

#[test]
fn backups_go_by_the_names_people_give() {
    let live = Live::new();
    let vm = scene(&live);
    live.knib(["apply", "--auto-approve"]).exits(0);
    let later = |args: &[&str]| live.knib_with(args).env("KNIB_NOW", LATER).run();
    later(&["backup", "run", &vm.name]).exits(0);
    let list = later(&["backup", "list", "--format", "json"])
        .exits(0)
        .json();
    let [first, second] = [0, 1].map(|n| list[n]["id"].as_str().expect("an id").to_owned());
    let meant = |name: &str| {
        let shown = later(&["backup", "show", name, "--format", "json"]).exits(0);
        shown.json()["id"].as_str().expect("an id").to_owned()
    };
    assert_eq!(meant(&first), first);
    assert_eq!(meant(&first[..20]), first, "a unique beginning");
    assert_eq!(meant(&format!("{}@latest", vm.name)), second);
    assert_eq!(meant(&format!("{}@latest", vm.uuid())), second);
    // Paris is an hour ahead: that is between the two.
    assert_eq!(meant(&format!("{}@2026-11-23T10:30", vm.name)), first);
    assert_eq!(meant(&format!("{}@2026-11-23T10:30:00Z", vm.name)), second);
    let refused = |name: &str, why: &str| {
        let output = later(&["backup", "show", name]).exits(1);
        assert!(output.stderr.contains(why), "{output}");
    };
    refused(
        &format!("{}@2026-11-22", vm.name),
        "no good backup of 2026-11-21T23:00:00Z or before",
    );
    refused("2026", "is the beginning of 2 backups");
    refused(&first.replace('0', "1"), "there is no backup");
    refused("nobody@latest", "there is no VM");
}
