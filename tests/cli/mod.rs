//! The command line as people and programs see it.

mod asking;
mod complaints;
mod exits;
mod first_run;
mod forms;
mod help;
mod lists;
mod masks;
pub(crate) mod plans;
mod reading;
mod removals;
mod reports;
pub(crate) mod schemas;
mod shipped;
