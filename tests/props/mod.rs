//! What holds of every plan, whatever the world is like: worlds that nobody would make, and histories that knib lived
//! through on the simulated host.

mod histories;
mod mischief;
mod retention;
mod rules;
mod worlds;
