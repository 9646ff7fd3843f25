//! The published schema is the generated one, and it says what the parser says.

use std::collections::BTreeSet;
use std::fs;
use std::sync::LazyLock;

use jsonschema::Validator;
use knib::policy;
use proptest::prelude::*;
use serde_json::Value;
use serde_json::json;

use super::one;

const PUBLISHED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/policy.json");

#[test]
fn the_published_schema_is_the_generated_one() {
    let generated = serde_json::to_string_pretty(&policy::schema()).expect("JSON") + "\n";
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        fs::write(PUBLISHED, &generated).expect("writable");
    }
    let published = fs::read_to_string(PUBLISHED).expect("schemas/policy.json");
    assert!(
        published == generated,
        "run this test again with UPDATE_SCHEMAS=1"
    );
}

#[test]
fn the_schema_is_of_the_draft_it_names_and_describes_every_key() {
    let schema = policy::schema();
    assert_eq!(
        schema["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    assert!(jsonschema::meta::is_valid(&schema));
    let mut keys = 0;
    each(&schema, &mut |value| {
        let Some(properties) = value["properties"].as_object() else {
            return;
        };
        assert_eq!(value["additionalProperties"], false, "{value}");
        for (key, of) in properties {
            keys += 1;
            let described = of["description"]
                .as_str()
                .is_some_and(|text| !text.contains('\n'));
            assert!(described, "{key} has no description");
        }
    });
    assert!(keys > 70, "{keys}");
    assert!(
        !schema.to_string().contains("\"null\""),
        "no key takes null"
    );
}

fn each(value: &Value, look: &mut impl FnMut(&Value)) {
    look(value);
    match value {
        Value::Array(items) => items.iter().for_each(|item| each(item, look)),
        Value::Object(map) => map.values().for_each(|item| each(item, look)),
        _ => {}
    }
}

/// One policy with every key in it.
fn everything() -> Value {
    let schedule = json!({
        "cron": "0 4 * * *", "timezone": "Europe/Paris", "jitter": "5m", "deadline": "2h", "isolated": true,
        "quiesce": "none", "storage": "nas1", "retention": { "keepLast": 1, "keepWithin": "3d" }, "paused": false
    });
    let validate = json!({
        "steps": ["waitForBoot", "executeCommand", "screenshot"], "bootTimeout": "4m", "screenshotWait": "5s",
        "command": "/bin/true", "arguments": ["-v"], "commandTimeout": "1m", "expectedExitCode": 0,
        "expectedOutput": "ok", "interval": "1d", "endChainOnFailure": true
    });
    let template = json!({
        "offering": "gold", "storage": "nas1", "priority": 1, "schedules": { "nightly": schedule },
        "retention": { "keepHourly": 1, "keepDaily": 7, "keepWeekly": 4, "keepMonthly": 6, "keepYearly": 1 },
        "protect": { "minBackups": 2 }, "disks": { "exclude": ["vdb"] }, "first": "nextSlot", "paused": false,
        "validate": validate
    });
    let mut policy = template.clone();
    policy["extends"] = json!("nightly");
    policy["select"] = json!({
        "names": ["db-*"], "uuids": ["6f1c8d1e-3a52-4a06-9d0f-5a7d1f5f2c11"], "tags": { "env": "prod" },
        "exclude": { "names": ["x"], "uuids": ["6f1c8d1e-3a52-4a06-9d0f-5a7d1f5f2c12"], "tags": { "a": "b" } }
    });
    json!({
        "version": 1, "connect": "qemu:///system", "state": "/var/lib/knib/state.db", "timezone": "Europe/Paris",
        "storage": { "nas1": { "path": "/mnt/nas1", "minFree": "5%", "verify": { "interval": "30d", "rateLimit": "200MB/s" } } },
        "settings": {
            "backup.chain.size": 8, "knib.timeout": "12h", "backup.compression.task.enabled": true,
            "backup.compression.max.concurrent.compressions.per.host": 5, "backup.compression.max.job.retries": 2,
            "backup.compression.retry.interval": 60, "backup.compression.timeout": "8h",
            "backup.compression.minimum.free.storage": 1.5, "backup.compression.coroutines": 1,
            "backup.compression.rate.limit": 0.5, "backup.validation.task.enabled": true,
            "backup.validation.interval": 24, "backup.validation.max.concurrent.operations.per.host": 1,
            "backup.validation.max.job.retries": 2, "backup.validation.retry.interval": "1h",
            "backup.validation.timeout": 3600, "backup.validation.boot.default.timeout": "4m",
            "backup.validation.script.default.timeout": "1m", "backup.validation.screenshot.default.wait": "1m",
            "backup.validation.end.chain.on.fail": true, "backup.validation.max.memory": "8GiB",
            "backup.validation.max.vcpus": 4
        },
        "offerings": {
            "gold": {
                "description": "x", "compress": true, "compressionLibrary": "zlib", "compressMode": "inline",
                "validate": validate, "allowQuickRestore": true, "allowExtractFile": true, "backupChainSize": 7
            },
            "plain": { "validate": true }
        },
        "templates": { "nightly": template },
        "policies": { "db": policy }
    })
}

static VALIDATOR: LazyLock<Validator> =
    LazyLock::new(|| jsonschema::validator_for(&policy::schema()).expect("a schema"));

fn codes(policy: &Value) -> Vec<String> {
    // JSON is YAML.
    super::codes(&one(policy.to_string()))
}

#[test]
fn the_policy_with_every_key_has_every_key() {
    assert_eq!(codes(&everything()), [""; 0]);
    assert!(VALIDATOR.is_valid(&everything()));
    let mut known = BTreeSet::new();
    each(&policy::schema(), &mut |value| {
        known.extend(
            value["properties"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(key, _)| key.clone()),
        );
    });
    let mut used = BTreeSet::new();
    each(&everything(), &mut |value| {
        let keys = value.as_object().into_iter().flatten();
        used.extend(keys.map(|(key, _)| key.clone()));
    });
    let unused = known.difference(&used).collect::<Vec<_>>();
    assert!(unused.is_empty(), "{unused:?}");
}

/// The paths of all values of a kind.
fn paths(value: &Value, above: &str, wanted: fn(&Value) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    if wanted(value) {
        found.push(above.to_owned());
    }
    let entries: Vec<(String, &Value)> = match value {
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(at, item)| (at.to_string(), item))
            .collect(),
        Value::Object(map) => map.iter().map(|(key, item)| (key.clone(), item)).collect(),
        _ => Vec::new(),
    };
    for (key, item) in entries {
        found.extend(paths(item, &format!("{above}/{key}"), wanted));
    }
    found
}

#[test]
fn schema_and_parser_refuse_an_unknown_key_everywhere() {
    let maps = paths(&everything(), "", Value::is_object);
    assert!(maps.len() > 20, "{maps:?}");
    for path in maps {
        let mut policy = everything();
        let map = policy
            .pointer_mut(&path)
            .expect("a path")
            .as_object_mut()
            .expect("a map");
        map.insert("zzUnknown".into(), json!(1));
        assert!(!VALIDATOR.is_valid(&policy), "{path}: the schema takes it");
        let codes = codes(&policy);
        // In a map of names it is a name, and a bad one; a tag may have any name, but text as its value.
        let refused = ["unknown_key", "bad_name", "wrong_kind"]
            .iter()
            .any(|code| codes.contains(&(*code).into()));
        assert!(refused, "{path}: {codes:?}");
    }
}

/// Problems that both can see. Ranges are not among them: how long a text's length of time may be
/// is more than a schema can say.
const COMMON: [&str; 7] = [
    "unknown_key",
    "wrong_kind",
    "unknown_word",
    "bad_name",
    "empty_value",
    "empty_select",
    "bad_duration",
];

fn values() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        json!(null),
        json!(true),
        json!(false),
        json!(0),
        json!(-1),
        json!(1),
        json!(17),
        json!(1025),
        json!(100_001),
        json!(10_000_000_000_i64),
        json!(0.5),
        json!(""),
        json!("text"),
        json!("5m"),
        json!("5x"),
        json!("5%"),
        json!("5 %"),
        json!("200MB/s"),
        json!("1 GiB"),
        json!("zstd"),
        json!("none"),
        json!("screenshot"),
        json!("immediate"),
        json!("0 4 * * *"),
        json!("@daily"),
        json!("/x"),
        json!([]),
        json!([""]),
        json!(["x"]),
        json!([1]),
        json!(["screenshot"]),
        json!({}),
        json!({"x": 1}),
        json!({"names": ["x"]}),
        json!({"Name": {}}),
        json!({"x": {}}),
        json!({"keepLast": 1}),
        json!({"interval": "5m"}),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 160, failure_persistence: None, ..ProptestConfig::default() })]

    /// What an editor underlines is an error, and what the two can both see they both see.
    #[test]
    fn schema_and_parser_agree(
        at in any::<prop::sample::Index>(),
        value in values(),
        take_out in prop::bool::weighted(0.2),
    ) {
        let mut policy = everything();
        let all = paths(&policy, "", |_| true);
        let path = &all[at.index(all.len())];
        let (above, key) = path.rsplit_once('/').unwrap_or(("", ""));
        match policy.pointer_mut(above) {
            Some(Value::Object(map)) if take_out => {
                map.remove(key);
            }
            _ => *policy.pointer_mut(path).expect("a path") = value,
        }
        let valid = VALIDATOR.is_valid(&policy);
        let codes = codes(&policy);
        prop_assert!(valid || !codes.is_empty(), "{} only the schema minds: {}", path, policy);
        let common = codes.iter().any(|code| COMMON.contains(&code.as_str()));
        prop_assert!(!valid || !common, "{} only the parser minds: {:?}", path, codes);
    }
}
