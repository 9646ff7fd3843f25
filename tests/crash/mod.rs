//! Crash schedules: the real planner, engine and journal over the simulated host, with trouble at
//! every tick.
//!
//! A schedule asks for something, meets its trouble, and then applies until nothing is left to do.
//! What must be true by then, whatever went wrong, is in `verdict`.

mod bench;
mod explore;
mod old_xml;
mod pairs;
mod scenario;
mod schedule;
mod singles;
mod stories;
mod verdict;
