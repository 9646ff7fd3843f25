//! Lengths of time as a policy and the command line write them: `90m`, `1h30m`.
//!
//! Months and years are not lengths; schedules and retention count them by the calendar.

use crate::model::misread::Misread;
use crate::model::seconds::Seconds;

const UNITS: [(&str, u64); 5] = [
    ("s", 1),
    ("m", 60),
    ("h", 3_600),
    ("d", 86_400),
    ("w", 604_800),
];
/// A hundred years.
const LONGEST: u64 = 36_525 * 86_400;
const HINT: &str = "whole numbers with `s`, `m` (minutes), `h`, `d` or `w`, as in `90m` or `1h30m`";

/// Reads a length of time.
///
/// # Errors
/// Numbers without a unit, units that are none, fractions, more than a hundred years.
pub fn read(text: &str) -> Result<Seconds, Misread> {
    let refuse = |what: &str, from: usize, to: usize| Err(Misread::new(what, from..to).hint(HINT));
    let mut total = 0_u64;
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let unit = &rest[digits..];
        let length = unit
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(unit.len());
        let (unit, end) = (&unit[..length], at + digits + length);
        if digits == 0 {
            return refuse("a number is missing", at, end);
        }
        if unit.is_empty() {
            return refuse("a number without a unit", at, end);
        }
        if unit.starts_with(['.', ',']) {
            return refuse("a fraction", at + digits, end);
        }
        let Some((_, seconds)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            let what = match unit {
                spaced if spaced.contains(' ') => "no space belongs here",
                "M" | "mo" | "month" | "months" | "y" | "Y" | "year" | "years" => {
                    "not a fixed length"
                }
                _ => "no such unit",
            };
            return refuse(what, at + digits, end);
        };
        let number = rest[..digits].parse::<u64>().unwrap_or(u64::MAX);
        total = total.saturating_add(number.saturating_mul(*seconds));
        at = end;
    }
    if text.is_empty() {
        return refuse("empty", 0, 0);
    }
    if total > LONGEST {
        return refuse("more than a hundred years", 0, text.len());
    }
    Ok(Seconds(total))
}
