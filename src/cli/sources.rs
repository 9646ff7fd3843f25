//! Finds and reads policy files; what they say is not known here.

use std::fs;
use std::io;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;

use crate::model::finding::Finding;
use crate::policy::Sources;
use crate::policy::source;
use crate::policy::source::MAX_BYTES;
use crate::policy::source::Unreadable;

/// Where a policy is looked for when none is named; the first place that has one.
const PLACES: [[&str; 2]; 2] = [
    ["knib.yaml", "knib.d"],
    ["/etc/knib/knib.yaml", "/etc/knib/knib.d"],
];
/// How stdin is named in findings.
const STDIN: &str = "<stdin>";

/// The paths that were named, or else those of the first place that has a policy.
pub(super) fn places(named: &[PathBuf]) -> Vec<PathBuf> {
    if !named.is_empty() {
        return named.to_vec();
    }
    let there = |place: &[&str; 2]| -> Vec<PathBuf> {
        let paths = place.iter().map(PathBuf::from);
        paths.filter(|path| path.exists()).collect()
    };
    let found = PLACES.iter().map(there).find(|found| !found.is_empty());
    found.unwrap_or_default()
}

/// Reads all of them, directories one level deep, and says what could not be read.
pub(super) fn read(paths: &[PathBuf]) -> (Sources, Vec<Finding>) {
    let mut sources = Sources::default();
    let mut findings = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            let content = limited(io::stdin().lock());
            add(&mut sources, &mut findings, STDIN, content);
        } else if path.is_dir() {
            directory(path, &mut sources, &mut findings);
        } else {
            file(path, &mut sources, &mut findings);
        }
    }
    (sources, findings)
}

fn directory(dir: &Path, sources: &mut Sources, findings: &mut Vec<Finding>) {
    let listed = fs::read_dir(dir).and_then(|entries| {
        entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<Vec<_>>>()
    });
    let mut paths = match listed {
        Ok(paths) => paths,
        Err(error) => {
            findings.push(source::unreadable(&dir.to_string_lossy(), &why(&error)));
            return;
        }
    };
    paths.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "yaml")
    });
    paths.sort();
    if paths.is_empty() {
        let name = dir.to_string_lossy();
        findings.push(source::unreadable(&name, &Unreadable::NothingInDirectory));
    }
    for path in paths {
        file(&path, sources, findings);
    }
}

fn file(path: &Path, sources: &mut Sources, findings: &mut Vec<Finding>) {
    let Some(name) = path.to_str() else {
        findings.push(source::unreadable(
            &path.to_string_lossy(),
            &Unreadable::Name,
        ));
        return;
    };
    add(sources, findings, name, content(path));
}

fn add(
    sources: &mut Sources,
    findings: &mut Vec<Finding>,
    name: &str,
    content: Result<Vec<u8>, Unreadable>,
) {
    match content {
        Ok(bytes) => sources.add(name, bytes),
        Err(why) => findings.push(source::unreadable(name, &why)),
    }
}

fn content(path: &Path) -> Result<Vec<u8>, Unreadable> {
    let meta = fs::metadata(path).map_err(|error| why(&error))?;
    if meta.is_dir() {
        return Err(Unreadable::Directory);
    }
    // Opening a pipe or a device might wait for ever.
    if !meta.is_file() {
        return Err(Unreadable::NotAFile);
    }
    limited(fs::File::open(path).map_err(|error| why(&error))?)
}

fn limited(from: impl Read) -> Result<Vec<u8>, Unreadable> {
    let mut bytes = Vec::new();
    from.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| why(&error))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Unreadable::TooLong);
    }
    Ok(bytes)
}

fn why(error: &io::Error) -> Unreadable {
    match error.kind() {
        io::ErrorKind::NotFound => Unreadable::Missing,
        io::ErrorKind::PermissionDenied => Unreadable::Denied,
        _ => Unreadable::Other(error.to_string()),
    }
}
