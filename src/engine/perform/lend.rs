//! A backup says which VMs read it, for whoever would delete it, on this host or on another.

use camino::Utf8PathBuf;

use crate::engine::Engine;
use crate::engine::perform::Performed;
use crate::engine::perform::Scene;
use crate::engine::perform::stage::json;
use crate::host::Host;
use crate::model::backup::Reader;
use crate::model::fault::Fault;
use crate::model::id::VmId;
use crate::model::layout;
use crate::model::receipt::Receipt;
use crate::model::step::BackupAt;

pub(super) async fn lend<H: Host>(
    engine: &Engine<H>,
    scene: &Scene,
    of: &BackupAt,
    to: &VmId,
) -> Performed {
    let lease = Reader {
        hostname: engine.maker.hostname.clone(),
        vm: to.clone(),
        since: engine.now(),
    };
    let text = json(&lease)?;
    let path = file(of, to);
    let dir = of.dir().join(layout::READERS);
    let written = match engine.host.make_dir(&dir).await {
        Ok(()) => engine.host.write(&path, text.as_bytes()).await,
        failed => failed,
    };
    match written {
        Ok(()) => Ok(Receipt::Done),
        // A storage that is mounted for reading alone can be restored from as well.
        Err(error) if error.fault == Fault::Denied => {
            engine.tell(
                scene,
                format!(
                    "{path} cannot be written: other hosts will not know that {} is read",
                    of.backup
                ),
            );
            Ok(Receipt::Done)
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn release<H: Host>(engine: &Engine<H>, of: &BackupAt, to: &VmId) -> Performed {
    match engine.host.remove(&file(of, to)).await {
        Err(error) if !matches!(error.fault, Fault::Gone | Fault::Denied) => Err(error.into()),
        _ => Ok(Receipt::Done),
    }
}

fn file(of: &BackupAt, to: &VmId) -> Utf8PathBuf {
    of.dir().join(layout::READERS).join(to.as_str())
}
