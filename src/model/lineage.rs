//! Which backup needs which: followed over the edges between files, never over dates or names.

use std::collections::BTreeSet;

use crate::model::backup::Backup;
use crate::model::backup::Delta;
use crate::model::id::BackupId;
use crate::model::id::Target;
use crate::model::machine::Disk;
use crate::model::machine::Format;
use crate::model::world::Record;

impl Backup {
    /// The backups that its files continue.
    pub fn parents(&self) -> impl Iterator<Item = &BackupId> {
        let edges = self.disks.values().filter_map(|disk| disk.parent.as_ref());
        edges
            .map(|edge| &edge.backup)
            .collect::<BTreeSet<_>>()
            .into_iter()
    }
}

impl Record {
    /// Every backup that is read when `backup` is, itself not among them, nearest first.
    #[must_use]
    pub fn ancestors(&self, backup: &BackupId) -> Vec<BackupId> {
        let mut found = Vec::new();
        let mut next = vec![backup.clone()];
        while let Some(id) = next.pop() {
            for parent in self
                .backups
                .get(&id)
                .into_iter()
                .flat_map(|backup| backup.parents())
            {
                if !found.contains(parent) {
                    found.push(parent.clone());
                    next.push(parent.clone());
                }
            }
        }
        found
    }

    /// Whether a backup and all it needs are whole, as far as is known.
    #[must_use]
    pub fn is_usable(&self, backup: &BackupId) -> bool {
        let whole = |id: &BackupId| {
            self.backups
                .get(id)
                .is_some_and(|found| found.marks.unusable.is_none())
        };
        whole(backup) && self.ancestors(backup).iter().all(whole)
    }

    /// The newest backup of the chain `backup` is in; `backup` itself ended it or is current.
    #[must_use]
    pub fn is_last_of_chain(&self, backup: &Backup) -> bool {
        let Some(link) = backup.link else {
            return false;
        };
        !self.backups.values().any(|other| {
            other
                .link
                .is_some_and(|at| at.chain == link.chain && at.position > link.position)
        })
    }

    /// Nothing newer may continue it: it is the last of its chain and left no delta.
    #[must_use]
    pub fn ended_chain(&self, backup: &Backup) -> bool {
        self.is_last_of_chain(backup) && self.current.as_ref() != Some(&backup.id)
    }

    /// The number the next chain of this VM gets.
    #[must_use]
    pub fn next_chain(&self) -> u32 {
        let numbers = self
            .backups
            .values()
            .filter_map(|backup| backup.link)
            .map(|link| link.chain);
        numbers.max().unwrap_or(0).saturating_add(1)
    }
}

impl Record {
    /// The delta that a backup left of a disk.
    #[must_use]
    pub fn delta_left(&self, backup: &BackupId, target: &Target) -> Option<&Delta> {
        self.backups.get(backup)?.disks.get(target)?.delta.as_ref()
    }
}

impl Delta {
    /// Where it lies in a disk's chain, the top being 0, if it covers the very file it covered when
    /// it was made and only qcow2 layers are above.
    #[must_use]
    pub fn depth_in(&self, disk: &Disk) -> Option<usize> {
        let at = disk
            .layers
            .iter()
            .position(|layer| layer.path == self.path)?;
        let whole = disk.layers[..=at]
            .iter()
            .all(|layer| layer.format == Format::Qcow2);
        let covers = disk
            .layers
            .get(at + 1)
            .is_some_and(|below| below.path == self.base);
        (whole && covers).then_some(at)
    }
}
