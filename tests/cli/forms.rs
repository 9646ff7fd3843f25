//! The forms of a result, and where colour is: on plans from files, for which no host is asked.

use knib::cli::saved;

use crate::cli::plans;
use crate::cli::schemas::assert_valid;
use crate::support::Sandbox;

/// A sandbox with a saved plan, `plan.json`.
fn with_plan() -> Sandbox {
    let sandbox = Sandbox::new();
    let text = saved::text(&plans::busy_plan());
    std::fs::write(sandbox.path("plan.json"), text).expect("the directory is the test's own");
    sandbox
}

#[test]
fn a_saved_plan_is_shown_as_it_was_drawn() {
    let sandbox = with_plan();
    let plan = plans::busy_plan();
    let human = sandbox.knib(["show", "plan.json"]).exits(0);
    assert_eq!(human.stdout, plans::drawn(&plan));
    assert_eq!(human.stderr, "");
    let markdown = sandbox
        .knib(["show", "plan.json", "--format", "markdown"])
        .exits(0);
    assert_eq!(markdown.stdout, knib::cli::render::plan::markdown(&plan));
    let json = sandbox
        .knib(["show", "plan.json", "--format", "json"])
        .exits(0);
    assert_eq!(json.stdout, saved::text(&plan));
    assert_valid("plan", &json.json());
    // Options are read before the verb as well.
    let before = sandbox
        .knib(["--format", "json", "show", "plan.json"])
        .exits(0);
    assert_eq!(before.stdout, json.stdout);
}

#[test]
fn colour_is_for_terminals_or_when_asked() {
    let sandbox = with_plan();
    let coloured = |args: &[&str], name: &str, value: &str| {
        let show = ["show", "plan.json"].iter().chain(args);
        let output = sandbox.knib_with(show).env(name, value).run().exits(0);
        output.stdout.contains('\u{1b}')
    };
    assert!(!coloured(&[], "LANG", "C"), "a pipe");
    assert!(
        coloured(&["--color", "always"], "NO_COLOR", "1"),
        "what is typed wins"
    );
    assert!(coloured(&[], "CLICOLOR_FORCE", "1"));
    assert!(!coloured(&["--color", "never"], "CLICOLOR_FORCE", "1"));
}

#[test]
fn what_is_no_plan_is_said_to_be_none() {
    let sandbox = Sandbox::new();
    for (text, why) in [
        ("", "EOF while parsing"),
        ("{}", "its format is"),
        (
            "{\"format\": \"knib.plan\", \"format_version\": \"1.0\"}",
            "missing field",
        ),
    ] {
        std::fs::write(sandbox.path("plan.json"), text).expect("the directory is the test's own");
        let output = sandbox.knib(["show", "plan.json"]).exits(1);
        assert!(output.stderr.contains(why), "{output}");
    }
    let output = sandbox.knib(["show", "nowhere.json"]).exits(1);
    assert!(
        output.stderr.contains("could not read nowhere.json"),
        "{output}"
    );
}
