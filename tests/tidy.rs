//! The rules of the house, as tests: who may import whom, where dangerous things live, how long a file is.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

/// A module may import modules of a lower layer, its own, and the siblings its line names.
const LAYERS: &[(&str, u32, &[&str])] = &[
    ("crash", 0, &[]),
    ("sabotage", 0, &[]),
    ("model", 0, &["sabotage"]),
    ("policy", 1, &[]),
    ("action", 1, &[]),
    ("planner", 2, &[]),
    ("state", 2, &[]),
    ("host", 2, &[]),
    ("engine", 3, &[]),
    ("cli", 4, &[]),
];

/// Modules that decide: no clock, no I/O, nothing that comes out in another order the next time.
const PURE: &[&str] = &["model", "policy", "action", "planner"];

/// Words that pure modules do not use.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::env",
    "std::process",
    "std::net",
    "Timestamp::now",
    "Zoned::now",
    "SystemTime",
    "Instant::now",
    "tokio",
    "HashMap",
    "HashSet",
    "rustix",
    "tempfile",
];

/// What lives in one home only.
const HOMES: &[(&str, &[&str])] = &[
    ("virt::", &["src/host/libvirt/"]),
    ("unsafe ", &["src/host/libvirt/ffi.rs"]),
    ("rusqlite", &["src/state/"]),
    ("serde_yaml", &["src/policy/yaml.rs"]),
    (
        "saphyr_parser",
        &["src/policy/layout.rs", "src/policy/layout/"],
    ),
    ("roxmltree", &["src/host/libvirt/"]),
    (
        "croner",
        &["src/model/calendar.rs", "src/model/cron_field.rs"],
    ),
    ("clap::", &["src/cli/", "src/main.rs"]),
    ("miette::", &["src/cli/"]),
    ("indicatif", &["src/cli/"]),
];

const LONGEST_FILE: usize = 600;

#[test]
fn modules_import_lower_layers_only() {
    let mut broken = Vec::new();
    for (path, text) in sources() {
        let Some((module, layer, siblings)) = home(&path) else {
            continue;
        };
        for (number, line) in text.lines().enumerate() {
            for other in imported(line) {
                let allowed = other == module
                    || siblings.contains(&other)
                    || LAYERS
                        .iter()
                        .any(|(name, at, _)| *name == other && *at < layer);
                if !allowed {
                    broken.push(format!(
                        "{}:{}: {module} imports {other}",
                        path.display(),
                        number + 1
                    ));
                }
            }
        }
    }
    assert!(
        broken.is_empty(),
        "layers are broken:\n{}",
        broken.join("\n")
    );
}

#[test]
fn deciding_modules_are_pure() {
    let mut broken = Vec::new();
    for (path, text) in sources() {
        if !home(&path).is_some_and(|(module, _, _)| PURE.contains(&module)) {
            continue;
        }
        for (number, line) in code(&text) {
            for word in IMPURE.iter().filter(|word| line.contains(**word)) {
                broken.push(format!("{}:{number}: {word}", path.display()));
            }
        }
    }
    assert!(
        broken.is_empty(),
        "a decision looks outside:\n{}",
        broken.join("\n")
    );
}

#[test]
fn everything_has_one_home() {
    let mut broken = Vec::new();
    for (path, text) in sources() {
        let name = path.to_string_lossy().into_owned();
        for (number, line) in code(&text) {
            for (word, homes) in HOMES {
                let found = line.match_indices(word).any(|(at, _)| {
                    !line[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_')
                });
                if found && !homes.iter().any(|home| name.contains(home)) {
                    broken.push(format!(
                        "{name}:{number}: {word} belongs to {}",
                        homes.join(", ")
                    ));
                }
            }
        }
    }
    assert!(broken.is_empty(), "out of its home:\n{}", broken.join("\n"));
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent: Vec<_> = all_sources()
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//!"))
        .map(|(path, _)| path.display().to_string())
        .collect();
    assert!(silent.is_empty(), "no module docs: {silent:?}");
}

#[test]
fn files_are_short() {
    let mut lengths: Vec<usize> = Vec::new();
    let mut long = Vec::new();
    for (path, text) in all_sources() {
        let lines = text.lines().count();
        if path.starts_with("src") {
            lengths.push(lines);
        }
        if lines > LONGEST_FILE {
            long.push(format!("{}: {lines}", path.display()));
        }
    }
    lengths.sort_unstable();
    let median = lengths.get(lengths.len() / 2).copied().unwrap_or_default();
    assert!(long.is_empty(), "over {LONGEST_FILE} lines: {long:?}");
    assert!(median <= 180, "the median file has {median} lines");
}

#[test]
fn the_version_is_in_the_changelog() {
    let changelog = fs::read_to_string(root().join("CHANGELOG.md")).expect("CHANGELOG.md");
    let version = env!("CARGO_PKG_VERSION");
    let heading =
        changelog.contains(&format!("## [{version}]")) || changelog.contains("## [Unreleased]");
    assert!(heading, "CHANGELOG.md has neither {version} nor Unreleased");
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The module a file belongs to, with its layer.
fn home(path: &Path) -> Option<(&'static str, u32, &'static [&'static str])> {
    let mut parts = path
        .components()
        .map(|part| part.as_os_str().to_string_lossy().into_owned());
    parts.next().filter(|first| first == "src")?;
    let module = parts.next()?;
    LAYERS
        .iter()
        .find(|(name, _, _)| *name == module)
        .map(|(name, layer, siblings)| (*name, *layer, *siblings))
}

/// The modules that a line names by `crate::module`.
fn imported(line: &str) -> Vec<&str> {
    let line = line.trim_start();
    if line.starts_with("//") {
        return Vec::new();
    }
    line.match_indices("crate::")
        .filter(|(at, _)| !line[..*at].ends_with('$'))
        .map(|(at, found)| {
            let rest = &line[at + found.len()..];
            let end = rest
                .find(|c: char| !(c.is_alphanumeric() || c == '_'))
                .unwrap_or(rest.len());
            &rest[..end]
        })
        .filter(|name| LAYERS.iter().any(|(layer, _, _)| layer == name))
        .collect()
}

/// Lines that are neither comments nor tests, with their numbers.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let end = text.find("#[cfg(test)]").unwrap_or(text.len());
    text[..end]
        .lines()
        .enumerate()
        .map(|(n, line)| (n + 1, line))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

fn sources() -> Vec<(PathBuf, String)> {
    all_sources()
        .into_iter()
        .filter(|(path, _)| path.starts_with("src"))
        .collect()
}

/// Every Rust file, by its path below the root.
fn all_sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for dir in ["src", "tests", "benches"] {
        collect(&root().join(dir), &mut found);
    }
    assert!(
        !found.is_empty(),
        "no sources found below {}",
        root().display()
    );
    found
}

fn collect(dir: &Path, found: &mut Vec<(PathBuf, String)>) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("sources are readable");
            let below = path
                .strip_prefix(root())
                .expect("found below the root")
                .to_owned();
            found.push((below, text));
        }
    }
}
