//! Sees VMs as they are, with the backups that one storage holds of them and no others: wherever that is mounted, and
//! whatever is on record.

use std::collections::BTreeMap;
use std::rc::Rc;

use camino::Utf8Path;
use jiff::Timestamp;

use crate::engine::EngineError;
use crate::engine::kept;
use crate::engine::observe;
use crate::host::Host;
use crate::model::backup::VmRef;
use crate::model::finding::Finding;
use crate::model::finding::Severity;
use crate::model::world::Guest;
use crate::model::world::World;
use crate::state::State;

/// Everything, at the instant `now`, with the storage in the directory `dir` alone; none where there is no storage.
///
/// # Errors
/// libvirt cannot be reached or the state file not be read.
pub async fn observe_only<H: Host>(
    host: &Rc<H>,
    state: Option<&State>,
    dir: &Utf8Path,
    now: Timestamp,
) -> Result<Option<World>, EngineError> {
    let name = dir.to_string();
    let storages = BTreeMap::from([(name.clone(), dir.to_owned())]);
    let mut world = observe(host, state, &storages, now).await?;
    world.storages.retain(|one, _| *one == name);
    if world.storages.values().all(|seen| seen.usable().is_none()) {
        return Ok(None);
    }
    for guest in world.guests.values_mut() {
        guest.record.backups.clear();
    }
    for kept in kept(host, &world).await {
        for unread in kept.unread {
            let text = format!("{} {}", unread.path, unread.why);
            let finding = Finding::new(Severity::Warning, "unread_backup", text);
            world.findings.push(finding);
        }
        let newest = kept.backups.iter().max_by_key(|backup| backup.created);
        let Some(vm) = newest.map(|backup| VmRef::clone(&backup.vm)) else {
            continue;
        };
        let guest = world.guests.entry(kept.vm);
        let guest = guest.or_insert_with(|| Guest::new(vm));
        let backups = kept.backups.into_iter();
        guest
            .record
            .backups
            .extend(backups.map(|backup| (backup.id.clone(), backup)));
    }
    Ok(Some(world))
}
