//! Everything outside of knib at one instant: files, VMs, who has what open, and the oracle.
//!
//! It watches over itself: what must never happen is kept as a complaint, whoever caused it.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use knib::model::backup::Backup;
use knib::model::digest::Digest;
use knib::model::id::BackupId;
use knib::model::id::Target;
use knib::model::id::VmId;
use knib::model::layout;
use knib::model::machine::Device;

use crate::sim::dice::Dice;
use crate::sim::files::Files;
use crate::sim::throwaway::Throwaway;
use crate::sim::vm::DiskDef;
use crate::sim::vm::Vm;

/// Where disks are.
pub(crate) const PRIMARY: &str = "/images";
/// Where backups are.
pub(crate) const STORAGE: &str = "/backup";

/// What each disk of a VM held.
pub(crate) type Moment = BTreeMap<Target, Vec<u64>>;

/// Everything outside.
#[derive(Clone, Debug, Default)]
pub(crate) struct Site {
    pub(crate) files: Files,
    pub(crate) vms: BTreeMap<VmId, Vm>,
    /// VMs that end with knib, by name what each is.
    pub(crate) throwaways: BTreeMap<VmId, Throwaway>,
    /// Names that something was logged under.
    pub(crate) logs: BTreeSet<String>,
    /// Images that programs have open; true: for writing.
    pub(crate) programs: Vec<(Utf8PathBuf, bool)>,
    /// Files that QEMU, as VMs are run here, may not read.
    pub(crate) shut: BTreeSet<Utf8PathBuf>,
    /// What guests had written when overlays were made, by the backup that is to show it.
    pub(crate) moments: BTreeMap<BackupId, Moment>,
    /// What guests had written when snapshots were made, by name.
    pub(crate) kept: BTreeMap<String, Moment>,
    /// The latest instant that overlays of a snapshot were made at.
    pub(crate) instant: Moment,
    /// Files of backups, as they were when they got their final name.
    pub(crate) published: BTreeMap<Utf8PathBuf, Digest>,
    /// Disks that lack what QEMU had not written down when it was killed.
    pub(crate) lacking: BTreeSet<(VmId, Target)>,
    /// What must never happen and did.
    pub(crate) complaints: BTreeSet<String>,
    pub(crate) dice: Dice,
}

impl Site {
    /// Two empty directories.
    pub(crate) fn new(seed: u64) -> Self {
        let mut site = Self {
            dice: Dice::new(seed),
            ..Self::default()
        };
        for dir in ["/", PRIMARY, STORAGE] {
            site.files.put(dir, crate::sim::files::Node::Dir);
        }
        site
    }

    pub(crate) fn complain(&mut self, complaint: impl Into<String>) {
        self.complaints.insert(complaint.into());
    }

    /// A moment passes: jobs go on, guests write, and everything must still be there.
    pub(crate) fn pass(&mut self) {
        for vm in self.vms.values_mut() {
            vm.work(&mut self.files);
        }
        self.guests_write();
        self.watch();
    }

    /// Each guest finds what it wrote, now or at its next start, at every single instant.
    pub(crate) fn watch(&mut self) {
        let mut found = Vec::new();
        let mut lacking = std::mem::take(&mut self.lacking);
        for vm in self.vms.values().filter(|vm| vm.watched) {
            for disk in vm.stored.disks.iter().filter(|disk| is_written(disk)) {
                let (target, name) = (&disk.target, &vm.stored.name);
                let chain = match &vm.running {
                    Some(running) => Ok(running.chain(target)),
                    None => self.chain_at_start(disk),
                };
                match chain.and_then(|chain| self.files.seen(&chain)) {
                    Ok(seen) if Some(&seen) == vm.wrote.get(target) => {
                        lacking.remove(&(vm.stored.id.clone(), target.clone()));
                    }
                    Ok(_) if lacking.contains(&(vm.stored.id.clone(), target.clone())) => {}
                    Ok(_) => found.push(format!("{target} of {name} shows something else")),
                    Err(error) => found.push(format!("{target} of {name} cannot be read: {error}")),
                }
            }
        }
        self.lacking = lacking;
        self.complaints.extend(found);
    }

    /// Whether a disk with this head lacks what QEMU had not written down.
    pub(crate) fn is_lacking(&self, head: &Utf8Path) -> bool {
        self.lacking.iter().any(|(vm, target)| {
            let disk = self.vms.get(vm).and_then(|vm| vm.stored.disk(target));
            disk.and_then(DiskDef::path)
                .is_some_and(|path| path == head)
        })
    }

    /// The files a start would open. Of a head that was put away, those it would once it is back.
    pub(crate) fn chain_at_start(&self, disk: &DiskDef) -> knib::host::Result<Vec<Utf8PathBuf>> {
        let head = disk.path().expect("a hard disk has a file");
        if self.is_put_away(head) {
            return self.files.chain(&layout::merged(head));
        }
        match &disk.below {
            Some(below) => Ok(std::iter::once(head).chain(below).cloned().collect()),
            None => self.files.chain(head),
        }
    }

    /// A start that wants this file finds nothing, and is refused as by a lock.
    pub(crate) fn is_put_away(&self, head: &Utf8Path) -> bool {
        self.files.node(head).is_none() && self.files.node(&layout::merged(head)).is_some()
    }

    /// Whether anything outside depends on a file, and what.
    pub(crate) fn user_of(&self, path: &Utf8Path) -> Option<String> {
        for vm in self.vms.values() {
            let name = &vm.stored.name;
            let running = vm.running.as_ref();
            if let Some(running) = running
                && running.open.values().flatten().any(|open| open == path)
            {
                return Some(format!("{name}, which runs"));
            }
            let now = running.map(|running| &running.definition);
            for disk in [Some(&vm.stored), now]
                .into_iter()
                .flatten()
                .flat_map(|definition| definition.disks.iter().filter(|disk| is_written(disk)))
            {
                let head = disk.path().expect("a hard disk has a file");
                let by_header = self.files.chain(head).unwrap_or_default();
                let at_start = self.chain_at_start(disk).unwrap_or_default();
                if by_header.iter().chain(&at_start).any(|used| used == path) {
                    return Some(format!("the definition of {name}"));
                }
            }
        }
        None
    }

    /// Whether QEMU or a program writes an image.
    pub(crate) fn is_written(&self, path: &Utf8Path) -> bool {
        let by_vm = |vm: &Vm| {
            vm.running.as_ref().is_some_and(|running| {
                let heads = running.open.values().filter_map(|open| open.first());
                let bases = running.jobs.values().map(super::jobs::BlockJob::base);
                heads.chain(bases).any(|written| written == path)
            })
        };
        self.vms.values().any(by_vm)
            || self
                .programs
                .iter()
                .any(|(open, writes)| *writes && open == path)
    }

    /// Whether a program has an image open.
    pub(crate) fn is_open(&self, path: &Utf8Path) -> bool {
        self.programs.iter().any(|(open, _)| open == path)
    }

    /// Whether a running VM has an image anywhere in its chains.
    pub(crate) fn is_run_from(&self, path: &Utf8Path) -> bool {
        let running = self.vms.values().filter_map(|vm| vm.running.as_ref());
        let throwaways = self.throwaways.values().flat_map(Throwaway::open);
        running
            .flat_map(|running| running.open.values().flatten())
            .chain(throwaways)
            .any(|open| open == path)
    }

    /// Whether a path is of a backup that has its final name.
    pub(crate) fn is_published(path: &Utf8Path) -> bool {
        let mut parts = path.ancestors().filter_map(Utf8Path::file_name);
        let is_lease = path.parent().and_then(Utf8Path::file_name) == Some(layout::READERS);
        let is_final = layout::uncompressed(path).is_none() && !is_lease;
        let is_picture = path.file_name() == Some(layout::SCREENSHOT);
        let is_of_it = is_final && !is_picture;
        path.starts_with(STORAGE) && is_of_it && parts.any(BackupId::is_one)
    }

    /// A backup lost its name: no file of another one may continue any of its files.
    pub(crate) fn forget_backup(&mut self, dir: &Utf8Path) {
        self.published.retain(|path, _| !path.starts_with(dir));
        let images = self.files.below(STORAGE.into()).into_iter();
        let others =
            images.filter(|path| Self::is_published(path) && self.files.image(path).is_some());
        let torn: Vec<_> = others
            .filter(|path| self.files.chain(path).is_err())
            .collect();
        for path in torn {
            self.complain(format!("{dir} is gone, and {path} needs it"));
        }
    }

    /// The record of a backup tells the truth about each of its files, at every instant.
    pub(crate) fn expect_truth(&mut self, dir: &Utf8Path) {
        let text = self.files.read(&dir.join(layout::RECORD));
        let said: Option<Backup> = text
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok());
        let Some(said) = said else {
            return self.complain(format!("{dir} has no record"));
        };
        for disk in said.disks.values() {
            let found = self.files.digest(&dir.join(&disk.name)).ok();
            let becomes = disk.becomes.as_ref();
            let may_be = [
                Some((disk.digest, disk.size)),
                becomes.map(|file| (file.digest, file.size)),
            ];
            if found.is_some() && !may_be.contains(&found) {
                self.complain(format!(
                    "{dir}: the record says something else of {}",
                    disk.name
                ));
            }
        }
    }

    /// Every file of backups as it was first seen.
    pub(crate) fn remember_backups(&mut self) {
        let there: Vec<_> = self
            .files
            .below(STORAGE.into())
            .into_iter()
            .filter(|path| Self::is_published(path))
            .collect();
        for path in there {
            if let Ok((digest, _)) = self.files.digest(&path) {
                let first = self.published.entry(path.clone()).or_insert(digest);
                if *first != digest {
                    self.complain(format!("a file of a backup changed: {path}"));
                }
            }
        }
        let gone: Vec<_> = self
            .published
            .keys()
            .filter(|path| self.files.node(path).is_none())
            .cloned()
            .collect();
        for path in gone {
            self.complain(format!("a file of a backup is gone: {path}"));
        }
    }
}

/// A disk that a guest writes to.
pub(crate) fn is_written(disk: &DiskDef) -> bool {
    disk.device == Device::Disk && disk.image.is_some()
}
