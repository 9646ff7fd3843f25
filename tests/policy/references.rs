//! Names of offerings, storages and templates.

use super::codes;
use super::one;
use super::report;
use super::several;
use super::with_policy;
use super::with_schedule;
use super::with_top;

#[test]
fn an_unknown_name_is_shown_with_the_one_that_was_meant() {
    let text = with_top("")
        .replace("gold: {}", "gold: {}\n  bronze: {}")
        .replace("offering: gold", "offering: golden");
    insta::assert_snapshot!(report(&one(text)), @r"
    unknown_reference
      × no offering is named `golden`
       ╭─[policy.yaml:5:3]
     4 │ offerings:
     5 │   gold: {}
       ·   ──┬─
       ·     ╰── `gold` is defined here
     6 │   bronze: {}
       ╰────
        ╭─[policy.yaml:10:15]
      9 │     select: { names: [web] }
     10 │     offering: golden
        ·               ───┬──
        ·                  ╰── named here
     11 │     storage: nas1
        ╰────
      help: did you mean `gold`? the offerings are bronze, gold
    1 problem in policy.yaml. Nothing was read from the host.
    ");
    let text = with_top("").replace("storage: nas1", "storage: tape");
    insta::assert_snapshot!(report(&one(text)), @r"
    unknown_reference
      × no storage is named `tape`
        ╭─[policy.yaml:10:14]
      9 │     offering: gold
     10 │     storage: tape
        ·              ──┬─
        ·                ╰── named here
     11 │     retention: { keepDaily: 7 }
        ╰────
      help: the only storage is nas1
    1 problem in policy.yaml. Nothing was read from the host.
    ");
    insta::assert_snapshot!(report(&one(with_policy("    extends: nightly\n"))), @r"
    unknown_reference
      × no template is named `nightly`
        ╭─[policy.yaml:12:14]
     11 │     retention: { keepDaily: 7 }
     12 │     extends: nightly
        ·              ───┬───
        ·                 ╰── named here
        ╰────
      help: there is none yet: define it under `templates`
    1 problem in policy.yaml. Nothing was read from the host.
    ");
}

#[test]
fn many_names_are_counted() {
    let many = (0..30)
        .map(|n| format!("  o{n}: {{}}\n"))
        .collect::<Vec<_>>()
        .concat();
    let text = with_top("").replace("  gold: {}\n", &many);
    assert!(report(&one(text)).contains("help: there are 30, see `offerings`"));
}

#[test]
fn a_storage_of_a_schedule_is_for_isolated_backups() {
    let lines = "        cron: \"0 4 * * *\"\n        storage: nas1\n";
    insta::assert_snapshot!(report(&one(with_schedule(lines))), @r#"
    contradiction
      × schedule `nightly` names a storage and is not isolated
        ╭─[policy.yaml:15:9]
     14 │         cron: "0 4 * * *"
     15 │         storage: nas1
        ·         ───┬───
        ·            ╰── only for isolated backups
        ╰────
      help: a chain lives on one storage: write `isolated: true`, or name the storage in the
            policy
    1 problem in policy.yaml. Nothing was read from the host.
    "#);
    let lines = format!("{lines}        isolated: true\n");
    assert_eq!(codes(&one(with_schedule(&lines))), [""; 0]);
    // Then the policy needs none.
    let text = with_schedule(&lines).replace("\n    storage: nas1\n", "\n");
    assert_eq!(codes(&one(text)), [""; 0]);
}

#[test]
fn names_may_stand_in_another_file() {
    let (storage, rest) = (
        "version: 1\nstorage: { nas1: { path: /mnt/nas1 } }\n",
        with_top(""),
    );
    let rest = rest.replace("storage:\n  nas1: { path: /mnt/nas1 }\n", "");
    assert_eq!(codes(&several(&[("a", storage), ("b", &rest)])), [""; 0]);
    // Whether it does cannot be known of a file that cannot be read.
    assert_eq!(codes(&several(&[("a", "]"), ("b", &rest)])), ["not_yaml"]);
    assert_eq!(codes(&several(&[("a", "]"), ("b", storage)])), ["not_yaml"]);
}

#[test]
fn a_mistake_in_a_template_is_said_once() {
    let text = with_policy(
        "    extends: night\n  db:\n    select: { names: [db] }\n    offering: gold\n    storage: nas1\n    extends: night\n",
    ) + "templates:\n  night:\n    schedules:\n      nightly: { cron: \"0 25 * * *\", jitter: 5x, storage: nas1 }\n    retention: { keepWithin: 5 }\n";
    assert_eq!(
        codes(&one(text)),
        ["bad_cron", "bad_duration", "contradiction", "wrong_kind"]
    );
    // Also when no policy uses it.
    let text = with_top("templates:\n  night:\n    offering: golden\n");
    assert_eq!(codes(&one(text)), ["unknown_reference"]);
}

#[test]
fn how_to_validate_needs_an_offering_that_does() {
    let policy = "    schedules: { n: { cron: \"0 4 * * *\" } }\n    validate: { steps: [executeCommand, executeCommand] }\n";
    insta::assert_snapshot!(report(&one(with_policy(policy))), @r#"
    contradiction
      × offering `gold` does not validate
        ╭─[policy.yaml:13:5]
     12 │     schedules: { n: { cron: "0 4 * * *" } }
     13 │     validate: { steps: [executeCommand, executeCommand] }
        ·     ────┬───
        ·         ╰── this has no effect
        ╰────
      help: write `validate: true` in offering `gold`, or leave this out
    twice
      × a step of a validation is named twice
        ╭─[policy.yaml:13:41]
     12 │     schedules: { n: { cron: "0 4 * * *" } }
     13 │     validate: { steps: [executeCommand, executeCommand] }
        ·                                         ───────┬──────
        ·                                                ╰── again here
        ╰────
      help: name each step once
    2 problems in policy.yaml. Nothing was read from the host.
    "#);
    let text = with_policy(policy).replace("gold: {}", "gold: { validate: true }");
    insta::assert_snapshot!(report(&one(text)), @r#"
    missing_key
      × `executeCommand` has no command
        ╭─[policy.yaml:13:24]
     12 │     schedules: { n: { cron: "0 4 * * *" } }
     13 │     validate: { steps: [executeCommand, executeCommand] }
        ·                        ────────────────┬───────────────
        ·                                        ╰── asked for here
        ╰────
      help: write `command`, the path of a program in the guest
    twice
      × a step of a validation is named twice
        ╭─[policy.yaml:13:41]
     12 │     schedules: { n: { cron: "0 4 * * *" } }
     13 │     validate: { steps: [executeCommand, executeCommand] }
        ·                                         ───────┬──────
        ·                                                ╰── again here
        ╰────
      help: name each step once
    2 problems in policy.yaml. Nothing was read from the host.
    "#);
    let offering = "gold: { validate: { steps: [executeCommand], command: /bin/true } }";
    let once = policy.replace(", executeCommand]", "]");
    assert_eq!(
        codes(&one(with_policy(&once).replace("gold: {}", offering))),
        [""; 0]
    );
    let nothing = offering.replace(", command: /bin/true", "");
    let text = with_top("").replace("gold: {}", &nothing);
    assert_eq!(codes(&one(text)), ["missing_key"]);
}

#[test]
fn one_directory_is_one_storage() {
    let text = with_top("").replace(
        "path: /mnt/nas1 }",
        "path: /mnt/nas1 }\n  nas2: { path: /mnt//nas1/ }",
    );
    insta::assert_snapshot!(report(&one(text)), @r"
    same_storage
      × storages `nas1` and `nas2` are the same directory
       ╭─[policy.yaml:3:17]
     2 │ storage:
     3 │   nas1: { path: /mnt/nas1 }
       ·                 ────┬────
       ·                     ╰── first here
     4 │   nas2: { path: /mnt//nas1/ }
       ·                 ─────┬─────
       ·                      ╰── again here
     5 │ offerings:
       ╰────
      help: one directory is one storage: keep one of the names
    1 problem in policy.yaml. Nothing was read from the host.
    ");
}
