//! Backups for KVM virtual machines, as code.

pub mod action;
pub mod host;
pub mod model;
