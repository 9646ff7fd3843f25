//! What a restore finds where it is to read and to write, beyond the world.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use camino::Utf8Path;
use camino::Utf8PathBuf;

use crate::model::id::BackupId;
use crate::model::machine::Machine;
use crate::model::world::Space;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ground {
    /// The VM of each backup as its definition there says: off, over the layers that it names.
    pub stored: BTreeMap<BackupId, Machine>,
    /// Networks and pools that the definition of a backup names and that are not here: `network lan`.
    pub missing: BTreeMap<BackupId, Vec<String>>,
    /// Directories that are there, and what each holds.
    pub dirs: BTreeMap<Utf8PathBuf, BTreeSet<String>>,
    /// How much more fits into directories, those that are yet to be made among them.
    pub room: BTreeMap<Utf8PathBuf, Space>,
}

impl Ground {
    /// Whether something is there, as far as was looked.
    #[must_use]
    pub fn is_taken(&self, path: &Utf8Path) -> bool {
        let names = path.parent().and_then(|dir| self.dirs.get(dir));
        let name = path.file_name().unwrap_or_default();
        names.is_some_and(|names| names.contains(name))
    }
}
