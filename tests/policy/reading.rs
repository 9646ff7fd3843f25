//! Files that cannot be read as a policy at all.

use std::fmt::Write as _;
use std::time::Duration;
use std::time::Instant;

use knib::policy::Sources;
use knib::policy::source::MAX_BYTES;
use knib::policy::source::Unreadable;
use knib::policy::source::unreadable;

use super::codes;
use super::one;
use super::report;
use super::several;
use super::with_schedule;
use super::with_top;

#[test]
fn what_yaml_cannot_read_wants_quotes() {
    insta::assert_snapshot!(report(&one("version: 1\nx:\n  cron: * * * * *   # each minute\n")), @r#"
    not_yaml
      × the file is not YAML
       ╭─[policy.yaml:3:9]
     2 │ x:
     3 │   cron: * * * * *   # each minute
       ·         ────┬────
       ·             ╰── begins with `*`, which stands for an alias
       ╰────
      help: put it in quotes: `"* * * * *"`
    1 problem in policy.yaml. Nothing was read from the host.
    "#);
    insta::assert_snapshot!(report(&one("x: { cron: */5 * * * *, jitter: 5m }\n")), @r#"
    not_yaml
      × the file is not YAML
       ╭─[policy.yaml:1:12]
     1 │ x: { cron: */5 * * * *, jitter: 5m }
       ·            ─────┬─────
       ·                 ╰── begins with `*`, which stands for an alias
       ╰────
      help: put it in quotes: `"*/5 * * * *"`
    1 problem in policy.yaml. Nothing was read from the host.
    "#);
    insta::assert_snapshot!(report(&one("cron: @daily\n")), @r#"
    not_yaml
      × the file is not YAML
       ╭─[policy.yaml:1:7]
     1 │ cron: @daily
       ·       ───┬──
       ·          ╰── text cannot begin with `@`
       ╰────
      help: put it in quotes: `"@daily"`
    1 problem in policy.yaml. Nothing was read from the host.
    "#);
    insta::assert_snapshot!(report(&one("names: [*]\n")), @r#"
    not_yaml
      × the file is not YAML
       ╭─[policy.yaml:1:9]
     1 │ names: [*]
       ·         ┬
       ·         ╰── begins with `*`, which stands for an alias
       ╰────
      help: put it in quotes: `"*"`
    1 problem in policy.yaml. Nothing was read from the host.
    "#);
    insta::assert_snapshot!(report(&one("description: gold: the best\n")), @r#"
    not_yaml
      × the file is not YAML
       ╭─[policy.yaml:1:14]
     1 │ description: gold: the best
       ·              ───────┬──────
       ·                     ╰── a second `: ` in one line
       ╰────
      help: put it in quotes: `"gold: the best"`
    1 problem in policy.yaml. Nothing was read from the host.
    "#);
}

#[test]
fn what_is_not_yaml_is_shown() {
    insta::assert_snapshot!(report(&one("version: 1\nstorage:\n\tnas1: {}\n")), @r"
    not_yaml
      × the file is not YAML
       ╭─[policy.yaml:3:2]
     2 │ storage:
     3 │     nas1: {}
       ·     ┬
       ·     ╰── a tab
       ╰────
      help: indent with spaces, not with tabs
    1 problem in policy.yaml. Nothing was read from the host.
    ");
    insta::assert_snapshot!(report(&one("version: 1\nstorage: { nas1: { path: /x }\n")), @r"
    not_yaml
      × the file is not YAML
       ╭─[policy.yaml:2:29]
     1 │ version: 1
     2 │ storage: { nas1: { path: /x }
       ·                             ┬
       ·                             ╰── ',' or '}' is missing
       ╰────
    1 problem in policy.yaml. Nothing was read from the host.
    ");
    insta::assert_snapshot!(report(&one("offerings:\n  gold: 'x\nversion: 1\n")), @r"
    not_yaml
      × the file is not YAML
       ╭─[policy.yaml:2:9]
     1 │ offerings:
     2 │   gold: 'x
       ·         ┬
       ·         ╰── invalid indentation in quoted scalar
     3 │ version: 1
       ╰────
    1 problem in policy.yaml. Nothing was read from the host.
    ");
    insta::assert_snapshot!(report(&one("timezone: *paris\n")), @r#"
    not_yaml
      × the file is not YAML
       ╭─[policy.yaml:1:11]
     1 │ timezone: *paris
       ·           ───┬──
       ·              ╰── begins with `*`, which stands for an alias
       ╰────
      help: put it in quotes: `"*paris"`
    1 problem in policy.yaml. Nothing was read from the host.
    "#);
    insta::assert_snapshot!(report(&one("é: ü\n  ö: x\n")), @r"
    not_yaml
      × the file is not YAML
       ╭─[policy.yaml:2:5]
     1 │ é: ü
     2 │   ö: x
       ·    ┬
       ·    ╰── no key is expected here
       ╰────
      help: is the line indented as its neighbours are?
    1 problem in policy.yaml. Nothing was read from the host.
    ");
    // Only one of the two parsers minds.
    insta::assert_snapshot!(report(&one("version: 1 # à, é\nx:\n  -\ty\n")), @r"
    not_yaml
      × the file is not YAML
       ╭─[policy.yaml:3:5]
     2 │ x:
     3 │   - y
       ·     ┬
       ·     ╰── found character that cannot start any token
       ╰────
    1 problem in policy.yaml. Nothing was read from the host.
    ");
}

#[test]
fn an_empty_file_is_no_policy() {
    insta::assert_snapshot!(report(&one("")), @r"
    empty_file
      × the file says nothing
       ╭─[policy.yaml:1:1]
       ╰────
      help: a policy begins with `version: 1`; `knib init` writes one to start from
    1 problem in policy.yaml. Nothing was read from the host.
    ");
    for nothing in ["# only a comment\n", "---\n", "~\n", "\n\n", "\u{feff}"] {
        assert_eq!(codes(&one(nothing)), ["empty_file"], "{nothing:?}");
    }
    assert_eq!(codes(&one("just text")), ["wrong_kind"]);
    assert_eq!(codes(&one("- a\n- list\n")), ["wrong_kind"]);
    assert_eq!(codes(&Sources::default()), ["no_policy"]);
}

#[test]
fn several_documents_belong_into_several_files() {
    insta::assert_snapshot!(report(&one("version: 1\n---\nversion: 1\n")), @r"
    several_documents
      × the file holds more than one document
       ╭─[policy.yaml:2:1]
     1 │ version: 1
     2 │ ---
       · ─┬─
       ·  ╰── a second one begins here
     3 │ version: 1
       ╰────
      help: write each into a file of its own, and name the files with -f
    1 problem in policy.yaml. Nothing was read from the host.
    ");
}

#[test]
fn text_that_is_not_utf8_is_shown_at_its_first_bad_byte() {
    insta::assert_snapshot!(report(&one(b"version: 1\n# caf\xe9 au lait\n".as_slice())), @r"
    not_utf8
      × the file is not UTF-8
       ╭─[policy.yaml:2:6]
     1 │ version: 1
     2 │ # caf? au lait
       ·      ┬
       ·      ╰── byte 16 is 0xe9
       ╰────
      help: save it as UTF-8
    1 problem in policy.yaml. Nothing was read from the host.
    ");
    insta::assert_snapshot!(report(&one(b"\xff\xfev\0e\0r\0".as_slice())), @r"
    not_utf8
      × the file is not UTF-8
       ╭─[policy.yaml:1:1]
     1 │ ??v?e?r?
       · ┬
       · ╰── byte 0 is 0xff
       ╰────
      help: it looks like UTF-16: save it as UTF-8
    1 problem in policy.yaml. Nothing was read from the host.
    ");
}

#[test]
fn characters_that_hide_or_steer_are_refused() {
    insta::assert_snapshot!(report(&one("version: 1\n# \x1b[2Jgone\n")), @r"
    control_character
      × the file holds a control character
       ╭─[policy.yaml:2:3]
     1 │ version: 1
     2 │ # ?[2Jgone
       ·   ┬
       ·   ╰── U+001B
       ╰────
      help: delete it; in a text between double quotes it can be written as an escape
    1 problem in policy.yaml. Nothing was read from the host.
    ");
    // Some readers see a line end here, others go on with the comment.
    for hidden in ["\u{2028}", "\u{2029}", "\u{85}", "\0", "\u{9b}", "\u{7f}"] {
        let text = with_top(&format!("# {hidden}connect: qemu:///session\n"));
        assert_eq!(codes(&one(text)), ["control_character"], "{hidden:?}");
    }
    let marked = format!("\u{feff}{}", with_top(""));
    assert_eq!(codes(&one(marked)), [""; 0]);
}

#[test]
fn tags_are_refused() {
    insta::assert_snapshot!(report(&one("version: 1\ntimezone: !zone UTC\n")), @r"
    tag
      × tags are not used in a policy
       ╭─[policy.yaml:2:11]
     1 │ version: 1
     2 │ timezone: !zone UTC
       ·           ────┬────
       ·               ╰── a tag
       ╰────
      help: put text that begins with `!` in quotes
    1 problem in policy.yaml. Nothing was read from the host.
    ");
}

#[test]
fn line_ends_of_windows_are_fine() {
    let text = with_top("timezone: Europe/Pari\n").replace('\n', "\r\n");
    insta::assert_snapshot!(report(&one(text)), @r#"
    bad_zone
      × `Europe/Pari` is not a time zone
        ╭─[policy.yaml:15:11]
     14 │         cron: "0 4 * * *" 
     15 │ timezone: Europe/Pari 
        ·           ─────┬─────
        ·                ╰── no such time zone
        ╰────
      help: did you mean `Europe/Paris`?
    1 problem in policy.yaml. Nothing was read from the host.
    "#);
}

/// Ten to the ninth values in a few lines.
fn bomb() -> String {
    let mut text = "version: 1\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        writeln!(text, "a{level}: &a{level} [{aliases}]").expect("text");
    }
    text
}

#[test]
fn files_that_unfold_without_end_are_refused_at_once() {
    let started = Instant::now();
    insta::assert_snapshot!(report(&one(bomb())), @r"
    too_many_values
      × aliases unfold this file to more than 100000 values
       ╭─[policy.yaml:6:5]
     5 │ a3: &a3 [*a2, *a2, *a2, *a2, *a2, *a2, *a2, *a2, *a2, *a2]
     6 │ a4: &a4 [*a3, *a3, *a3, *a3, *a3, *a3, *a3, *a3, *a3, *a3]
       ·     ───────────────────────────┬──────────────────────────
       ·                                ╰── over the limit here
     7 │ a5: &a5 [*a4, *a4, *a4, *a4, *a4, *a4, *a4, *a4, *a4, *a4]
       ╰────
    1 problem in policy.yaml. Nothing was read from the host.
    ");
    insta::assert_snapshot!(report(&one("version: 1\nx: &x [1, *x]\n")), @r"
    alias_loop
      × an alias stands inside of what it stands for
       ╭─[policy.yaml:2:11]
     1 │ version: 1
     2 │ x: &x [1, *x]
       ·           ─┬
       ·            ╰── this alias
       ╰────
    1 problem in policy.yaml. Nothing was read from the host.
    ");
    let deep = "[".repeat(100_000);
    assert_eq!(codes(&one(deep)), ["too_deep"]);
    let deep = (0..100).fold("version: 1\nx0: &x0 [y]\n".to_owned(), |text, n| {
        format!("{text}x{}: &x{} [*x{n}]\n", n + 1, n + 1)
    });
    assert_eq!(codes(&one(deep)), ["too_deep"]);
    let wide = "version: 1\nx: [".to_owned() + &"1,".repeat(200_000) + "]\n";
    assert_eq!(codes(&one(wide)), ["too_many_values"]);
    let blocks = "- ".repeat(100_000);
    assert_eq!(codes(&one(blocks)), ["too_deep"]);
    let long = " ".repeat(usize::try_from(MAX_BYTES).expect("small") + 1);
    assert_eq!(codes(&one(long)), ["unreadable"]);
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn aliases_are_fine_where_they_stand_for_a_value() {
    let text = with_schedule("        cron: &when \"0 4 * * *\"\n      other: { cron: *when }\n");
    assert_eq!(codes(&one(text)), [""; 0]);
}

#[test]
fn other_files_are_read_all_the_same() {
    let good = with_top("timezone: Europe/Pari\n");
    let sources = several(&[("a.yaml", "x: [\n".to_owned()), ("b.yaml", good)]);
    insta::assert_snapshot!(report(&sources), @r#"
    not_yaml
      × the file is not YAML
       ╭─[a.yaml:1:4]
     1 │ x: [
       ·    ┬
       ·    ╰── node content is missing
       ╰────
    bad_zone
      × `Europe/Pari` is not a time zone
        ╭─[b.yaml:15:11]
     14 │         cron: "0 4 * * *"
     15 │ timezone: Europe/Pari
        ·           ─────┬─────
        ·                ╰── no such time zone
        ╰────
      help: did you mean `Europe/Paris`?
    2 problems in 2 files. Nothing was read from the host.
    "#);
}

#[test]
fn a_file_is_given_once() {
    let text = with_top("");
    assert_eq!(
        codes(&several(&[("a.yaml", text.clone()), ("a.yaml", text)])),
        ["given_twice"]
    );
}

#[test]
fn what_has_no_bytes_is_a_finding_too() {
    let all = [
        Unreadable::Missing,
        Unreadable::Directory,
        Unreadable::NotAFile,
        Unreadable::NothingInDirectory,
        Unreadable::Name,
        Unreadable::Denied,
        Unreadable::TooLong,
        Unreadable::Other("Input/output error".into()),
    ];
    let shown = all.map(|why| {
        let finding = unreadable("knib.yaml", &why);
        assert_eq!(finding.code, "unreadable");
        format!("{}; {}", finding.text, finding.hint.unwrap_or_default())
    });
    insta::assert_snapshot!(shown.join("\n"), @r"
    knib.yaml does not exist; `knib init` writes a policy to start from
    knib.yaml is a directory, not a file; of a directory given with -f, the files `*.yaml` directly in it are read
    knib.yaml is not a regular file; use `-f -` to read from a pipe
    knib.yaml holds no policy; the files of a directory are read when their names end in `.yaml`
    knib.yaml has a name that is not UTF-8; rename it
    knib.yaml may not be read by this user; knib runs as root on the hypervisor, or as a user who may read it
    knib.yaml is longer than 4 MiB; is it a policy?
    knib.yaml cannot be read: Input/output error; nothing was changed; try again when it can be read
    ");
}
