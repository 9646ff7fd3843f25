//! Which backup needs which: followed over the edges between files, never over dates or names.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use crate::model::backup::Backup;
use crate::model::backup::Delta;
use crate::model::backup::DiskFile;
use crate::model::id::BackupId;
use crate::model::id::Target;
use crate::model::machine::Disk;
use crate::model::machine::Format;
use crate::model::record::Record;
use crate::sabotage;
use crate::sabotage::Sabotage;

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
        let mut known = BTreeSet::new();
        let mut next = vec![backup];
        while let Some(id) = next.pop() {
            let parents = self.backups.get(id).into_iter();
            for parent in parents.flat_map(|backup| backup.parents()) {
                if known.insert(parent) {
                    found.push(parent.clone());
                    next.push(parent);
                }
            }
        }
        found
    }

    /// The files that make up a disk of a backup, its own first, then what it continues.
    ///
    /// # Errors
    /// Why they do not: a fragment.
    pub fn files_of(
        &self,
        backup: &BackupId,
        target: &Target,
    ) -> Result<Vec<(&BackupId, &DiskFile)>, String> {
        let mut files: Vec<(&BackupId, &DiskFile)> = Vec::new();
        let mut wanted = Some((backup.clone(), None));
        while let Some((id, birth)) = wanted.take() {
            let found = self.backups.get_key_value(&id);
            let file = found.and_then(|(id, found)| Some((id, found.disks.get(target)?)));
            let (id, file) = file.ok_or_else(|| {
                format!("{backup} needs {target} of {id}, which is not on record")
            })?;
            if birth.is_some_and(|birth| birth != file.birth) {
                return Err(format!(
                    "{backup} needs another {target} of {id} than the one on record"
                ));
            }
            if files.iter().any(|(known, _)| *known == id) {
                return Err(format!("the chain of {backup} runs in a circle at {id}"));
            }
            files.push((id, file.as_ref()));
            wanted = file
                .parent
                .as_ref()
                .map(|edge| (edge.backup.clone(), Some(edge.birth)));
        }
        Ok(files)
    }

    /// Every backup that cannot be read without `backup`, itself not among them, nearest first.
    #[must_use]
    pub fn descendants(&self, backup: &BackupId) -> Vec<BackupId> {
        let children = self.children();
        let mut found: Vec<BackupId> = Vec::new();
        let mut next = vec![backup];
        while let Some(id) = next.pop() {
            for child in children.get(id).into_iter().flatten().copied() {
                if !found.contains(child) {
                    found.push(child.clone());
                    next.push(child);
                }
            }
        }
        found
    }

    /// Backups that are listed and need `backup`.
    #[must_use]
    pub fn needed_by(&self, backup: &BackupId) -> Vec<BackupId> {
        let mut needing = self.descendants(backup);
        needing.retain(|id| self.is_listed(id));
        needing.sort();
        needing
    }

    /// What loses its files when these are let go: those that nothing else needs, and what was kept
    /// only for them.
    #[must_use]
    pub fn goes_with(&self, backups: &BTreeSet<BackupId>) -> Vec<BackupId> {
        let already = self.unneeded();
        let mut goes = self.unneeded_without(backups);
        goes.retain(|id| !already.contains(id) || backups.contains(id));
        goes
    }

    /// Backups that were let go and that no listed one needs, in an order in which no file goes before
    /// those that continue it.
    #[must_use]
    pub fn unneeded(&self) -> Vec<BackupId> {
        self.unneeded_without(&BTreeSet::new())
    }

    fn unneeded_without(&self, without: &BTreeSet<BackupId>) -> Vec<BackupId> {
        let children = self.children();
        let mut gone: Vec<BackupId> = Vec::new();
        let let_go = |id: &&BackupId| !self.is_listed(id) || without.contains(*id);
        let mut left: Vec<&BackupId> = self.backups.keys().filter(let_go).collect();
        loop {
            let before = left.len();
            left.retain(|id| {
                let mut continued = children.get(*id).into_iter().flatten().copied();
                let needed = continued.any(|child| !gone.contains(child));
                if !needed {
                    gone.push((*id).clone());
                }
                needed
            });
            if left.len() == before {
                return gone;
            }
        }
    }

    fn is_listed(&self, backup: &BackupId) -> bool {
        let found = self.backups.get(backup);
        found.is_some_and(|found| found.marks.removed.is_none())
    }

    fn children(&self) -> BTreeMap<&BackupId, Vec<&BackupId>> {
        let mut children: BTreeMap<_, Vec<_>> = BTreeMap::new();
        if sabotage::is(Sabotage::FailureHidesChild) && !self.failures.is_empty() {
            return children;
        }
        for (id, backup) in &self.backups {
            for parent in backup.parents() {
                children.entry(parent).or_default().push(id);
            }
        }
        children
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
    /// The delta that a backup left of a disk, as it lies now.
    #[must_use]
    pub fn delta_left(&self, backup: &BackupId, target: &Target) -> Option<Delta> {
        let left = self
            .backups
            .get(backup)?
            .disks
            .get(target)?
            .delta
            .as_ref()?;
        Some(if self.current.as_ref() == Some(backup) {
            self.snapshots.lies(target, left)
        } else {
            left.clone()
        })
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
