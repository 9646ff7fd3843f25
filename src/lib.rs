//! Backups for KVM virtual machines, as code.

pub mod model;
