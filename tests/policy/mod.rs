//! The policy layer.

mod calendar;
mod examples;
mod schema;
