//! What a sound policy means: values, defaults, templates, and where each was written.

use knib::model::bytes::Bytes;
use knib::model::policy::CompressMode;
use knib::model::policy::CompressionLibrary;
use knib::model::policy::First;
use knib::model::policy::MinFree;
use knib::model::policy::Policy;
use knib::model::policy::Quiesce;
use knib::model::policy::Retention;
use knib::model::policy::Settings;
use knib::model::policy::ValidationStep;
use knib::model::seconds::Seconds;

use super::one;
use super::report;
use super::several;
use super::sound;
use super::with_top;

#[test]
fn defaults() {
    let policy = sound(&one(with_top("")));
    assert_eq!(policy.connect, "qemu:///system");
    assert_eq!(policy.state, "/var/lib/knib/state.db");
    assert_eq!(policy.timezone, "UTC");
    assert_eq!(policy.settings, Settings::default());
    let storage = &policy.storages["nas1"];
    assert_eq!(storage.min_free, MinFree::Percent(5.0));
    assert_eq!(storage.verify, None);
    let offering = &policy.offerings["gold"];
    assert_eq!(offering.compression_library, CompressionLibrary::Zstd);
    assert_eq!(offering.compress_mode, CompressMode::Job);
    assert_eq!(
        (offering.validate.as_ref(), offering.backup_chain_size),
        (None, None)
    );
    let web = &policy.policies["web"];
    assert_eq!(
        (web.priority, web.min_backups, web.first),
        (0, 1, First::Immediate)
    );
    assert!(!web.paused && web.exclude_disks.is_empty());
    let nightly = &web.schedules["nightly"];
    assert_eq!(nightly.timezone, "UTC");
    assert_eq!((nightly.jitter, nightly.deadline), (Seconds(0), None));
    assert_eq!(
        (nightly.quiesce, nightly.isolated),
        (Quiesce::Preferred, false)
    );
}

const EVERYTHING: &str = r#"
version: 1
connect: qemu:///session
state: /var/lib//knib/./other.db
timezone: Europe/Paris
storage:
  nas1: { path: /mnt/nas1/, minFree: 200GiB, verify: {} }
  vault: { path: /mnt/vault, minFree: 2.5%, verify: { interval: 90d, rateLimit: 0MB/s } }
settings:
  backup.chain.size: 0
  knib.timeout: 3600
  backup.compression.task.enabled: false
  backup.compression.max.concurrent.compressions.per.host: -1
  backup.compression.max.job.retries: 3
  backup.compression.retry.interval: 30
  backup.compression.timeout: 1h
  backup.compression.minimum.free.storage: 1.5
  backup.compression.coroutines: 16
  backup.compression.rate.limit: 200
  backup.validation.task.enabled: false
  backup.validation.interval: 12
  backup.validation.max.concurrent.operations.per.host: 2
  backup.validation.max.job.retries: 4
  backup.validation.retry.interval: 5m
  backup.validation.timeout: 120
  backup.validation.boot.default.timeout: 5m
  backup.validation.script.default.timeout: 30
  backup.validation.screenshot.default.wait: 10s
  backup.validation.end.chain.on.fail: false
  backup.validation.max.memory: 8GiB
  backup.validation.max.vcpus: 0
offerings:
  gold:
    description: the best
    compress: true
    compressionLibrary: zlib
    compressMode: inline
    validate: { steps: [waitForBoot, executeCommand], command: /bin/true, arguments: ["-v"], expectedExitCode: 3, expectedOutput: ok, bootTimeout: 3m, screenshotWait: 5s, commandTimeout: 90s, interval: 0s, endChainOnFailure: false }
    allowQuickRestore: true
    allowExtractFile: true
    backupChainSize: -1
  silver: { validate: true }
  bronze: { validate: false }
policies:
  db:
    select:
      names: ["db-*"]
      uuids: [6F1C8D1E-3A52-4A06-9D0F-5A7D1F5F2C11]
      tags: { env: "prod*" }
      exclude: { names: [db-test], tags: { scratch: "yes" } }
    offering: gold
    storage: nas1
    priority: -10
    schedules:
      month-end: { cron: "30 23 L * *", timezone: America/New_York, jitter: 1h30m, deadline: 2d, isolated: true, quiesce: none, storage: vault, retention: { keepYearly: 3 }, paused: true }
    retention: { keepLast: 1, keepHourly: 2, keepDaily: 3, keepWeekly: 4, keepMonthly: 5, keepYearly: 6, keepWithin: 7d }
    protect: { minBackups: 8 }
    disks: { exclude: [vdb, sda] }
    first: nextSlot
    paused: true
    validate: { steps: [screenshot], interval: 1w }
"#;

#[test]
#[expect(clippy::too_many_lines, reason = "one snapshot")]
fn every_key_arrives() {
    let policy = sound(&one(EVERYTHING));
    // The origins have a test of their own, and the digest is of the text above.
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r#""digest": ".*""#, r#""digest": "[digest]""#);
    let _masked = settings.bind_to_scope();
    insta::assert_json_snapshot!(policy, @r#"
    {
      "connect": "qemu:///session",
      "state": "/var/lib/knib/other.db",
      "timezone": "Europe/Paris",
      "settings": {
        "chain_size": 0,
        "timeout": 3600,
        "compression": {
          "enabled": false,
          "concurrent": -1,
          "attempts": 3,
          "retry_interval": 1800,
          "timeout": 3600,
          "minimum_free": 1.5,
          "coroutines": 16,
          "rate_limit": 200000000
        },
        "validation": {
          "enabled": false,
          "interval": 43200,
          "concurrent": 2,
          "attempts": 4,
          "retry_interval": 300,
          "timeout": 120,
          "boot_timeout": 300,
          "command_timeout": 30,
          "screenshot_wait": 10,
          "end_chain_on_failure": false,
          "memory": 8589934592,
          "vcpus": 0
        }
      },
      "storages": {
        "nas1": {
          "path": "/mnt/nas1",
          "min_free": {
            "bytes": 214748364800
          },
          "verify": {
            "interval": 2592000,
            "rate_limit": 200000000
          }
        },
        "vault": {
          "path": "/mnt/vault",
          "min_free": {
            "percent": 2.5
          },
          "verify": {
            "interval": 7776000,
            "rate_limit": null
          }
        }
      },
      "offerings": {
        "bronze": {
          "description": null,
          "compress": false,
          "compression_library": "zstd",
          "compress_mode": "job",
          "validate": null,
          "allow_quick_restore": false,
          "allow_extract_file": false,
          "backup_chain_size": null
        },
        "gold": {
          "description": "the best",
          "compress": true,
          "compression_library": "zlib",
          "compress_mode": "inline",
          "validate": {
            "steps": [
              "wait_for_boot",
              "execute_command"
            ],
            "boot_timeout": 180,
            "screenshot_wait": 5,
            "command": "/bin/true",
            "arguments": [
              "-v"
            ],
            "command_timeout": 90,
            "expected_exit_code": 3,
            "expected_output": "ok",
            "interval": 0,
            "end_chain_on_failure": false
          },
          "allow_quick_restore": true,
          "allow_extract_file": true,
          "backup_chain_size": -1
        },
        "silver": {
          "description": null,
          "compress": false,
          "compression_library": "zstd",
          "compress_mode": "job",
          "validate": {
            "steps": null,
            "boot_timeout": null,
            "screenshot_wait": null,
            "command": null,
            "arguments": null,
            "command_timeout": null,
            "expected_exit_code": null,
            "expected_output": null,
            "interval": null,
            "end_chain_on_failure": null
          },
          "allow_quick_restore": false,
          "allow_extract_file": false,
          "backup_chain_size": null
        }
      },
      "policies": {
        "db": {
          "offering": "gold",
          "storage": "nas1",
          "select": {
            "names": [
              "db-*"
            ],
            "uuids": [
              "6f1c8d1e-3a52-4a06-9d0f-5a7d1f5f2c11"
            ],
            "tags": {
              "env": "prod*"
            },
            "exclude": {
              "names": [
                "db-test"
              ],
              "uuids": [],
              "tags": {
                "scratch": "yes"
              },
              "exclude": null
            }
          },
          "priority": -10,
          "schedules": {
            "month-end": {
              "cron": "30 23 L * *",
              "timezone": "America/New_York",
              "jitter": 5400,
              "deadline": 172800,
              "isolated": true,
              "quiesce": "none",
              "storage": "vault",
              "retention": {
                "keep_last": 0,
                "keep_hourly": 0,
                "keep_daily": 0,
                "keep_weekly": 0,
                "keep_monthly": 0,
                "keep_yearly": 3,
                "keep_within": null
              },
              "paused": true
            }
          },
          "retention": {
            "keep_last": 1,
            "keep_hourly": 2,
            "keep_daily": 3,
            "keep_weekly": 4,
            "keep_monthly": 5,
            "keep_yearly": 6,
            "keep_within": 604800
          },
          "min_backups": 8,
          "exclude_disks": [
            "vdb",
            "sda"
          ],
          "first": "nextSlot",
          "paused": true,
          "validate": {
            "steps": [
              "screenshot"
            ],
            "boot_timeout": null,
            "screenshot_wait": null,
            "command": null,
            "arguments": null,
            "command_timeout": null,
            "expected_exit_code": null,
            "expected_output": null,
            "interval": 604800,
            "end_chain_on_failure": null
          }
        }
      },
      "digest": "[digest]"
    }
    "#);
}

#[test]
fn a_policy_reads_back_as_it_was_saved() {
    let policy = sound(&one(EVERYTHING));
    let saved = serde_json::to_string(&policy).expect("JSON");
    let read: Policy = serde_json::from_str(&saved).expect("a policy");
    assert_eq!(
        read,
        Policy {
            origins: read.origins.clone(),
            ..policy
        }
    );
}

const TEMPLATES: &str = r#"version: 1
storage: { nas1: { path: /mnt/nas1 }, nas2: { path: /mnt/nas2 } }
offerings: { gold: {}, bronze: { validate: true } }
templates:
  nightly:
    storage: nas1
    offering: bronze
    schedules:
      nightly: { cron: "0 4 * * *", jitter: 45m }
      noon: { cron: "0 12 * * *" }
    retention: { keepLast: 3, keepDaily: 7, keepWeekly: 4 }
    disks: { exclude: [vdb, vdc] }
    protect: { minBackups: 2 }
    validate: { interval: 2d, steps: [screenshot] }
policies:
  a:
    extends: nightly
    select: { names: [a] }
  b:
    extends: nightly
    select: { names: [b] }
    storage: nas2
    schedules:
      nightly: { cron: "30 5 * * *" }
      weekly: { cron: "0 6 * * SUN" }
    retention: { keepDaily: 5, keepWeekly: 0 }
    disks: { exclude: [vdz] }
    validate: { steps: [waitForBoot] }
"#;

#[test]
fn a_policy_takes_over_what_it_does_not_write() {
    let policies = sound(&one(TEMPLATES)).policies;
    let (a, b) = (&policies["a"], &policies["b"]);
    assert_eq!(
        (a.offering.as_str(), a.storage.as_deref()),
        ("bronze", Some("nas1"))
    );
    assert_eq!(b.storage.as_deref(), Some("nas2"));
    assert_eq!(a.schedules.keys().collect::<Vec<_>>(), ["nightly", "noon"]);
    assert_eq!(
        b.schedules.keys().collect::<Vec<_>>(),
        ["nightly", "noon", "weekly"]
    );
    let nightly = &b.schedules["nightly"];
    assert_eq!(
        (nightly.cron.as_str(), nightly.jitter),
        ("30 5 * * *", Seconds(45 * 60))
    );
    let kept = Retention {
        keep_last: 3,
        keep_daily: 5,
        ..Retention::default()
    };
    assert_eq!(b.retention, Some(kept));
    assert_eq!(b.exclude_disks.len(), 1);
    assert_eq!(b.min_backups, 2);
    let validate = b.validate.as_ref().expect("validated");
    assert_eq!(validate.interval, Some(Seconds(2 * 86_400)));
    assert_eq!(validate.steps, Some(vec![ValidationStep::WaitForBoot]));
}

#[test]
fn origins_lead_through_templates_and_aliases() {
    let policy = sound(&one(TEMPLATES));
    let text = |path: &str| {
        let at = policy
            .origins
            .get(path)
            .unwrap_or_else(|| panic!("no origin of {path}"));
        format!("{}:{} {}", at.line, at.column, &TEMPLATES[at.start..at.end])
    };
    insta::assert_snapshot!(
        [
            "policies.a",
            "policies.a.storage",
            "policies.b.storage",
            "policies.b.schedules.nightly.cron",
            "policies.b.schedules.nightly.jitter",
            "policies.b.schedules.noon",
            "policies.b.retention.keepDaily",
            "policies.b.retention.keepLast",
            "policies.b.select.names[0]",
            "policies.a.disks.exclude[1]",
            "storage.nas2.path",
        ]
        .map(text)
        .join("\n"),
        @r#"
        16:3 a
        6:14 nas1
        22:14 nas2
        24:24 "30 5 * * *"
        9:45 45m
        10:7 noon
        26:29 5
        11:28 3
        21:23 b
        12:29 vdc
        2:53 /mnt/nas2
        "#
    );
    assert!(
        !policy.origins.contains_key("policies.a.priority"),
        "a default has no place"
    );
    assert!(
        !policy
            .origins
            .keys()
            .any(|path| path.starts_with("templates"))
    );
    let aliased = with_top("").replace("keepDaily: 7", "keepDaily: &n 7, keepWeekly: *n");
    let policy = sound(&one(aliased.as_str()));
    let at = &policy.origins["policies.web.retention.keepWeekly"];
    assert_eq!(&aliased[at.start..at.end], "*n");
}

#[test]
fn no_rule_keeps_everything() {
    let text = with_top("").replace("{ keepDaily: 7 }", "{}");
    assert_eq!(sound(&one(text)).policies["web"].retention, None);
    assert!(Retention::default().keeps_everything());
    assert!(
        !Retention {
            keep_within: Some(Seconds(0)),
            ..Retention::default()
        }
        .keeps_everything()
    );
}

#[test]
fn rates_below_one_are_no_limit() {
    let rate = |text: &str| {
        let line = format!("settings: {{ backup.compression.rate.limit: {text} }}\n");
        sound(&one(with_top(&line))).settings.compression.rate_limit
    };
    assert_eq!(rate("0"), None);
    assert_eq!(rate("0.5"), None);
    assert_eq!(rate("0MB/s"), None);
    assert_eq!(rate("1"), Some(Bytes(1_000_000)));
    assert_eq!(rate("1.5"), Some(Bytes(1_500_000)));
    assert_eq!(rate("1MiB/s"), Some(Bytes(1 << 20)));
}

#[test]
fn what_no_compression_can_be_told_is_refused_where_it_stands() {
    let setting = |line: &str| {
        let line = format!("settings: {{ backup.compression.{line} }}\n");
        report(&one(with_top(&line)))
    };
    let library = with_top("").replace("gold: {}", "gold: { compressionLibrary: lzma }");
    let refused = [
        report(&one(library)),
        setting("coroutines: 0"),
        setting("coroutines: 17"),
        setting("rate.limit: -5"),
        setting("rate.limit: -5MB/s"),
    ];
    insta::assert_snapshot!(refused.join("\n"), @r#"
    unknown_word
      × `compressionLibrary` of offering `gold` must be `zstd` or `zlib`
       ╭─[policy.yaml:5:31]
     4 │ offerings:
     5 │   gold: { compressionLibrary: lzma }
       ·                               ──┬─
       ·                                 ╰── not one of them
     6 │ policies:
       ╰────
    1 problem in policy.yaml. Nothing was read from the host.
    out_of_range
      × setting `backup.compression.coroutines` must be between 1 and 16
        ╭─[policy.yaml:15:44]
     14 │         cron: "0 4 * * *"
     15 │ settings: { backup.compression.coroutines: 0 }
        ·                                            ┬
        ·                                            ╰── out of range
        ╰────
    1 problem in policy.yaml. Nothing was read from the host.
    out_of_range
      × setting `backup.compression.coroutines` must be between 1 and 16
        ╭─[policy.yaml:15:44]
     14 │         cron: "0 4 * * *"
     15 │ settings: { backup.compression.coroutines: 17 }
        ·                                            ─┬
        ·                                             ╰── out of range
        ╰────
    1 problem in policy.yaml. Nothing was read from the host.
    out_of_range
      × setting `backup.compression.rate.limit` must be between 0 and 1000000
        ╭─[policy.yaml:15:44]
     14 │         cron: "0 4 * * *"
     15 │ settings: { backup.compression.rate.limit: -5 }
        ·                                            ─┬
        ·                                             ╰── out of range
        ╰────
    1 problem in policy.yaml. Nothing was read from the host.
    bad_rate
      × `-5MB/s` is not a rate
        ╭─[policy.yaml:15:44]
     14 │         cron: "0 4 * * *"
     15 │ settings: { backup.compression.rate.limit: -5MB/s }
        ·                                            ──┬─
        ·                                              ╰── less than nothing
        ╰────
      help: a number with `B`, `KiB`, `MiB`, `GiB`, `TiB`, `kB`, `MB`, `GB` or `TB`, as in
            `200GiB`
    1 problem in policy.yaml. Nothing was read from the host.
    "#);
}

#[test]
fn files_are_one_policy_in_any_order() {
    let a = "version: 1\nstorage: { nas1: { path: /mnt/nas1 } }\nofferings: { gold: {} }\n";
    let b = "version: 1\npolicies: { web: { select: { names: [web] }, offering: gold, storage: nas1, schedules: { n: { cron: '@daily' } } } }\n";
    let c = "version: 1\ntimezone: Europe/Paris\nofferings: { bronze: {} }\npolicies: {}\n";
    let one = sound(&several(&[("a", a), ("b", b), ("c", c)]));
    let other = sound(&several(&[("c", c), ("b", b), ("a", a)]));
    assert_eq!(
        (&one.policies, &one.offerings),
        (&other.policies, &other.offerings)
    );
    assert_eq!(one.policies["web"].schedules["n"].timezone, "Europe/Paris");
    assert_ne!(one.digest, other.digest);
    assert_eq!(one.origins["offerings.bronze"].file, "c");
    // Where one file ends and the next begins counts.
    let (left, right) = b.split_at(b.len());
    let split = sound(&several(&[("a", a), ("b", left), ("c", c)]));
    assert_eq!(split.digest, one.digest);
    assert!(right.is_empty());
}

#[test]
fn leaving_knib_is_a_policy_too() {
    let policy = sound(&one("version: 1\npolicies: {}\n"));
    assert!(policy.policies.is_empty());
}
