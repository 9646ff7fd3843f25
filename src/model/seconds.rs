//! Lengths of time as a policy writes them.

use std::fmt;
use std::fmt::Write;
use std::time::Duration;

use jiff::SignedDuration;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

/// Whole seconds. Printed as a policy spells them, `1h30m`; a plain integer in JSON.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct Seconds(pub u64);

impl Seconds {
    /// For clocks and time limits.
    #[must_use]
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.0)
    }
}

/// An instant some time later, or earlier; none beyond the last one that there is.
#[must_use]
pub fn later(at: Timestamp, length: SignedDuration) -> Timestamp {
    let end = if length.is_negative() {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    };
    at.checked_add(length).unwrap_or(end)
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, u64); 4] = [("w", 604_800), ("d", 86_400), ("h", 3_600), ("m", 60)];
        let mut rest = self.0;
        let mut text = String::new();
        for (name, unit) in UNITS {
            if rest >= unit && (name != "w" || rest.is_multiple_of(unit)) {
                write!(text, "{}{name}", rest / unit)?;
                rest %= unit;
            }
        }
        if rest > 0 || text.is_empty() {
            write!(text, "{rest}s")?;
        }
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_a_policy_spells_it() {
        assert_eq!(Seconds(0).to_string(), "0s");
        assert_eq!(Seconds(5_400).to_string(), "1h30m");
        assert_eq!(Seconds(86_400 * 8).to_string(), "8d");
        assert_eq!(Seconds(604_800 * 2).to_string(), "2w");
    }
}
