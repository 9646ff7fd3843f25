//! A storage and what is on it.

use camino::Utf8PathBuf;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::cli::view::Known;
use crate::model::backup::VmRef;
use crate::model::bytes::Bytes;
use crate::model::id::StorageId;
use crate::model::policy::Policy;
use crate::model::world::StorageFound;
use crate::model::world::StorageSeen;
use crate::model::world::World;

/// A directory for backups.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct StorageView {
    /// What the policy calls it.
    pub name: String,
    /// What its marker says, or said; null: it never was one.
    pub id: Option<StorageId>,
    /// Where it is said to be.
    #[schemars(with = "String")]
    pub path: Utf8PathBuf,
    /// Whether backups can be read from it and written to it.
    pub usable: bool,
    /// Why not.
    pub problem: Option<String>,
    /// The kind of its file system.
    pub file_system: Option<String>,
    /// Free on its file system.
    pub free: Option<Bytes>,
    /// Its file system in all.
    pub total: Option<Bytes>,
    /// What must stay free.
    pub min_free: Option<Bytes>,
    /// How many backups are on it.
    pub backups: usize,
    /// How many of them were never read again since they were made.
    pub unverified: usize,
    /// The longest ago that one of the others was.
    pub verified: Option<Timestamp>,
    /// Bytes of their files.
    pub size: Bytes,
    /// The same by VM.
    pub vms: Vec<StorageVm>,
}

/// What one VM has on a storage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct StorageVm {
    /// Which VM.
    pub vm: VmRef,
    /// How many backups.
    pub backups: usize,
    /// Bytes of their files.
    pub size: Bytes,
}

/// Those on record and those the policy names, by name.
#[must_use]
pub fn all(world: &World, policy: Option<&Policy>) -> Vec<StorageView> {
    let known = Known {
        guests: &world.guests,
        applied: &world.applied,
    };
    let seen = world.storages.iter();
    seen.map(|(name, seen)| view(name, seen, known, policy))
        .collect()
}

fn view(name: &str, seen: &StorageSeen, known: Known<'_>, policy: Option<&Policy>) -> StorageView {
    let found = match &seen.found {
        StorageFound::Marked(id) => Some(id),
        _ => None,
    };
    let id = seen.known.as_ref().or(found).cloned();
    let (mut vms, mut verified) = (Vec::new(), Vec::new());
    for guest in known.guests.values() {
        let of_it = guest
            .record
            .backups
            .values()
            .filter(|backup| Some(&backup.storage.id) == id.as_ref());
        let read = of_it.clone().map(|backup| {
            let known = guest.record.verified.get(&backup.id);
            known.and_then(|known| known.at)
        });
        verified.extend(read);
        let sizes: Vec<Bytes> = of_it.map(|backup| backup.size()).collect();
        if !sizes.is_empty() {
            vms.push(StorageVm {
                vm: guest.vm.clone(),
                backups: sizes.len(),
                size: sizes.into_iter().sum(),
            });
        }
    }
    vms.sort_by(|a, b| a.vm.cmp(&b.vm));
    let space = seen.space.as_ref();
    let spec = policy.and_then(|policy| policy.storages.get(name));
    let min_free = spec
        .zip(space)
        .map(|(spec, space)| spec.min_free.of(space.total));
    StorageView {
        name: name.to_owned(),
        usable: seen.usable().is_some(),
        problem: problem(seen),
        path: seen.path.clone(),
        file_system: space.map(|space| space.kind.clone()),
        free: space.map(|space| space.free),
        total: space.map(|space| space.total),
        min_free,
        unverified: verified.iter().filter(|at| at.is_none()).count(),
        verified: verified.into_iter().flatten().min(),
        backups: vms.iter().map(|vm| vm.backups).sum(),
        size: vms.iter().map(|vm| vm.size).sum(),
        vms,
        id,
    }
}

fn problem(seen: &StorageSeen) -> Option<String> {
    match (&seen.found, &seen.known) {
        (StorageFound::Unreachable(why), _) => Some(format!("cannot be read: {why}")),
        (StorageFound::Strange(why), _) => Some(format!("its marker is not understood: {why}")),
        (StorageFound::Unmarked { .. }, Some(_)) => Some("no marker: not mounted?".to_owned()),
        (StorageFound::Unmarked { .. }, None) => Some("not a storage yet: knib apply".to_owned()),
        (StorageFound::Marked(id), Some(known)) if id != known => {
            Some(format!("it is another storage: {id}"))
        }
        (StorageFound::Marked(_), _) => None,
    }
}
