//! The planner on worlds made by hand: what is planned, why, and what stands in the way.

mod config;
mod due;
mod files;
mod jobs;
mod kinds;
pub(crate) mod make;
mod removals;
mod restores;
