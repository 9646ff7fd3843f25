//! Waiting: poll until something is so, or fail saying what was waited for. Nothing in the tests sleeps for luck.

use std::thread;
use std::time::Duration;
use std::time::Instant;

/// The shortest pause between two looks: what is waited for may be there for a moment only.
const PAUSE: Duration = Duration::from_millis(10);
/// The longest one.
const LONGEST: Duration = Duration::from_millis(200);
/// A look is often a program of its own, which takes time from what is waited for: the pause after it is so many times
/// as long.
const SHARE: u32 = 2;

/// Asks again and again until `look` finds something.
///
/// # Panics
/// When it has found nothing after `seconds`.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, seconds: u64, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(seconds);
    loop {
        let began = Instant::now();
        if let Some(found) = look() {
            return found;
        }
        assert!(
            Instant::now() < end,
            "after {seconds} s still waiting for {what}"
        );
        thread::sleep((SHARE * began.elapsed()).clamp(PAUSE, LONGEST));
    }
}

/// [`wait_for`] of a plain condition.
#[track_caller]
pub(crate) fn wait_until(what: &str, seconds: u64, mut so: impl FnMut() -> bool) {
    wait_for(what, seconds, || so().then_some(()));
}
