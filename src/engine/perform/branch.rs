//! Files of a disk that the VM does not use, for they belong to another branch: made, merged, laid on
//! another file, and gone.

use camino::Utf8Path;

use crate::engine::Engine;
use crate::engine::perform::Performed;
use crate::engine::perform::Scene;
use crate::engine::perform::claimed;
use crate::engine::perform::conflict;
use crate::engine::perform::merge::Merge;
use crate::engine::perform::merge::apart;
use crate::engine::perform::overlay;
use crate::engine::perform::settled;
use crate::host::Host;
use crate::model::fault::Fault;
use crate::model::id::Target;
use crate::model::id::VmId;
use crate::model::machine::Format;
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
        if is_used(engine, &machine, of.target, &file.path).await? {
            return Err(conflict(
                format!(
                    "{} uses {} again, which was not planned",
                    machine.name, file.path
                ),
                "look at virsh domblklist; nothing was touched",
            ));
        }
    }
    let layers = match engine.host.layers(of.top).await {
        // It goes last.
        Err(error) if error.fault == Fault::Gone => return Ok(Receipt::Done),
        layers => layers?,
    };
    of.commit_offline(engine, scene, &layers).await?;
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
pub(super) struct Unneeded<'a> {
    pub(super) vm: &'a VmId,
    pub(super) claim: u64,
    pub(super) target: &'a Target,
    pub(super) path: &'a Utf8Path,
    pub(super) blank: bool,
}

impl Unneeded<'_> {
    pub(super) async fn drop<H: Host>(&self, engine: &Engine<H>, scene: &Scene) -> Performed {
        let machine = engine.host.machine(self.vm).await?;
        claimed(&machine, self.claim)?;
        let path = self.path;
        if is_used(engine, &machine, self.target, path).await? {
            engine.tell(scene, format!("{path} stays: {} uses it", machine.name));
        } else if self.blank && !self.is_blank(engine).await? {
            engine.tell(scene, format!("{path} stays, for it is not empty"));
        } else {
            engine.host.remove(path).await?;
        }
        Ok(Receipt::Done)
    }

    /// What is not there is as good as blank.
    async fn is_blank<H: Host>(&self, engine: &Engine<H>) -> Result<bool, StepError> {
        let image = Image::new(self.path, Format::Qcow2);
        match engine.host.is_blank(&image).await {
            Err(error) if error.fault == Fault::Gone => Ok(true),
            blank => Ok(blank?),
        }
    }
}

/// Whether a file is in a chain of a disk, live or persistent.
async fn is_used<H: Host>(
    engine: &Engine<H>,
    machine: &Machine,
    target: &Target,
    path: &Utf8Path,
) -> Result<bool, StepError> {
    let Some(disk) = machine.disk(target) else {
        return Ok(false);
    };
    let mut files = disk.live.clone();
    let sources = [&disk.source, &disk.inactive].into_iter().flatten();
    for image in sources.filter_map(Source::image) {
        let layers = engine.host.layers(&image).await?;
        files.extend(layers.into_iter().map(|layer| layer.path));
        files.push(image.path);
    }
    Ok(files.iter().any(|used| used == path))
}
