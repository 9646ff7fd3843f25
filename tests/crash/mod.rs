//! Crash schedules: the real planner, engine and journal over the simulated host, with trouble at
//! every tick.
//!
//! A schedule asks for something, meets its trouble, and then applies until nothing is left to do.
//! What must be true by then, whatever went wrong, is in `verdict`.

mod bench;
mod explore;
mod given_up;
pub(crate) mod matrix;
mod old_xml;
mod pairs;
mod restores;
pub(crate) mod scenario;
mod schedule;
mod singles;
mod started;
mod stories;
mod turns;
mod verdict;
mod verified;

pub(crate) use crate::crash::bench::Bench;
pub(crate) use crate::crash::bench::Desk;
pub(crate) use crate::crash::bench::Kept;
pub(crate) use crate::crash::bench::Ran;
pub(crate) use crate::crash::bench::tell;
pub(crate) use crate::crash::schedule::compare;
pub(crate) use crate::crash::schedule::foresee;
