//! Whatever the files say, reading them ends well; whatever is printed reads back.

use knib::cli::render::findings;
use knib::model::bytes::Bytes;
use knib::model::finding::Severity;
use knib::model::seconds::Seconds;
use knib::policy;
use knib::policy::Sources;
use knib::policy::duration;
use knib::policy::glob::Glob;
use knib::policy::size;
use proptest::prelude::*;

use super::one;
use super::several;

const EXAMPLES: [&str; 4] = [
    include_str!("../../examples/databases.yaml"),
    include_str!("../../examples/templates.yaml"),
    include_str!("../../examples/month-end.yaml"),
    include_str!("../../examples/site/host.yaml"),
];

/// What always holds of a reading.
fn holds(sources: &Sources) -> Result<(), TestCaseError> {
    let (policy, found) = policy::load(sources);
    let errors = found
        .iter()
        .filter(|finding| finding.severity == Severity::Error)
        .count();
    prop_assert_eq!(policy.is_none(), errors > 0, "{:?}", found);
    for label in found.iter().flat_map(|finding| &finding.labels) {
        let at = &label.origin;
        let file = sources.file(&at.file).expect("a file of the sources");
        prop_assert!(at.start <= at.end && at.end <= file.bytes.len(), "{:?}", at);
        if let Ok(text) = std::str::from_utf8(&file.bytes) {
            prop_assert!(text.is_char_boundary(at.start) && text.is_char_boundary(at.end));
            let line = text[..at.start].matches('\n').count() + 1;
            prop_assert_eq!(line, at.line);
        }
    }
    for finding in &found {
        prop_assert!(
            !finding.text.ends_with('.') && finding.code != "not_understood",
            "{:?}",
            finding
        );
    }
    let shown = findings::human(&found, sources, 80, false) + &findings::github(&found);
    prop_assert!(shown.is_empty() == found.is_empty());
    prop_assert!(!shown.contains("Failed to read"), "{}", shown);
    if let Some(policy) = policy {
        let now = "2026-11-23T09:00:00Z".parse().expect("an instant");
        let _ = policy::lint::lint(&policy, sources, now);
    }
    Ok(())
}

/// Pieces that mean something to YAML or to a policy.
const PIECES: [&str; 44] = [
    "\n",
    "\n  ",
    "\n    ",
    ": ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    "\"",
    "'",
    "*a",
    "&a ",
    "<<: *a",
    "#",
    "|\n",
    "? ",
    "---\n",
    "!x ",
    "~",
    "null",
    "true",
    "yes",
    "0",
    "-1",
    "99999999999999999999",
    "1e400",
    "version: 1\n",
    "policies:",
    "offerings:",
    "select: {}",
    "names: [x]",
    "cron: \"* * * * *\"",
    "retention:",
    "5x",
    "é",
    "\u{2028}",
    "\t",
    "\r\n",
    "\\",
    "extends: nightly",
    "settings:",
    "\u{feff}",
    ",",
];

fn mutated() -> impl Strategy<Value = String> {
    let edit = (
        any::<prop::sample::Index>(),
        0_usize..12,
        prop::sample::select(&PIECES[..]),
    );
    (
        prop::sample::select(&EXAMPLES[..]),
        prop::collection::vec(edit, 1..6),
    )
        .prop_map(|(text, edits)| {
            let mut text = text.to_owned();
            for (at, length, piece) in edits {
                let mut from = at.index(text.len() + 1);
                let mut to = (from + length).min(text.len());
                while !text.is_char_boundary(from) {
                    from -= 1;
                }
                while !text.is_char_boundary(to) {
                    to += 1;
                }
                text.replace_range(from..to, piece);
            }
            text
        })
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 256,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        holds(&one(bytes))?;
    }

    #[test]
    fn any_text_is_read(text in "\\PC{0,200}") {
        holds(&one(text))?;
    }

    #[test]
    fn any_pieces_are_read(pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..40)) {
        holds(&one(pieces.concat()))?;
    }

    #[test]
    fn broken_examples_are_read(text in mutated(), other in mutated()) {
        holds(&several(&[("a.yaml", text), ("b.yaml", other)]))?;
    }

    #[test]
    fn lengths_of_time_read_back(seconds in 0_u64..3_000_000_000) {
        let printed = Seconds(seconds).to_string();
        prop_assert_eq!(duration::read(&printed), Ok(Seconds(seconds)), "{}", printed);
    }

    #[test]
    fn amounts_of_data_read_back(number in 0_u64..1000, exponent in 0_u32..5) {
        let bytes = Bytes(number << (10 * exponent));
        let printed = bytes.to_string();
        prop_assert_eq!(size::read(&printed), Ok(bytes), "{}", printed);
        let rate = format!("{printed}/s");
        prop_assert_eq!(size::read_rate(&rate), Ok(bytes), "{}", rate);
    }

    /// Printed with one decimal place, so off by half of a tenth of the unit.
    #[test]
    fn any_amount_reads_back_nearly(bytes in 0_u64..1 << 49) {
        let read = size::read(&Bytes(bytes).to_string()).expect("an amount").0;
        prop_assert!(read.abs_diff(bytes) <= bytes / 20, "{} {}", read, bytes);
    }

    #[test]
    fn no_text_is_too_odd(text in "[ -~éß%./]{0,24}") {
        let _ = duration::read(&text);
        let _ = size::read(&text);
        let _ = size::read_rate(&text);
        let _ = size::read_min_free(&text);
        let _ = policy::connect::local(&text);
        if let Ok(glob) = Glob::read(&text) {
            let _ = glob.matches(&text);
        }
    }

    /// A name whose special characters are escaped matches itself and nothing longer.
    #[test]
    fn an_escaped_name_is_itself(name in "[a-z*?\\[\\]\\\\é-]{0,12}") {
        let escaped = name.chars().flat_map(|c| ['\\', c]).collect::<String>();
        let glob = Glob::read(&escaped).expect("a pattern");
        prop_assert!(glob.matches(&name));
        let longer = format!("{name}x");
        prop_assert!(!glob.matches(&longer));
    }
}
