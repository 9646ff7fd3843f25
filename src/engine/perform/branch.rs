//! Files of a disk that the VM does not use, for they belong to another branch: made, merged, laid on
//! another file, and gone.

use camino::Utf8Path;

use crate::engine::Engine;
use crate::engine::perform::Performed;
use crate::engine::perform::Scene;
use crate::engine::perform::claimed;
use crate::engine::perform::conflict;
use crate::engine::perform::merge::Merge;
use crate::engine::perform::overlay;
use crate::engine::perform::settled;
use crate::host::Host;
use crate::host::Task;
use crate::model::fault::Fault;
use crate::model::id::Target;
use crate::model::id::VmId;
use crate::model::machine::Machine;
use crate::model::machine::Source;
use crate::model::program::StepError;
use crate::model::receipt::Receipt;
use crate::model::step::Image;

/// An empty layer on a file.
pub(super) async fn create<H: Host>(engine: &Engine<H>, path: &Utf8Path, on: &Image) -> Performed {
    overlay::clear_the_way(engine, path).await?;
    engine.host.create(path, on).await?;
    settled(engine, path).await?;
    Ok(Receipt::Done)
}

/// A layer into the file below it, neither of them used by the VM, be it on or off.
pub(super) async fn fold<H: Host>(engine: &Engine<H>, scene: &Scene, of: &Merge<'_>) -> Performed {
    let machine = engine.host.machine(of.vm).await?;
    claimed(&machine, of.claim)?;
    for file in [of.top, of.base] {
        unused(engine, &machine, of.target, &file.path).await?;
    }
    let layers = match engine.host.layers(of.top).await {
        // It goes last.
        Err(error) if error.fault == Fault::Gone => return Ok(Receipt::Done),
        layers => layers?,
    };
    let below = layers
        .get(1)
        .filter(|below| below.path == of.base.path)
        .ok_or_else(|| apart(of.top, of.base))?;
    let report = engine.reporter(scene, "merge", of.target);
    let task = Task {
        report: &report,
        stop: &engine.stop,
        limit: None,
    };
    engine.host.commit_offline(of.top, of.base, &task).await?;
    let size = layers[0].virtual_size;
    if size < below.virtual_size {
        // A commit never shrinks: without this old bytes would come back.
        engine.host.shrink(of.base, size).await?;
    }
    lay(engine, of.branches, of.top, of.base).await?;
    engine.host.remove(&of.top.path).await?;
    Ok(Receipt::Done)
}

/// Branches of a layer lie on the file that has its content by now.
pub(super) async fn lay<H: Host>(
    engine: &Engine<H>,
    branches: &[Image],
    top: &Image,
    base: &Image,
) -> Result<(), StepError> {
    for branch in branches {
        let layers = engine.host.layers(branch).await?;
        let below = layers.get(1).map(|below| &below.path);
        if below == Some(&top.path) {
            engine.host.rebase(branch, base).await?;
            engine.host.sync(&branch.path).await?;
        } else if below != Some(&base.path) {
            return Err(apart(branch, top));
        }
    }
    Ok(())
}

/// A layer that nothing needs.
pub(super) async fn drop<H: Host>(
    engine: &Engine<H>,
    vm: &VmId,
    claim: u64,
    target: &Target,
    path: &Utf8Path,
) -> Performed {
    let machine = engine.host.machine(vm).await?;
    claimed(&machine, claim)?;
    unused(engine, &machine, target, path).await?;
    engine.host.remove(path).await?;
    Ok(Receipt::Done)
}

/// Whether a VM has nothing to do with a file of one of its disks.
async fn unused<H: Host>(
    engine: &Engine<H>,
    machine: &Machine,
    target: &Target,
    path: &Utf8Path,
) -> Result<(), StepError> {
    let Some(disk) = machine.disk(target) else {
        return Ok(());
    };
    let mut files = disk.live.clone();
    for source in [&disk.source, &disk.inactive].into_iter().flatten() {
        if let Source::File { path, format } = source {
            let layers = engine
                .host
                .layers(&Image::new(path.clone(), format.clone()))
                .await?;
            files.extend(layers.into_iter().map(|layer| layer.path));
            files.push(path.clone());
        }
    }
    if files.iter().any(|used| used == path) {
        return Err(conflict(
            format!("{} uses {path} again, which was not planned", machine.name),
            "look at virsh domblklist; nothing was touched",
        ));
    }
    Ok(())
}

fn apart(top: &Image, base: &Image) -> StepError {
    conflict(
        format!("{} no longer lies directly on {}", top.path, base.path),
        "plan again",
    )
}
