//! Files of a backup, read to the last byte and compared with what was written.

use std::cell::Cell;

use camino::Utf8Path;
use camino::Utf8PathBuf;

use crate::engine::Engine;
use crate::engine::kept;
use crate::engine::perform::Performed;
use crate::engine::perform::Scene;
use crate::engine::perform::conflict;
use crate::engine::perform::stage;
use crate::host::Host;
use crate::host::ReadFrom;
use crate::host::Task;
use crate::model::backup::Compressed;
use crate::model::bytes::Bytes;
use crate::model::digest::Digest;
use crate::model::event::Event;
use crate::model::fault::Fault;
use crate::model::id::JobId;
use crate::model::job::Job;
use crate::model::job::JobKind;
use crate::model::layout;
use crate::model::program::StepError;
use crate::model::receipt::Receipt;
use crate::model::step::BackupAt;
use crate::model::step::Written;

/// Goes on after a file that is damaged, so that all are named. Whoever takes up what was interrupted
/// reads nothing: that is planned anew, and others wait for him.
pub(super) async fn verify<H: Host>(
    engine: &Engine<H>,
    scene: &Scene,
    of: &BackupAt,
    files: &[Written],
    rate: Option<Bytes>,
) -> Performed {
    if scene.again {
        return Ok(Receipt::Done);
    }
    stage::the_storage(engine, &of.storage, &of.id).await?;
    let dir = of.dir();
    let paths: Vec<Utf8PathBuf> = files.iter().map(|file| dir.join(&file.name)).collect();
    let lengths = engine.host.lengths(&paths).await?;
    let total: Bytes = lengths.iter().flatten().copied().sum();
    let before = Cell::new(Bytes(0));
    let report = |done: Bytes, _: Bytes| {
        engine.say(&Event::Progress {
            action: scene.action.clone(),
            what: "read",
            target: None,
            done: before.get() + done,
            total,
        });
    };
    let task = Task {
        report: &report,
        stop: &engine.stop,
        limit: None,
    };
    let mut wrong: Vec<(String, bool, String)> = Vec::new();
    for ((file, path), length) in files.iter().zip(&paths).zip(lengths) {
        let found = match length {
            None => Some((true, format!("{path} is not there"))),
            Some(length) => {
                let wrong = difference(engine, (of, path), length, file, rate, &task).await?;
                wrong.map(|text| (false, text))
            }
        };
        before.set(before.get() + length.unwrap_or_default());
        if let Some((missing, text)) = found {
            wrong.push((file.name.clone(), missing, text));
        }
    }
    // A storage that went while it was read has lost nothing.
    if wrong.iter().any(|(_, missing, _)| *missing) {
        stage::the_storage(engine, &of.storage, &of.id).await?;
    }
    let texts: Vec<_> = wrong.iter().map(|(_, _, text)| text.clone()).collect();
    let Some((file, missing, _)) = wrong.into_iter().next() else {
        return Ok(Receipt::Whole);
    };
    let text = texts.join("; ");
    engine.tell(scene, text.clone());
    Ok(Receipt::Damaged {
        backup: of.backup.clone(),
        file,
        text,
        missing,
    })
}

/// What is wrong with a file that is there, if anything is.
async fn difference<H: Host>(
    engine: &Engine<H>,
    (of, path): (&BackupAt, &Utf8Path),
    length: Bytes,
    file: &Written,
    rate: Option<Bytes>,
    task: &Task<'_>,
) -> Result<Option<String>, StepError> {
    let swapped = swapped(engine, of)?;
    let is_swapped = |found| swapped.iter().any(|file| found == (file.size, file.digest));
    if let Some(size) = file.size
        && length != size
        && !swapped.iter().any(|file| file.size == length)
    {
        let text = format!("{path} is damaged: it is {length} long, it was written as {size}");
        return Ok(Some(text));
    }
    let Some(digest) = file.digest else {
        return Ok(None);
    };
    let from = ReadFrom::Storage { rate };
    let (found, _) = engine.host.digest(path, from, task).await?;
    let whole = found == digest || is_swapped((length, found));
    Ok((!whole)
        .then(|| format!("{path} is damaged: its digest is {found}, it was written as {digest}")))
}

/// What a swap that waits makes of the backup's files. One that was given up may have made some of it.
fn swapped<H: Host>(engine: &Engine<H>, of: &BackupAt) -> Result<Vec<Compressed>, StepError> {
    let swap = JobId::of(&of.backup, JobKind::Finalize.as_str());
    let swap = engine.state.job(&of.vm, &swap)?;
    let files = swap.filter(Job::is_waiting).map(|swap| swap.files);
    Ok(files.unwrap_or_default().into_values().collect())
}

/// What is on record is what restores go by; without it the backup's own record would be.
pub(super) async fn consult<H: Host>(
    engine: &Engine<H>,
    scene: &Scene,
    of: &BackupAt,
    imprint: Digest,
) -> Performed {
    if scene.again {
        return Ok(Receipt::Done);
    }
    let path = of.dir().join(layout::RECORD);
    let differs = |why: String| -> StepError {
        conflict(
            format!("{path} {why}"),
            "restores still go by the state; without it the backup could not be used: put the file right from a copy",
        )
    };
    let text = match engine.host.read(&path).await {
        Ok(text) => text,
        Err(error) if error.fault == Fault::Gone => {
            return Err(differs("is not there".to_owned()));
        }
        Err(error) => return Err(error.into()),
    };
    let found = kept::understood(&text, &of.vm, &of.backup).map_err(differs)?;
    if found.imprint() != imprint {
        return Err(differs("says something else than the state".to_owned()));
    }
    Ok(Receipt::Done)
}
