//! A disk-only snapshot of a VM.

use camino::Utf8PathBuf;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::model::backup::VmRef;
use crate::model::id::Target;
use crate::model::machine::Format;
use crate::model::world::Guest;

/// A disk-only snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct SnapshotView {
    /// Of which VM.
    pub vm: VmRef,
    /// What it is called.
    pub name: String,
    /// The instant it shows.
    pub created: Timestamp,
    /// The snapshot that the VM went on from then.
    pub parent: Option<String>,
    /// The VM goes on from it now.
    pub current: bool,
    /// It was deleted, and its files are still needed.
    pub removed: bool,
    /// The file of each disk that, with all below it, holds that instant.
    pub disks: Vec<KeptDisk>,
}

/// A disk in a snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct KeptDisk {
    /// `vda`
    pub target: Target,
    /// Where it is.
    #[schemars(with = "String")]
    pub path: Utf8PathBuf,
    /// Its format.
    pub format: Format,
}

/// Those of a VM, oldest first.
#[must_use]
pub fn of_guest(guest: &Guest) -> Vec<SnapshotView> {
    let snapshots = guest.snapshots();
    let views = snapshots.all.iter().map(|(name, one)| SnapshotView {
        vm: guest.vm.clone(),
        name: name.clone(),
        created: one.created,
        parent: one.parent.clone(),
        current: snapshots.at.as_ref() == Some(name),
        removed: one.removed,
        disks: one
            .disks
            .iter()
            .map(|(target, file)| KeptDisk {
                target: target.clone(),
                path: file.path.clone(),
                format: file.format.clone(),
            })
            .collect(),
    });
    let mut views: Vec<_> = views.collect();
    views.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
    views
}
