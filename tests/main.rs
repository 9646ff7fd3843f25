//! The one integration-test binary: a list of modules, so that everything links once.

mod host;
