//! Every exit code, reached.

use std::path::Path;

use knib::action;
use knib::cli::saved;
use knib::model::id::HostId;
use knib::model::op::Op;
use knib::model::plan::Plan;
use knib::state::State;

use crate::cli::first_run::POLICY;
use crate::support::Disk;
use crate::support::Live;
use crate::support::MIB;
use crate::support::Sandbox;
use crate::support::Vm;
use crate::support::deadline::wait_until;
use crate::support::oracle;
use crate::support::tool;
use crate::support::vm::Xml;

/// Where no libvirt answers.
const NOBODY: &str = "qemu+unix:///system?socket=/nobody";

fn protected(live: &Live) -> Vm {
    live.policy(POLICY);
    live.vm("db-01")
        .disk(Disk::qcow2("vda", 16 * MIB))
        .start_paused()
}

fn saved_plan(live: &Live) -> Plan {
    live.knib(["plan", "-o", "plan.json"]).exits(0);
    let text = std::fs::read(live.path("plan.json")).expect("it was saved");
    serde_json::from_slice(&text).expect("a plan")
}

#[test]
fn one_is_an_error_with_nothing_done() {
    let sandbox = Sandbox::new();
    sandbox.policy(&POLICY.replace("offering: plain", "offering: plane"));
    // The policy's error comes before anything is asked of a host.
    let output = sandbox.knib(["plan", "--connect", NOBODY]).exits(1);
    assert!(
        output.stderr.contains("Nothing was read from the host."),
        "{output}"
    );
    insta::assert_snapshot!("a_policy_with_an_error", output);
    sandbox.policy(POLICY);
    insta::assert_snapshot!(
        "no_libvirt",
        sandbox.knib(["plan", "--connect", NOBODY]).exits(1)
    );
    insta::assert_snapshot!(
        "no_such_file",
        sandbox.knib(["plan", "-f", "nowhere.yaml"]).exits(1)
    );
    insta::assert_snapshot!(
        "no_such_backup",
        sandbox.knib(["backup", "show", "20261123"]).exits(1)
    );
    assert!(!sandbox.path("state.db").exists(), "nothing was written");
}

#[test]
fn unknown_names_are_answered_with_the_nearest() {
    let live = Live::new();
    let vm = protected(&live);
    let wrong = vm.name.replace("db-01", "db-10");
    let output = live.knib(["backup", "run", &wrong]).exits(1);
    assert!(
        output.stderr.contains(&format!("did you mean {}", vm.name)),
        "{output}"
    );
    let output = live.knib(["offering", "list", "plian"]).exits(1);
    assert!(
        output.stderr.contains("no offering is known here"),
        "{output}"
    );
    live.knib(["apply", "--auto-approve"]).exits(0);
    let output = live.knib(["offering", "list", "plian"]).exits(1);
    assert!(output.stderr.contains("did you mean plain?"), "{output}");
}

#[test]
fn two_is_changes_pending_and_only_when_asked() {
    let live = Live::new();
    protected(&live);
    live.knib(["plan"]).exits(0);
    live.knib(["plan", "--detailed-exitcode"]).exits(2);
    live.knib(["apply", "--auto-approve"]).exits(0);
    live.knib(["plan", "--detailed-exitcode"]).exits(0);
}

#[test]
fn three_wants_a_human() {
    let live = Live::new();
    let vm = protected(&live);
    live.policy(&POLICY.replace("$DIR/storage", "$DIR/not-mounted"));
    live.knib(["plan"]).exits(0);
    live.knib(["plan", "--detailed-exitcode"]).exits(3);
    let output = live.knib(["apply", "--auto-approve"]).exits(3);
    assert!(
        output.stdout.contains("$DIR/not-mounted") || output.stdout.contains("not-mounted"),
        "{output}"
    );
    let output = live.knib(["status", "--max-age", "1d"]).exits(3);
    assert!(
        output
            .stderr
            .contains(&format!("no good backup younger than 1d: {}", vm.name)),
        "{output}"
    );
    live.policy(POLICY);
    live.knib(["apply", "--auto-approve"]).exits(0);
    live.knib(["status", "--max-age", "1d"]).exits(0);
}

#[test]
fn a_policy_that_lost_its_policies_is_refused() {
    let live = Live::new();
    let vm = protected(&live);
    live.knib(["apply", "--auto-approve"]).exits(0);
    let (kept, _) = POLICY.split_once("policies:").expect("a policy");
    live.policy(&format!("{kept}policies: {{}}\n"));
    let output = live.knib(["apply", "--auto-approve"]).exits(1);
    assert!(output.stderr.contains("--allow-empty"), "{output}");
    let plan = live.knib(["plan"]).exits(0);
    assert!(plan.stdout.contains("every VM would leave"), "{plan}");
    assert!(
        !oracle::deltas(&live.primary()).is_empty(),
        "nothing was merged"
    );
    live.knib(["apply", "--auto-approve", "--allow-empty"])
        .exits(0);
    let output = live.knib(["vm", "list", "--unprotected"]).exits(0);
    assert!(
        output.stdout.contains(&vm.name.replace(&live.run, "")),
        "{output}"
    );
    assert_eq!(
        oracle::deltas(&live.primary()),
        [] as [std::path::PathBuf; 0]
    );
    assert!(
        !vm.xml(Xml::Inactive).contains("knib:vm"),
        "the note is gone"
    );
    assert!(!vm.xml(Xml::Live).contains("knib:vm"), "the note is gone");
}

#[test]
fn four_is_a_saved_plan_refused() {
    let live = Live::new();
    protected(&live);
    let plan = saved_plan(&live);
    let write = |name: &str, text: &str| std::fs::write(live.path(name), text).expect("writable");
    let refused = |name: &str, why: &str| {
        let output = live.knib(["apply", name, "--auto-approve"]).exits(4);
        assert!(output.stderr.contains(why), "{output}");
        assert!(!live.path("state.db").exists(), "nothing was written");
    };
    write(
        "altered.json",
        &saved::text(&plan).replace(
            "\"estimate\": {\n        \"bytes\": ",
            "\"estimate\": {\n        \"bytes\": 1",
        ),
    );
    refused("altered.json", "was altered");
    let mut other = plan.clone();
    other.host.uuid = HostId::new("00000000-0000-4000-8000-000000000000");
    write("other.json", &saved::text(&other));
    refused("other.json", "this host is");
    let mut old = plan.clone();
    old.clock.now -= jiff::SignedDuration::from_hours(24 * 8);
    write("old.json", &saved::text(&old));
    refused("old.json", "older than seven days");
    write(
        "newer.json",
        &saved::text(&plan).replace("\"format_version\": \"1.0\"", "\"format_version\": \"2.0\""),
    );
    refused("newer.json", "plan format 2.0");
    live.knib(["plan", "--at", "2027-01-01", "-o", "then.json"])
        .exits(0);
    refused("then.json", "for looking only");

    let shown = live.knib(["show", "altered.json"]).exits(0);
    assert!(shown.stderr.contains("altered"), "{shown}");
    live.knib(["apply", "plan.json", "--auto-approve"]).exits(0);
    let output = live.knib(["apply", "plan.json", "--auto-approve"]).exits(4);
    assert!(output.stderr.contains("was applied before"), "{output}");
}

#[test]
fn five_is_a_run_in_which_something_failed() {
    let live = Live::new();
    let vm = protected(&live);
    vm.write("vda", 0, 0x33, 8 * MIB);
    live.mount_small("small", 12 * MIB);
    live.policy(&POLICY.replace("$DIR/storage", "$DIR/small"));
    live.knib(["apply", "--auto-approve", "--only", "config"])
        .exits(0);
    saved_plan(&live);
    // Full between the plan and its application: what was foreseen is not what happens.
    let filler = live.path("small/filler");
    tool::run("fallocate", [Path::new("-l"), Path::new("10M"), &filler]).must();
    let output = live.knib(["apply", "plan.json", "--auto-approve"]).exits(5);
    // Whichever of its files was the first that found no room.
    let said = output
        .stdout
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    let words = ["failed 1 backup", "No space left on device"];
    assert!(words.iter().all(|word| said.contains(word)), "{output}");
    let log = live.knib(["log", "--failed"]).exits(0);
    assert!(
        log.stdout.contains("undone") && log.stdout.contains("backup"),
        "{log}"
    );
    let failed = live
        .knib(["backup", "list", "--all", "--format", "json"])
        .exits(0)
        .json();
    assert_eq!(failed[0]["status"], "failed");
}

#[test]
fn six_is_held_by_another_run() {
    let live = Live::new();
    let vm = protected(&live);
    live.knib(["apply", "--auto-approve"]).exits(0);
    // This very process is the other run: it has begun a backup of the VM and goes on for ever.
    let state = camino::Utf8PathBuf::from_path_buf(live.path("state.db")).expect("UTF-8");
    let state = State::open(&state).expect("the state is there");
    let plan = live
        .knib(["plan", "--format", "json", "--at", "2026-12-24"])
        .exits(0)
        .json();
    let plan: Plan = serde_json::from_value(plan).expect("a plan");
    let backup = plan
        .actions
        .iter()
        .find(|action| matches!(action.op, Op::Backup(_)))
        .expect("one is due");
    let now = jiff::Timestamp::now();
    let run = state.start_run("apply", now).expect("a run begins");
    let (_, record) = state
        .record(&backup.vm.as_ref().expect("its VM").uuid)
        .expect("readable")
        .expect("known");
    let leases = action::leases(&backup.op, &record);
    let program = backup.program.clone().expect("it can be done");
    state
        .begin(&run.id, &backup.id, &backup.op, &program, &leases, now)
        .expect("nobody else has it");

    let output = live
        .knib(["backup", "run", &vm.name, "--lock-timeout", "1s"])
        .exits(6);
    let pid = format!("(pid {})", std::process::id());
    assert!(
        output.stderr.contains("waiting for backup by knib apply"),
        "{output}"
    );
    assert!(
        output.stderr.contains(&pid) && output.stderr.contains(&vm.name),
        "{output}"
    );
    let snapshot = ["snapshot", "create", &vm.name, "--lock-timeout", "1s"];
    let output = live.knib(snapshot).exits(6);
    assert!(
        output.stderr.contains(&pid) && output.stderr.contains(&vm.name),
        "{output}"
    );
    // What comes after others passes it over and says so.
    let output = live
        .knib_with(["plan", "--at", "2026-12-24"])
        .run()
        .exits(0);
    assert!(
        output.stdout.contains("busy") || output.stdout.contains(&pid),
        "{output}"
    );
    let output = live.knib(["backup", "list"]).exits(0);
    assert!(output.stdout.contains("backing up"), "{output}");
}

#[test]
fn sixty_four_is_usage() {
    let sandbox = Sandbox::new();
    for wrong in [
        &["frobnicate"][..],
        &[],
        &["plan", "--no-such-flag"],
        &["plan", "--world", "a", "--world-out", "b"],
        &["plan", "--format", "github"],
        &["status", "--max-age", "1 month"],
        &["restore", "new", "x"],
        &["lint", "--deny", "KL999"],
        &["plan", "--connect", "qemu+ssh://other/system"],
    ] {
        let output = sandbox.knib(wrong).exits(64);
        assert!(output.stdout.is_empty(), "{output}");
    }
    // Said before anything is read: there is no policy here at all.
    let output = sandbox.knib(["apply"]).exits(64);
    assert!(output.stderr.contains("--auto-approve"), "{output}");
    sandbox.knib(["--help"]).exits(0);
    sandbox.knib(["--version"]).exits(0);
}

#[test]
fn a_signal_stops_after_the_step_and_the_next_apply_carries_on() {
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let live = Live::new();
        live.policy(POLICY);
        let disk = Disk::raw("vda", 256 * MIB);
        let vm = live.vm("db-01").disk(disk).define();
        // Much to copy, written the short way: nobody compares it.
        let bytes = vec![0x44; usize::try_from(256 * MIB).expect("it fits")];
        std::fs::write(&vm.disks["vda"], bytes).expect("the directory is the test's own");
        let run = live.knib_with(["apply", "--auto-approve"]).start();
        wait_until("the backup has begun", 60, || {
            live.knib(["backup", "list"]).stdout.contains("backing up")
        });
        tool::run("kill", [signal, &run.pid().to_string()]).must();
        let output = run.finish().exits(code);
        assert!(
            output.stdout.contains("the next knib apply carries on"),
            "{output}"
        );
        let plan = live.knib(["plan"]).exits(0);
        assert!(plan.stdout.contains("it was interrupted at step"), "{plan}");
        live.knib(["apply", "--auto-approve"]).exits(0);
        let backups = live
            .knib(["backup", "list", "--format", "json"])
            .exits(0)
            .json();
        assert_eq!(backups[0]["status"], "backed_up");
        assert_eq!(backups.as_array().map(Vec::len), Some(1));
    }
}

#[test]
fn a_crash_is_carried_on() {
    let live = Live::new();
    let vm = protected(&live);
    live.knib(["apply", "--auto-approve"]).exits(0);
    let died = live
        .knib_with(["backup", "run", &vm.name])
        .env("KNIB_CRASH_AT", "make dir")
        .run();
    assert!(died.to_string().contains("signal: 9"), "{died}");
    let plan = live.knib(["plan", "--detailed-exitcode"]).exits(2);
    assert!(plan.stdout.contains("it was interrupted at step"), "{plan}");
    live.knib(["apply", "--auto-approve"]).exits(0);
    let backups = live.knib(["backup", "list"]).exits(0);
    assert_eq!(backups.stdout.matches("good").count(), 2, "{backups}");
    live.knib(["plan", "--detailed-exitcode"]).exits(0);
}
