//! Every kind of error, by the least text that has it.

use std::collections::BTreeSet;
use std::fs;

use super::codes;
use super::one;
use super::several;
use super::with_top;

fn changed(from: &str, to: &str) -> String {
    let text = with_top("");
    assert!(text.contains(from));
    text.replace(from, to)
}

/// Texts of one file with the codes they get.
fn cases() -> Vec<(&'static str, Vec<u8>)> {
    let texts = [
        ("not_yaml", "]".to_owned()),
        ("control_character", "\u{1}".into()),
        ("empty_file", String::new()),
        ("several_documents", "a: 1\n---\nb: 1\n".into()),
        ("tag", "a: !b c".into()),
        ("too_deep", "[".repeat(50)),
        ("too_many_values", "- x\n".repeat(100_001)),
        ("alias_loop", "a: &a [*a]".into()),
        ("unreadable", " ".repeat(5 << 20)),
        ("newer_version", "version: 2".into()),
        ("merge_key", with_top("<<: {}\n")),
        ("duplicate_key", with_top("version: 1\n")),
        ("unknown_key", with_top("x: 1\n")),
        ("missing_key", changed("    offering: gold\n", "")),
        ("wrong_kind", with_top("timezone: 1\n")),
        ("out_of_range", changed("keepDaily: 7", "keepDaily: -1")),
        ("keeps_nothing", changed("keepDaily: 7", "keepDaily: 0")),
        (
            "unknown_word",
            changed("gold: {}", "gold: { compressMode: later }"),
        ),
        ("empty_value", changed("[web]", "[]")),
        ("empty_select", changed("{ names: [web] }", "{}")),
        ("bad_name", changed("  web:", "  Web:")),
        ("bad_uri", with_top("connect: qemu+ssh://kvm2/system\n")),
        ("bad_zone", with_top("timezone: Mars/Olympus\n")),
        ("bad_path", with_top("state: x\n")),
        ("bad_size", changed("/mnt/nas1", "/mnt/nas1, minFree: 5G")),
        (
            "bad_rate",
            with_top("settings: { backup.compression.rate.limit: fast }\n"),
        ),
        (
            "bad_duration",
            with_top("settings: { knib.timeout: long }\n"),
        ),
        ("bad_cron", changed("0 4 * * *", "0 4 * *")),
        ("bad_pattern", changed("[web]", "[\"[\"]")),
        ("bad_uuid", changed("names: [web]", "uuids: [web]")),
        (
            "unknown_reference",
            changed("storage: nas1", "storage: nas2"),
        ),
        (
            "contradiction",
            changed("cron:", "storage: nas1\n        cron:"),
        ),
        (
            "twice",
            changed(
                "gold: {}",
                "gold: { validate: { steps: [screenshot, screenshot] } }",
            ),
        ),
        (
            "same_storage",
            changed("offerings:", "  b: { path: /mnt/nas1 }\nofferings:"),
        ),
    ];
    let bytes = [("not_utf8", vec![0xff])];
    texts
        .into_iter()
        .map(|(code, text)| (code, text.into_bytes()))
        .chain(bytes)
        .collect()
}

/// These need no file, or several.
const OTHERS: [&str; 2] = ["no_policy", "given_twice"];
/// Would be a mistake of knib, and is reached by none of the texts that the properties try.
const NEVER: [&str; 1] = ["not_understood"];

#[test]
fn each_kind_of_error_is_reached_by_itself() {
    for (code, text) in cases() {
        assert_eq!(codes(&one(text)), [code]);
    }
    assert_eq!(codes(&several::<&str>(&[])), ["no_policy"]);
    let text = with_top("");
    assert_eq!(
        codes(&several(&[("a", text.as_str()), ("a", "")])),
        ["given_twice"]
    );
}

/// The codes that the sources name are those tried above.
#[test]
fn no_kind_of_error_is_left_out() {
    let mut named = BTreeSet::new();
    let mut directories = vec![concat!(env!("CARGO_MANIFEST_DIR"), "/src/policy").into()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir::<std::path::PathBuf>(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                directories.push(path);
            } else {
                collect(&fs::read_to_string(path).expect("text"), &mut named);
            }
        }
    }
    let tried = cases().into_iter().map(|(code, _)| code);
    let tried = tried
        .chain(OTHERS)
        .chain(NEVER)
        .map(str::to_owned)
        .collect::<BTreeSet<_>>();
    assert_eq!(named, tried);
}

/// First arguments of what makes errors, and first parts of the refusals.
fn collect(source: &str, named: &mut BTreeSet<String>) {
    for call in [
        ".error(",
        "self.refuse(",
        ".misread(",
        "Severity::Error,",
        "=> (",
    ] {
        for (at, _) in source.match_indices(call) {
            let rest = source[at + call.len()..].trim_start();
            let first = rest.strip_prefix('"').and_then(|rest| rest.split_once('"'));
            if let Some((code, _)) = first.filter(|(code, _)| !code.contains(' ')) {
                named.insert(code.to_owned());
            }
        }
    }
    for (at, _) in source.match_indices("(\"not_yaml\"") {
        named.insert(source[at + 2..at + 10].to_owned());
    }
}
