//! Deliberate faults, one at a time: the tests are tried against them, and at least one has to fail for each.
//!
//! Chosen by `KNIB_FAULT` where the feature `test-hooks` is on; without it there are none, and the compiler knows.

/// A deliberate fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// Deltas are merged while they are copied.
    MergeBeforeCopies,
    /// An increment leaves out what became zero.
    ZeroesDropped,
    /// A backup continues the newest one, whatever the VM lies on.
    ParentByTime,
    /// An attempt that failed hides that a backup is continued.
    FailureHidesChild,
    /// Nothing is brought to stable storage before it gets its name.
    NoSync,
    /// What is restored may have any digest.
    DigestIgnored,
    /// The delta of a stopped VM is removed and not committed.
    DeltaUnlinked,
    /// A deletion takes no lease.
    LeaseIgnored,
    /// Of several disks the first is merged.
    OneDiskMerged,
    /// A thaw that is owed is not done.
    ThawForgotten,
    /// A copy that is there is taken for whole.
    HalfCopyKept,
    /// The journal hears of a step when it is over.
    MarkAfterEffect,
    /// What a restore replaces goes before the disks are swapped.
    OldDiskFirst,
    /// A definition keeps what it said of the files below.
    BackingStoreKept,
    /// Backups of others are written to.
    OwnerIgnored,
}

/// Whether this fault is to be made.
#[cfg(not(feature = "test-hooks"))]
pub(crate) const fn is(_: Sabotage) -> bool {
    false
}

/// Whether this fault is to be made.
#[cfg(feature = "test-hooks")]
pub(crate) fn is(fault: Sabotage) -> bool {
    static CHOSEN: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| std::env::var("KNIB_FAULT").ok());
    chosen
        .as_ref()
        .is_some_and(|chosen| format!("{fault:?}") == *chosen)
}
