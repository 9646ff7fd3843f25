//! The nouns of knib: values that every other part speaks in.
//!
//! Nothing here does I/O, reads a clock or draws a random number, and nothing here knows libvirt,
//! sqlite or YAML. What can be serialised is, so that a world or a plan can be saved and replayed.

mod cron_field;

pub mod backup;
pub mod bytes;
pub mod calendar;
pub mod change;
pub mod digest;
pub mod equipment;
pub mod event;
pub mod fault;
pub mod finding;
pub mod foresee;
pub mod ground;
pub mod id;
pub mod job;
pub mod kept;
pub mod layout;
pub mod lease;
pub mod lineage;
pub mod machine;
pub mod misread;
pub mod op;
pub mod orphan;
pub mod plan;
pub mod policy;
pub mod program;
pub mod reason;
pub mod receipt;
pub mod record;
pub mod retention;
pub mod seconds;
pub mod snapshot;
pub mod step;
pub mod tree;
pub mod verification;
pub mod world;
