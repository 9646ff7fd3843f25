//! Instants and lengths of time as people type them.

use jiff::Timestamp;
use jiff::civil;
use jiff::tz::TimeZone;

use crate::cli::failure::Failure;
use crate::cli::failure::Result;
use crate::model::seconds::Seconds;
use crate::policy::duration;

/// An instant: with an offset as it stands, else a local time in `zone`.
pub(super) fn instant(text: &str, zone: &TimeZone) -> Result<Timestamp> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    let local = text
        .parse::<civil::DateTime>()
        .or_else(|_| text.parse::<civil::Date>().map(|day| day.at(0, 0, 0, 0)))
        .ok();
    local
        .and_then(|local| zone.to_timestamp(local).ok())
        .ok_or_else(|| {
            Failure::usage(format!("{text} is not an instant"))
                .hint("for example 2026-11-23T02:00, 2026-11-23 or 2026-11-23T02:00:00+01:00")
        })
}

/// A zone of the time zone database.
pub(super) fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap_or(TimeZone::UTC)
}

/// A length of time, for the parser.
pub(super) fn length(text: &str) -> std::result::Result<Seconds, String> {
    duration::read(text).map_err(|why| match why.hint {
        Some(hint) => format!("{}: {hint}", why.text),
        None => why.text,
    })
}
