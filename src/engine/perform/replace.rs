//! Compressed files take the place of a backup's, while nobody reads it.

use std::collections::BTreeMap;

use camino::Utf8Path;

use crate::engine::Engine;
use crate::engine::perform::Performed;
use crate::engine::perform::Scene;
use crate::engine::perform::conflict;
use crate::engine::perform::remark::remark;
use crate::engine::perform::remark::unread;
use crate::host::Host;
use crate::model::backup::Compressed;
use crate::model::backup::Remark;
use crate::model::id::JobId;
use crate::model::id::Target;
use crate::model::job::JobKind;
use crate::model::layout;
use crate::model::program::StepError;
use crate::model::receipt::Receipt;
use crate::model::step::BackupAt;

/// No file becomes anything.
pub(super) const NONE: Remark = Remark::Becomes {
    files: BTreeMap::new(),
};

/// Every compressed file is there, as it was written; only then the record says so. Where an earlier
/// swap was given up half way, the rest of it is done: what took its place stays, and a file whose
/// compressed one is lost stays as it was.
pub(super) async fn announce<H: Host>(engine: &Engine<H>, of: &BackupAt) -> Performed {
    unread(engine, of).await?;
    let job = JobId::of(&of.backup, JobKind::Finalize.as_str());
    let mut files = engine
        .state
        .job(&of.vm, &job)?
        .map(|job| job.files)
        .unwrap_or_default();
    let own: Vec<_> = files
        .keys()
        .map(|target| of.dir().join(layout::disk_file(target)))
        .collect();
    let paths: Vec<_> = own.iter().map(|file| layout::compressed(file)).collect();
    let beside = engine.host.lengths(&paths).await?;
    let there = engine.host.lengths(&own).await?;
    let (mut swapped, mut missing) = (false, Vec::new());
    let lengths = paths.iter().zip(beside.iter().zip(there));
    for ((target, Compressed { size, .. }), (path, lengths)) in files.iter().zip(lengths) {
        match lengths {
            (Some(length), _) if length == size => {}
            (None, Some(length)) if length == *size => swapped = true,
            _ => missing.push((target.clone(), path)),
        }
    }
    if let Some((_, path)) = missing.first().filter(|_| !swapped) {
        return Err(lost(of, path));
    }
    for (target, _) in missing {
        files.remove(&target);
    }
    if !files.is_empty() {
        let files = files.clone();
        remark(engine, of, &Remark::Becomes { files }).await?;
    }
    Ok(Receipt::Announced { files })
}

/// One atomic call. Where it was done before, the file has the length of the compressed one, which is
/// shorter than what was there.
pub(super) async fn replace<H: Host>(
    engine: &Engine<H>,
    scene: &Scene,
    target: &Target,
    from: &Utf8Path,
    to: &Utf8Path,
) -> Performed {
    let Some(Compressed { size, .. }) = announced(scene).get(target) else {
        engine.host.remove(from).await?;
        return Ok(Receipt::Done);
    };
    let lengths = engine
        .host
        .lengths(&[from.to_owned(), to.to_owned()])
        .await?;
    match lengths.as_slice() {
        [Some(length), _] if length == size => engine.host.replace(from, to).await?,
        [None, Some(length)] if length == size => engine.host.sync(to).await?,
        _ => {
            return Err(conflict(
                format!("{from} is not as it was written"),
                format!("look at both, and put the one that is whole at {to}"),
            ));
        }
    }
    Ok(Receipt::Done)
}

pub(super) async fn settle<H: Host>(engine: &Engine<H>, scene: &Scene, of: &BackupAt) -> Performed {
    let files = announced(scene).clone();
    remark(engine, of, &Remark::Compressed { files }).await
}

fn announced(scene: &Scene) -> &BTreeMap<Target, Compressed> {
    const NONE: &BTreeMap<Target, Compressed> = &BTreeMap::new();
    let mut receipts = scene.receipts.iter().flatten().flatten();
    receipts
        .find_map(|receipt| match receipt {
            Receipt::Announced { files } => Some(files),
            _ => None,
        })
        .unwrap_or(NONE)
}

fn lost(of: &BackupAt, path: &Utf8Path) -> StepError {
    let cancel = JobId::of(&of.backup, JobKind::Finalize.as_str());
    let again = JobId::of(&of.backup, JobKind::Start.as_str());
    conflict(
        format!("{path} is not as it was written; the backup is as it was"),
        format!("knib job cancel {cancel}, then knib job retry {again}"),
    )
}
