//! Whose a VM's directory on a storage is.

use std::collections::BTreeSet;

use camino::Utf8Path;

use crate::engine::Engine;
use crate::engine::perform::Performed;
use crate::engine::perform::conflict;
use crate::engine::perform::stage::json;
use crate::engine::perform::stage::parse;
use crate::engine::perform::stage::the_storage;
use crate::host::Host;
use crate::model::backup::Owner;
use crate::model::fault::Fault;
use crate::model::id::BackupId;
use crate::model::id::StorageId;
use crate::model::id::VmId;
use crate::model::layout;
use crate::model::program::StepError;
use crate::model::receipt::Receipt;
use crate::sabotage;
use crate::sabotage::Sabotage;

/// A VM's directory on a storage.
pub(super) struct Place<'a> {
    pub(super) storage: &'a Utf8Path,
    pub(super) id: &'a StorageId,
    pub(super) vm: &'a VmId,
}

impl Place<'_> {
    /// Fails unless the storage is the one that was meant and nobody else writes below the directory.
    pub(super) async fn ours<H: Host>(
        &self,
        engine: &Engine<H>,
    ) -> Result<Option<Owner>, StepError> {
        let owner = self.owner(engine).await?;
        match &owner {
            Some(owner)
                if owner.state_id != engine.maker.state
                    && !sabotage::is(Sabotage::OwnerIgnored) =>
            {
                Err(conflict(
                    format!(
                        "the backups below {} belong to {}",
                        self.dir(),
                        owner.hostname
                    ),
                    "knib vm adopt takes them over",
                ))
            }
            _ => Ok(owner),
        }
    }

    /// From now on nobody else writes below it.
    pub(super) async fn claim<H: Host>(&self, engine: &Engine<H>) -> Result<(), StepError> {
        let owner = Owner {
            host_uuid: engine.maker.host.clone(),
            hostname: engine.maker.hostname.clone(),
            state_id: engine.maker.state.clone(),
            since: engine.now(),
            uri: Some(engine.uri.clone()),
        };
        self.write(engine, &owner).await
    }

    /// Takes it over from somebody, if it is as it was seen.
    pub(super) async fn take_over<H: Host>(
        &self,
        engine: &Engine<H>,
        from: &Owner,
        backups: &[BackupId],
    ) -> Performed {
        match self.owner(engine).await? {
            Some(owner) if owner.state_id == engine.maker.state => return Ok(Receipt::Done),
            Some(owner) if owner == *from => {}
            owner => {
                let whose = owner.map_or("nobody".to_owned(), |owner| owner.hostname);
                return Err(conflict(
                    format!("{} belongs to {whose} now", self.dir()),
                    "nothing was changed; plan again",
                ));
            }
        }
        let entries = engine.host.list(&self.dir()).await?;
        let dirs = entries.iter().filter(|entry| entry.is_dir);
        let found: BTreeSet<_> = dirs
            .filter(|dir| BackupId::is_one(&dir.name))
            .map(|dir| dir.name.as_str())
            .collect();
        if !found
            .iter()
            .copied()
            .eq(backups.iter().map(BackupId::as_str))
        {
            return Err(conflict(
                format!("the backups below {} changed", self.dir()),
                "nothing was changed; plan again",
            ));
        }
        self.claim(engine).await?;
        Ok(Receipt::Done)
    }

    /// Gives it back, if it is ours.
    pub(super) async fn give_back<H: Host>(&self, engine: &Engine<H>, to: &Owner) -> Performed {
        let owner = self.owner(engine).await?;
        if owner.is_some_and(|owner| owner.state_id == engine.maker.state) {
            self.write(engine, to).await?;
        }
        Ok(Receipt::Done)
    }

    async fn owner<H: Host>(&self, engine: &Engine<H>) -> Result<Option<Owner>, StepError> {
        the_storage(engine, self.storage, self.id).await?;
        let path = layout::owner(self.storage, self.vm);
        match engine.host.read(&path).await {
            Ok(text) => parse(&path, &text).map(Some),
            Err(error) if error.fault == Fault::Gone => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn write<H: Host>(&self, engine: &Engine<H>, owner: &Owner) -> Result<(), StepError> {
        let path = layout::owner(self.storage, self.vm);
        engine.host.write(&path, json(owner)?.as_bytes()).await?;
        Ok(())
    }

    fn dir(&self) -> camino::Utf8PathBuf {
        layout::vm_dir(self.storage, self.vm)
    }
}
