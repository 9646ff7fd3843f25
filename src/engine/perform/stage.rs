//! A storage's marker, and the place on it where a backup is put together.

use camino::Utf8Path;

use crate::engine::Engine;
use crate::engine::perform::Performed;
use crate::engine::perform::conflict;
use crate::engine::perform::owner::Place;
use crate::host::Host;
use crate::model::backup::Marker;
use crate::model::fault::Fault;
use crate::model::id::StorageId;
use crate::model::id::VmId;
use crate::model::layout;
use crate::model::program::StepError;
use crate::model::receipt::Receipt;

/// An empty directory becomes a storage.
pub(super) async fn mark<H: Host>(
    engine: &Engine<H>,
    storage: &Utf8Path,
    marker: &Marker,
) -> Performed {
    match read_marker(engine, storage).await? {
        Some(found) if found == *marker => return Ok(Receipt::Done),
        Some(found) => {
            return Err(conflict(
                format!("{storage} is a storage already: {}", found.id),
                "plan again",
            ));
        }
        None => {}
    }
    let entries = engine.host.list(storage).await?;
    if let Some(entry) = entries
        .iter()
        .find(|entry| !layout::is_nothing(&entry.name))
    {
        return Err(conflict(
            format!("{storage} is not empty: {}", entry.name),
            "a new storage is an empty directory",
        ));
    }
    let text = json(marker)?;
    engine
        .host
        .write(&layout::marker(storage), text.as_bytes())
        .await?;
    Ok(Receipt::Done)
}

/// A directory to fill, below a directory that is ours, on the storage that was meant.
pub(super) async fn stage<H: Host>(
    engine: &Engine<H>,
    storage: &Utf8Path,
    id: &StorageId,
    vm: &VmId,
    dir: &Utf8Path,
) -> Performed {
    let place = Place { storage, id, vm };
    let owner = place.ours(engine).await?;
    engine.host.make_dir(&layout::vm_dir(storage, vm)).await?;
    if owner.is_none() {
        place.claim(engine).await?;
    }
    engine.host.make_dir(dir).await?;
    Ok(Receipt::Done)
}

/// Fails unless the storage is the one that was meant.
pub(super) async fn the_storage<H: Host>(
    engine: &Engine<H>,
    storage: &Utf8Path,
    id: &StorageId,
) -> Result<(), StepError> {
    let found = read_marker(engine, storage).await?;
    if found.as_ref().map(|marker| &marker.id) == Some(id) {
        return Ok(());
    }
    Err(conflict(
        format!("{storage} is not the storage {id}: not mounted?"),
        "mount it, then apply",
    ))
}

async fn read_marker<H: Host>(
    engine: &Engine<H>,
    storage: &Utf8Path,
) -> Result<Option<Marker>, StepError> {
    let path = layout::marker(storage);
    match engine.host.read(&path).await {
        Ok(text) => parse(&path, &text).map(Some),
        Err(error) if error.fault == Fault::Gone => Ok(None),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn parse<T: serde::de::DeserializeOwned>(
    path: &Utf8Path,
    text: &[u8],
) -> Result<T, StepError> {
    serde_json::from_slice(text).map_err(|error| {
        conflict(
            format!("{path} cannot be read: {error}"),
            "knib wrote it whole; restore it from a copy",
        )
    })
}

/// Ours to write and a person's to read.
pub(super) fn json<T: serde::Serialize>(value: &T) -> Result<String, StepError> {
    let text = serde_json::to_string_pretty(value).map_err(|error| StepError {
        fault: Fault::Io,
        text: error.to_string(),
        hint: None,
    })?;
    Ok(text + "\n")
}
