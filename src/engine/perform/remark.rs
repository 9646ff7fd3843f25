//! What the record of a backup says of it later, and the end of its files.

use crate::engine::Engine;
use crate::engine::perform::Performed;
use crate::engine::perform::conflict;
use crate::engine::perform::owner::Place;
use crate::engine::perform::stage::json;
use crate::engine::perform::stage::parse;
use crate::host::Host;
use crate::model::backup;
use crate::model::backup::Backup;
use crate::model::backup::Remark;
use crate::model::fault::Fault;
use crate::model::layout;
use crate::model::program::StepError;
use crate::model::receipt::Receipt;
use crate::model::step::BackupAt;

/// The record is replaced whole. One that is not there has nothing to say: what is let go is gone.
pub(super) async fn remark<H: Host>(
    engine: &Engine<H>,
    of: &BackupAt,
    remark: &Remark,
) -> Performed {
    place(of).ours(engine).await?;
    let path = of.dir().join(layout::RECORD);
    let text = match engine.host.read(&path).await {
        Ok(text) => text,
        Err(error) if error.fault == Fault::Gone && !matches!(remark, Remark::Pinned { .. }) => {
            return Ok(Receipt::Done);
        }
        Err(error) => return Err(error.into()),
    };
    let mut found: Backup = parse(&path, &text)?;
    if found.id != of.backup || found.format > backup::FORMAT {
        return Err(conflict(
            format!(
                "{path} is of {} in format {}, and is not changed",
                found.id, found.format
            ),
            "a newer knib wrote it, or it was moved: use that knib, or put it back",
        ));
    }
    let is_let_go = matches!(remark, Remark::Removed { at: Some(_) });
    if is_let_go && found.marks.pinned {
        return Err(conflict(
            format!("{} is pinned", of.backup),
            format!("knib backup unpin {}, if it may go", of.backup),
        ));
    }
    let before = found.clone();
    found.learn(remark);
    if found != before {
        engine.host.write(&path, json(&found)?.as_bytes()).await?;
    }
    Ok(Receipt::Done)
}

/// The directory loses its name in one call: from then on the backup is not there, whatever is left
/// of it.
pub(super) async fn remove<H: Host>(engine: &Engine<H>, of: &BackupAt) -> Performed {
    place(of).ours(engine).await?;
    unread(engine, of).await?;
    let going = layout::going_dir(&of.storage, &of.vm, &of.backup);
    engine.host.remove(&going).await?;
    match engine.host.rename(&of.dir(), &going).await {
        Err(error) if error.fault != Fault::Gone => return Err(error.into()),
        _ => {}
    }
    engine.host.remove(&going).await?;
    match engine.host.sync(&layout::vm_dir(&of.storage, &of.vm)).await {
        Err(error) if error.fault != Fault::Gone => Err(error.into()),
        _ => Ok(Receipt::Done),
    }
}

/// No VM reads from it, here or, by what it left there, elsewhere.
pub(super) async fn unread<H: Host>(engine: &Engine<H>, of: &BackupAt) -> Result<(), StepError> {
    let dir = of.dir();
    let readers = match engine.host.list(&dir.join(layout::READERS)).await {
        Ok(readers) => readers,
        Err(error) if error.fault == Fault::Gone => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let read_by = |name: &str| {
        conflict(
            format!("{} is read by the VM {name}", of.backup),
            format!("consolidate that VM first; {}", dir.join(layout::READERS)),
        )
    };
    if let Some(reader) = readers.first() {
        return Err(read_by(&reader.name));
    }
    for machine in engine.host.machines().await? {
        let mut disks = machine.disks.iter();
        if disks.any(|disk| disk.live.iter().any(|path| of.holds(path))) {
            return Err(read_by(&machine.name));
        }
    }
    Ok(())
}

pub(super) fn place(of: &BackupAt) -> Place<'_> {
    Place {
        storage: &of.storage,
        id: &of.id,
        vm: &of.vm,
    }
}
