//! Where a test kills knib: right after the n-th thing that it changes, outside or in its journal.
//!
//! Chosen by `KNIB_CRASH_AT` where the feature `test-hooks` is on; without it nobody dies, and the compiler knows. It is
//! a number, or the name of a change and, before it, the how many-th of that name: `7`, `snapshot`, `2 intended`. What
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
    static COUNTED: AtomicUsize = AtomicUsize::new(0);
    let Ok(at) = std::env::var("KNIB_CRASH_AT") else {
        return;
    };
    let (at, named) = match at.split_once(' ').unwrap_or((&at, "")) {
        (number, named) if number.parse::<usize>().is_ok() => (number, named),
        _ => ("1", at.as_str()),
    };
    let at: usize = at.parse().expect("it is a number");
    let number = CHANGES.fetch_add(1, Ordering::Relaxed) + 1;
    eprintln!("change {number}: {what}");
    if named.is_empty() || named == what {
        COUNTED.fetch_add(1, Ordering::Relaxed);
    }
    if COUNTED.load(Ordering::Relaxed) == at {
        let _ =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

/// Something has just changed.
#[cfg(not(feature = "test-hooks"))]
pub(crate) const fn changed(_: &'static str) {}
