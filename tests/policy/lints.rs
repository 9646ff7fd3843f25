//! What is sound and unwise.

use jiff::Timestamp;
use knib::cli::render::findings;
use knib::model::finding::Finding;
use knib::model::finding::Severity;
use knib::policy::Sources;
use knib::policy::lint;

use super::one;
use super::sound;
use super::with_schedule;
use super::with_top;

fn now() -> Timestamp {
    "2026-11-23T09:00:00Z".parse().expect("an instant")
}

fn lints(sources: &Sources) -> Vec<Finding> {
    lint::lint(&sound(sources), sources, now())
}

fn told(text: &str) -> String {
    let sources = one(text);
    let lints = lints(&sources);
    let text = findings::human(&lints, &sources, 90, false);
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .collect::<Vec<_>>()
        .join("\n")
}

fn codes(text: &str) -> Vec<String> {
    lints(&one(text))
        .into_iter()
        .map(|finding| finding.code)
        .collect()
}

fn schedule(line: &str) -> String {
    with_schedule(line).replace("gold: {}", "gold: { backupChainSize: 7 }")
}

/// A policy that nothing can be said about.
fn good() -> String {
    schedule("        cron: \"0 4 * * *\"\n")
}

#[test]
fn a_good_policy_is_left_alone() {
    assert_eq!(codes(&good()), [""; 0]);
}

#[test]
fn kl001_a_chain_that_never_ends() {
    insta::assert_snapshot!(told(&good().replace("Size: 7", "Size: 0")), @r"
    KL001
      ⚠ chains of offering `gold` never end
       ╭─[policy.yaml:5:28]
     4 │ offerings:
     5 │   gold: { backupChainSize: 0 }
       ·                            ┬
       ·                            ╰── less than 1 is no limit
     6 │ policies:
       ╰────
      help: each backup needs all before it: one damaged file makes every later backup
            unusable
    ");
    let everywhere = good() + "settings: { backup.chain.size: -1 }\n";
    assert_eq!(codes(&everywhere), ["KL001"]);
}

#[test]
fn kl002_no_retention() {
    insta::assert_snapshot!(told(&good().replace("    retention: { keepDaily: 7 }\n", "")), @r"
    KL002
      ⚠ policy `web` keeps every backup
       ╭─[policy.yaml:7:3]
     6 │ policies:
     7 │   web:
       ·   ─┬─
       ·    ╰── no retention
     8 │     select: { names: [web] }
       ╰────
      help: write `retention`, for example `{ keepDaily: 7, keepWeekly: 4 }`
    ");
    assert_eq!(codes(&good().replace("{ keepDaily: 7 }", "{}")), ["KL002"]);
    let own = schedule(
        "        cron: \"0 4 * * *\"\n        isolated: true\n        retention: { keepLast: 1 }\n",
    );
    assert_eq!(codes(&own), [""; 0]);
    assert_eq!(
        codes(&own.replace("    retention: { keepDaily: 7 }\n", "")),
        [""; 0]
    );
    assert_eq!(codes(&own.replace("{ keepLast: 1 }", "{}")), ["KL002"]);
}

#[test]
fn kl003_how_to_compress_without_compressing() {
    insta::assert_snapshot!(told(&good().replace("gold: { ", "gold: { compressionLibrary: zlib, ")), @r"
    KL003
      ⚠ offering `gold` does not compress
       ╭─[policy.yaml:5:31]
     4 │ offerings:
     5 │   gold: { compressionLibrary: zlib, backupChainSize: 7 }
       ·                               ──┬─
       ·                                 ╰── this has no effect
     6 │ policies:
       ╰────
      help: write `compress: true`
    ");
    assert_eq!(
        codes(&good().replace("gold: { ", "gold: { compressMode: job, ")),
        ["KL003"]
    );
    assert_eq!(
        codes(&good().replace("gold: { ", "gold: { compress: true, compressMode: job, ")),
        [""; 0]
    );
}

#[test]
fn kl004_a_chain_longer_than_its_retention() {
    insta::assert_snapshot!(told(&good().replace("Size: 7", "Size: 14")), @r"
    KL004
      ☞ a chain of 14 is longer than the 7 that `retention` keeps of it
       ╭─[policy.yaml:5:28]
     4 │ offerings:
     5 │   gold: { backupChainSize: 14 }
       ·                            ─┬
       ·                             ╰── files stay until the whole chain can go
     6 │ policies:
       ╰────
      help: a `backupChainSize` of 7 or less frees space sooner
    ");
    // The setting's own default counts too, and has no place but the retention's.
    let default = good().replace("backupChainSize: 7", "");
    assert_eq!(codes(&default), ["KL004"]);
    assert_eq!(
        codes(&default.replace("keepDaily: 7", "keepLast: 8")),
        [""; 0]
    );
    assert_eq!(
        codes(&default.replace("keepDaily: 7", "keepWithin: 8d")),
        [""; 0]
    );
    assert_eq!(
        codes(&default.replace("cron:", "isolated: true\n        cron:")),
        [""; 0]
    );
}

#[test]
fn kl005_a_deadline_shorter_than_the_jitter() {
    let lines = "        cron: \"0 4 * * *\"\n        jitter: 2h\n        deadline: 30m\n";
    insta::assert_snapshot!(told(&schedule(lines)), @r"
    KL005
      ⚠ the deadline of schedule `nightly` is shorter than its jitter
        ╭─[policy.yaml:16:19]
     15 │         jitter: 2h
     16 │         deadline: 30m
        ·                   ─┬─
        ·                    ╰── 30m, and a VM is due up to 2h late
        ╰────
      help: the deadline counts from when a VM is due, its share of the jitter included
    ");
    assert_eq!(codes(&schedule(&lines.replace("30m", "2h"))), [""; 0]);
}

#[test]
fn kl006_a_number_without_a_unit() {
    let settings = "settings:\n  knib.timeout: 43200\n  backup.compression.retry.interval: 90\n  backup.validation.interval: 36\n  backup.compression.rate.limit: 200\n  backup.validation.timeout: 1h\n";
    let lints = lints(&one(good() + settings));
    let told = lints
        .iter()
        .map(|lint| format!("{} {}", lint.code, lint.text));
    insta::assert_snapshot!(told.collect::<Vec<_>>().join("\n"), @r"
    KL006 `knib.timeout` is read as 12h
    KL006 `backup.compression.retry.interval` is read as 1h30m
    KL006 `backup.validation.interval` is read as 1d12h
    KL006 `backup.compression.rate.limit` is read as 200MB/s
    ");
    assert!(lints.iter().all(|lint| lint.severity == Severity::Note));
}

#[test]
fn kl007_a_time_that_a_change_of_clocks_touches() {
    let paris = |cron: &str| {
        schedule(&format!(
            "        cron: \"{cron}\"\n        timezone: Europe/Paris\n"
        ))
    };
    insta::assert_snapshot!(told(&paris("30 2 * * *")), @r#"
    KL007
      ☞ schedule `nightly` meets a change of clocks
        ╭─[policy.yaml:14:15]
     13 │       nightly:
     14 │         cron: "30 2 * * *"
        ·               ──────┬─────
        ·                     ╰── 02:30 is skipped on 2027-03-28 and runs at 03:00
     15 │         timezone: Europe/Paris
        ╰────
      help: nothing is lost; another hour runs at its own time every day
    "#);
    let label = |text: String| lints(&one(text))[0].labels[0].text.clone();
    insta::assert_snapshot!(label(paris("0,15 2,14 * 10 *")), @"02:00 comes twice on 2027-10-31 and runs the first time");
    assert_eq!(codes(&paris("30 4 * * *")), [""; 0]);
    assert_eq!(codes(&paris("30 * * * *")), [""; 0]);
    assert_eq!(codes(&paris("30 2 * 7 *")), [""; 0]);
    assert_eq!(
        codes(&paris("30 2 * * *").replace("Europe/Paris", "UTC")),
        [""; 0]
    );
}

#[test]
fn kl008_and_kl009_are_told_by_who_sees_more() {
    let one_vm = lint::unprotected(&["ci-runner".into()], &["everything".to_owned()].into());
    let two = lint::unprotected(&["ci-runner".into(), "web-02".into()], &[].into());
    insta::assert_snapshot!([&one_vm.text, &two.text].map(String::as_str).join("\n"), @r"
    VM ci-runner is not protected: no policy selects it (excluded by policy everything)
    2 VMs are not protected, no policy selects them: ci-runner, web-02
    ");
    let policy = sound(&one(with_top("state: /mnt/nas1/state.db\n")));
    let network = lint::state_on_network(&policy, "nfs4");
    assert_eq!(
        (network.code.as_str(), network.labels[0].origin.line),
        ("KL009", 15)
    );
    insta::assert_snapshot!(network.text, @"the state file /mnt/nas1/state.db is on nfs4");
}

#[test]
fn kl010_day_of_month_and_day_of_week_together() {
    insta::assert_snapshot!(told(&schedule("        cron: \"0 4 13 * FRI\"\n")), @r#"
    KL010
      ⚠ schedule `nightly` runs when either the day of the month or the day of the week fits
        ╭─[policy.yaml:14:15]
     13 │       nightly:
     14 │         cron: "0 4 13 * FRI"
        ·               ───────┬──────
        ·                      ╰── next: Fri 2026-11-27, Fri 2026-12-04, Fri 2026-12-11
        ╰────
      help: for both write one `*`, and for example `1#1` for the first Monday of a month
    "#);
    assert_eq!(
        codes(&schedule("        cron: \"0 4 */2 * MON\"\n")),
        ["KL010"]
    );
    assert_eq!(codes(&schedule("        cron: \"0 4 * * 5#2\"\n")), [""; 0]);
}

#[test]
fn what_a_template_says_is_told_once() {
    let text = good()
        + "    extends: odd\n  db:\n    select: { names: [db] }\n    offering: gold\n    storage: nas1\n    retention: { keepDaily: 7 }\n    extends: odd\ntemplates:\n  odd: { schedules: { odd: { cron: \"0 4 1 * MON\" } } }\n";
    assert_eq!(codes(&text), ["KL010"]);
}

#[test]
fn a_lint_can_be_denied() {
    let mut found = lints(&one(
        good().replace("Size: 7", "Size: 0") + "settings: { knib.timeout: 43200 }\n"
    ));
    lint::deny(&mut found, &["KL006".into()]);
    let severities = found
        .iter()
        .map(|lint| (lint.code.as_str(), lint.severity))
        .collect::<Vec<_>>();
    assert_eq!(
        severities,
        [("KL001", Severity::Warning), ("KL006", Severity::Error)]
    );
}

#[test]
fn every_lint_is_listed() {
    let listed = lint::CODES.map(|(code, _)| code);
    let expected = (1..=10).map(|n| format!("KL{n:03}")).collect::<Vec<_>>();
    assert_eq!(listed.to_vec(), expected);
}
