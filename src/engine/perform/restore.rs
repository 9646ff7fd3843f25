//! Disks written out of backups, and the VM that is defined over them.

use camino::Utf8Path;

use crate::engine::Engine;
use crate::engine::perform::Performed;
use crate::engine::perform::Scene;
use crate::engine::perform::conflict;
use crate::engine::perform::settled;
use crate::host::Convert;
use crate::host::Host;
use crate::host::ReadFrom;
use crate::host::Renewal;
use crate::host::Task;
use crate::model::bytes::Bytes;
use crate::model::fault::Fault;
use crate::model::id::BackupId;
use crate::model::id::Target;
use crate::model::id::VmId;
use crate::model::machine::Format;
use crate::model::op::OriginFile;
use crate::model::program::StepError;
use crate::model::receipt::Receipt;
use crate::model::step::Image;
use crate::sabotage;
use crate::sabotage::Sabotage;

const ANOTHER: &str = "restore another backup: knib backup list";

/// Every file of the chain is read for its digest while QEMU reads it for its content.
pub(super) async fn fetch<H: Host>(
    engine: &Engine<H>,
    scene: &Scene,
    target: &Target,
    chain: &[OriginFile],
    to: &Image,
) -> Performed {
    let Some(first) = chain.first() else {
        return Err(conflict(
            format!("nothing to restore {target} from"),
            "plan again",
        ));
    };
    let convert = Convert {
        layers: vec![Image::new(first.path.clone(), Format::Qcow2)],
        backing: None,
        to: to.path.clone(),
        format: to.format.clone(),
        compression: None,
        idle: false,
    };
    let report = engine.reporter(scene, "restore", target);
    let task = Task {
        report: &report,
        stop: &engine.stop,
        limit: None,
    };
    let quiet = |_: Bytes, _: Bytes| {};
    if let Some(dir) = to.path.parent() {
        engine.host.make_dirs(dir).await?;
    }
    engine.host.remove(&to.path).await?;
    let (converted, checked) = tokio::join!(
        engine.host.convert(&convert, &task),
        compare(engine, chain, &quiet)
    );
    checked?;
    converted?;
    settled(engine, &to.path).await?;
    Ok(Receipt::Done)
}

/// Reads files for their digests alone.
pub(super) async fn check<H: Host>(
    engine: &Engine<H>,
    scene: &Scene,
    what: &'static str,
    target: &Target,
    files: &[OriginFile],
) -> Result<(), StepError> {
    let report = engine.reporter(scene, what, target);
    compare(engine, files, &report).await
}

/// Without reading them: whether they are the files that were written, as far as lengths and headers
/// tell.
pub(super) async fn inspect<H: Host>(
    engine: &Engine<H>,
    by: &VmId,
    target: &Target,
    files: &[OriginFile],
) -> Performed {
    let paths: Vec<_> = files.iter().map(|file| file.path.clone()).collect();
    let Some(first) = paths.first() else {
        return Err(conflict(
            format!("nothing to restore {target} from"),
            "plan again",
        ));
    };
    let lengths = engine.host.lengths(&paths).await?;
    for (file, length) in files.iter().zip(lengths) {
        let found = match length {
            Some(length) if length == file.size => continue,
            Some(length) => format!("it is {length} long, it was written as {}", file.size),
            None => "it is not there".to_owned(),
        };
        return Err(damaged(&file.path, &found));
    }
    let image = Image::new(first.clone(), Format::Qcow2);
    let layers = engine.host.layers(&image).await?;
    // A storage may be known by another name than its own.
    let names = |path: &Utf8Path| -> Vec<String> {
        let names = path.components().rev().take(3);
        names.map(|name| name.to_string()).collect()
    };
    let linked = layers.iter().map(|layer| names(&layer.path));
    if !linked.eq(paths.iter().map(|path| names(path))) {
        return Err(damaged(
            first,
            "its header names other files than it continues",
        ));
    }
    engine.host.readable(&image).await.map_err(|error| {
        let mut error = StepError::from(error);
        let hint = "let QEMU's group read the storage (chgrp -R GROUP DIR; find DIR -type d -exec chmod g+rxs {} +), or restore without --quick";
        error.hint = Some(hint.to_owned());
        error
    })?;
    engine.host.finds(by, &paths).await.map_err(|error| {
        let mut error = StepError::from(error);
        let hint = "the storage was mounted after that VM was started: stop and start it, or restore without --quick";
        error.hint = Some(hint.to_owned());
        error
    })?;
    Ok(Receipt::Done)
}

/// What runs from a damaged file goes on: it is told, and the backup is not counted on any more.
pub(super) async fn audit<H: Host>(
    engine: &Engine<H>,
    scene: &Scene,
    target: &Target,
    files: &[OriginFile],
) -> Performed {
    let report = engine.reporter(scene, "verify", target);
    for file in files {
        let Some(text) = difference(engine, file, &report).await? else {
            continue;
        };
        engine.tell(scene, text.clone());
        let name = |path: Option<&Utf8Path>| path.and_then(Utf8Path::file_name).map(str::to_owned);
        let backup = name(file.path.parent()).unwrap_or_default();
        return Ok(Receipt::Damaged {
            backup: BackupId::new(backup),
            file: name(Some(&file.path)).unwrap_or_default(),
            text,
            missing: false,
        });
    }
    Ok(Receipt::Done)
}

/// An empty layer, for a VM to run from at once.
pub(super) async fn lay<H: Host>(engine: &Engine<H>, on: &Utf8Path, path: &Utf8Path) -> Performed {
    engine.host.remove(path).await?;
    let below = Image::new(on, Format::Qcow2);
    engine.host.create(path, &below).await?;
    settled(engine, path).await?;
    Ok(Receipt::Done)
}

async fn compare<H: Host>(
    engine: &Engine<H>,
    files: &[OriginFile],
    report: &dyn Fn(Bytes, Bytes),
) -> Result<(), StepError> {
    for file in files {
        if let Some(text) = difference(engine, file, report).await? {
            return Err(StepError {
                fault: Fault::Io,
                text,
                hint: Some(ANOTHER.to_owned()),
            });
        }
    }
    Ok(())
}

/// What is wrong with the bytes of a file, if anything is.
async fn difference<H: Host>(
    engine: &Engine<H>,
    OriginFile { path, digest, .. }: &OriginFile,
    report: &dyn Fn(Bytes, Bytes),
) -> Result<Option<String>, StepError> {
    let task = Task {
        report,
        stop: &engine.stop,
        limit: None,
    };
    let (found, _) = engine.host.digest(path, ReadFrom::Memory, &task).await?;
    Ok((found != *digest && !sabotage::is(Sabotage::DigestIgnored))
        .then(|| format!("{path} is damaged: its digest is {found}, it was written as {digest}")))
}

fn damaged(path: &Utf8Path, found: &str) -> StepError {
    StepError {
        fault: Fault::Io,
        text: format!("{path} is damaged: {found}"),
        hint: Some(ANOTHER.to_owned()),
    }
}

pub(super) async fn define<H: Host>(
    engine: &Engine<H>,
    definition: &Utf8Path,
    renewal: &Renewal,
) -> Performed {
    if is_defined(engine, &renewal.id).await? {
        return Ok(Receipt::Done);
    }
    let text = engine.host.read(definition).await?;
    let text = String::from_utf8(text).map_err(|_| {
        conflict(
            format!("{definition} is not text"),
            "restore another backup",
        )
    })?;
    match engine.host.define(&text, renewal).await {
        Ok(()) => Ok(Receipt::Done),
        Err(_) if is_defined(engine, &renewal.id).await? => Ok(Receipt::Done),
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn undefine<H: Host>(engine: &Engine<H>, vm: &VmId) -> Performed {
    if is_defined(engine, vm).await? {
        engine.host.undefine(vm).await?;
    }
    Ok(Receipt::Done)
}

async fn is_defined<H: Host>(engine: &Engine<H>, vm: &VmId) -> Result<bool, StepError> {
    match engine.host.machine(vm).await {
        Ok(_) => Ok(true),
        Err(error) if error.fault == Fault::Gone => Ok(false),
        Err(error) => Err(error.into()),
    }
}
