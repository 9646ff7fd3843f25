//! A forecast, drawn: a table of days for each storage, with its course at a glance.

use std::fmt::Write;

use jiff::tz::TimeZone;

use crate::cli::render::GOOD;
use crate::cli::render::HEADING;
use crate::cli::render::Look;
use crate::cli::render::said::said;
use crate::cli::render::table::Side;
use crate::cli::render::table::Table;
use crate::cli::render::text;
use crate::model::bytes::Bytes;
use crate::planner::forecast::Day;
use crate::planner::forecast::Forecast;
use crate::planner::forecast::StorageDays;

/// From nothing to the most.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// The widest course.
const WIDE: usize = 60;

/// For people.
#[must_use]
pub fn human(forecast: &Forecast, look: Look) -> String {
    let zone = TimeZone::get(&forecast.timezone).unwrap_or(TimeZone::UTC);
    let (from, until) = (
        text::day(forecast.from, &zone),
        text::day(forecast.until, &zone),
    );
    let vms = text::count(forecast.vms, "VM");
    let mut drawn = text::wrap(
        "",
        &format!(
            "Forecast for {vms}, {from} to {until} {}. Sizes are reckoned from those on record.",
            forecast.timezone
        ),
        0,
        look.width,
    );
    if forecast.storages.is_empty() {
        drawn += "\nNothing is due in this time.\n";
    }
    for storage in &forecast.storages {
        drawn += &of_storage(storage, look);
    }
    if !forecast.findings.is_empty() {
        drawn.push('\n');
    }
    for finding in &forecast.findings {
        drawn += &said(finding, look);
    }
    drawn
}

fn of_storage(storage: &StorageDays, look: Look) -> String {
    let then = storage.days.last().map_or(storage.used, |day| day.used);
    let free = storage.free.map(|free| format!(", {free} free now"));
    let mut drawn = format!(
        "\n{}  {} used now, {then} then{}\n",
        look.paint(HEADING, &text::clean(&storage.name)),
        storage.used,
        free.unwrap_or_default()
    );
    let written = course(storage.days.iter().map(|day| day.written), 0);
    let least = storage.days.iter().map(|day| day.used.0).min().unwrap_or(0);
    let used = course(
        storage.days.iter().map(|day| day.used),
        least.saturating_sub(1),
    );
    let _ = writeln!(drawn, "  written  {}", look.paint(GOOD, &written));
    let _ = writeln!(drawn, "  used     {}", look.paint(GOOD, &used));
    drawn.push('\n');
    drawn + &table(&storage.days).draw(look)
}

fn table(days: &[Day]) -> Table {
    let mut table = Table::new(&[
        ("DAY", Side::Left),
        ("FULL", Side::Right),
        ("INCR", Side::Right),
        ("LET GO", Side::Right),
        ("DELETED", Side::Right),
        ("MERGES", Side::Right),
        ("WRITTEN", Side::Right),
        ("FREED", Side::Right),
        ("USED", Side::Right),
    ]);
    let some = |n: u32| if n == 0 { String::new() } else { n.to_string() };
    let bytes = |bytes: Bytes| {
        if bytes.0 == 0 {
            String::new()
        } else {
            bytes.to_string()
        }
    };
    for day in days {
        table.row(&[
            day.date.strftime("%a %Y-%m-%d").to_string(),
            some(day.full),
            some(day.incremental),
            some(day.let_go),
            some(day.deleted),
            some(day.merged),
            bytes(day.written),
            bytes(day.freed),
            bytes(day.used),
        ]);
    }
    table
}

/// One bar a day, or for several days their greatest.
fn course(values: impl Iterator<Item = Bytes>, least: u64) -> String {
    let values: Vec<u64> = values.map(|bytes| bytes.0.saturating_sub(least)).collect();
    let most = values.iter().copied().max().unwrap_or(0).max(1);
    let each = values.len().div_ceil(WIDE).max(1);
    let bar = |value: u64| {
        let steps = BARS.len() - 1;
        let at = u128::from(value) * steps as u128;
        BARS[usize::try_from(at.div_ceil(u128::from(most)))
            .unwrap_or(steps)
            .min(steps)]
    };
    let chunks = values.chunks(each);
    chunks
        .map(|chunk| bar(chunk.iter().copied().max().unwrap_or(0)))
        .collect()
}
