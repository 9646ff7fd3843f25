//! Backups for KVM virtual machines, as code.

pub mod cli;
pub mod model;
pub mod policy;
