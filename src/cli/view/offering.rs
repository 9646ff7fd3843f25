//! An offering.

use schemars::JsonSchema;
use serde::Serialize;

use crate::cli::view::Known;
use crate::model::policy::CompressMode;
use crate::model::policy::CompressionLibrary;

/// What kind of backups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct OfferingView {
    /// Its name.
    pub name: String,
    /// For people.
    pub description: Option<String>,
    /// Whether backups are compressed.
    pub compress: bool,
    /// With what.
    pub compression_library: CompressionLibrary,
    /// By a job or while copying.
    pub compress_mode: CompressMode,
    /// Whether backups are booted.
    pub validate: bool,
    /// Whether a VM may run from a backup.
    pub allow_quick_restore: bool,
    /// Whether files may be taken out of backups.
    pub allow_extract_file: bool,
    /// Backups in a chain; below 1 there is no limit; null: the setting.
    pub backup_chain_size: Option<i64>,
    /// Policies in force that have it.
    pub policies: Vec<String>,
    /// The policy no longer has it; its backups stay as they were made.
    pub removed: bool,
}

/// Those in force, and those that were, by name.
#[must_use]
pub fn all(known: Known<'_>) -> Vec<OfferingView> {
    let policies = &known.applied.policies;
    known
        .applied
        .offerings
        .iter()
        .map(|(name, applied)| OfferingView {
            name: name.clone(),
            description: applied.spec.description.clone(),
            compress: applied.spec.compress,
            compression_library: applied.spec.compression_library,
            compress_mode: applied.spec.compress_mode,
            validate: applied.spec.validate.is_some(),
            allow_quick_restore: applied.spec.allow_quick_restore,
            allow_extract_file: applied.spec.allow_extract_file,
            backup_chain_size: applied.spec.backup_chain_size,
            policies: policies
                .iter()
                .filter(|(_, policy)| policy.spec.offering == *name)
                .map(|(policy, _)| policy.clone())
                .collect(),
            removed: applied.removed,
        })
        .collect()
}
