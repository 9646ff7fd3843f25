//! What makes a stage a backup: definitions, what they name beside disks, the record, and how to restore without knib.

use camino::Utf8Path;

use crate::action;
use crate::engine::Engine;
use crate::engine::perform::Performed;
use crate::engine::perform::Scene;
use crate::engine::perform::conflict;
use crate::engine::perform::stage::json;
use crate::host::Definition;
use crate::host::Host;
use crate::model::fault::Fault;
use crate::model::id::VmId;
use crate::model::layout;
use crate::model::machine::Machine;
use crate::model::receipt::Receipt;

/// The definitions as they are just after the snapshot, so that they name every captured disk.
pub(super) async fn capture<H: Host>(
    engine: &Engine<H>,
    scene: &Scene,
    vm: &VmId,
    dir: &Utf8Path,
) -> Performed {
    let mut files = Vec::new();
    let definitions = [
        (layout::DOMAIN, Definition::Live),
        (layout::DOMAIN_INACTIVE, Definition::Persistent),
    ];
    for (name, which) in definitions {
        let text = engine.host.definition(vm, which).await?;
        engine.host.write(&dir.join(name), text.as_bytes()).await?;
        files.push(name.to_owned());
    }
    for neighbour in engine.host.neighbours(vm).await? {
        let name = layout::neighbour(neighbour.kind, &neighbour.name);
        let text = neighbour.definition;
        engine.host.write(&dir.join(&name), text.as_bytes()).await?;
        files.push(name);
    }
    let Machine {
        firmware, power, ..
    } = engine.host.machine(vm).await?;
    let is_on = power.is_on();
    let beside = [
        (layout::NVRAM, firmware.nvram),
        (layout::KERNEL, firmware.kernel),
        (layout::INITRD, firmware.initrd),
    ];
    for (name, path) in beside {
        let Some(path) = path else { continue };
        match engine.host.copy(&path, &dir.join(name)).await {
            Ok(()) => files.push(name.to_owned()),
            // UEFI variables appear at a VM's first start; without its kernel it would not start here either.
            Err(error) if error.fault == Fault::Gone => {}
            Err(error) => return Err(error.into()),
        }
    }
    if let Some(tpm) = firmware.tpm {
        match engine.host.archive(&tpm, &dir.join(layout::TPM)).await {
            Ok(()) => files.push(layout::TPM.to_owned()),
            // It appears at a VM's first start as well.
            Err(error) if error.fault == Fault::Gone && !is_on => {}
            Err(error) if error.fault == Fault::Gone => {
                let text = format!("the state of its TPM is not at {tpm}, and not in the backup");
                engine.tell(scene, text);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Receipt::Captured { files })
}

pub(super) async fn seal<H: Host>(engine: &Engine<H>, scene: &Scene, dir: &Utf8Path) -> Performed {
    let Some(vm) = scene.op.vm() else {
        return Err(conflict(
            "an action without a VM has nothing to seal",
            "report this as a bug",
        ));
    };
    let record = engine
        .state
        .record(&vm.uuid)?
        .map(|(_, record)| record)
        .unwrap_or_default();
    let backup = action::sealed(
        &scene.op,
        &scene.program,
        &scene.receipts,
        &record,
        &engine.maker,
    )?;
    let readme = action::readme(&backup);
    engine
        .host
        .write(&dir.join(layout::README), readme.as_bytes())
        .await?;
    engine
        .host
        .write(&dir.join(layout::RECORD), json(&backup)?.as_bytes())
        .await?;
    engine.host.sync(dir).await?;
    Ok(Receipt::Sealed(Box::new(backup)))
}
