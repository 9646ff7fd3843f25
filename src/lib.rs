//! Backups for KVM virtual machines, as code.

pub mod host;
pub mod model;
pub mod state;
