//! What holds of every plan, whatever the world is like: worlds that nobody would make, and histories that knib lived
//! through on the simulated host.

mod histories;
mod mischief;
mod retention;
mod rules;
mod worlds;

/// How many cases are tried: enough to find what has ever been broken. `KNIB_PROPS=20` tries twenty times as many.
fn cases(few: u32) -> u32 {
    let times = std::env::var("KNIB_PROPS").ok();
    few * times.map_or(1, |times| times.parse().expect("a number"))
}
