//! Backups for KVM virtual machines, as code.

pub mod action;
pub mod cli;
pub mod engine;
pub mod host;
pub mod model;
pub mod planner;
pub mod policy;
pub mod state;
