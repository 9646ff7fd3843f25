//! Pieces of text: counts, lengths, instants, wrapped lines.

use std::fmt::Write;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// `1 VM`, `2 VMs`.
#[must_use]
pub fn count(n: usize, one: &str) -> String {
    match n {
        1 => format!("1 {one}"),
        n if one.ends_with('y') => format!("{n} {}ies", &one[..one.len() - 1]),
        n => format!("{n} {one}s"),
    }
}

/// `a, b and c`.
#[must_use]
pub fn and(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// A length of time in its two greatest units: `2 h 5 min`.
#[must_use]
pub fn length(seconds: u64) -> String {
    const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)];
    let Some(first) = UNITS.iter().position(|(_, unit)| seconds >= *unit) else {
        return "0 s".to_owned();
    };
    let (name, unit) = UNITS[first];
    let mut text = format!("{} {name}", seconds / unit);
    // Seconds beside minutes are for stop-watches.
    if let Some((name, smaller)) = UNITS.get(first + 1).filter(|(name, _)| *name != "s") {
        let rest = seconds % unit / smaller;
        if rest > 0 {
            let _ = write!(text, " {rest} {name}");
        }
    }
    text
}

/// An instant for people, to the minute.
#[must_use]
pub fn minute(at: Timestamp, zone: &TimeZone) -> String {
    let local = at.to_zoned(zone.clone());
    local.strftime("%Y-%m-%d %H:%M").to_string()
}

/// The same with the day of the week.
#[must_use]
pub fn day(at: Timestamp, zone: &TimeZone) -> String {
    let local = at.to_zoned(zone.clone());
    local.strftime("%a %Y-%m-%d %H:%M").to_string()
}

/// The same to the second.
#[must_use]
pub fn second(at: Timestamp, zone: &TimeZone) -> String {
    let local = at.to_zoned(zone.clone());
    local.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// How long ago, or how soon, in one unit: `3 h ago`, `in 5 min`.
#[must_use]
pub fn relative(at: Timestamp, now: Timestamp) -> String {
    const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)];
    let seconds = now.duration_since(at).as_secs();
    let size = seconds.unsigned_abs();
    let (name, unit) = UNITS
        .iter()
        .find(|(_, unit)| size >= *unit)
        .unwrap_or(&UNITS[3]);
    let n = size / unit;
    if seconds < 0 {
        format!("in {n} {name}")
    } else {
        format!("{n} {name} ago")
    }
}

/// A text without what would steer a terminal or break a line.
#[must_use]
pub fn clean(text: &str) -> String {
    text.replace('\n', " ")
        .replace(|c: char| c.is_control(), "\u{fffd}")
}

/// Breaks a text between words so that no line is wider than it must be. The first line begins with
/// `first`, the others with as many blanks as `indent`.
#[must_use]
pub fn wrap(first: &str, text: &str, indent: usize, width: usize) -> String {
    let mut lines = String::new();
    let mut line = first.to_owned();
    let mut begun = false;
    for word in clean(text).split(' ').filter(|word| !word.is_empty()) {
        let blank = usize::from(begun);
        if begun && columns(&line) + blank + columns(word) > width {
            let _ = writeln!(lines, "{}", line.trim_end());
            line = " ".repeat(indent);
            begun = false;
        }
        if begun {
            line.push(' ');
        }
        line.push_str(word);
        begun = true;
    }
    let _ = writeln!(lines, "{}", line.trim_end());
    lines
}

/// How many columns a text takes, near enough.
#[must_use]
pub fn columns(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_two_units_at_most() {
        assert_eq!(length(0), "0 s");
        assert_eq!(length(59), "59 s");
        assert_eq!(length(61), "1 min");
        assert_eq!(length(7_500), "2 h 5 min");
        assert_eq!(length(90_000), "1 d 1 h");
    }

    #[test]
    fn long_lines_break_between_words() {
        let text = wrap("  - ", "one two three four five", 4, 14);
        assert_eq!(text, "  - one two\n    three four\n    five\n");
        assert_eq!(
            wrap("", "averyveryverylongword", 2, 10),
            "averyveryverylongword\n"
        );
    }

    #[test]
    fn counts_have_plurals() {
        assert_eq!(count(1, "policy"), "1 policy");
        assert_eq!(count(2, "policy"), "2 policies");
        assert_eq!(count(0, "VM"), "0 VMs");
    }
}
