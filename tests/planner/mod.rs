//! The planner on worlds made by hand: what is planned, why, and what stands in the way.

mod config;
mod due;
mod kinds;
mod make;
mod removals;
