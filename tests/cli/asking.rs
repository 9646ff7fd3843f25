//! The one question, on a terminal that `script` makes.

use std::io::Write;
use std::process::Command;
use std::process::Stdio;

use crate::cli::first_run::POLICY;
use crate::support::Disk;
use crate::support::Live;
use crate::support::MIB;
use crate::support::tool;

/// What the terminal showed, and the exit code.
fn apply_answering(live: &Live, answer: &str) -> (String, Option<i32>) {
    let knib = env!("CARGO_BIN_EXE_knib");
    let command = live.fill_in(&format!(
        "{knib} --color never --connect {} --state $DIR/state.db -f $DIR/knib.yaml apply",
        tool::URI
    ));
    let mut script = Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .env("TERM", "dumb")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script is part of util-linux");
    let mut input = script.stdin.take().expect("it was piped");
    input
        .write_all(answer.as_bytes())
        .expect("script reads its input");
    // The input stays open until the end: its end would be typed as one.
    let output = script.wait_with_output().expect("it ends");
    drop(input);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    (shown, output.status.code())
}

#[test]
fn only_yes_is_yes() {
    let live = Live::new();
    live.policy(POLICY);
    live.vm("db-01")
        .disk(Disk::qcow2("vda", 16 * MIB))
        .start_paused();
    for answer in ["y\n", "no\n", "\n"] {
        let (shown, code) = apply_answering(&live, answer);
        assert!(shown.contains("Only 'yes' is accepted"), "{shown}");
        assert!(shown.contains("nothing was changed"), "{shown}");
        assert_eq!(code, Some(1), "{shown}");
        assert!(!live.path("state.db").exists(), "nothing was written");
    }
    let (shown, code) = apply_answering(&live, "yes\n");
    assert!(shown.contains("Plan: 1 to back up"), "{shown}");
    assert!(shown.contains("Done."), "{shown}");
    assert_eq!(code, Some(0), "{shown}");
}
