//! What only looks writes nothing, and needs nothing that writes.

use crate::cli::first_run::POLICY;
use crate::support::Disk;
use crate::support::Live;
use crate::support::MIB;
use crate::support::Sandbox;
use crate::support::oracle;

const LOOKS: [&[&str]; 10] = [
    &["plan"],
    &["lint"],
    &["status"],
    &["log"],
    &["backup", "list"],
    &["chain", "list"],
    &["offering", "list"],
    &["storage", "list"],
    &["vm", "list"],
    &["plan", "--format", "json"],
];

#[test]
fn looking_writes_nothing() {
    let live = Live::new();
    live.policy(POLICY);
    let vm = live
        .vm("db-01")
        .disk(Disk::qcow2("vda", 16 * MIB))
        .start_paused();
    let all = || oracle::listing(live.root());
    let before = all();
    for look in LOOKS {
        live.knib(look).exits(0);
    }
    assert_eq!(all(), before, "without a state");
    live.knib(["apply", "--auto-approve"]).exits(0);
    let before = all();
    for look in LOOKS {
        live.knib(look).exits(0);
    }
    live.knib(["backup", "show", &format!("{}@latest", vm.name)])
        .exits(0);
    assert_eq!(all(), before, "with a state");
    for dir in ["storage", "primary"] {
        live.mount_read_only(dir);
    }
    for look in LOOKS {
        live.knib(look).exits(0);
    }
    for dir in ["primary", "storage"] {
        live.unmount(dir);
    }
}

#[test]
fn a_state_that_is_gone_is_no_first_run() {
    let live = Live::new();
    live.policy(POLICY);
    live.vm("db-01")
        .disk(Disk::qcow2("vda", 16 * MIB))
        .start_paused();
    live.knib(["apply", "--auto-approve"]).exits(0);
    std::fs::remove_file(live.path("state.db")).expect("it was made");
    for command in [&["plan"][..], &["apply", "--auto-approve"], &["status"]] {
        let output = live.knib(command).exits(1);
        assert!(output.stderr.contains("knib state rebuild"), "{output}");
    }
    assert!(!live.path("state.db").exists(), "no new state was made");
}

#[test]
fn without_files_the_policy_last_applied_is_in_force() {
    let live = Live::new();
    live.policy(POLICY);
    let vm = live
        .vm("db-01")
        .disk(Disk::qcow2("vda", 16 * MIB))
        .start_paused();
    live.knib(["apply", "--auto-approve"]).exits(0);
    std::fs::remove_file(live.path("knib.yaml")).expect("it was made");
    let output = live.knib(["backup", "run", &vm.name]).exits(0);
    assert!(
        output.stderr.contains("going by the policy last applied"),
        "{output}"
    );
    assert!(
        output.stdout.contains("incremental, 2 in chain 1"),
        "{output}"
    );
    // A plan is made from files or not at all.
    let output = live.knib(["plan"]).exits(1);
    assert!(output.stderr.contains("there is no policy"), "{output}");
}

#[test]
fn init_writes_a_policy_once() {
    let sandbox = Sandbox::new();
    insta::assert_snapshot!("init", sandbox.knib(["init", "new"]).exits(0));
    insta::assert_snapshot!("init_again", sandbox.knib(["init", "new"]).exits(1));
    let policy = sandbox.path("new/knib.yaml");
    let lint = sandbox
        .knib_with(["lint", "-f"])
        .arg(&policy)
        .run()
        .exits(0);
    assert!(lint.stdout.contains("No problems"), "{lint}");
    let schema = sandbox.knib(["schema"]).exits(0).stdout;
    let written =
        std::fs::read_to_string(sandbox.path("new/knib.schema.json")).expect("it was written");
    assert_eq!(schema, written);
}

#[test]
fn a_directory_and_a_pipe_are_policies() {
    let sandbox = Sandbox::new();
    let (storages, rest) = POLICY.split_once("offerings:").expect("it has offerings");
    sandbox.make_dir("policy");
    let write = |name: &str, text: &str| {
        std::fs::write(sandbox.path(name), sandbox.fill_in(text)).expect("writable");
    };
    write("policy/10-storages.yaml", storages);
    write(
        "policy/20-rest.yaml",
        &format!("version: 1\nofferings:{rest}"),
    );
    let lint = sandbox.knib(["lint", "-f", "policy"]).exits(0);
    assert!(lint.stdout.contains("in 2 files"), "{lint}");
    write(
        "policy/30-again.yaml",
        &format!("version: 1\nofferings:{rest}"),
    );
    insta::assert_snapshot!(
        "defined_twice",
        sandbox.knib(["lint", "-f", "policy"]).exits(1)
    );
    insta::assert_snapshot!(
        "lint_github",
        sandbox
            .knib(["lint", "-f", "policy", "--format", "github"])
            .exits(1)
    );
}
