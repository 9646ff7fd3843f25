//! Which VMs are selected.

use std::collections::BTreeMap;
use std::time::Duration;
use std::time::Instant;

use knib::model::policy::Select;
use knib::policy::glob::Glob;
use knib::policy::select::matched;
use knib::policy::select::selects;

const UUID: &str = "6f1c8d1e-3a52-4a06-9d0f-5a7d1f5f2c11";

fn tags(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).into(), (*value).into()))
        .collect()
}

fn names(patterns: &[&str]) -> Select {
    Select {
        names: patterns.iter().map(|pattern| (*pattern).into()).collect(),
        ..Select::default()
    }
}

fn glob(pattern: &str, text: &str) -> bool {
    Glob::read(pattern)
        .unwrap_or_else(|why| panic!("{pattern}: {why}"))
        .matches(text)
}

#[test]
fn patterns_match_whole_texts() {
    for (pattern, text) in [
        ("*", ""),
        ("*", "anything"),
        ("db-*", "db-"),
        ("db-*", "db-01"),
        ("*-01", "db-01"),
        ("d?-*", "db-01"),
        ("[dw]b-*", "wb-1"),
        ("db-[0-9]", "db-7"),
        ("a*b*c", "aXbYbZc"),
        ("[a-]", "-"),
        ("[]-]", "x]"),
        ("\\*", "*"),
        ("a\\[b", "a[b"),
        ("[\\]]", "]"),
        ("é?", "éü"),
        ("**", "x"),
        ("", ""),
        ("[a-c-e]", "-"),
        ("[a-c-e]", "e"),
    ] {
        if pattern == "[]-]" {
            assert!(Glob::read(pattern).is_err(), "an empty set");
            continue;
        }
        assert!(glob(pattern, text), "{pattern} {text}");
    }
    for (pattern, text) in [
        ("db", "db-01"),
        ("db-*", "xdb-01"),
        ("DB-*", "db-01"),
        ("db-?", "db-"),
        ("db-?", "db-01"),
        ("[0-9]", "12"),
        ("\\*", "x"),
        ("", "x"),
        ("a*b", "ab "),
        ("[a-c-e]", "d"),
        ("db-.", "db-1"),
    ] {
        assert!(!glob(pattern, text), "{pattern} {text}");
    }
}

#[test]
fn a_pattern_takes_no_time_of_its_own() {
    let started = Instant::now();
    let pattern = "a*".repeat(500) + "b";
    assert!(!glob(&pattern, &"a".repeat(20_000)));
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn kinds_of_rules_are_all_met_and_entries_are_alternatives() {
    let select = Select {
        names: vec!["db-*".into(), "sql-*".into()],
        tags: tags(&[("env", "prod*"), ("tier", "?")]),
        ..Select::default()
    };
    let good = tags(&[("env", "production"), ("tier", "1"), ("x", "y")]);
    assert!(selects(&select, "db-01", UUID, &good));
    assert!(selects(&select, "sql-01", UUID, &good));
    assert!(!selects(&select, "web-01", UUID, &good));
    assert!(!selects(
        &select,
        "db-01",
        UUID,
        &tags(&[("env", "production")])
    ));
    assert!(!selects(
        &select,
        "db-01",
        UUID,
        &tags(&[("env", "test"), ("tier", "1")])
    ));
}

#[test]
fn what_is_excluded_is_out() {
    let mut select = names(&["*"]);
    let exclude = Select {
        tags: tags(&[("backup", "no")]),
        ..names(&["db-*"])
    };
    select.exclude = Some(Box::new(exclude));
    // Both kinds of rules are to be met here too.
    assert!(!selects(&select, "db-01", UUID, &tags(&[("backup", "no")])));
    assert!(selects(&select, "db-01", UUID, &tags(&[("backup", "yes")])));
    assert!(selects(&select, "web-01", UUID, &tags(&[("backup", "no")])));
}

#[test]
fn a_uuid_is_a_uuid_in_either_case() {
    let select = Select {
        uuids: vec![UUID.into()],
        ..Select::default()
    };
    assert!(selects(&select, "any", &UUID.to_uppercase(), &tags(&[])));
    assert!(!selects(
        &select,
        "any",
        "6f1c8d1e-3a52-4a06-9d0f-5a7d1f5f2c12",
        &tags(&[])
    ));
}

#[test]
fn no_rule_selects_nothing() {
    assert!(!selects(&Select::default(), "x", UUID, &tags(&[])));
    assert!(!selects(
        &names(&["[unclosed"]),
        "[unclosed",
        UUID,
        &tags(&[])
    ));
}

#[test]
fn the_rules_that_matched_are_told() {
    let mut select = names(&["web-*", "db-*"]);
    select.tags = tags(&[("env", "prod")]);
    let told = matched(&select, "db-01", UUID, &tags(&[("env", "prod")])).expect("selected");
    assert_eq!(told.to_string(), "names db-*, tag env=prod");
    select.uuids = vec![UUID.into()];
    let told = matched(&select, "db-01", UUID, &tags(&[("env", "prod")])).expect("selected");
    assert_eq!(
        told.to_string(),
        format!("names db-*, uuid {UUID}, tag env=prod")
    );
}
