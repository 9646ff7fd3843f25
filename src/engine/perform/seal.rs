//! What makes a stage a backup: definitions, what they name beside disks, the record, and how to restore without knib.

use std::collections::BTreeMap;

use camino::Utf8Path;

use crate::action;
use crate::engine::Engine;
use crate::engine::perform::Performed;
use crate::engine::perform::Scene;
use crate::engine::perform::conflict;
use crate::engine::perform::stage::json;
use crate::host::Definition;
use crate::host::Host;
use crate::host::ReadFrom;
use crate::host::Task;
use crate::model::bytes::Bytes;
use crate::model::digest::Digest;
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
    let (mut files, mut sums) = (Vec::new(), BTreeMap::new());
    let definitions = [
        (layout::DOMAIN, Definition::Live),
        (layout::DOMAIN_INACTIVE, Definition::Persistent),
    ];
    let mut texts = Vec::new();
    for (name, which) in definitions {
        texts.push((name.to_owned(), engine.host.definition(vm, which).await?));
    }
    for neighbour in engine.host.neighbours(vm).await? {
        let name = layout::neighbour(neighbour.kind, &neighbour.name);
        texts.push((name, neighbour.definition));
    }
    for (name, text) in texts {
        engine.host.write(&dir.join(&name), text.as_bytes()).await?;
        sums.insert(name.clone(), Digest::of(text.as_bytes()));
        files.push(name);
    }
    let mut copied = Vec::new();
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
            Ok(()) => copied.push(name),
            // UEFI variables appear at a VM's first start; without its kernel it would not start here either.
            Err(error) if error.fault == Fault::Gone => {}
            Err(error) => return Err(error.into()),
        }
    }
    if let Some(tpm) = firmware.tpm {
        match engine.host.archive(&tpm, &dir.join(layout::TPM)).await {
            Ok(()) => copied.push(layout::TPM),
            // It appears at a VM's first start as well.
            Err(error) if error.fault == Fault::Gone && !is_on => {}
            Err(error) if error.fault == Fault::Gone => {
                let text = format!("the state of its TPM is not at {tpm}, and not in the backup");
                engine.tell(scene, text);
            }
            Err(error) => return Err(error.into()),
        }
    }
    let quiet = |_: Bytes, _: Bytes| {};
    let task = Task {
        report: &quiet,
        stop: &engine.stop,
        limit: None,
    };
    for name in copied {
        let path = dir.join(name);
        let (sum, _) = engine.host.digest(&path, ReadFrom::Memory, &task).await?;
        sums.insert(name.to_owned(), sum);
        files.push(name.to_owned());
    }
    Ok(Receipt::Captured { files, sums })
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
    let mut backup = action::sealed(
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
    let sum = Digest::of(readme.as_bytes());
    backup.sums.insert(layout::README.to_owned(), sum);
    engine
        .host
        .write(&dir.join(layout::RECORD), json(&backup)?.as_bytes())
        .await?;
    engine.host.sync(dir).await?;
    Ok(Receipt::Sealed(Box::new(backup)))
}
