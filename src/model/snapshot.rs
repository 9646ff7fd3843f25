//! The disk-only snapshots that knib made of a VM: which files they keep, and which was made on which.
//!
//! They are written into the domain's note and into the record. What lies on what is not said here:
//! the headers of the files say it.

use std::collections::BTreeMap;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use jiff::Timestamp;
use serde::Deserialize;
use serde::Serialize;

use crate::model::backup::Delta;
use crate::model::id::Target;
use crate::model::step::Image;
use crate::model::step::Step;

/// The snapshots of a VM.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshots {
    /// By name.
    pub all: BTreeMap<String, Snapshot>,
    /// The one that the VM goes on from.
    pub at: Option<String>,
    /// The file that the current backup's delta of a disk lies on, where a snapshot that went has
    /// merged the one it was laid on.
    pub bases: BTreeMap<Target, Utf8PathBuf>,
}

/// All disks of a VM at one instant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The instant.
    pub created: Timestamp,
    /// The one that the VM went on from at that instant.
    pub parent: Option<String>,
    /// Somebody deleted it; its files stay while several branches go on from them.
    pub removed: bool,
    /// The file of each disk that, with all below it, holds that instant.
    pub disks: BTreeMap<Target, Image>,
}

impl Snapshots {
    /// Whether there is nothing to remember.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty() && self.bases.is_empty()
    }

    /// The snapshot that a file of a disk holds.
    #[must_use]
    pub fn kept_in(&self, target: &Target, path: &Utf8Path) -> Option<&str> {
        let holds = |one: &Snapshot| one.disks.get(target).is_some_and(|file| file.path == path);
        let mut all = self.all.iter();
        all.find(|(_, one)| holds(one))
            .map(|(name, _)| name.as_str())
    }

    /// The VM went on from here with a new snapshot.
    pub fn add(&mut self, name: &str, created: Timestamp, disks: BTreeMap<Target, Image>) {
        let one = Snapshot {
            created,
            parent: self.at.take(),
            removed: false,
            disks,
        };
        self.all.insert(name.to_owned(), one);
        self.at = Some(name.to_owned());
    }

    /// A snapshot went; what was made on it counts as made on the one before.
    pub fn forget(&mut self, name: &str) {
        let Some(gone) = self.all.remove(name) else {
            return;
        };
        let parents = self.all.values_mut().map(|one| &mut one.parent);
        for parent in parents.chain([&mut self.at]) {
            if parent.as_deref() == Some(name) {
                parent.clone_from(&gone.parent);
            }
        }
    }

    /// What a layer held is in the file below it, for whoever named the layer.
    pub fn follow(&mut self, step: &Step) {
        let Some((target, top, base)) = step.merged() else {
            return;
        };
        let files = self
            .all
            .values_mut()
            .filter_map(|one| one.disks.get_mut(target));
        for file in files.filter(|file| file.path == top.path) {
            file.clone_from(base);
        }
    }

    /// A delta as it lies now.
    #[must_use]
    pub fn lies(&self, target: &Target, delta: &Delta) -> Delta {
        let base = self.bases.get(target).unwrap_or(&delta.base);
        Delta {
            path: delta.path.clone(),
            base: base.clone(),
        }
    }
}
