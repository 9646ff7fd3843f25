//! What lists and shows print: values for programs, in the words of the command line. What can be
//! derived is derived here: status, current, end of chain, what needs what.
//!
//! These types are the JSON: their schemas are in `schemas/output/`. Keys are added, never changed.

pub mod backup;
pub mod chain;
pub mod explain;
pub mod file;
pub mod job;
pub mod offering;
pub mod rebuilt;
pub mod run;
pub mod snapshot;
pub mod storage;
pub mod verified;
pub mod vm;

use std::collections::BTreeMap;

use crate::model::backup::Backup;
use crate::model::backup::StorageRef;
use crate::model::id::StorageId;
use crate::model::id::VmId;
use crate::model::record::Record;
use crate::model::world::Applied;
use crate::model::world::AppliedStorage;
use crate::model::world::Guest;

/// All that is on record, and what is going on.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// VMs.
    pub guests: &'a BTreeMap<VmId, Guest>,
    /// Storages, offerings, policies.
    pub applied: &'a Applied,
}

impl<'a> Known<'a> {
    /// A storage by what it is called now.
    fn storage(&self, id: &StorageId) -> Option<(&'a String, &'a AppliedStorage)> {
        self.applied.storages.iter().find(|(_, one)| one.id == *id)
    }

    /// What a storage is called now; else what it was called.
    fn storage_name(&self, storage: &StorageRef) -> String {
        let now = self.storage(&storage.id).map(|(name, _)| name);
        now.unwrap_or(&storage.name).clone()
    }

    /// How many backups the policy of a VM lets a chain have; none: no limit, or not said.
    fn chain_size(&self, record: &Record) -> Option<i64> {
        let policy = &record.assigned.as_ref()?.policy;
        let offering = &self.applied.policies.get(policy)?.spec.offering;
        let offering = &self.applied.offerings.get(offering)?.spec;
        offering.backup_chain_size.filter(|size| *size > 0)
    }
}

/// The newest backup of a VM's live chain.
fn current(record: &Record) -> Option<&Backup> {
    let id = record.current.as_ref()?;
    record.backups.get(id).map(AsRef::as_ref)
}
