//! The nouns of knib: values that every other part speaks in.
//!
//! Nothing here does I/O, reads a clock or draws a random number, and nothing here knows libvirt,
//! sqlite or YAML. What can be serialised is, so that a world or a plan can be saved and replayed.

pub mod bytes;
pub mod calendar;
mod cron_field;
pub mod digest;
pub mod finding;
pub mod id;
pub mod misread;
pub mod policy;
pub mod seconds;
