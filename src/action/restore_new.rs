//! A new, stopped VM from a backup: every disk written under an unfinished name while the chain's
//! digests are checked, renamed, and only then defined.

use crate::action::restore;
use crate::model::layout;
use crate::model::op::RestoreNew;
use crate::model::program::Program;
use crate::model::program::Refusal;
use crate::model::step::Step;
use crate::model::world::Guest;

/// File by file. Everything it makes is new, so an error takes all of it back, until a guest wrote to it.
pub(super) fn program(op: &RestoreNew, source: Option<&Guest>) -> Result<Program, Refusal> {
    let origin = &op.origin;
    restore::unchanged(origin, source)?;
    let dir = layout::backup_dir(&origin.storage.path, &origin.from.uuid, &origin.backup);
    let mut fetches = Vec::new();
    let mut renames = Vec::new();
    for (target, image) in &op.disks {
        let [fetch, rename] = restore::fetch(origin, target, image);
        fetches.push(fetch);
        renames.push(rename);
    }
    if let Some(path) = &op.nvram {
        let unfinished = layout::unfinished(path);
        fetches.push(Step::Place {
            from: dir.join(layout::NVRAM),
            to: unfinished.clone(),
        });
        renames.push(Step::Rename {
            from: unfinished,
            to: path.clone(),
        });
    }
    let define = Step::Define {
        definition: dir.join(layout::DOMAIN_INACTIVE),
        vm: op.vm.uuid.clone(),
        name: op.vm.name.clone(),
        disks: op.disks.clone(),
        backing: restore::backing(origin),
        nvram: op.nvram.clone(),
    };
    let mut stages = restore::checks(origin, &op.vm);
    stages.extend([fetches, renames, vec![define]]);
    let no_return = stages.len();
    stages.extend(restore::consolidates(origin, &op.vm, &op.disks));
    Ok(Program { stages, no_return })
}
