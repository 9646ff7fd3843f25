//! What comes from nowhere: the time, and ids that nobody had before. In the tests' build both can be
//! fixed.

use std::time::Duration;

use jiff::RoundMode;
use jiff::Timestamp;
use jiff::TimestampRound;
use jiff::Unit;

use crate::cli::failure::Failure;
use crate::cli::failure::Result;
use crate::model::id::PlanId;

/// The time, for stamps.
pub(super) fn now() -> Timestamp {
    fixed::now().unwrap_or_else(Timestamp::now)
}

/// The time that all of a command is decided at, in whole seconds: as it is printed.
pub(super) fn instant() -> Timestamp {
    let now = now();
    let whole = TimestampRound::new()
        .smallest(Unit::Second)
        .mode(RoundMode::Trunc);
    now.round(whole).unwrap_or(now)
}

/// The time after which an unattended apply plans again.
pub(super) fn again() -> Duration {
    fixed::again().unwrap_or(Duration::from_secs(60))
}

/// A new plan id: a random uuid.
pub(super) fn plan_id() -> Result<PlanId> {
    let mut bytes = [0; 16];
    match fixed::bytes() {
        Some(fixed) => bytes = fixed,
        None => fill(&mut bytes)?,
    }
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    Ok(PlanId::new(format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )))
}

fn fill(bytes: &mut [u8]) -> Result<()> {
    let mut filled = 0;
    while filled < bytes.len() {
        let flags = rustix::rand::GetRandomFlags::empty();
        filled += rustix::rand::getrandom(&mut bytes[filled..], flags)
            .map_err(|error| Failure::new("random", format!("no random bytes: {error}")))?;
    }
    Ok(())
}

#[cfg(feature = "test-hooks")]
mod fixed {
    use std::env;
    use std::time::Duration;

    use jiff::Timestamp;

    pub(super) fn now() -> Option<Timestamp> {
        let mut text = env::var("KNIB_NOW").ok()?;
        // One that moves while knib runs.
        if let Some(file) = text.strip_prefix('@') {
            text = std::fs::read_to_string(file).expect("KNIB_NOW names a file");
        }
        Some(text.parse().expect("KNIB_NOW is an instant"))
    }

    pub(super) fn again() -> Option<Duration> {
        let text = env::var("KNIB_AGAIN").ok()?;
        Some(Duration::from_millis(
            text.parse().expect("KNIB_AGAIN is in milliseconds"),
        ))
    }

    /// Another id for another text, and for another time.
    pub(super) fn bytes() -> Option<[u8; 16]> {
        let text = env::var("KNIB_IDS").ok()?;
        let hash = blake3::hash(format!("{text} {:?}", now()).as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.as_bytes()[..16]);
        Some(bytes)
    }
}

#[cfg(not(feature = "test-hooks"))]
mod fixed {
    use std::time::Duration;

    use jiff::Timestamp;

    pub(super) fn now() -> Option<Timestamp> {
        None
    }

    pub(super) fn again() -> Option<Duration> {
        None
    }

    pub(super) fn bytes() -> Option<[u8; 16]> {
        None
    }
}
