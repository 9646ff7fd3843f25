//! The files of a policy: their names, their bytes, and places in them.
//!
//! Who reads them from disk is not known here; what cannot be read is a finding all the same, so
//! that one run shows every problem.

use camino::Utf8Path;
use camino::Utf8PathBuf;

use crate::model::finding::Finding;
use crate::model::finding::Origin;
use crate::model::finding::Severity;

/// Files in the order in which they were named.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    files: Vec<Source>,
}

/// One file.
#[derive(Clone, Debug)]
pub struct Source {
    /// As it was named on the command line.
    pub name: Utf8PathBuf,
    /// All of it.
    pub bytes: Vec<u8>,
    /// The first byte of each line.
    lines: Vec<usize>,
}

/// A part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Index of the file.
    pub file: usize,
    /// First byte.
    pub start: usize,
    /// The byte after it.
    pub end: usize,
}

impl Sources {
    /// Adds a file.
    pub fn add(&mut self, name: impl Into<Utf8PathBuf>, bytes: impl Into<Vec<u8>>) {
        let bytes = bytes.into();
        let ends = bytes.iter().enumerate().filter(|(_, b)| **b == b'\n');
        let lines = std::iter::once(0).chain(ends.map(|(at, _)| at + 1));
        self.files.push(Source {
            name: name.into(),
            lines: lines.collect(),
            bytes,
        });
    }

    /// The files in order.
    #[must_use]
    pub fn files(&self) -> &[Source] {
        &self.files
    }

    /// The file of this name.
    #[must_use]
    pub fn file(&self, name: &Utf8Path) -> Option<&Source> {
        self.files.iter().find(|file| file.name == name)
    }

    /// The bytes of a place.
    pub(super) fn bytes_at(&self, place: Place) -> &[u8] {
        self.files
            .get(place.file)
            .and_then(|file| file.bytes.get(place.start..place.end))
            .unwrap_or_default()
    }

    /// A place as people count: lines and columns.
    pub(super) fn origin(&self, place: Place) -> Origin {
        let file = &self.files[place.file];
        let line = file.lines.partition_point(|first| *first <= place.start) - 1;
        let before = &file.bytes[file.lines[line]..place.start.min(file.bytes.len())];
        Origin {
            file: file.name.clone(),
            line: line + 1,
            column: String::from_utf8_lossy(before).chars().count() + 1,
            start: place.start,
            end: place.end,
        }
    }
}

impl Source {
    /// Where the line of this byte ends, without its line break.
    pub(super) fn line_end(&self, at: usize) -> usize {
        let rest = self.bytes.get(at..).unwrap_or_default();
        let length = rest.iter().position(|b| matches!(b, b'\n' | b'\r'));
        at + length.unwrap_or(rest.len())
    }
}

/// Why a file has no bytes to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// Nothing is there.
    Missing,
    /// A directory, where a file is meant.
    Directory,
    /// A socket, a device, a pipe.
    NotAFile,
    /// A directory without a file whose name ends in `.yaml`.
    NothingInDirectory,
    /// The name is not UTF-8; shown as well as it can be.
    Name,
    /// Not allowed.
    Denied,
    /// Longer than a policy may be.
    TooLong,
    /// What the system said.
    Other(String),
}

/// A policy file that could not be read.
#[must_use]
pub fn unreadable(name: &str, why: &Unreadable) -> Finding {
    let (what, hint) = match why {
        Unreadable::Missing => (
            "does not exist".into(),
            "`knib init` writes a policy to start from",
        ),
        Unreadable::Directory => (
            "is a directory, not a file".into(),
            "of a directory given with -f, the files `*.yaml` directly in it are read",
        ),
        Unreadable::NotAFile => (
            "is not a regular file".into(),
            "use `-f -` to read from a pipe",
        ),
        Unreadable::NothingInDirectory => (
            "holds no policy".into(),
            "the files of a directory are read when their names end in `.yaml`",
        ),
        Unreadable::Name => ("has a name that is not UTF-8".into(), "rename it"),
        Unreadable::Denied => (
            "may not be read by this user".into(),
            "knib runs as root on the hypervisor, or as a user who may read it",
        ),
        Unreadable::TooLong => (
            format!("is longer than {}", crate::model::bytes::Bytes(MAX_BYTES)),
            "is it a policy?",
        ),
        Unreadable::Other(what) => (
            format!("cannot be read: {what}"),
            "nothing was changed; try again when it can be read",
        ),
    };
    Finding::new(Severity::Error, "unreadable", format!("{name} {what}")).hint(hint)
}

/// More bytes than any policy has.
pub const MAX_BYTES: u64 = 4 << 20;
