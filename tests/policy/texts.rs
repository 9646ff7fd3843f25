//! Texts with a grammar: what is not taken, and where the caret stands.

use knib::model::bytes::Bytes;
use knib::model::misread::Misread;
use knib::model::policy::MinFree;
use knib::policy::connect;
use knib::policy::duration;
use knib::policy::size;

use super::codes;
use super::one;
use super::report;
use super::with_schedule;
use super::with_top;

/// Each text with the part that is wrong and why.
fn refused<T: std::fmt::Debug>(
    read: impl Fn(&str) -> Result<T, Misread>,
    texts: &[&str],
) -> String {
    let line = |text: &&str| match read(text) {
        Ok(value) => format!("{text:?} is {value:?}"),
        Err(why) => format!("{text:?}: {:?} {}", &text[why.at.clone()], why.text),
    };
    texts.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn lengths_of_time() {
    let read = |text: &str| duration::read(text).expect(text).0;
    assert_eq!(read("90m"), 5_400);
    assert_eq!(read("1h30m"), 5_400);
    assert_eq!(read("1w2d3h4m5s"), 788_645);
    assert_eq!(read("0s"), 0);
    let texts = [
        "",
        "90",
        "1h30",
        "m",
        "-5m",
        "1.5h",
        "1,5h",
        "5 m",
        "1h 30m",
        "5min",
        "5x",
        "3M",
        "2 weeks",
        "PT1H",
        "99999999999999999999d",
        "101000w",
        "5mé",
    ];
    insta::assert_snapshot!(refused(duration::read, &texts), @r#"
    "": "" empty
    "90": "90" a number without a unit
    "1h30": "30" a number without a unit
    "m": "m" a number is missing
    "-5m": "-" a number is missing
    "1.5h": "." a fraction
    "1,5h": "," a fraction
    "5 m": " m" no space belongs here
    "1h 30m": "h " no space belongs here
    "5min": "min" no such unit
    "5x": "x" no such unit
    "3M": "M" not a fixed length
    "2 weeks": " weeks" no space belongs here
    "PT1H": "PT" a number is missing
    "99999999999999999999d": "99999999999999999999d" more than a hundred years
    "101000w": "101000w" more than a hundred years
    "5mé": "mé" no such unit
    "#);
}

#[test]
fn amounts_of_data() {
    let read = |text: &str| size::read(text).expect(text).0;
    assert_eq!(read("200GiB"), 200 << 30);
    assert_eq!(read("1.5 TiB"), 3 << 39);
    assert_eq!(read("1.5TB"), 1_500_000_000_000);
    assert_eq!(read("0.001kB"), 1);
    assert_eq!(read("0B"), 0);
    let texts = [
        "",
        "200",
        "200G",
        "200g",
        "200gib",
        "200k",
        "1.2345GiB",
        "1.GiB",
        ".5GiB",
        "-1GiB",
        "5%",
        "2000TiB",
        "99999999999999999999999999999999999999999999TiB",
        "1  GiB",
        "GiB",
        "5é",
    ];
    insta::assert_snapshot!(refused(size::read, &texts), @r#"
    "": "" a number is missing
    "200": "200" a number without a unit
    "200G": "G" no such unit
    "200g": "g" no such unit
    "200gib": "gib" no such unit
    "200k": "k" no such unit
    "1.2345GiB": ".2345" one to three decimal places
    "1.GiB": "." one to three decimal places
    ".5GiB": ".5GiB" a number is missing
    "-1GiB": "-1GiB" less than nothing
    "5%": "%" no such unit
    "2000TiB": "2000TiB" more than 1024 TiB
    "99999999999999999999999999999999999999999999TiB": "99999999999999999999999999999999999999999999TiB" more than 1024 TiB
    "1  GiB": " GiB" no such unit
    "GiB": "GiB" a number is missing
    "5é": "é" no such unit
    "#);
}

#[test]
fn rates_and_what_must_stay_free() {
    assert_eq!(size::read_rate("200MB/s"), Ok(Bytes(200_000_000)));
    insta::assert_snapshot!(refused(size::read_rate, &["200MB", "200/s", "200Mbit/s", "/s"]), @r#"
    "200MB": "200MB" `/s` is missing
    "200/s": "200" a number without a unit
    "200Mbit/s": "Mbit" no such unit
    "/s": "" a number is missing
    "#);
    assert_eq!(size::read_min_free("2.5%"), Ok(MinFree::Percent(2.5)));
    assert_eq!(size::read_min_free("0%"), Ok(MinFree::Percent(0.0)));
    assert_eq!(
        size::read_min_free("1GiB"),
        Ok(MinFree::Bytes(Bytes(1 << 30)))
    );
    insta::assert_snapshot!(refused(size::read_min_free, &["100%", "%", "x%", "5 %", "5", "-5%"]), @r#"
    "100%": "100%" 100% or more
    "%": "" not a number
    "x%": "x" not a number
    "5 %" is Percent(5.0)
    "5": "5" a number without a unit
    "-5%": "-5" not a number
    "#);
}

#[test]
fn uris_of_this_host() {
    for uri in [
        "qemu:///system",
        "qemu:///session",
        "test:///default",
        "qemu+unix:///system?socket=/run/x",
    ] {
        assert_eq!(connect::local(uri), Ok(()), "{uri}");
    }
    let texts = [
        "",
        "system",
        "/run/libvirt",
        "qemu:/system",
        "qemu://kvm2/system",
        "qemu://localhost/system",
        "qemu+ssh://root@kvm2/system",
        "qemu+ssh:///system",
        "qemu+tls:///system",
        "Qemu:///system",
        "qemu://",
    ];
    insta::assert_snapshot!(refused(connect::local, &texts), @r#"
    "": "" not a URI
    "system": "system" not a URI
    "/run/libvirt": "/run/libvirt" not a URI
    "qemu:/system": "qemu:/system" not a URI
    "qemu://kvm2/system": "kvm2" another host
    "qemu://localhost/system": "localhost" another host
    "qemu+ssh://root@kvm2/system": "root@kvm2" another host
    "qemu+ssh:///system": "qemu+ssh" a way to another host
    "qemu+tls:///system": "qemu+tls" a way to another host
    "Qemu:///system": "Qemu:///system" not a URI
    "qemu://": "" another host
    "#);
}

#[test]
fn the_caret_stands_at_the_part_that_is_wrong() {
    insta::assert_snapshot!(report(&one(with_schedule("        cron: '0 2 * * 8'\n"))), @r"
    bad_cron
      × `0 2 * * 8` is not a cron pattern
        ╭─[policy.yaml:14:24]
     13 │       nightly:
     14 │         cron: '0 2 * * 8'
        ·                        ┬
        ·                        ╰── not a day of the week
        ╰────
      help: days of the week run from 0 to 7 (Sunday twice) or from SUN to SAT; `5L` is the
            last Friday of a month, `1#2` the second Monday
    1 problem in policy.yaml. Nothing was read from the host.
    ");
    insta::assert_snapshot!(report(&one(with_schedule("        cron: 0 2 30 2 *\n"))), @r"
    bad_cron
      × `0 2 30 2 *` is not a cron pattern
        ╭─[policy.yaml:14:15]
     13 │       nightly:
     14 │         cron: 0 2 30 2 *
        ·               ─────┬────
        ·                    ╰── never comes
        ╰────
      help: there is no such day; `L` is the last day of a month
    1 problem in policy.yaml. Nothing was read from the host.
    ");
    // Written with an escape: the text as a whole.
    insta::assert_snapshot!(report(&one(with_schedule("        cron: \"0\\x20 2 * * 8\"\n"))), @r#"
    bad_cron
      × `0  2 * * 8` is not a cron pattern
        ╭─[policy.yaml:14:15]
     13 │       nightly:
     14 │         cron: "0\x20 2 * * 8"
        ·               ───────┬───────
        ·                      ╰── not a day of the week
        ╰────
      help: days of the week run from 0 to 7 (Sunday twice) or from SUN to SAT; `5L` is the
            last Friday of a month, `1#2` the second Monday
    1 problem in policy.yaml. Nothing was read from the host.
    "#);
    // Characters are not bytes.
    let text = with_schedule("        cron: \"0 2 * * *\"\n        timezone: Été/Paris\n");
    insta::assert_snapshot!(report(&one(text)), @r#"
    bad_zone
      × `Été/Paris` is not a time zone
        ╭─[policy.yaml:15:19]
     14 │         cron: "0 2 * * *"
     15 │         timezone: Été/Paris
        ·                   ────┬────
        ·                       ╰── no such time zone
        ╰────
      help: zones are named as in `Europe/Paris`; `timedatectl list-timezones` lists them
    1 problem in policy.yaml. Nothing was read from the host.
    "#);
    let text = with_schedule("        { cron: \"0 4 * * *\", timezone: \"ü\", jitter: 3y } # ß\n");
    let (_, found) = knib::policy::load(&one(text.clone()));
    let jitter = &found.last().expect("two findings").labels[0].origin;
    assert_eq!(&text[jitter.start..jitter.end], "y");
    let line = text.lines().nth(jitter.line - 1).expect("the line");
    assert_eq!(line.chars().nth(jitter.column - 1), Some('y'));
}

#[test]
fn zones_have_a_guess() {
    let help = |zone: &str| {
        let report = report(&one(with_top(&format!("timezone: {zone}\n"))));
        let (_, help) = report.split_once("help: ").expect("help");
        help.lines().next().unwrap_or_default().to_owned()
    };
    insta::assert_snapshot!(["Europe/Pari", "europe paris", "paris", "Warsaw", "CEST", "\"+01:00\""].map(help).join("\n"), @r"
    did you mean `Europe/Paris`?
    did you mean `Europe/Paris`?
    did you mean `Europe/Paris`?
    did you mean `Europe/Warsaw`?
    did you mean `CET`?
    zones are named as in `Europe/Paris`; `timedatectl list-timezones` lists them
    ");
    // As the database spells it.
    let policy = super::sound(&one(with_top("timezone: europe/paris\n")));
    assert_eq!(policy.timezone, "Europe/Paris");
}

#[test]
fn names_paths_and_patterns() {
    let replaced = |from: &str, to: &str| report(&one(with_top("").replace(from, to)));
    insta::assert_snapshot!(replaced("  web:", "  Web_1:"), @r"
    bad_name
      × `Web_1` is not a name
       ╭─[policy.yaml:7:3]
     6 │ policies:
     7 │   Web_1:
       ·   ─────
     8 │     select: { names: [web] }
       ╰────
      help: names are made of small letters, digits and `-`, at most 63, and do not begin
            with `-`
    1 problem in policy.yaml. Nothing was read from the host.
    ");
    insta::assert_snapshot!(replaced("/mnt/nas1", "mnt/nas1"), @r"
    bad_path
      × `mnt/nas1` is not a path that knib can use
       ╭─[policy.yaml:3:17]
     2 │ storage:
     3 │   nas1: { path: mnt/nas1 }
       ·                 ────┬───
       ·                     ╰── not absolute
     4 │ offerings:
       ╰────
      help: write it from `/` on: knib is started in different directories
    1 problem in policy.yaml. Nothing was read from the host.
    ");
    assert_eq!(
        codes(&one(with_top("").replace("/mnt/nas1", "/mnt/../nas1"))),
        ["bad_path"]
    );
    assert_eq!(
        codes(&one(with_top("").replace("/mnt/nas1", "\"/mnt/\\n\""))),
        ["bad_path"]
    );
    assert_eq!(codes(&one(with_top("state: state.db\n"))), ["bad_path"]);
    insta::assert_snapshot!(replaced("[web]", "[\"web-[12\", \"[]\", \"[!a]\", 'x\\', \"[z-a]\"]"), @r#"
    bad_pattern
      × `web-[12` is not a pattern
       ╭─[policy.yaml:8:28]
     7 │   web:
     8 │     select: { names: ["web-[12", "[]", "[!a]", 'x\', "[z-a]"] }
       ·                            ─┬─
       ·                             ╰── a set that is not closed
     9 │     offering: gold
       ╰────
      help: a bracket is written `\[`
    bad_pattern
      × `[]` is not a pattern
       ╭─[policy.yaml:8:35]
     7 │   web:
     8 │     select: { names: ["web-[12", "[]", "[!a]", 'x\', "[z-a]"] }
       ·                                   ─┬
       ·                                    ╰── an empty set
     9 │     offering: gold
       ╰────
      help: a bracket is written `\[`
    bad_pattern
      × `[!a]` is not a pattern
       ╭─[policy.yaml:8:41]
     7 │   web:
     8 │     select: { names: ["web-[12", "[]", "[!a]", 'x\', "[z-a]"] }
       ·                                         ─┬
       ·                                          ╰── sets are not negated
     9 │     offering: gold
       ╰────
      help: write `exclude` for what is not meant
    bad_pattern
      × `x\` is not a pattern
       ╭─[policy.yaml:8:50]
     7 │   web:
     8 │     select: { names: ["web-[12", "[]", "[!a]", 'x\', "[z-a]"] }
       ·                                                  ┬
       ·                                                  ╰── nothing after `\`
     9 │     offering: gold
       ╰────
      help: a backslash is written `\\`
    bad_pattern
      × `[z-a]` is not a pattern
       ╭─[policy.yaml:8:55]
     7 │   web:
     8 │     select: { names: ["web-[12", "[]", "[!a]", 'x\', "[z-a]"] }
       ·                                                       ──┬─
       ·                                                         ╰── a range that runs backwards
     9 │     offering: gold
       ╰────
      help: the smaller end comes first
    5 problems in policy.yaml. Nothing was read from the host.
    "#);
}

#[test]
fn uuids_and_the_letters_of_names() {
    insta::assert_snapshot!(report(&one(with_top("").replace("names: [web]", "uuids: [web-01]"))), @r"
    bad_uuid
      × `web-01` is not a uuid
       ╭─[policy.yaml:8:23]
     7 │   web:
     8 │     select: { uuids: [web-01] }
       ·                       ──────
     9 │     offering: gold
       ╰────
      help: `virsh domuuid NAME` prints it
    1 problem in policy.yaml. Nothing was read from the host.
    ");
    for name in ["-a", "a_b", "é", "\"\"", "A", "a.b"] {
        let text = with_top("").replace("  web:", &format!("  {name}:"));
        assert_eq!(codes(&one(text)), ["bad_name"], "{name}");
    }
    let long = "a".repeat(63);
    assert_eq!(
        codes(&one(with_top("").replace("  web:", &format!("  {long}:")))),
        [""; 0]
    );
    assert_eq!(
        codes(&one(with_top("").replace("  web:", &format!("  {long}a:")))),
        ["bad_name"]
    );
}

#[test]
fn sizes_and_rates_in_a_policy() {
    let storage = |line: &str| {
        report(&one(with_top("").replace(
            "path: /mnt/nas1",
            &format!("path: /mnt/nas1, {line}"),
        )))
    };
    insta::assert_snapshot!(storage("minFree: 200G"), @r"
    bad_size
      × `200G` is not a size
       ╭─[policy.yaml:3:40]
     2 │ storage:
     3 │   nas1: { path: /mnt/nas1, minFree: 200G }
       ·                                        ┬
       ·                                        ╰── no such unit
     4 │ offerings:
       ╰────
      help: `GiB` counts in 1024, `GB` in 1000
    1 problem in policy.yaml. Nothing was read from the host.
    ");
    insta::assert_snapshot!(storage("verify: { rateLimit: 200M, interval: 5m }"), @r"
    bad_rate
      × `200M` is not a rate
       ╭─[policy.yaml:3:49]
     2 │ storage:
     3 │   nas1: { path: /mnt/nas1, verify: { rateLimit: 200M, interval: 5m } }
       ·                                                 ──┬─
       ·                                                   ╰── `/s` is missing
     4 │ offerings:
       ╰────
      help: an amount of data a second, as in `200MB/s`
    out_of_range
      × `interval` must be between 1h and 3660d
       ╭─[policy.yaml:3:65]
     2 │ storage:
     3 │   nas1: { path: /mnt/nas1, verify: { rateLimit: 200M, interval: 5m } }
       ·                                                                 ─┬
       ·                                                                  ╰── this is 5m
     4 │ offerings:
       ╰────
    2 problems in policy.yaml. Nothing was read from the host.
    ");
}
