//! The planner on worlds made by hand: what is planned, why, and what stands in the way.

mod config;
mod doctor;
mod due;
mod files;
mod forecast;
mod jobs;
mod judge;
mod kinds;
pub(crate) mod make;
mod removals;
mod restores;
pub(crate) mod retention;
mod validations;
mod verify;
