//! Which cron patterns are taken, field by field, with what to say about the others.
//!
//! Croner judges each field. What it would let pass is refused before: `?` and `+`, which other
//! crons read differently, names in the wrong field, empty entries, and steps that never step.

use std::ops::Range;

use croner::Cron;
use croner::parser::CronParser;
use croner::parser::Seconds;
use croner::parser::Year;

use crate::model::misread::Misread;

struct Field {
    /// With its article.
    name: &'static str,
    min: u32,
    max: u32,
    /// Words that may stand in it.
    words: &'static [&'static str],
    hint: &'static str,
}

const FIELDS: [Field; 5] = [
    Field {
        name: "a minute",
        min: 0,
        max: 59,
        words: &[],
        hint: "minutes run from 0 to 59",
    },
    Field {
        name: "an hour",
        min: 0,
        max: 23,
        words: &[],
        hint: "hours run from 0 to 23",
    },
    Field {
        name: "a day of the month",
        min: 1,
        max: 31,
        words: &["L", "W", "LW"],
        hint: "days run from 1 to 31; `L` is the last, `15W` the weekday nearest to the 15th, `LW` the last weekday",
    },
    Field {
        name: "a month",
        min: 1,
        max: 12,
        words: &[
            "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
        ],
        hint: "months run from 1 to 12 or from JAN to DEC",
    },
    Field {
        name: "a day of the week",
        min: 0,
        max: 7,
        words: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
        hint: "days of the week run from 0 to 7 (Sunday twice) or from SUN to SAT; `5L` is the last Friday of a month, `1#2` the second Monday",
    },
];

const WORDS: [(&str, &str); 5] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
];

const FIVE: &str =
    "five fields: minute, hour, day of month, month, day of week, as in `0 2 * * *` for 02:00";

/// Reads a pattern.
pub(super) fn read(text: &str) -> Result<Cron, Misread> {
    let trimmed = text.trim();
    let whole = 0..text.len();
    if trimmed.starts_with('@') {
        let known = WORDS.iter().find(|(word, _)| *word == trimmed);
        let Some((_, pattern)) = known else {
            return Err(Misread::new("no such word", whole).hint(
                "there are `@hourly`, `@daily`, `@weekly`, `@monthly` and `@yearly`; or write five fields",
            ));
        };
        return parse(pattern).map_err(|_| Misread::new("not a cron pattern", whole));
    }
    let fields = split(text);
    match fields.len() {
        5 => {}
        6 | 7 => {
            let problem = Misread::new(format!("{} fields", fields.len()), whole);
            return Err(problem.hint(format!("{FIVE}; seconds and years are not taken")));
        }
        0 => return Err(Misread::new("empty", whole).hint(FIVE)),
        1 => return Err(Misread::new("not a cron pattern", whole).hint(FIVE)),
        n => return Err(Misread::new(format!("{n} fields"), whole).hint(FIVE)),
    }
    for (index, (field, at)) in fields.iter().enumerate() {
        judge(index, field, at)?;
    }
    parse(text).map_err(|_| Misread::new("not a cron pattern", whole).hint(FIVE))
}

fn parse(pattern: &str) -> Result<Cron, croner::errors::CronError> {
    CronParser::builder()
        .seconds(Seconds::Disallowed)
        .year(Year::Disallowed)
        .build()
        .parse(pattern)
}

/// The fields with their places.
fn split(text: &str) -> Vec<(&str, Range<usize>)> {
    let mut from = 0;
    text.split_whitespace()
        .map(|field| {
            let start = from + text[from..].find(field).expect("a part of the text");
            from = start + field.len();
            (field, start..from)
        })
        .collect()
}

fn judge(index: usize, text: &str, at: &Range<usize>) -> Result<(), Misread> {
    let field = &FIELDS[index];
    let refuse = |what: String| Err(Misread::new(what, at.clone()));
    if text.contains('?') {
        return refuse("`?` is not taken".into()).map_err(|e| e.hint("write `*`"));
    }
    if text.contains('+') {
        return refuse("`+` is not taken".into())
            .map_err(|e| e.hint("day of month and day of week together mean either"));
    }
    if text.split(',').any(str::is_empty) {
        return refuse("an entry of the list is empty".into());
    }
    let not_one = || Misread::new(format!("not {}", field.name), at.clone()).hint(field.hint);
    if !text.is_ascii() || !words(text).all(|word| takes(index, word)) {
        return Err(not_one());
    }
    if index == 4 && text.split(',').any(|entry| entry.eq_ignore_ascii_case("L")) {
        return refuse("`L` of which day of the week?".into()).map_err(|e| e.hint(field.hint));
    }
    text.split(',')
        .try_for_each(|entry| runs_upwards(field, entry))
        .map_err(|(what, hint)| Misread::new(what, at.clone()).hint(hint))?;
    let mut pattern = ["*"; 5];
    pattern[index] = text;
    parse(&pattern.join(" ")).map_err(|_| not_one())?;
    Ok(())
}

/// Refuses what croner takes or only calls wrong, with what to write instead.
fn runs_upwards(field: &Field, entry: &str) -> Result<(), (String, String)> {
    let (range, step) = entry.split_once('/').unwrap_or((entry, "1"));
    if step.parse::<u32>().is_ok_and(|step| step > field.max) {
        return Err((format!("a step of {step} never steps"), field.hint.into()));
    }
    if entry.contains('/') && range.parse::<u32>().is_ok() {
        let written = format!("write `{range}-{}/{step}`", field.max);
        return Err(("a step of what range?".into(), written));
    }
    let ends = range.split_once('-');
    let ends = ends.map(|(from, to)| (from.parse::<u32>(), to.parse::<u32>()));
    match ends {
        Some((Ok(from), Ok(to))) if to < from && from <= field.max => {
            let (least, most) = (field.min, field.max);
            let written = format!("a range runs upwards: `{from}-{most},{least}-{to}`");
            Err((format!("`{range}` runs backwards"), written))
        }
        _ => Ok(()),
    }
}

/// Runs of letters.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphabetic())
        .filter(|word| !word.is_empty())
}

fn takes(index: usize, word: &str) -> bool {
    let word = word.to_ascii_uppercase();
    // `5L` and `FRIL`: the last Friday.
    let day = match index {
        4 => word.strip_suffix('L').unwrap_or(&word),
        _ => word.as_str(),
    };
    (index == 4 && day.is_empty()) || FIELDS[index].words.contains(&day)
}
