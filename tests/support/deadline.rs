//! Waiting: poll until something is so, or fail saying what was waited for. Nothing in the tests sleeps for luck.

use std::thread;
use std::time::Duration;
use std::time::Instant;

/// The first pause between two looks. A look is often a program of its own, which takes time from what is waited
/// for: each pause is half as long again as the one before, up to the longest.
const PAUSE: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_millis(200);

/// Asks again and again until `look` finds something.
///
/// # Panics
/// When it has found nothing after `seconds`.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, seconds: u64, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut pause = PAUSE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            Instant::now() < end,
            "after {seconds} s still waiting for {what}"
        );
        thread::sleep(pause);
        pause = LONGEST.min(pause * 3 / 2);
    }
}

/// [`wait_for`] of a plain condition.
#[track_caller]
pub(crate) fn wait_until(what: &str, seconds: u64, mut so: impl FnMut() -> bool) {
    wait_for(what, seconds, || so().then_some(()));
}
