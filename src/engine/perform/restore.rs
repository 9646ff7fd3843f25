//! Disks written out of backups, and the VM that is defined over them.

use std::collections::BTreeMap;

use camino::Utf8Path;
use camino::Utf8PathBuf;

use crate::engine::Engine;
use crate::engine::perform::Performed;
use crate::engine::perform::Scene;
use crate::engine::perform::conflict;
use crate::engine::perform::settled;
use crate::host::Convert;
use crate::host::Head;
use crate::host::Host;
use crate::host::Renewal;
use crate::host::Task;
use crate::model::bytes::Bytes;
use crate::model::fault::Fault;
use crate::model::id::Target;
use crate::model::id::VmId;
use crate::model::machine::Format;
use crate::model::op::OriginFile;
use crate::model::program::StepError;
use crate::model::receipt::Receipt;
use crate::model::step::Image;

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

async fn compare<H: Host>(
    engine: &Engine<H>,
    files: &[OriginFile],
    report: &dyn Fn(Bytes, Bytes),
) -> Result<(), StepError> {
    let task = Task {
        report,
        stop: &engine.stop,
        limit: None,
    };
    for OriginFile { path, digest } in files {
        let (found, _) = engine.host.digest(path, &task).await?;
        if found != *digest {
            return Err(StepError {
                fault: Fault::Io,
                text: format!(
                    "{path} is damaged: its digest is {found}, it was written as {digest}"
                ),
                hint: Some("restore another backup: knib backup list".to_owned()),
            });
        }
    }
    Ok(())
}

pub(super) async fn define<H: Host>(
    engine: &Engine<H>,
    definition: &Utf8Path,
    vm: &VmId,
    name: &str,
    disks: &BTreeMap<Target, Image>,
    nvram: Option<&Utf8PathBuf>,
) -> Performed {
    if is_defined(engine, vm).await? {
        return Ok(Receipt::Done);
    }
    let text = engine.host.read(definition).await?;
    let text = String::from_utf8(text).map_err(|_| {
        conflict(
            format!("{definition} is not text"),
            "restore another backup",
        )
    })?;
    let heads = disks
        .iter()
        .map(|(target, image)| Head {
            target: target.clone(),
            image: image.clone(),
        })
        .collect();
    let renewal = Renewal {
        id: vm.clone(),
        name: name.to_owned(),
        heads,
        nvram: nvram.cloned(),
    };
    match engine.host.define(&text, &renewal).await {
        Ok(()) => Ok(Receipt::Done),
        Err(_) if is_defined(engine, vm).await? => Ok(Receipt::Done),
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
