//! The command line as people and programs see it.

mod first_run;
mod masks;
