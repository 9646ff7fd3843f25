//! What a process uses while it runs, as Linux tells it.

use std::fs;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;

const PAUSE: Duration = Duration::from_millis(10);

/// The most that was seen.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Watch {
    /// Resident memory.
    pub(super) kib: u64,
    pub(super) descriptors: usize,
}

impl Watch {
    /// Looks at a child of this process until it has ended.
    pub(super) fn begin(pid: u32) -> JoinHandle<Self> {
        thread::spawn(move || {
            let mut most = Self::default();
            while let Some(now) = Self::now(pid) {
                most = most.or(now);
                thread::sleep(PAUSE);
            }
            most
        })
    }

    /// Nothing of one that has ended.
    fn now(pid: u32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = most?.trim().strip_suffix(" kB")?.parse().ok()?;
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
        Some(Self { kib, descriptors })
    }

    pub(super) fn or(self, other: Self) -> Self {
        Self {
            kib: self.kib.max(other.kib),
            descriptors: self.descriptors.max(other.descriptors),
        }
    }
}

/// Fails when the last quarter of all minutes used a fifth more memory than the first one, or half as many descriptors
/// again: it is chance how many programs a busy host has knib wait for at once.
pub(super) fn assert_flat(minutes: &[Watch]) {
    let quarter = minutes.len() / 4;
    let most = |minutes: &[Watch]| minutes.iter().copied().fold(Watch::default(), Watch::or);
    let first = most(&minutes[..quarter]);
    let last = most(&minutes[minutes.len() - quarter..]);
    assert!(
        last.kib <= first.kib + first.kib / 5
            && last.descriptors <= first.descriptors + first.descriptors / 2,
        "knib used {first:?} at first and {last:?} at last"
    );
}
