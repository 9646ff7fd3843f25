//! Files of a backup, read to the last byte and compared with what was written.

use std::cell::Cell;

use camino::Utf8PathBuf;

use crate::engine::Engine;
use crate::engine::kept;
use crate::engine::perform::Performed;
use crate::engine::perform::Scene;
use crate::engine::perform::conflict;
use crate::engine::perform::stage;
use crate::host::Host;
use crate::host::ReadFrom;
use crate::host::Result;
use crate::host::Task;
use crate::model::bytes::Bytes;
use crate::model::digest::Digest;
use crate::model::event::Event;
use crate::model::fault::Fault;
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
        let found = match (length, file) {
            (None, _) => Some((true, format!("{path} is not there"))),
            (
                Some(length),
                Written {
                    size: Some(size), ..
                },
            ) if length != *size => Some((
                false,
                format!("{path} is damaged: it is {length} long, it was written as {size}"),
            )),
            (Some(_), Written { digest: None, .. }) => None,
            (
                Some(_),
                Written {
                    digest: Some(digest),
                    ..
                },
            ) => {
                let from = ReadFrom::Storage { rate };
                let read: Result<(Digest, Bytes)> = engine.host.digest(path, from, &task).await;
                let (found, _) = read?;
                (found != *digest).then(|| {
                    let text = format!(
                        "{path} is damaged: its digest is {found}, it was written as {digest}"
                    );
                    (false, text)
                })
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
