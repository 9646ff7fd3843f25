//! Crash schedules: the real planner, engine and journal over the simulated host, with trouble at every
//! tick: before and after each effect, in the middle of long ones, and at each write of the journal.
//!
//! After each schedule guests see what they wrote, every backup shows its instant, primary holds one delta
//! a disk or none, and nothing is left over: no stage, overlay, job, lease or open action.

mod bench;
mod explore;
mod scenario;
mod schedule;
mod singles;
mod stories;
mod verdict;
