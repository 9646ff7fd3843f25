//! Where a test kills knib: right after the n-th thing that it changes, outside or in its journal.
//!
//! Chosen by `KNIB_CRASH_AT` where the feature `test-hooks` is on; without it nobody dies, and the compiler knows. What
//! has changed by then is told on standard error, a line each.

/// Carries out a call that changes something outside.
pub(crate) async fn after<T>(what: &'static str, call: impl Future<Output = T>) -> T {
    let returned = call.await;
    changed(what);
    returned
}

/// Something has just changed. Dies of it as `kill -9` would make it, where it is the one that was chosen.
#[cfg(feature = "test-hooks")]
#[expect(
    clippy::print_stderr,
    reason = "a test wants to know where that was, and nobody else sees it"
)]
pub(crate) fn changed(what: &'static str) {
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering;

    static CHANGES: AtomicUsize = AtomicUsize::new(0);
    let Ok(at) = std::env::var("KNIB_CRASH_AT") else {
        return;
    };
    let at: usize = at.parse().expect("KNIB_CRASH_AT is a number");
    let number = CHANGES.fetch_add(1, Ordering::Relaxed) + 1;
    eprintln!("change {number}: {what}");
    if number == at {
        let _ =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

/// Something has just changed.
#[cfg(not(feature = "test-hooks"))]
pub(crate) const fn changed(_: &'static str) {}
