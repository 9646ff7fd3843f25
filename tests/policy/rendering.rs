//! Findings as people, workflows and programs see them.

use knib::cli::render::findings;
use knib::model::finding::Finding;
use knib::model::finding::Origin;
use knib::model::finding::Severity;
use knib::policy;
use knib::policy::Sources;

use super::one;
use super::several;
use super::with_top;

fn found(sources: &Sources) -> Vec<Finding> {
    policy::load(sources).1
}

fn unknown_keys(n: usize) -> Sources {
    let keys = (0..n).map(|n| format!("x{n}: 1\n")).collect::<Vec<_>>();
    one(with_top("") + &keys.concat())
}

#[test]
fn people_see_the_code_the_place_and_the_help() {
    let text = with_top("").replace(
        "gold: {}",
        "gold:\n    compress: true\n    backupchainsize: 14\n  bronze: {}",
    );
    let sources = one(text);
    insta::assert_snapshot!(findings::human(&found(&sources), &sources, 80, false), @r"
    unknown_key

      × unknown key `backupchainsize` in offering `gold`
       ╭─[policy.yaml:7:5]
     6 │     compress: true
     7 │     backupchainsize: 14
       ·     ───────┬───────
       ·            ╰── not a key of an offering
     8 │   bronze: {}
       ╰────
      help: did you mean `backupChainSize`?
    ");
}

#[test]
fn places_in_two_files_are_both_shown() {
    let (a, b) = (
        with_top(""),
        with_top("").replace("web", "db").replace("nas1", "nas2"),
    );
    let sources = several(&[("a.yaml", a), ("b.yaml", b)]);
    insta::assert_snapshot!(findings::human(&found(&sources), &sources, 80, false), @r"
    duplicate_key

      × offering `gold` is written twice
       ╭─[b.yaml:5:3]
     4 │ offerings:
     5 │   gold: {}
       ·   ──┬─
       ·     ╰── again here
     6 │ policies:
       ╰────
      help: which one counts would be a guess: keep one `gold`

    Advice: 
      ☞ the other place
       ╭─[a.yaml:5:3]
     4 │ offerings:
     5 │   gold: {}
       ·   ──┬─
       ·     ╰── first here
     6 │ policies:
       ╰────
    ");
    insta::assert_snapshot!(findings::closing(&found(&sources), &sources), @"1 problem in 2 files. Nothing was read from the host.");
}

#[test]
fn colour_is_only_colour() {
    let sources = one(with_top("x: 1\n"));
    let colourful = findings::human(&found(&sources), &sources, 80, true);
    assert!(colourful.contains("\x1b["));
    let mut plain = String::new();
    let mut rest = colourful.as_str();
    while let Some((before, after)) = rest.split_once("\x1b[") {
        plain += before;
        rest = after.split_once('m').expect("a colour").1;
    }
    assert_eq!(
        plain + rest,
        findings::human(&found(&sources), &sources, 80, false)
    );
}

#[test]
fn nothing_from_a_file_steers_the_terminal() {
    // In the text itself, and as what an escape says.
    for text in [
        "version: 1\nx: \x1b[2J\n",
        "version: 1\n\"\\e[2J\\u009b\": 1\n",
        "timezone: \"\\e]0;x\\a\"\n",
    ] {
        let sources = one(text);
        let found = found(&sources);
        for shown in [
            findings::human(&found, &sources, 80, false),
            findings::github(&found),
        ] {
            assert!(
                !shown.contains(|c: char| c.is_control() && c != '\n'),
                "{shown:?}"
            );
        }
    }
}

#[test]
fn a_workflow_gets_ten_annotations_at_most() {
    let sources = unknown_keys(11);
    let mut found = found(&sources);
    found.insert(0, Finding::new(Severity::Note, "n,1", "50% of: this\nthat"));
    found.push(Finding::new(Severity::Warning, "KL001", "unwise").hint("think"));
    let shown = findings::github(&found);
    assert_eq!(shown.lines().count(), 10);
    assert!(shown.ends_with("::notice::and 4 more\n"));
    insta::assert_snapshot!(shown.lines().next().unwrap_or_default(), @"::error file=policy.yaml,line=15,col=1,title=unknown_key::unknown key `x0` in the policy file%0Ahelp: known here: connect, offerings, policies, settings, state, storage, templates, timezone, version");
    insta::assert_snapshot!(findings::github(&found[..1]), @"::notice title=n%2C1::50%25 of: this%0Athat");
    insta::assert_snapshot!(findings::github(&found[12..]), @"::warning title=KL001::unwise%0Ahelp: think");
}

#[test]
fn programs_get_the_same_in_an_array() {
    let text = with_top("").replace("timezone", "x") + "timezone: Nowhere\n";
    let sources = one(text);
    insta::assert_snapshot!(findings::json(&found(&sources)), @r#"
    [
      {
        "code": "bad_zone",
        "hint": "zones are named as in `Europe/Paris`; `timedatectl list-timezones` lists them",
        "labels": [
          {
            "origin": {
              "column": 11,
              "end": 258,
              "file": "policy.yaml",
              "line": 15,
              "start": 251
            },
            "text": "no such time zone"
          }
        ],
        "severity": "error",
        "text": "`Nowhere` is not a time zone",
        "vm": null
      }
    ]
    "#);
    assert_eq!(findings::json(&[]), "[]\n");
}

#[test]
fn a_long_list_ends() {
    let sources = unknown_keys(60);
    let shown = findings::human(&found(&sources), &sources, 80, false);
    assert_eq!(shown.matches("unknown_key").count(), 50);
    assert!(shown.ends_with("and 10 more\n"));
}

#[test]
fn the_last_line_counts() {
    let sources = one("");
    let of = |severity| Finding::new(severity, "x", "y");
    let lines = [
        findings::closing(&[], &sources),
        findings::closing(
            &[
                of(Severity::Warning),
                of(Severity::Note),
                of(Severity::Note),
            ],
            &sources,
        ),
        findings::closing(
            &[
                of(Severity::Error),
                of(Severity::Error),
                of(Severity::Warning),
            ],
            &sources,
        ),
        findings::closing(&[of(Severity::Error)], &Sources::default()),
    ];
    insta::assert_snapshot!(lines.concat(), @r"
    No problems in policy.yaml.
    1 warning, 2 notes in policy.yaml.
    2 problems, 1 warning in policy.yaml. Nothing was read from the host.
    1 problem. Nothing was read from the host.
    ");
}

#[test]
fn a_place_that_is_not_there_does_no_harm() {
    let origin = Origin {
        file: "policy.yaml".into(),
        line: 900,
        column: 1,
        start: 90_000,
        end: 90_001,
    };
    let finding = Finding::new(Severity::Error, "x", "y").at(Some(&origin), "here");
    let sources = one("version: 1\n");
    let found = [finding];
    assert!(findings::human(&found, &sources, 80, false).contains('y'));
    assert!(findings::human(&found, &Sources::default(), 80, false).contains('y'));
}
