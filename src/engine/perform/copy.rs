//! What frozen layers hold, written to the stage, synced and digested.

use camino::Utf8Path;

use crate::engine::Engine;
use crate::engine::perform::Performed;
use crate::engine::perform::Scene;
use crate::engine::perform::settled;
use crate::host::Convert;
use crate::host::Host;
use crate::host::Task;
use crate::model::bytes::Bytes;
use crate::model::id::Target;
use crate::model::machine::Format;
use crate::model::receipt::Receipt;
use crate::model::seconds::Seconds;
use crate::model::step::Image;

/// Always from the beginning: half a copy proves nothing.
pub(super) async fn perform<H: Host>(
    engine: &Engine<H>,
    scene: &Scene,
    target: &Target,
    layers: &[Image],
    parent: Option<&Utf8Path>,
    to: &Utf8Path,
    limit: Seconds,
) -> Performed {
    let report = engine.reporter(scene, "copy", target);
    let task = Task {
        report: &report,
        stop: &engine.stop,
        limit: Some(limit.duration()),
    };
    let convert = Convert {
        layers: layers.to_vec(),
        backing: parent.map(Utf8Path::to_owned),
        to: to.to_owned(),
        format: Format::Qcow2,
    };
    engine.host.remove(to).await?;
    engine.host.convert(&convert, &task).await?;
    let quiet = |_: Bytes, _: Bytes| {};
    let task = Task {
        report: &quiet,
        stop: &engine.stop,
        limit: None,
    };
    // The digest reads what is still in the page cache while the disk takes the same bytes in.
    let (synced, digested) = tokio::join!(settled(engine, to), engine.host.digest(to, &task));
    synced?;
    let (digest, size) = digested?;
    let image = Image::new(to.to_owned(), Format::Qcow2);
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
    })
}
