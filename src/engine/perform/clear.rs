//! The end of an orphan. Nothing in use goes, and no layer that something was written to.

use camino::Utf8Path;

use crate::engine::Engine;
use crate::engine::perform::Performed;
use crate::engine::perform::Scene;
use crate::engine::perform::conflict;
use crate::host::Host;
use crate::model::fault::Fault;
use crate::model::layout;
use crate::model::machine::Disk;
use crate::model::machine::Format;
use crate::model::machine::Source;
use crate::model::orphan::OrphanKind;
use crate::model::program::StepError;
use crate::model::receipt::Receipt;
use crate::model::step::Image;

pub(super) async fn clear<H: Host>(
    engine: &Engine<H>,
    scene: &Scene,
    path: &Utf8Path,
    kind: OrphanKind,
) -> Performed {
    if kind == OrphanKind::Replaced {
        return replaced(engine, scene, path).await;
    }
    // A merged layer is put back under the name it had while a definition has that.
    let names = [Some(path.to_owned()), layout::unmerged(path)];
    for machine in engine.host.machines().await? {
        let uses = |disk: &Disk| {
            let mut named = names.iter().flatten();
            named.any(|name| disk.uses(name)) || disk.live.iter().any(|live| live.starts_with(path))
        };
        if machine.disks.iter().any(uses) {
            return Err(conflict(
                format!("{path} is in use by {}", machine.name),
                "knib state check, once more",
            ));
        }
    }
    if let Some(vm) = layout::thrown_away(path)
        && !engine
            .host
            .machine(&vm.throwaway())
            .await
            .is_err_and(|error| error.fault == Fault::Gone)
    {
        return Err(conflict(
            format!("{path} is in use: a backup is being booted"),
            "knib state check, once more",
        ));
    }
    if kind == OrphanKind::Delta {
        match engine.host.is_blank(&Image::new(path, Format::Qcow2)).await {
            Ok(true) => {}
            Err(error) if error.fault == Fault::Gone => return Ok(Receipt::Done),
            Err(error) => return Err(error.into()),
            Ok(false) => {
                return Err(conflict(
                    format!("{path} has been written to, and is kept"),
                    "look at it with qemu-img info",
                ));
            }
        }
    }
    engine.host.remove(path).await?;
    if let Some(dir) = path.parent() {
        engine.host.sync(dir).await?;
    }
    Ok(Receipt::Done)
}

/// What a restore replaced. Somebody may have gone back to it, with any VM.
async fn replaced<H: Host>(engine: &Engine<H>, scene: &Scene, path: &Utf8Path) -> Performed {
    for machine in engine.host.machines().await? {
        for disk in &machine.disks {
            if is_in_chain(engine, disk, path).await? {
                engine.tell(scene, format!("{path} stays: {} uses it", machine.name));
                return Ok(Receipt::Done);
            }
        }
    }
    engine.host.remove(path).await?;
    Ok(Receipt::Done)
}

/// An image that cannot be read may lie on anything.
async fn is_in_chain<H: Host>(
    engine: &Engine<H>,
    disk: &Disk,
    path: &Utf8Path,
) -> Result<bool, StepError> {
    if disk.uses(path) {
        return Ok(true);
    }
    let sources = [&disk.source, &disk.inactive].into_iter().flatten();
    for image in sources
        .filter(|_| disk.holds_data())
        .filter_map(Source::image)
    {
        let layers = match engine.host.layers(&image).await {
            Err(error) if error.fault == Fault::Gone => continue,
            layers => layers?,
        };
        if layers.iter().any(|layer| layer.path == path) {
            return Ok(true);
        }
    }
    Ok(false)
}
