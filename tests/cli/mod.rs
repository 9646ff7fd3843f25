//! The command line as people and programs see it.

mod first_run;
mod help;
mod lists;
mod masks;
mod plans;
mod reports;
mod schemas;
