//! A state file that is made anew in the place of one that was lost.

use std::fs;

use camino::Utf8Path;
use camino::Utf8PathBuf;

use crate::model::change::Change;
use crate::model::id::StateId;
use crate::state::State;
use crate::state::error::Result;
use crate::state::error::Trouble;
use crate::state::file;
use crate::state::index;
use crate::state::schema;

impl State {
    /// Makes a file that has learned all this, with the id that backups know it by, and gives it its name
    /// when it is whole. A file that has the name is kept as `kept`, where nothing may be.
    ///
    /// # Errors
    /// `Denied`, `Full`, `Io`; `Refused` when a change leaves a file whose parent is not there. The
    /// file that was there is as it was.
    pub fn make_anew(
        path: &Utf8Path,
        id: Option<&StateId>,
        changes: &[Change],
        kept: &Utf8Path,
    ) -> Result<()> {
        let all = || {
            let place = file::place(path)?;
            let new = file::whole(&place, schema::STEPS, id, |db| {
                changes
                    .iter()
                    .try_for_each(|change| index::learn(db, change))
            })?;
            if place.try_exists()? {
                fs::hard_link(&place, kept)?;
                // What a program that died left half written belongs to the file that is put away.
                let journal = |path: &Utf8Path| Utf8PathBuf::from(format!("{path}-journal"));
                if journal(&place).try_exists()? {
                    fs::rename(journal(&place), journal(kept))?;
                }
            }
            new.persist(&place).map_err(|refused| refused.error)?;
            Ok(file::sync_parent(&place)?)
        };
        all().map_err(|trouble: Trouble| trouble.of(path))
    }
}
