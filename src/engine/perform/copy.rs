//! What files hold, written to new ones, synced and digested.

use camino::Utf8Path;

use crate::engine::Engine;
use crate::engine::perform::Performed;
use crate::engine::perform::Scene;
use crate::engine::perform::settled;
use crate::host::Convert;
use crate::host::Host;
use crate::host::ReadFrom;
use crate::host::Task;
use crate::model::bytes::Bytes;
use crate::model::id::Target;
use crate::model::machine::Format;
use crate::model::op::Compression;
use crate::model::receipt::Receipt;
use crate::model::seconds::Seconds;
use crate::model::step::Image;
use crate::sabotage;
use crate::sabotage::Sabotage;

/// Of frozen layers, to the stage. Always from the beginning: half a copy proves nothing.
pub(super) async fn copy<H: Host>(engine: &Engine<H>, scene: &Scene, step: &Copy<'_>) -> Performed {
    let report = engine.reporter(scene, "copy", step.target);
    let task = Task {
        report: &report,
        stop: &engine.stop,
        limit: Some(step.limit.duration()),
    };
    let convert = Convert {
        layers: step.layers.to_vec(),
        backing: step.parent.map(Utf8Path::to_owned),
        to: step.to.to_owned(),
        format: Format::Qcow2,
        compression: step.compression,
        idle: false,
    };
    let uncompressed = match (step.compression, step.layers) {
        (Some(_), [top, rest @ ..]) => {
            let all = engine.host.layers(top).await?;
            let copied = if step.parent.is_some() {
                1 + rest.len()
            } else {
                all.len()
            };
            let layers = all.iter().take(copied);
            Some(layers.map(|layer| layer.allocated).sum())
        }
        _ => None,
    };
    if sabotage::is(Sabotage::HalfCopyKept)
        && engine.host.lengths(&[step.to.to_owned()]).await? != [None]
    {
        return written(engine, step.to, uncompressed).await;
    }
    engine.host.remove(step.to).await?;
    engine.host.convert(&convert, &task).await?;
    written(engine, step.to, uncompressed).await
}

/// Frozen layers and where their content goes.
pub(super) struct Copy<'a> {
    pub(super) target: &'a Target,
    pub(super) layers: &'a [Image],
    pub(super) parent: Option<&'a Utf8Path>,
    pub(super) to: &'a Utf8Path,
    pub(super) limit: Seconds,
    pub(super) compression: Option<Compression>,
}

/// A new file is whole; it is made to stay, and said what it is.
pub(super) async fn written<H: Host>(
    engine: &Engine<H>,
    file: &Utf8Path,
    uncompressed: Option<Bytes>,
) -> Performed {
    let quiet = |_: Bytes, _: Bytes| {};
    let task = Task {
        report: &quiet,
        stop: &engine.stop,
        limit: None,
    };
    // The digest reads what is still in the page cache while the disk takes the same bytes in.
    let (synced, digested) = tokio::join!(
        settled(engine, file),
        engine.host.digest(file, ReadFrom::Memory, &task)
    );
    synced?;
    let (digest, size) = digested?;
    let image = Image::new(file.to_owned(), Format::Qcow2);
    let virtual_size = engine
        .host
        .layers(&image)
        .await?
        .first()
        .map_or(Bytes(0), |layer| layer.virtual_size);
    Ok(Receipt::Copied {
        size,
        digest,
        virtual_size,
        uncompressed,
    })
}
