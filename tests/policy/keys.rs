//! Keys that are unknown, missing, written twice; values of the wrong kind; numbers out of range.

use super::codes;
use super::one;
use super::report;
use super::several;
use super::with_policy;
use super::with_schedule;
use super::with_top;

const CRON: &str = "        cron: \"0 4 * * *\"\n";

fn schedule(line: &str) -> String {
    report(&one(with_schedule(&format!("{CRON}        {line}\n"))))
}

fn policy(line: &str) -> String {
    report(&one(with_policy(&format!(
        "    schedules: {{ n: {{ cron: \"0 4 * * *\" }} }}\n    {line}\n"
    ))))
}

fn top(line: &str) -> String {
    report(&one(with_top(&format!("{line}\n"))))
}

/// Only the help of the one finding.
fn help(report: &str) -> &str {
    let (_, help) = report
        .split_once("help: ")
        .unwrap_or_else(|| panic!("no help in {report}"));
    help.rsplit_once('\n').map_or(help, |(help, _)| help)
}

#[test]
fn an_unknown_key_has_a_guess() {
    insta::assert_snapshot!(schedule("tiemzone: UTC"), @r#"
    unknown_key
      × unknown key `tiemzone` in schedule `nightly` of policy `web`
        ╭─[policy.yaml:15:9]
     14 │         cron: "0 4 * * *"
     15 │         tiemzone: UTC
        ·         ────┬───
        ·             ╰── not a key of a schedule
        ╰────
      help: did you mean `timezone`?
    1 problem in policy.yaml. Nothing was read from the host.
    "#);
    insta::assert_snapshot!(help(&schedule("time_zone: UTC")), @"did you mean `timezone`?");
    insta::assert_snapshot!(help(&schedule("frequency: daily")), @r"
    known here: cron, deadline, isolated, jitter, paused, quiesce, retention,
            storage, timezone
    ");
    insta::assert_snapshot!(top("polices: {}"), @r#"
    unknown_key
      × unknown key `polices` in the policy file
        ╭─[policy.yaml:15:1]
     14 │         cron: "0 4 * * *"
     15 │ polices: {}
        · ───┬───
        ·    ╰── not a key of a policy file
        ╰────
      help: did you mean `policies`?
    1 problem in policy.yaml. Nothing was read from the host.
    "#);
}

#[test]
fn a_key_in_the_wrong_place_is_sent_to_the_right_one() {
    insta::assert_snapshot!(help(&policy("keepDaily: 7")), @"it belongs under `retention`");
    insta::assert_snapshot!(help(&policy("cron: x")), @"it belongs under `schedules.<name>`");
    insta::assert_snapshot!(help(&policy("names: [x]")), @"it belongs under `select`");
    insta::assert_snapshot!(help(&policy("minBackups: 2")), @"it belongs under `protect`");
}

#[test]
fn what_other_tools_and_older_texts_call_it() {
    let lines = [
        schedule("at: 02:00"),
        schedule("catchUp: true"),
        schedule("first: nextSlot"),
        schedule("quiescevm: true"),
        schedule("maxBackups: 7"),
        policy("onRemove: delete"),
        policy("enabled: false"),
        policy("ttl: 720h"),
        policy("protect: { preventDelete: true }"),
        top("guards: { maxDeletes: 5 }"),
        top("include: other.yaml"),
        top("apiVersion: v1"),
        top("settings: { kboss.timeout: 1h }"),
        top("settings: { backup.compression.max.concurrent.operations.per.host: 5 }"),
        top("settings: { backup.compression.max.concurrent.operations: 5 }"),
        top("templates: { x: { select: { names: [x] } } }"),
        top("templates: { x: { extends: y } }"),
    ];
    insta::assert_snapshot!(lines.each_ref().map(|report| help(report)).join("\n"), @r"
    write `cron`: `0 2 * * *` is 02:00 every day
    a slot that passed runs once, as soon as it can; `deadline` says how late is too
            late
    `first` is a key of the policy
    write `quiesce: preferred` or `quiesce: required`
    write `retention: { keepLast: N }`
    the backups of a VM that leaves a policy are kept until `knib backup delete`
    write `paused: true` to switch a policy off
    backups are kept by count and age among themselves: see `retention`
    nothing destructive is done without `--allow-destructive N`;
            `protect.minBackups` and `knib backup pin` keep backups
    nothing destructive is done without `--allow-destructive N`;
            `protect.minBackups` and `knib backup pin` keep backups
    give several files, or a directory, with -f
    a policy file begins with `version: 1`
    renamed: `knib.timeout`
    renamed: `backup.compression.max.concurrent.compressions.per.host`
    knib runs on one host: use the setting that ends in `.per.host`
    a template selects nothing: write `select` in each policy
    a template extends nothing: put the keys into one template
    ");
    let selections = ["titles: [x]", "metadata: []", "state: running"];
    for line in selections {
        let text = with_policy("    schedules: { n: { cron: \"0 4 * * *\" } }\n");
        let text = text.replace("names: [web]", &format!("names: [web], {line}"));
        assert!(report(&one(text)).contains("knib vm tag VM key=value"));
    }
}

#[test]
fn a_key_is_written_once() {
    insta::assert_snapshot!(schedule("cron: \"0 5 * * *\""), @r#"
    duplicate_key
      × `cron` of schedule `nightly` of policy `web` is written twice
        ╭─[policy.yaml:14:9]
     13 │       nightly:
     14 │         cron: "0 4 * * *"
        ·         ──┬─
        ·           ╰── first here
     15 │         cron: "0 5 * * *"
        ·         ──┬─
        ·           ╰── again here
        ╰────
      help: which one counts would be a guess: keep one `cron`
    1 problem in policy.yaml. Nothing was read from the host.
    "#);
    let a = with_top("timezone: UTC\n");
    let b = "version: 1\ntimezone: Europe/Paris\nofferings:\n  gold: {}\npolicies:\n  web: {}\n";
    insta::assert_snapshot!(report(&several(&[("a.yaml", a.as_str()), ("b.yaml", b)])), @r#"
    duplicate_key
      × `timezone` is written twice
       ╭─[b.yaml:2:1]
     1 │ version: 1
     2 │ timezone: Europe/Paris
       · ────┬───
       ·     ╰── again here
     3 │ offerings:
       ╰────
      help: which one counts would be a guess: keep one `timezone`
    Advice: 
      ☞ the other place
        ╭─[a.yaml:15:1]
     14 │         cron: "0 4 * * *"
     15 │ timezone: UTC
        · ────┬───
        ·     ╰── first here
        ╰────
    duplicate_key
      × offering `gold` is written twice
       ╭─[b.yaml:4:3]
     3 │ offerings:
     4 │   gold: {}
       ·   ──┬─
       ·     ╰── again here
     5 │ policies:
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
    missing_key
      × policy `web` has no `select`
       ╭─[b.yaml:6:3]
     5 │ policies:
     6 │   web: {}
       ·   ─┬─
       ·    ╰── `select` is missing
       ╰────
      help: for example `select: { names: ["db-*"] }`
    duplicate_key
      × policy `web` is written twice
       ╭─[b.yaml:6:3]
     5 │ policies:
     6 │   web: {}
       ·   ─┬─
       ·    ╰── again here
       ╰────
      help: which one counts would be a guess: keep one `web`
    Advice: 
      ☞ the other place
       ╭─[a.yaml:7:3]
     6 │ policies:
     7 │   web:
       ·   ─┬─
       ·    ╰── first here
     8 │     select: { names: [web] }
       ╰────
    4 problems in 2 files. Nothing was read from the host.
    "#);
}

#[test]
fn merge_keys_are_refused() {
    let text = with_top("templates: { a: &a { priority: 3 }, b: { <<: *a } }\n");
    insta::assert_snapshot!(report(&one(text)), @r#"
    merge_key
      × merge keys are not used in a policy
        ╭─[policy.yaml:15:42]
     14 │         cron: "0 4 * * *"
     15 │ templates: { a: &a { priority: 3 }, b: { <<: *a } }
        ·                                          ─┬
        ·                                           ╰── a merge key
        ╰────
      help: policies share keys through `templates` and `extends`; an alias `*name` may
            stand for a whole value
    1 problem in policy.yaml. Nothing was read from the host.
    "#);
}

#[test]
fn what_is_missing_is_named() {
    let text = "storage: { nas1: {} }\nofferings: { gold: {} }\npolicies:\n  web: {}\n  db:\n    select: { names: [x] }\n    storage: nas1\n    schedules: { nightly: {} }\n";
    insta::assert_snapshot!(report(&one(text)), @r#"
    missing_key
      × the policy file has no `version`
       ╭─[policy.yaml:1:1]
     1 │ storage: { nas1: {} }
       · ──────────┬──────────
       ·           ╰── `version` is missing
     2 │ offerings: { gold: {} }
       ╰────
      help: for example `version: 1`
    missing_key
      × storage `nas1` has no `path`
       ╭─[policy.yaml:1:12]
     1 │ storage: { nas1: {} }
       ·            ──┬─
       ·              ╰── `path` is missing
     2 │ offerings: { gold: {} }
       ╰────
      help: for example `path: /mnt/backup/nas1`
    missing_key
      × policy `web` has no `select`
       ╭─[policy.yaml:4:3]
     3 │ policies:
     4 │   web: {}
       ·   ─┬─
       ·    ╰── `select` is missing
     5 │   db:
       ╰────
      help: for example `select: { names: ["db-*"] }`
    missing_key
      × policy `web` has no `offering`
       ╭─[policy.yaml:4:3]
     3 │ policies:
     4 │   web: {}
       ·   ─┬─
       ·    ╰── `offering` is missing
     5 │   db:
       ╰────
      help: write one here or in the template that it extends
    missing_key
      × policy `web` has no `storage`
       ╭─[policy.yaml:4:3]
     3 │ policies:
     4 │   web: {}
       ·   ─┬─
       ·    ╰── `storage` is missing
     5 │   db:
       ╰────
      help: write one here or in the template that it extends
    missing_key
      × policy `web` has no `schedules`
       ╭─[policy.yaml:4:3]
     3 │ policies:
     4 │   web: {}
       ·   ─┬─
       ·    ╰── `schedules` is missing
     5 │   db:
       ╰────
      help: for example `schedules: { nightly: { cron: "0 2 * * *" } }`; a policy without
            any is `paused: true`
    missing_key
      × policy `db` has no `offering`
       ╭─[policy.yaml:5:3]
     4 │   web: {}
     5 │   db:
       ·   ─┬
       ·    ╰── `offering` is missing
     6 │     select: { names: [x] }
       ╰────
      help: write one here or in the template that it extends
    missing_key
      × schedule `nightly` of policy `db` has no `cron`
       ╭─[policy.yaml:8:18]
     7 │     storage: nas1
     8 │     schedules: { nightly: {} }
       ·                  ───┬───
       ·                     ╰── `cron` is missing
       ╰────
      help: for example `cron: "0 2 * * *"`, 02:00 every day
    8 problems in policy.yaml. Nothing was read from the host.
    "#);
}

#[test]
fn a_policy_says_policies() {
    insta::assert_snapshot!(report(&one("version: 1\n")), @r"
    missing_key
      × the policy has no `policies`
       ╭─[policy.yaml:1:1]
     1 │ version: 1
       · ─────┬────
       ·      ╰── in none of the files
       ╰────
      help: to back up nothing on purpose, write `policies: {}`
    1 problem in policy.yaml. Nothing was read from the host.
    ");
}

#[test]
fn what_a_mistake_hides_is_not_missing() {
    // One finding each: the key is there, only its value is wrong.
    assert_eq!(
        codes(&one(with_policy("    schedules: 5\n"))),
        ["wrong_kind"]
    );
    assert_eq!(
        codes(&one(with_schedule("        cron: 5\n"))),
        ["wrong_kind"]
    );
    let text = with_policy("    extends: [x]\n").replace("    offering: gold\n", "");
    assert_eq!(codes(&one(text)), ["wrong_kind"]);
    assert_eq!(
        codes(&one(with_policy("    extends: x\n"))),
        ["unknown_reference"]
    );
    let text = with_top("").replace("gold: {}", "gold: 5");
    assert_eq!(codes(&one(text)), ["wrong_kind"]);
    let text = with_top("").replace("gold", "Gold");
    assert_eq!(codes(&one(text)), ["bad_name"]);
}

#[test]
fn values_are_of_one_kind() {
    insta::assert_snapshot!(schedule("isolated: yes"), @r#"
    wrong_kind
      × `isolated` of schedule `nightly` of policy `web` must be `true` or `false`
        ╭─[policy.yaml:15:19]
     14 │         cron: "0 4 * * *"
     15 │         isolated: yes
        ·                   ─┬─
        ·                    ╰── this is text
        ╰────
      help: write `true`
    1 problem in policy.yaml. Nothing was read from the host.
    "#);
    insta::assert_snapshot!(schedule("retention:"), @r#"
    wrong_kind
      × `retention` of schedule `nightly` of policy `web` must be a map
        ╭─[policy.yaml:15:9]
     14 │         cron: "0 4 * * *"
     15 │         retention:
        ·         ────┬────
        ·             ╰── has no value
        ╰────
      help: write a value, or leave the key out
    1 problem in policy.yaml. Nothing was read from the host.
    "#);
    insta::assert_snapshot!(help(&policy("disks: { exclude: vdb }")), @"write a list: `[vdb]`");
    insta::assert_snapshot!(help(&policy("priority: \"10\"")), @"write it without quotes: `10`");
    let text = with_top("").replace("gold: {}", "gold: { description: 7 }");
    insta::assert_snapshot!(help(&report(&one(text))), @r#"
    put it in quotes: `"7"`
    "#);
    insta::assert_snapshot!(help(&policy("extends: [nightly]")), @"write one value: `nightly`");
    insta::assert_snapshot!(schedule("jitter: 30"), @r#"
    wrong_kind
      × `jitter` of schedule `nightly` of policy `web` must be text such as `90m`
        ╭─[policy.yaml:15:17]
     14 │         cron: "0 4 * * *"
     15 │         jitter: 30
        ·                 ─┬
        ·                  ╰── this is a number
        ╰────
    1 problem in policy.yaml. Nothing was read from the host.
    "#);
    let text = with_top("").replace("names: [web]", "names: [web, 7]");
    insta::assert_snapshot!(report(&one(text)), @r#"
    wrong_kind
      × an entry of `names` of `select` of policy `web` must be text
       ╭─[policy.yaml:8:28]
     7 │   web:
     8 │     select: { names: [web, 7] }
       ·                            ┬
       ·                            ╰── this is a number
     9 │     offering: gold
       ╰────
      help: put it in quotes: `"7"`
    1 problem in policy.yaml. Nothing was read from the host.
    "#);
    let text = with_top("").replace("names: [web]", "tags: { env: 1 }");
    insta::assert_snapshot!(report(&one(text)), @r#"
    wrong_kind
      × `env` of `tags` of `select` of policy `web` must be text
       ╭─[policy.yaml:8:28]
     7 │   web:
     8 │     select: { tags: { env: 1 } }
       ·                            ┬
       ·                            ╰── this is a number
     9 │     offering: gold
       ╰────
      help: put it in quotes: `"1"`
    1 problem in policy.yaml. Nothing was read from the host.
    "#);
    let text = with_top("").replace("gold: {}", "gold: { validate: 3 }");
    insta::assert_snapshot!(report(&one(text)), @r"
    wrong_kind
      × `validate` of offering `gold` must be `true` or `false` or a map
       ╭─[policy.yaml:5:21]
     4 │ offerings:
     5 │   gold: { validate: 3 }
       ·                     ┬
       ·                     ╰── this is a number
     6 │ policies:
       ╰────
    1 problem in policy.yaml. Nothing was read from the host.
    ");
    insta::assert_snapshot!(top("settings: { knib.timeout: true }"), @r#"
    wrong_kind
      × setting `knib.timeout` must be a whole number or text such as `90m`
        ╭─[policy.yaml:15:27]
     14 │         cron: "0 4 * * *"
     15 │ settings: { knib.timeout: true }
        ·                           ──┬─
        ·                             ╰── this is true or false
        ╰────
    1 problem in policy.yaml. Nothing was read from the host.
    "#);
}

#[test]
fn words_are_among_the_known() {
    insta::assert_snapshot!(schedule("quiesce: preffered"), @r#"
    unknown_word
      × `quiesce` of schedule `nightly` of policy `web` must be `none`, `preferred` or
      │ `required`
        ╭─[policy.yaml:15:18]
     14 │         cron: "0 4 * * *"
     15 │         quiesce: preffered
        ·                  ────┬────
        ·                      ╰── not one of them
        ╰────
      help: did you mean `preferred`?
    1 problem in policy.yaml. Nothing was read from the host.
    "#);
    insta::assert_snapshot!(help(&schedule("quiesce: no")), @"did you mean `none`?");
    insta::assert_snapshot!(help(&policy("first: nextslot")), @"did you mean `nextSlot`?");
    let text = with_top("").replace("gold: {}", "gold: { validate: { steps: [wait_for_boot] } }");
    insta::assert_snapshot!(help(&report(&one(text))), @"did you mean `waitForBoot`?");
}

#[test]
fn numbers_have_bounds() {
    let first = |report: String| report.lines().nth(1).unwrap_or_default().trim().to_owned();
    let retention = |line: &str| {
        let text = with_top("").replace("keepDaily: 7", line);
        first(report(&one(text)))
    };
    let offering = |line: &str| first(report(&one(with_top("").replace("gold: {}", line))));
    let lines = [
        retention("keepDaily: -7"),
        retention("keepLast: 100001"),
        retention("keepLast: 99999999999999999999999999"),
        retention("keepYearly: -9223372036854775809"),
        retention("keepWithin: 101y"),
        retention("keepWithin: 9999w"),
        first(policy("protect: { minBackups: 0 }")),
        first(policy("priority: 2000000")),
        offering("gold: { backupChainSize: 1025 }"),
        offering("gold: { backupChainSize: -99999999999999999999 }"),
        offering("gold: { validate: { expectedExitCode: 256 } }"),
        offering("gold: { validate: { bootTimeout: 0s } }"),
        first(top("settings: { backup.compression.coroutines: 17 }")),
        first(top(
            "settings: { backup.compression.minimum.free.storage: -0.5 }",
        )),
        first(top(
            "settings: { backup.compression.minimum.free.storage: .nan }",
        )),
        first(top(
            "settings: { backup.compression.minimum.free.storage: .inf }",
        )),
        first(top("settings: { backup.compression.max.job.retries: 0 }")),
        first(top("settings: { knib.timeout: -1 }")),
        first(top("settings: { knib.timeout: 30 }")),
        first(top("settings: { knib.timeout: 367d }")),
        first(top("settings: { backup.compression.rate.limit: 500kB/s }")),
        first(top("settings: { backup.compression.rate.limit: 1e30 }")),
        first(schedule("jitter: 24h")),
        first(schedule("deadline: 10s")),
        first(report(&one(
            with_top("").replace("version: 1", "version: 0")
        ))),
    ];
    insta::assert_snapshot!(lines.join("\n"), @r"
    × `keepDaily` of `retention` of policy `web` must be between 0 and 100000
    × `keepLast` of `retention` of policy `web` must be between 0 and 100000
    × `keepLast` of `retention` of policy `web` must be between 0 and 100000
    × `keepYearly` of `retention` of policy `web` must be between 0 and 100000
    × `101y` is not a length of time
    × `9999w` is not a length of time
    × `minBackups` of `protect` of policy `web` must be between 1 and 1000
    × `priority` of policy `web` must be between -1000000 and 1000000
    × `backupChainSize` of offering `gold` must be 1024 or less
    × `backupChainSize` of offering `gold` must be 1024 or less
    × `expectedExitCode` of `validate` of offering `gold` must be between 0 and 255
    × `bootTimeout` must be between 1s and 1d
    × setting `backup.compression.coroutines` must be between 1 and 16
    × setting `backup.compression.minimum.free.storage` must be between 0 and 1000
    × setting `backup.compression.minimum.free.storage` must be between 0 and 1000
    × setting `backup.compression.minimum.free.storage` must be between 0 and 1000
    × setting `backup.compression.max.job.retries` must be between 1 and 1000
    × setting `knib.timeout` must be between 0 and 1000000000
    × `knib.timeout` must be between 1m and 366d
    × `knib.timeout` must be between 1m and 366d
    × a rate limit must be 0MB/s, for none, or at least 1MB/s
    × setting `backup.compression.rate.limit` must be between 0 and 1000000
    × `jitter` must be less than the 1d from one slot to the next
    × `deadline` must be between 1m and 366d
    × `version` must be 1
    ");
    // Anything below one is no limit, as CloudStack has it.
    let text = with_top("").replace("gold: {}", "gold: { backupChainSize: -1 }");
    assert_eq!(codes(&one(text)), [""; 0]);
}

#[test]
fn a_newer_version_is_no_mistake_of_the_file() {
    let text = with_top("something: new\n").replace("version: 1", "version: 2");
    insta::assert_snapshot!(report(&one(text)), @r"
    newer_version
      × the policy is of version 2
       ╭─[policy.yaml:1:10]
     1 │ version: 2
       ·          ┬
       ·          ╰── this knib reads version 1
     2 │ storage:
       ╰────
      help: a newer knib is needed; or is the number a mistake?
    1 problem in policy.yaml. Nothing was read from the host.
    ");
    let text = with_top("").replace("version: 1", "version: \"1\"");
    assert_eq!(codes(&one(text)), ["wrong_kind"]);
}

#[test]
fn nothing_selected_is_said_at_once() {
    let text = with_top("").replace("{ names: [web] }", "{}");
    insta::assert_snapshot!(report(&one(text)), @r#"
    empty_select
      × `select` of policy `web` selects nothing
       ╭─[policy.yaml:8:5]
     7 │   web:
     8 │     select: {}
       ·     ───┬──
       ·        ╰── neither `names`, `uuids` nor `tags`
     9 │     offering: gold
       ╰────
      help: every VM is `names: ["*"]`
    1 problem in policy.yaml. Nothing was read from the host.
    "#);
    for nothing in [
        "{ names: [] }",
        "{ tags: {} }",
        "{ names: [\"\"] }",
        "{ uuids: [] }",
    ] {
        let text = with_top("").replace("{ names: [web] }", nothing);
        assert_eq!(codes(&one(text)), ["empty_value"], "{nothing}");
    }
    let text = with_top("").replace("{ names: [web] }", "{ exclude: { names: [x] } }");
    assert_eq!(codes(&one(text)), ["empty_select"]);
    let text = with_top("").replace("{ names: [web] }", "{ names: [x], exclude: {} }");
    assert_eq!(codes(&one(text.clone())), ["empty_select"]);
    insta::assert_snapshot!(help(&report(&one(text))), @"write what is taken out, or leave `exclude` out");
}
