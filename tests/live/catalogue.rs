//! Holds `tests/catalogue.md` to the tests: a case that nothing tries is a promise, a test that no case names is lost.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// The names of the functions that follow `#[test]`.
fn in_file(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).expect("sources are readable");
    let mut after = text.split("#[test]\n");
    after.next();
    after
        .filter_map(|rest| rest.split_once("fn ")?.1.split_once('('))
        .map(|(name, _)| name.to_owned())
        .collect()
}

fn in_sources() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(tests().join("live")).expect("the tests are there") {
        let path = entry.expect("it can be read").path();
        let module = path.file_stem().expect("a file has a name");
        let module = module.to_string_lossy().into_owned();
        let path = if path.is_dir() {
            path.join("mod.rs")
        } else {
            path
        };
        let names = in_file(&path).into_iter();
        found.extend(names.map(|name| format!("{module}::{name}")));
    }
    found
}

fn in_catalogue() -> BTreeSet<String> {
    let text = fs::read_to_string(tests().join("catalogue.md")).expect("the catalogue is there");
    let rows = text.lines().filter_map(|line| line.split('|').nth(2));
    let quoted = rows.filter_map(|cell| cell.split('`').nth(1));
    quoted
        .filter(|name| name.contains("::"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_live_test_is_in_the_catalogue() {
    let (sources, catalogue) = (in_sources(), in_catalogue());
    let untold: Vec<_> = sources.difference(&catalogue).collect();
    let untried: Vec<_> = catalogue.difference(&sources).collect();
    assert!(
        untold.is_empty() && untried.is_empty(),
        "tests that tests/catalogue.md does not name: {untold:#?}\nnames in it that are no tests: {untried:#?}"
    );
}
