//! From a first plan to a restored VM, on a real hypervisor, one snapshot a verb.

use crate::cli::masks;
use crate::support::Disk;
use crate::support::KIB;
use crate::support::Live;
use crate::support::MIB;

const POLICY: &str = r#"
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

#[test]
fn from_a_first_plan_to_a_restored_vm() {
    let live = Live::new();
    let vm = live
        .vm("db-01")
        .disk(Disk::qcow2("vda", 16 * MIB))
        .start_paused();
    vm.write("vda", 0, 0x11, 64 * KIB);
    live.policy(POLICY);
    live.set_clock("2026-11-23T09:00:00Z");
    let _masks = masks::bind();
    let vm_glob = format!("{}*", live.run);

    insta::assert_snapshot!("plan", live.knib(["plan", "--vm", &vm_glob]));
    insta::assert_snapshot!("plan_steps", live.knib(["plan", "-v", "--vm", &vm_glob]));
    insta::assert_snapshot!(
        "apply",
        live.knib(["apply", "--auto-approve", "--vm", &vm_glob])
    );
    insta::assert_snapshot!("plan_again", live.knib(["plan", "--vm", &vm_glob]));
    vm.write("vda", 0, 0x22, 64 * KIB);
    live.set_clock("2026-11-23T10:00:00Z");
    insta::assert_snapshot!("backup_run", live.knib(["backup", "run", &vm.name]));
    insta::assert_snapshot!("backup_list", live.knib(["backup", "list"]));
    let latest = format!("{}@latest", vm.name);
    insta::assert_snapshot!("backup_show", live.knib(["backup", "show", &latest]));
    insta::assert_snapshot!("chain_list", live.knib(["chain", "list"]));
    insta::assert_snapshot!("offering_list", live.knib(["offering", "list"]));
    insta::assert_snapshot!("storage_list", live.knib(["storage", "list"]));
    insta::assert_snapshot!("log", live.knib(["log"]));
    let copy = format!("{}-copy", live.run);
    insta::assert_snapshot!(
        "restore_plan",
        live.knib(["restore", "new", &latest, "--name", &copy, "--plan"])
    );
    insta::assert_snapshot!(
        "restore_new",
        live.knib(["restore", "new", &latest, "--name", &copy])
    );
    insta::assert_snapshot!(
        "restore_twice",
        live.knib(["restore", "new", &latest, "--name", &copy])
    );
}
