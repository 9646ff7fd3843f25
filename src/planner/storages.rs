//! Directories that become storages, and storages that are not what they were.

use camino::Utf8Path;
use camino::Utf8PathBuf;
use serde_json::json;

use crate::model::backup::StorageRef;
use crate::model::finding::Finding;
use crate::model::finding::Severity;
use crate::model::id::BackupId;
use crate::model::id::StorageId;
use crate::model::op::Op;
use crate::model::op::StorageAt;
use crate::model::op::StorageCreate;
use crate::model::plan::Class;
use crate::model::policy::Policy;
use crate::model::reason::Block;
use crate::model::reason::Field;
use crate::model::reason::Reason;
use crate::model::world::StorageFound;
use crate::model::world::StorageSeen;
use crate::model::world::World;
use crate::planner::draft::Draft;
use crate::planner::draft::Key;
use crate::planner::draft::Wish;
use crate::planner::draft::blocked;

/// An action for each storage that is new to the record, or is somewhere else now.
pub(super) fn plan(draft: &mut Draft<'_>, policy: &Policy) {
    for name in policy.storages.keys() {
        let Some(seen) = draft.ahead.storages.get(name).cloned() else {
            continue;
        };
        let known = draft.ahead.applied.storages.get(name);
        match (&seen.found, known) {
            (StorageFound::Marked(id), Some(known))
                if *id == known.id && seen.path != known.path =>
            {
                let path = Field {
                    key: "path".to_owned(),
                    before: Some(known.path.to_string()),
                    after: Some(seen.path.to_string()),
                };
                let reason = Reason::Changed { fields: vec![path] };
                add(draft, name, &seen, id.clone(), true, reason);
            }
            (StorageFound::Marked(id), None) => {
                add(draft, name, &seen, id.clone(), true, Reason::New);
            }
            (StorageFound::Unmarked { .. }, None) => {
                let id = StorageId::new(draft.fresh_uuid(name));
                add(draft, name, &seen, id, false, Reason::New);
            }
            _ => {}
        }
        if let Some(Block::Blocked(refusal)) = unusable(draft.now, name) {
            let finding = Finding::new(Severity::Warning, refusal.code, refusal.text);
            let origin = policy.origins.get(&format!("storage.{name}.path"));
            draft.findings.push(
                finding
                    .at(origin, "")
                    .hint(refusal.hint.unwrap_or_default()),
            );
        }
    }
    shared_file_systems(draft, policy);
}

fn add(
    draft: &mut Draft<'_>,
    name: &str,
    seen: &StorageSeen,
    id: StorageId,
    known: bool,
    reason: Reason,
) {
    let is = StorageRef {
        name: name.to_owned(),
        id,
    };
    let op = StorageCreate {
        storage: StorageAt {
            is,
            path: seen.path.clone(),
        },
        known,
    };
    let mut wish = Wish::new(
        format!("storage.{name}"),
        Op::StorageCreate(op),
        Class::Config,
        reason,
    );
    wish.gives = vec![Key::Storage(name.to_owned())];
    wish.change.after = json!({
        "path": seen.path,
        "file_system": seen.space.as_ref().map(|space| &space.kind),
        "device": seen.space.as_ref().map(|space| space.device),
        "free": seen.space.as_ref().map(|space| space.free),
        "marked_already": known,
    });
    if seen.found == (StorageFound::Unmarked { empty: false }) {
        wish.blocks.push(blocked(
            "storage_not_empty",
            format!("{} is neither empty nor a storage", seen.path),
            "name an empty directory; a storage that is not mounted shows the directory below",
        ));
    }
    draft.add(wish);
}

/// Where a storage that holds `backup` is now, and why it cannot be used, if it cannot.
pub(super) fn holding(
    world: &World,
    storage: &StorageRef,
    backup: &BackupId,
) -> (StorageAt, Option<Block>) {
    let mut all = world.storages.iter();
    let seen = all.find(|(_, seen)| seen.usable() == Some(&storage.id));
    let (name, path) = seen.map_or(
        (storage.name.clone(), Utf8PathBuf::new()),
        |(name, seen)| (name.clone(), seen.path.clone()),
    );
    let missing = || {
        unusable(world, &name).unwrap_or_else(|| {
            blocked(
                "storage_unknown",
                format!(
                    "the storage of {backup} is not here: {name} ({})",
                    storage.id
                ),
                "name it in the policy, or mount it",
            )
        })
    };
    let block = seen.is_none().then(missing);
    let is = StorageRef {
        name,
        id: storage.id.clone(),
    };
    (StorageAt { is, path }, block)
}

/// Why nothing can be written to a storage, as it was seen.
pub(super) fn unusable(world: &World, name: &str) -> Option<Block> {
    let seen = world.storages.get(name)?;
    let known = world.applied.storages.get(name);
    let path = &seen.path;
    match (&seen.found, known) {
        (StorageFound::Unreachable(cause), _) => Some(blocked(
            "storage_unreachable",
            format!("storage {name} cannot be read: {path}: {cause}"),
            format!("make the directory, or mount it: findmnt {path}"),
        )),
        (StorageFound::Strange(cause), _) => Some(blocked(
            "storage_strange",
            format!("the marker of storage {name} cannot be understood: {cause}"),
            format!("look at {path}/.knib-storage"),
        )),
        (StorageFound::Unmarked { .. }, Some(known)) => Some(blocked(
            "storage_missing",
            format!("storage {name} has no marker ({}): not mounted?", known.id),
            format!("mount it: findmnt {path}; its backups are as they were"),
        )),
        (StorageFound::Marked(id), Some(known)) if *id != known.id => Some(blocked(
            "storage_swapped",
            format!(
                "{path} is another storage than {name} was: {id}, not {}",
                known.id
            ),
            "mount the right one, or give this one a name of its own",
        )),
        _ => None,
    }
}

/// Backups beside what they back up are lost with it.
fn shared_file_systems(draft: &mut Draft<'_>, policy: &Policy) {
    let mut findings = Vec::new();
    for (name, seen) in &draft.now.storages {
        let Some(space) = &seen.space else { continue };
        if !policy.storages.contains_key(name) || draft.now.applied.storages.contains_key(name) {
            continue;
        }
        let shared = draft
            .now
            .primaries
            .iter()
            .find(|(_, primary)| primary.device == space.device);
        if let Some((dir, _)) = shared {
            let what = if dir == Utf8Path::new("/") {
                "the root file system".to_owned()
            } else {
                format!("the disks in {dir}")
            };
            let origin = policy.origins.get(&format!("storage.{name}.path"));
            findings.push(
                Finding::new(
                    Severity::Warning,
                    "shared_file_system",
                    format!("storage {name} is on the same file system as {what}"),
                )
                .at(origin, "")
                .hint("a disk that fails takes both; back up to another one"),
            );
        }
    }
    draft.findings.extend(findings);
}
