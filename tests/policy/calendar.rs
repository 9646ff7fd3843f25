//! Instants of cron patterns: which patterns are taken, and what happens where clocks change.

use jiff::Timestamp;
use jiff::ToSpan;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use knib::model::calendar::Calendar;
use knib::model::seconds::Seconds;
use proptest::prelude::*;

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).expect("a zone")
}

fn at(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}

fn calendar(pattern: &str) -> Calendar {
    Calendar::parse(pattern).unwrap_or_else(|why| panic!("{pattern}: {why:?}"))
}

/// The next `n` instants after `from`, as the clock on the wall shows them.
fn next(pattern: &str, zone_name: &str, from: &str, n: usize) -> String {
    let (calendar, zone) = (calendar(pattern), zone(zone_name));
    let times = std::iter::successors(calendar.next(at(from), &zone), |at| {
        calendar.next(*at, &zone)
    });
    let shown = times.take(n).map(|at| {
        at.to_zoned(zone.clone())
            .strftime("%a %F %H:%M%:z")
            .to_string()
    });
    shown.collect::<Vec<_>>().join("\n")
}

#[test]
fn what_is_not_a_pattern_is_said_with_its_place() {
    let cases = [
        "",
        "   ",
        "midnight",
        "@reboot",
        "@Daily",
        "@",
        "* * * *",
        "0 0 2 * * *",
        "0 0 2 * * * 2030",
        "60 2 * * *",
        "0 24 * * *",
        "0 2 0 * *",
        "0 2 32 * *",
        "0 2 * 13 *",
        "0 2 * * 8",
        "0 2 ? * MON",
        "0 2 * * +MON",
        "0 2 * * L",
        "0 2 * MON *",
        "MON 2 * * *",
        "0 2 L W *",
        "0 2 1,,3 * *",
        "0 2 ,1 * *",
        "0 22-2 * * *",
        "0 2 * * FRI-MON",
        "*/90 * * * *",
        "*/0 * * * *",
        "5/10 * * * *",
        "0 */25 * * *",
        "0 2 * * 1#6",
        "0 2 * * 1#0",
        "0 2 L-3 * *",
        "0 2 -1 * *",
        "0 2 * * MONDAY",
        "é 2 * * *",
        "0 2 30 2 *",
        "0 2 31 2,4,6,9,11 *",
        "0 2 * * ß",
        "0 2 0W * *",
    ];
    let shown = cases.map(|pattern| match Calendar::parse(pattern) {
        Ok(_) => format!("{pattern:?} is taken"),
        Err(why) => {
            let part = &pattern[why.at.clone()];
            format!("{pattern:?}: {:?} {}", part, why.text)
        }
    });
    insta::assert_snapshot!(shown.join("\n"), @r#"
    "": "" empty
    "   ": "   " empty
    "midnight": "midnight" not a cron pattern
    "@reboot": "@reboot" no such word
    "@Daily": "@Daily" no such word
    "@": "@" no such word
    "* * * *": "* * * *" 4 fields
    "0 0 2 * * *": "0 0 2 * * *" 6 fields
    "0 0 2 * * * 2030": "0 0 2 * * * 2030" 7 fields
    "60 2 * * *": "60" not a minute
    "0 24 * * *": "24" not an hour
    "0 2 0 * *": "0" not a day of the month
    "0 2 32 * *": "32" not a day of the month
    "0 2 * 13 *": "13" not a month
    "0 2 * * 8": "8" not a day of the week
    "0 2 ? * MON": "?" `?` is not taken
    "0 2 * * +MON": "+MON" `+` is not taken
    "0 2 * * L": "L" `L` of which day of the week?
    "0 2 * MON *": "MON" not a month
    "MON 2 * * *": "MON" not a minute
    "0 2 L W *": "W" not a month
    "0 2 1,,3 * *": "1,,3" an entry of the list is empty
    "0 2 ,1 * *": ",1" an entry of the list is empty
    "0 22-2 * * *": "22-2" `22-2` runs backwards
    "0 2 * * FRI-MON": "FRI-MON" not a day of the week
    "*/90 * * * *": "*/90" a step of 90 never steps
    "*/0 * * * *": "*/0" not a minute
    "5/10 * * * *": "5/10" a step of what range?
    "0 */25 * * *": "*/25" a step of 25 never steps
    "0 2 * * 1#6": "1#6" not a day of the week
    "0 2 * * 1#0": "1#0" not a day of the week
    "0 2 L-3 * *": "L-3" not a day of the month
    "0 2 -1 * *": "-1" not a day of the month
    "0 2 * * MONDAY": "MONDAY" not a day of the week
    "é 2 * * *": "é" not a minute
    "0 2 30 2 *": "0 2 30 2 *" never comes
    "0 2 31 2,4,6,9,11 *": "0 2 31 2,4,6,9,11 *" never comes
    "0 2 * * ß": "ß" not a day of the week
    "0 2 0W * *": "0W" not a day of the month
    "#);
}

#[test]
fn each_refusal_says_what_to_write() {
    let hint = |pattern: &str| {
        Calendar::parse(pattern)
            .expect_err(pattern)
            .hint
            .unwrap_or_default()
    };
    insta::assert_snapshot!(hint("0 0 2 * * *"), @"five fields: minute, hour, day of month, month, day of week, as in `0 2 * * *` for 02:00; seconds and years are not taken");
    insta::assert_snapshot!(hint("0 22-2 * * *"), @"a range runs upwards: `22-23,0-2`");
    insta::assert_snapshot!(hint("5/10 * * * *"), @"write `5-59/10`");
    insta::assert_snapshot!(hint("0 2 * * MONDAY"), @"days of the week run from 0 to 7 (Sunday twice) or from SUN to SAT; `5L` is the last Friday of a month, `1#2` the second Monday");
    insta::assert_snapshot!(hint("@reboot"), @"there are `@hourly`, `@daily`, `@weekly`, `@monthly` and `@yearly`; or write five fields");
    insta::assert_snapshot!(hint("0 2 30 2 *"), @"there is no such day; `L` is the last day of a month");
}

#[test]
fn ordinary_patterns() {
    let from = "2026-11-23T09:00:00Z";
    insta::assert_snapshot!(next("0 2 * * *", "UTC", from, 2), @r"
    Tue 2026-11-24 02:00+00:00
    Wed 2026-11-25 02:00+00:00
    ");
    insta::assert_snapshot!(next("  0   2  * * *  ", "UTC", from, 1), @"Tue 2026-11-24 02:00+00:00");
    insta::assert_snapshot!(next("*/20 8-9 * * MON-FRI", "Europe/Paris", from, 3), @r"
    Tue 2026-11-24 08:00+01:00
    Tue 2026-11-24 08:20+01:00
    Tue 2026-11-24 08:40+01:00
    ");
    insta::assert_snapshot!(next("0 2 * * sun", "UTC", from, 1), @"Sun 2026-11-29 02:00+00:00");
    insta::assert_snapshot!(next("0 2 * * 7", "UTC", from, 1), @"Sun 2026-11-29 02:00+00:00");
    insta::assert_snapshot!(next("30 23 L * *", "UTC", from, 4), @r"
    Mon 2026-11-30 23:30+00:00
    Thu 2026-12-31 23:30+00:00
    Sun 2027-01-31 23:30+00:00
    Sun 2027-02-28 23:30+00:00
    ");
    insta::assert_snapshot!(next("0 2 LW * *", "UTC", "2027-01-01T00:00:00Z", 3), @r"
    Fri 2027-01-29 02:00+00:00
    Fri 2027-02-26 02:00+00:00
    Wed 2027-03-31 02:00+00:00
    ");
    insta::assert_snapshot!(next("0 2 15W * *", "UTC", "2027-05-01T00:00:00Z", 2), @r"
    Fri 2027-05-14 02:00+00:00
    Tue 2027-06-15 02:00+00:00
    ");
    insta::assert_snapshot!(next("0 2 * * 1#2", "UTC", from, 2), @r"
    Mon 2026-12-14 02:00+00:00
    Mon 2027-01-11 02:00+00:00
    ");
    insta::assert_snapshot!(next("0 2 * * FRIL", "UTC", from, 2), @r"
    Fri 2026-11-27 02:00+00:00
    Fri 2026-12-25 02:00+00:00
    ");
    insta::assert_snapshot!(next("0 2 13 * FRI", "UTC", from, 4), @r"
    Fri 2026-11-27 02:00+00:00
    Fri 2026-12-04 02:00+00:00
    Fri 2026-12-11 02:00+00:00
    Sun 2026-12-13 02:00+00:00
    ");
}

#[test]
fn words_are_what_they_say() {
    let from = "2026-11-23T09:30:00Z";
    let first = |word: &str| next(word, "UTC", from, 1);
    insta::assert_snapshot!(
        ["@hourly", "@daily", "@weekly", "@monthly", "@yearly"].map(first).join("\n"),
        @r"
        Mon 2026-11-23 10:00+00:00
        Tue 2026-11-24 00:00+00:00
        Sun 2026-11-29 00:00+00:00
        Tue 2026-12-01 00:00+00:00
        Fri 2027-01-01 00:00+00:00
        "
    );
}

#[test]
fn a_skipped_time_runs_after_the_gap_and_once() {
    // Clocks go from 02:00 to 03:00 on 2027-03-28.
    insta::assert_snapshot!(next("30 2 * * *", "Europe/Paris", "2027-03-26T12:00:00Z", 4), @r"
    Sat 2027-03-27 02:30+01:00
    Sun 2027-03-28 03:00+02:00
    Mon 2027-03-29 02:30+02:00
    Tue 2027-03-30 02:30+02:00
    ");
    insta::assert_snapshot!(next("0,30 2,3 * * *", "Europe/Paris", "2027-03-27T12:00:00Z", 3), @r"
    Sun 2027-03-28 03:00+02:00
    Sun 2027-03-28 03:30+02:00
    Mon 2027-03-29 02:00+02:00
    ");
    let calendar = calendar("30 2 * * *");
    let change = at("2027-03-28T01:00:00Z");
    let paris = zone("Europe/Paris");
    assert_eq!(calendar.latest(change, &paris), Some(change));
    assert_eq!(calendar.next(change - 1.second(), &paris), Some(change));
}

#[test]
fn a_repeated_time_runs_in_its_first_pass() {
    // Clocks go from 03:00 back to 02:00 on 2026-10-25.
    insta::assert_snapshot!(next("30 2 * * *", "Europe/Paris", "2026-10-24T12:00:00Z", 2), @r"
    Sun 2026-10-25 02:30+02:00
    Mon 2026-10-26 02:30+01:00
    ");
    insta::assert_snapshot!(next("*/30 * * * *", "Europe/Paris", "2026-10-24T23:45:00Z", 4), @r"
    Sun 2026-10-25 02:00+02:00
    Sun 2026-10-25 02:30+02:00
    Sun 2026-10-25 03:00+01:00
    Sun 2026-10-25 03:30+01:00
    ");
    // At 02:10 of the second pass, 02:30 has been.
    let second_pass = at("2026-10-25T01:10:00Z");
    let paris = zone("Europe/Paris");
    let latest = calendar("30 2 * * *").latest(second_pass, &paris);
    assert_eq!(latest, Some(at("2026-10-25T00:30:00Z")));
}

#[test]
fn the_29th_of_february_is_waited_for() {
    insta::assert_snapshot!(next("0 2 29 2 *", "UTC", "2026-11-23T00:00:00Z", 2), @r"
    Tue 2028-02-29 02:00+00:00
    Sun 2032-02-29 02:00+00:00
    ");
    // 2100 is no leap year: eight years without one.
    let none = calendar("0 2 29 2 *").next(at("2096-03-01T00:00:00Z"), &zone("UTC"));
    assert_eq!(none, None);
}

#[test]
fn the_shortest_gap_is_that_of_local_times() {
    let gap = |pattern: &str| calendar(pattern).shortest_gap();
    assert_eq!(gap("0 2 * * *"), Some(Seconds(86_400)));
    assert_eq!(gap("*/5 8-18 * * *"), Some(Seconds(300)));
    assert_eq!(gap("0 2,3 1 1 *"), Some(Seconds(3_600)));
    assert_eq!(gap("0 0 1 * *"), Some(Seconds(28 * 86_400)));
}

/// Sets of numbers a field takes, with its text.
#[derive(Clone, Debug)]
struct Field {
    text: String,
    takes: Vec<u32>,
    any: bool,
}

fn field(from: u32, to: u32) -> impl Strategy<Value = Field> {
    let number = from..=to;
    let list = proptest::collection::btree_set(number, 1..4).prop_map(|set| {
        let takes = set.into_iter().collect::<Vec<_>>();
        let text = takes
            .iter()
            .map(u32::to_string)
            .collect::<Vec<_>>()
            .join(",");
        Field {
            text,
            takes,
            any: false,
        }
    });
    let step = (2..=(to / 2)).prop_map(move |step| Field {
        text: format!("*/{step}"),
        takes: (from..=to).step_by(step as usize).collect(),
        any: false,
    });
    let all = Just(Field {
        text: "*".into(),
        takes: (from..=to).collect(),
        any: true,
    });
    prop_oneof![list, step, all]
}

#[derive(Clone, Debug)]
struct Pattern([Field; 4]);

impl Pattern {
    fn text(&self) -> String {
        let [minute, hour, day, weekday] = &self.0;
        format!(
            "{} {} {} * {}",
            minute.text, hour.text, day.text, weekday.text
        )
    }

    fn takes(&self, local: DateTime) -> bool {
        let [minute, hour, day, weekday] = &self.0;
        let has =
            |field: &Field, number: i8| field.takes.contains(&u32::from(number.unsigned_abs()));
        let by_day = has(day, local.day());
        let by_weekday = has(weekday, local.weekday().to_sunday_zero_offset());
        let days = match (day.any, weekday.any) {
            (false, false) => by_day || by_weekday,
            _ => by_day && by_weekday,
        };
        has(minute, local.minute()) && has(hour, local.hour()) && days
    }
}

fn pattern() -> impl Strategy<Value = Pattern> {
    (field(0, 59), field(0, 23), field(1, 31), field(0, 6))
        .prop_map(|(minute, hour, day, weekday)| Pattern([minute, hour, day, weekday]))
}

/// Every instant of a window at which the clock on the wall first shows a time of the pattern, or
/// a later one. Nothing is known here of gaps and repeated hours.
fn fires(pattern: &Pattern, zone: &TimeZone, from: Timestamp, hours: i64) -> Vec<Timestamp> {
    // What the clock showed before the window counts, where it went back.
    let before = 4 * 60;
    let mut shown = zone.to_datetime(from - before.minutes());
    let mut fired = Vec::new();
    for minute in 1 - before..=hours * 60 {
        let instant = from + minute.minutes();
        let now = zone.to_datetime(instant);
        let mut local = shown;
        while local < now {
            local = local.saturating_add(1.minute());
            if minute > 0 && pattern.takes(local) && fired.last() != Some(&instant) {
                fired.push(instant);
            }
        }
        shown = shown.max(now);
    }
    fired
}

const ZONES: [&str; 5] = [
    "UTC",
    "Europe/Paris",
    "America/St_Johns",
    "Australia/Lord_Howe",
    "America/Santiago",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// Near changes of clocks, both directions agree with a walk along the wall clock.
    #[test]
    fn next_and_latest_agree_with_the_wall_clock(
        pattern in pattern(),
        zone_name in proptest::sample::select(&ZONES),
        change in 0_usize..8,
        before in 0_i64..72 * 60,
    ) {
        let zone = zone(zone_name);
        let calendar = Calendar::parse(&pattern.text()).expect("a pattern");
        let change = zone.following(at("2026-01-01T00:00:00Z")).nth(change);
        let change = change.map_or(at("2026-06-01T00:00:00Z"), |change| change.timestamp());
        let from = Timestamp::from_second(change.as_second() / 60 * 60).expect("near") - before.minutes();
        let expected = fires(&pattern, &zone, from, 24 * 5);
        let mut last = from;
        for instant in expected.iter().take(200) {
            prop_assert_eq!(calendar.next(last, &zone), Some(*instant));
            prop_assert_eq!(calendar.latest(*instant, &zone), Some(*instant));
            if last != from {
                prop_assert_eq!(calendar.latest(*instant - 1.second(), &zone), Some(last));
            }
            last = *instant;
        }
    }

    /// The latest is not after, and nothing lies between.
    #[test]
    fn nothing_lies_between_latest_and_next(
        pattern in pattern(),
        zone_name in proptest::sample::select(&ZONES),
        second in 1_700_000_000_i64..2_000_000_000,
        nanosecond in 0_i32..1_000_000_000,
    ) {
        let zone = zone(zone_name);
        let calendar = Calendar::parse(&pattern.text()).expect("a pattern");
        let now = Timestamp::new(second, nanosecond).expect("in range");
        let latest = calendar.latest(now, &zone).expect("there was one");
        prop_assert!(latest <= now);
        if let Some(next) = calendar.next(now, &zone) {
            prop_assert!(next > now);
            prop_assert_eq!(calendar.next(latest, &zone), Some(next));
            prop_assert_eq!(calendar.latest(next - 1.nanosecond(), &zone), Some(latest));
        }
    }

    #[test]
    fn no_text_panics(text in "[ -~é*/,@#?LW0-9-]{0,24}") {
        let _ = Calendar::parse(&text);
    }
}
