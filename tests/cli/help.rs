//! The reference: what `--help` says of every command. A change of it is a change of what knib promises.

use std::fmt::Write;

use crate::support::Sandbox;

const COMMANDS: [&[&str]; 45] = [
    &[],
    &["init"],
    &["lint"],
    &["schema"],
    &["plan"],
    &["apply"],
    &["show"],
    &["forecast"],
    &["explain", "vm"],
    &["explain", "backup"],
    &["explain", "policy"],
    &["status"],
    &["log"],
    &["offering", "list"],
    &["storage", "list"],
    &["vm", "list"],
    &["vm", "tag"],
    &["vm", "adopt"],
    &["backup", "run"],
    &["backup", "list"],
    &["backup", "show"],
    &["backup", "delete"],
    &["backup", "verify"],
    &["backup", "pin"],
    &["backup", "unpin"],
    &["backup", "validate"],
    &["chain", "list"],
    &["chain", "finish"],
    &["job", "list"],
    &["job", "retry"],
    &["job", "cancel"],
    &["snapshot", "create"],
    &["snapshot", "list"],
    &["snapshot", "revert"],
    &["snapshot", "delete"],
    &["restore", "vm"],
    &["restore", "disk"],
    &["restore", "new"],
    &["restore", "resume"],
    &["files", "list"],
    &["files", "get"],
    &["state", "check"],
    &["state", "rebuild"],
    &["doctor"],
    &["completions"],
];

#[test]
fn every_command_has_help() {
    let sandbox = Sandbox::new();
    let mut reference = String::new();
    for command in COMMANDS {
        let args = command.iter().copied().chain(["-h"]);
        let said = sandbox.knib(args).exits(0).stdout;
        // The global options are the same everywhere.
        let own = said.split("Global options:").next().unwrap_or_default();
        let shown = if command.is_empty() { &said } else { own };
        let _ = write!(
            reference,
            "$ knib {} -h\n{}\n\n",
            command.join(" "),
            shown.trim_end()
        );
    }
    insta::assert_snapshot!(reference);
}

#[test]
fn the_reference_has_every_command() {
    let sandbox = Sandbox::new();
    let page = sandbox.knib(["man"]).exits(0).stdout;
    let sections = page
        .lines()
        .filter_map(|line| line.strip_prefix(".SS \"knib "));
    let sections: Vec<_> = sections.map(|name| name.trim_end_matches('"')).collect();
    let known: Vec<_> = COMMANDS.iter().map(|command| command.join(" ")).collect();
    let missing: Vec<_> = sections
        .iter()
        .filter(|name| **name != "man" && !known.contains(&(**name).to_owned()))
        .collect();
    assert!(missing.is_empty(), "no help is kept of {missing:?}");
    assert!(sections.len() >= known.len(), "the manual has {sections:?}");
}

#[test]
fn completions_are_for_every_shell() {
    let sandbox = Sandbox::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = sandbox.knib(["completions", shell]).exits(0).stdout;
        assert!(script.contains("detailed-exitcode"), "{shell}");
    }
}
