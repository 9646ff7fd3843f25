//! Amounts of data as a policy writes them: `200GiB`, `1.5 TB`, `200MB/s`, `5%`.

use crate::model::bytes::Bytes;
use crate::model::misread::Misread;
use crate::model::policy::MinFree;

const UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];
/// 1024 TiB.
const LARGEST: u64 = 1 << 50;
const HINT: &str =
    "a number with `B`, `KiB`, `MiB`, `GiB`, `TiB`, `kB`, `MB`, `GB` or `TB`, as in `200GiB`";
const RATE_HINT: &str = "an amount of data a second, as in `200MB/s`";
const MIN_FREE_HINT: &str = "a size or a percentage, as in `200GiB` or `5%`";

/// Reads an amount of data.
///
/// # Errors
/// Numbers without a unit, units that are none, more than 1024 TiB.
pub fn read(text: &str) -> Result<Bytes, Misread> {
    let (number, unit, at) = split(text).map_err(|why| why.hint(HINT))?;
    if unit.is_empty() {
        return Err(Misread::new("a number without a unit", 0..text.len()).hint(HINT));
    }
    let Some((_, scale)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(Misread::new("no such unit", at..text.len()).hint(meant(unit)));
    };
    let bytes = number.thousandths.saturating_mul(u128::from(*scale)) / 1_000;
    match u64::try_from(bytes) {
        Ok(bytes) if bytes <= LARGEST => Ok(Bytes(bytes)),
        _ => Err(Misread::new("more than 1024 TiB", 0..text.len()).hint("is the unit right?")),
    }
}

/// Reads an amount of data a second.
///
/// # Errors
/// As [`read`], and without `/s`.
pub fn read_rate(text: &str) -> Result<Bytes, Misread> {
    match text.strip_suffix("/s") {
        Some(amount) => read(amount),
        None => Err(Misread::new("`/s` is missing", 0..text.len()).hint(RATE_HINT)),
    }
}

/// Reads what must stay free.
///
/// # Errors
/// As [`read`]; percentages of 100 and more.
pub fn read_min_free(text: &str) -> Result<MinFree, Misread> {
    let Some(part) = text.strip_suffix('%') else {
        return read(text).map(MinFree::Bytes).map_err(|why| {
            let general = why.hint.as_deref() == Some(HINT);
            if general {
                why.hint(MIN_FREE_HINT)
            } else {
                why
            }
        });
    };
    match split(part) {
        Ok((number, "", _)) if number.thousandths < 100_000 =>
        {
            #[expect(clippy::cast_precision_loss, reason = "less than 2^53")]
            Ok(MinFree::Percent(number.thousandths as f64 / 1_000.0))
        }
        Ok((_, "", _)) => Err(Misread::new("100% or more", 0..text.len()).hint(MIN_FREE_HINT)),
        _ => Err(Misread::new("not a number", 0..part.len()).hint(MIN_FREE_HINT)),
    }
}

/// A decimal number, exact to three places.
struct Number {
    thousandths: u128,
}

/// The number, the unit, and where the unit begins.
fn split(text: &str) -> Result<(Number, &str, usize), Misread> {
    let digits =
        |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let whole = digits(text);
    if whole == 0 {
        let what = if text.starts_with('-') {
            "less than nothing"
        } else {
            "a number is missing"
        };
        return Err(Misread::new(what, 0..text.len()));
    }
    let mut end = whole;
    let mut fraction = "";
    if let Some(rest) = text[whole..].strip_prefix('.') {
        fraction = &rest[..digits(rest)];
        end += 1 + fraction.len();
        if fraction.is_empty() || fraction.len() > 3 {
            return Err(Misread::new("one to three decimal places", whole..end));
        }
    }
    let unit = text[end..].strip_prefix(' ').unwrap_or(&text[end..]);
    let parse = |digits: &str| digits.parse::<u128>().unwrap_or(u128::MAX);
    let number = Number {
        thousandths: parse(&text[..whole])
            .saturating_mul(1_000)
            .saturating_add(parse(&format!("{fraction:0<3}"))),
    };
    Ok((number, unit, text.len() - unit.len()))
}

fn meant(unit: &str) -> String {
    let first = unit.chars().next().map(|c| c.to_ascii_uppercase());
    match first {
        Some('K') => "`KiB` is 1024 bytes, `kB` 1000".into(),
        Some(prefix @ ('M' | 'G' | 'T')) => {
            format!("`{prefix}iB` counts in 1024, `{prefix}B` in 1000")
        }
        _ => HINT.into(),
    }
}
