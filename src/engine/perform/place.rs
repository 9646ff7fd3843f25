//! Files that get their name, are copied small, or go.

use camino::Utf8Path;

use crate::engine::Engine;
use crate::engine::perform::Performed;
use crate::engine::perform::conflict;
use crate::host::Host;
use crate::model::fault::Fault;
use crate::model::program::StepError;
use crate::model::receipt::Receipt;

/// One atomic call. Where it was done before, the old name is gone and the new one is there.
pub(super) async fn rename<H: Host>(
    engine: &Engine<H>,
    from: &Utf8Path,
    to: &Utf8Path,
) -> Performed {
    let renamed = engine.host.rename(from, to).await;
    match renamed {
        Ok(()) => Ok(Receipt::Done),
        Err(error) if error.fault == Fault::Gone && is_there(engine, to).await? => {
            Ok(Receipt::Done)
        }
        Err(error) if error.fault == Fault::Conflict => Err(conflict(
            format!("{to} is there already and is not touched"),
            "move it away, or choose another directory or name",
        )),
        Err(error) => Err(error.into()),
    }
}

/// While the unfinished name is there, the file never got the final one: that is somebody else's.
pub(super) async fn unname<H: Host>(
    engine: &Engine<H>,
    unfinished: &Utf8Path,
    named: &Utf8Path,
) -> Performed {
    if is_there(engine, unfinished).await? {
        return Ok(Receipt::Done);
    }
    match engine.host.rename(named, unfinished).await {
        Err(error) if error.fault != Fault::Gone => Err(error.into()),
        _ => Ok(Receipt::Done),
    }
}

pub(super) async fn discard<H: Host>(engine: &Engine<H>, path: &Utf8Path) -> Performed {
    engine.host.remove(path).await?;
    Ok(Receipt::Done)
}

pub(super) async fn place<H: Host>(
    engine: &Engine<H>,
    from: &Utf8Path,
    to: &Utf8Path,
) -> Performed {
    engine.host.copy(from, to).await?;
    Ok(Receipt::Done)
}

/// What an archive holds, as a directory of its own.
pub(super) async fn unpack<H: Host>(
    engine: &Engine<H>,
    from: &Utf8Path,
    to: &Utf8Path,
) -> Performed {
    engine.host.remove(to).await?;
    engine.host.unpack(from, to).await?;
    Ok(Receipt::Done)
}

async fn is_there<H: Host>(engine: &Engine<H>, path: &Utf8Path) -> Result<bool, StepError> {
    let Some(dir) = path.parent() else {
        return Ok(false);
    };
    let entries = engine.host.list(dir).await?;
    Ok(entries
        .iter()
        .any(|entry| Some(entry.name.as_str()) == path.file_name()))
}
