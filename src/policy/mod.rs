//! From policy files to a checked policy.
//!
//! ```text
//! source  names and bytes      layout  places and limits      yaml   values
//! read    a file, as nodes     join    values with places     shape  against the schema
//! merge   files, templates     check   to model::policy       lint   what is sound and unwise
//! ```
//! Reading never stops at the first problem: it says all of them, each with its place, and gives a
//! policy only when none is an error. No file is opened here, no host is asked, and the clock is
//! a parameter.

pub mod connect;
pub mod duration;
pub mod glob;
pub mod lint;
pub mod select;
pub mod size;
pub mod source;
pub mod suggest;

mod check;
mod found;
mod join;
mod layout;
mod merge;
mod node;
mod raw;
mod read;
mod refusal;
mod retired;
mod schema;
mod shape;
mod syntax;
mod wanted;
mod words;
mod yaml;

pub use schema::schema;
pub use source::Sources;

use crate::model::finding::Finding;
use crate::model::finding::Severity;
use crate::model::policy::Policy;
use found::Found;

/// Reads the files as one policy. There is a policy when none of the findings is an error.
#[must_use]
pub fn load(sources: &Sources) -> (Option<Policy>, Vec<Finding>) {
    let mut found = Found::new(sources);
    let policy = read(sources, &mut found);
    let findings = found.sorted();
    let sound = findings
        .iter()
        .all(|finding| finding.severity < Severity::Error);
    (policy.filter(|_| sound), findings)
}

fn read(sources: &Sources, found: &mut Found<'_>) -> Option<Policy> {
    let mut files = Vec::new();
    let mut complete = true;
    for (index, source) in sources.files().iter().enumerate() {
        let before = &sources.files()[..index];
        if before.iter().any(|other| other.name == source.name) {
            let text = format!("{} is given twice", source.name);
            found.add(Finding::new(Severity::Error, "given_twice", text));
            continue;
        }
        match read::file(index, found) {
            Some(node) => files.push(node),
            None => complete = false,
        }
    }
    check::policy(files, complete, found)
}

/// The policy that `knib init` writes, to start from.
#[must_use]
pub fn starter() -> &'static str {
    include_str!("starter.yaml")
}

/// The name under which `knib init` puts the schema beside it.
pub const STARTER_SCHEMA: &str = "knib.schema.json";
