//! The one integration-test binary: a list of modules, so that everything links once.

mod cli;
mod host;
mod live;
mod modules;
mod planner;
mod policy;
mod state;
mod support;
mod tidy;
