//! The command line as people and programs see it.

mod exits;
mod first_run;
mod help;
mod lists;
mod masks;
mod plans;
mod reading;
mod reports;
mod schemas;
