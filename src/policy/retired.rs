//! Keys that people look for and a policy does not have, with what to write instead.

/// What to say about a key in a place of this kind.
pub(super) fn hint(kind: &str, key: &str) -> Option<&'static str> {
    let asked = |(places, name, _): &&(&[&str], &str, &str)| {
        *name == key && (places.is_empty() || places.contains(&kind))
    };
    KEYS.iter().find(asked).map(|(_, _, hint)| *hint)
}

const POLICY: &[&str] = &["a policy", "a template"];
const TOP: &[&str] = &["a policy file"];
const SETTINGS: &[&str] = &["the settings"];
const SCHEDULE: &[&str] = &["a schedule"];
const SELECT: &[&str] = &["`select`", "`exclude`"];
const ANYWHERE: &[&str] = &[];

const DESTRUCTIVE: &str = "nothing destructive is done without `--allow-destructive N`; `protect.minBackups` and `knib backup pin` keep backups";
const CRON: &str = "write `cron`: `0 2 * * *` is 02:00 every day";
const IDENTITY: &str =
    "VMs are selected by names, uuids and tags; `knib vm tag VM key=value` writes a tag";
const KEPT: &str = "the backups of a VM that leaves a policy are kept until `knib backup delete`";
const ONE_HOST: &str = "knib runs on one host: use the setting that ends in `.per.host`";

type Row = (&'static [&'static str], &'static str, &'static str);

const KEYS: &[Row] = &[
    (TOP, "guards", DESTRUCTIVE),
    (
        TOP,
        "include",
        "give several files, or a directory, with -f",
    ),
    (TOP, "apiVersion", "a policy file begins with `version: 1`"),
    (TOP, "kind", "a policy file begins with `version: 1`"),
    (ANYWHERE, "preventDelete", DESTRUCTIVE),
    (ANYWHERE, "maxDeletes", DESTRUCTIVE),
    (POLICY, "onRemove", KEPT),
    (
        POLICY,
        "enabled",
        "write `paused: true` to switch a policy off",
    ),
    (
        SCHEDULE,
        "enabled",
        "write `paused: true` to switch a schedule off",
    ),
    (
        &["a template"],
        "select",
        "a template selects nothing: write `select` in each policy",
    ),
    (
        &["a template"],
        "extends",
        "a template extends nothing: put the keys into one template",
    ),
    (SCHEDULE, "at", CRON),
    (SCHEDULE, "calendar", CRON),
    (SCHEDULE, "onCalendar", CRON),
    (SCHEDULE, "time", CRON),
    (SCHEDULE, "every", CRON),
    (SCHEDULE, "interval", CRON),
    (
        SCHEDULE,
        "catchUp",
        "a slot that passed runs once, as soon as it can; `deadline` says how late is too late",
    ),
    (SCHEDULE, "first", "`first` is a key of the policy"),
    (
        SCHEDULE,
        "quiescevm",
        "write `quiesce: preferred` or `quiesce: required`",
    ),
    (SCHEDULE, "maxBackups", "write `retention: { keepLast: N }`"),
    (SCHEDULE, "maxbackups", "write `retention: { keepLast: N }`"),
    (POLICY, "maxBackups", "write `retention: { keepLast: N }`"),
    (
        ANYWHERE,
        "ttl",
        "backups are kept by count and age among themselves: see `retention`",
    ),
    (SELECT, "titles", IDENTITY),
    (SELECT, "metadata", IDENTITY),
    (SELECT, "labels", IDENTITY),
    (SELECT, "state", IDENTITY),
    (SELECT, "running", IDENTITY),
    (&["an offering"], "name", "the key above is the name"),
    (
        &["an offering"],
        "chainSize",
        "did you mean `backupChainSize`?",
    ),
    (
        &["an offering"],
        "validationSteps",
        "write `validate: { steps: [...] }`",
    ),
    (SETTINGS, "kboss.timeout", "renamed: `knib.timeout`"),
    (
        SETTINGS,
        "backup.compression.max.concurrent.operations.per.host",
        "renamed: `backup.compression.max.concurrent.compressions.per.host`",
    ),
    (
        SETTINGS,
        "backup.compression.max.concurrent.operations",
        ONE_HOST,
    ),
    (
        SETTINGS,
        "backup.validation.max.concurrent.operations",
        ONE_HOST,
    ),
    (
        SETTINGS,
        "backup.framework.enabled",
        "there is nothing to switch on: a policy that selects a VM does",
    ),
    (
        SETTINGS,
        "backup.framework.provider.plugin",
        "there is one kind of backup",
    ),
];
