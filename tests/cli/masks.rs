//! What differs from run to run and from machine to machine, beyond what the sandbox masks.

use insta::internals::SettingsBindDropGuard;

const MASKS: [(&str, &str); 13] = [
    (r"\b\d{8}-\d{6}-[0-9a-f]{8}\b", "[id]"),
    (r"\bpid \d+", "pid [pid]"),
    (r"knib \d+\.\d+\.\d+, \S+ \(", "knib [version], [host] ("),
    (
        r",\s+\w+\s+on\s+device\s+\d+:\d+,\s+[\d.]+\s+[KMGT]iB\s+free",
        ", [room]",
    ),
    (
        r"it was made by knib \d+\.\d+\.\d+",
        "it was made by knib [version]",
    ),
    // Which file systems a machine has, and how much of them a small file takes.
    (
        r"(?s)warning: storage \w+ is on the same\s+file\s+system as.*?to another one\n\n?",
        "",
    ),
    (r"\babout [\d.]+ [KM]?i?B\b", "about [size]"),
    (r"[\d.]+ [KM]?i?B freed", "[size] freed"),
    (r"took \d+ \w+", "took [length]"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", "[instant]"),
    (
        r"(?m)^(\S+\s+\$DIR/\S+)\s+\w+ +[\d.]+ [KMGT]iB +[\d.]+ [KMGT]iB",
        "$1  [room]",
    ),
    // As wide as the room is written.
    (
        r"(?m)^STORAGE +PATH +TYPE +FREE +TOTAL +BACKUPS +USED +VERIFIED$",
        "STORAGE  PATH  TYPE  FREE  TOTAL  BACKUPS  USED  VERIFIED",
    ),
    (r"(?m)^(  \$RUN-\S+) +(\d+)  ([\d.]+ \wiB)$", "$1  $2  $3"),
];

/// As long as the value lives.
pub(super) fn bind() -> SettingsBindDropGuard {
    let mut settings = insta::Settings::clone_current();
    for (pattern, shown) in MASKS {
        settings.add_filter(pattern, shown);
    }
    settings.bind_to_scope()
}
