//! What is shipped beside the program: units and pipelines, the commands in them run as they are written.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use crate::cli::first_run::POLICY;
use crate::support::Disk;
use crate::support::Live;
use crate::support::MIB;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples")
        .join(name)
}

fn script(path: &Path, text: &str) {
    fs::write(path, text).expect("writable");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("ours");
}

#[test]
fn units_are_sound() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut units = Vec::new();
    for name in ["knib-apply.service", "knib-apply.timer"] {
        let text = fs::read_to_string(example("systemd").join(name)).expect("it is there");
        let text = text.replace("/usr/local/bin/knib", env!("CARGO_BIN_EXE_knib"));
        units.push(dir.path().join(name));
        fs::write(dir.path().join(name), text).expect("writable");
    }
    let verify = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .args(&units)
        .output();
    let verify = verify.expect("systemd-analyze is there");
    let said = String::from_utf8_lossy(&verify.stderr).into_owned();
    assert!(verify.status.success(), "{said}");
    assert!(!said.contains("knib-apply"), "{said}");
}

/// `on-host.sh` with a host that is this one.
#[test]
fn a_pipeline_plans_and_applies_on_the_host() {
    let live = Live::new();
    live.vm("db-01")
        .disk(Disk::qcow2("vda", 16 * MIB))
        .start_paused();
    live.policy(POLICY);
    let (bin, policies) = (live.path("bin"), live.path("policies"));
    fs::create_dir_all(&bin).expect("writable");
    fs::create_dir_all(&policies).expect("writable");
    fs::copy(live.path("knib.yaml"), policies.join("knib.yaml")).expect("writable");
    script(&bin.join("sudo"), "#!/bin/sh\nexec \"$@\"\n");
    script(&bin.join("there"), "#!/bin/sh\nshift\nexec sh -c \"$*\"\n");
    let state = live.path("state.db");
    let knib = format!(
        "#!/bin/sh\nexec {} --state {} \"$@\"\n",
        env!("CARGO_BIN_EXE_knib"),
        state.display()
    );
    script(&bin.join("knib"), &knib);
    let path = format!(
        "{}:{}",
        bin.display(),
        std::env::var("PATH").expect("there is one")
    );
    let run = |verb: &str| {
        let ran = Command::new(example("ci").join("on-host.sh"))
            .arg(verb)
            .current_dir(live.path("."))
            .env("PATH", &path)
            .env("KNIB_SSH", "there")
            .env("KNIB_HOST", "backup@kvm1")
            .output();
        let ran = ran.expect("a shell");
        assert!(
            ran.status.success(),
            "{verb}: {}",
            String::from_utf8_lossy(&ran.stderr)
        );
    };
    run("plan");
    let plan = fs::read_to_string(live.path("plan.json")).expect("it was written");
    let plan: serde_json::Value = serde_json::from_str(&plan).expect("JSON");
    assert_eq!(plan["summary"]["backup"], 1);
    assert_eq!(plan["summary"]["destructive"], 0);
    let page = fs::read_to_string(live.path("plan.md")).expect("it was written");
    assert!(page.starts_with("### knib plan: 1 to back up"), "{page}");
    run("apply");
    live.knib(["plan", "--detailed-exitcode"]).exits(0);
    // The workflows run that script, the lint as it is written, and the check.
    for name in ["github.yml", "gitlab.yml"] {
        let text = fs::read_to_string(example("ci").join(name)).expect("it is there");
        for command in [
            "examples/ci/on-host.sh plan",
            "examples/ci/on-host.sh apply",
            "examples/ci/policy.rego",
        ] {
            assert!(text.contains(command), "{name}: {command}");
        }
        assert!(text.contains("--deny KL002"), "{name}");
    }
    let lint = [
        "lint", "-f", "policies", "--format", "github", "--deny", "KL002",
    ];
    let output = live.knib(lint).exits(1);
    assert!(
        output.stdout.contains("KL002"),
        "everything would be kept: {output}"
    );
}
