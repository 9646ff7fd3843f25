//! The chains of a VM.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::cli::view::Known;
use crate::model::backup::Backup;
use crate::model::backup::VmRef;
use crate::model::bytes::Bytes;
use crate::model::id::BackupId;
use crate::model::world::Guest;

/// Backups that continue each other.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct ChainView {
    /// Of which VM.
    pub vm: VmRef,
    /// Counts the chains of the VM from 1.
    pub chain: u32,
    /// The next backup of the VM may continue it.
    pub live: bool,
    /// Its last place that is taken.
    pub position: u32,
    /// How many backups it may have; null: no limit.
    pub chain_size: Option<i64>,
    /// The storage it is on.
    pub storage: String,
    /// Its backups, first to last.
    pub backups: Vec<BackupId>,
    /// The instant of the first.
    pub first: Timestamp,
    /// The instant of the last.
    pub last: Timestamp,
    /// Bytes of all its files.
    pub size: Bytes,
}

/// In order.
#[must_use]
pub fn of_guest(known: Known<'_>, guest: &Guest) -> Vec<ChainView> {
    let record = &guest.record;
    let mut chains: BTreeMap<u32, Vec<&Backup>> = BTreeMap::new();
    for backup in record.backups.values() {
        if let Some(link) = backup.link {
            chains.entry(link.chain).or_default().push(backup);
        }
    }
    let mut views = Vec::new();
    for (chain, mut backups) in chains {
        backups.sort_by_key(|backup| backup.link.map(|link| link.position));
        let (Some(first), Some(last)) = (backups.first(), backups.last()) else {
            continue;
        };
        let live = record.current.as_ref() == Some(&last.id);
        views.push(ChainView {
            vm: guest.vm.clone(),
            chain,
            live,
            position: last.link.map_or(0, |link| link.position),
            chain_size: live.then(|| known.chain_size(record)).flatten(),
            storage: known.storage_name(&last.storage),
            first: first.created,
            last: last.created,
            size: backups.iter().map(|backup| backup.size()).sum(),
            backups: backups.iter().map(|backup| backup.id.clone()).collect(),
        });
    }
    views
}
