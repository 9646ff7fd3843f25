//! Holds the module list of this binary to the files on disk: a test file that no `mod` names would never run.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

fn source(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Adds `file` and, following its `mod name;` lines, every file reached from it.
fn reach(file: PathBuf, submodules: &Path, reached: &mut BTreeSet<PathBuf>) {
    for line in source(&file).lines() {
        let line = line
            .trim_start_matches("pub(crate) ")
            .trim_start_matches("pub ");
        let Some(name) = line
            .strip_prefix("mod ")
            .and_then(|rest| rest.strip_suffix(';'))
        else {
            continue;
        };
        let below = submodules.join(name);
        let beside = submodules.join(format!("{name}.rs"));
        let next = if beside.exists() {
            beside
        } else {
            below.join("mod.rs")
        };
        reach(next, &below, reached);
    }
    reached.insert(file);
}

fn on_disk(directory: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(directory).expect("the directory of the tests can be listed") {
        let path = entry
            .expect("the directory of the tests can be read")
            .path();
        if path.is_dir() {
            on_disk(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.insert(path);
        }
    }
}

#[test]
fn no_forgotten_files() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut reached = BTreeSet::new();
    reach(tests.join("main.rs"), &tests, &mut reached);
    let mut found = BTreeSet::new();
    on_disk(&tests, &mut found);

    let forgotten: Vec<_> = found.difference(&reached).collect();
    assert!(forgotten.is_empty(), "no `mod` leads to {forgotten:?}");
}
