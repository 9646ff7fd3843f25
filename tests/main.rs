//! The one integration-test binary: a list of modules, so that everything links once.

mod cli;
mod conform;
mod crash;
mod crate_docs;
mod host;
mod lease_cells;
mod live;
mod modules;
mod planner;
mod policy;
mod props;
mod sim;
mod state;
mod support;
mod tidy;
