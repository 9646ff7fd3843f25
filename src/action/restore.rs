//! What all restores share: what they hold, what they read, and that it is still what was planned.

use crate::model::backup::VmRef;
use crate::model::id::Target;
use crate::model::layout;
use crate::model::lease::Lease;
use crate::model::lease::Subject;
use crate::model::op::Origin;
use crate::model::program::Refusal;
use crate::model::step::Image;
use crate::model::step::Step;
use crate::model::world::Guest;

/// The VM alone that is written; the backup and all it continues, with other readers.
pub(super) fn leases(origin: &Origin, vm: &VmRef) -> Vec<Lease> {
    let read = std::iter::once(&origin.backup).chain(&origin.ancestors);
    let mut leases: Vec<_> = read
        .map(|id| Lease::shared(Subject::Backup(id.clone())))
        .collect();
    leases.push(Lease::exclusive(Subject::Vm(vm.uuid.clone())));
    leases
}

/// Fails where the record says by now that a wanted disk is made of other files.
pub(super) fn unchanged(origin: &Origin, source: Option<&Guest>) -> Result<(), Refusal> {
    let record = source.map(|guest| &guest.record);
    let Some(record) = record.filter(|record| record.backups.contains_key(&origin.backup)) else {
        return Ok(());
    };
    for (target, files) in &origin.disks {
        let known = record
            .files_of(&origin.backup, target)
            .map_err(|text| Refusal::new("chain_broken", text, "knib backup list --all"))?;
        let known = known.iter().map(|(_, file)| file.digest);
        if !known.eq(files.iter().map(|file| file.digest)) {
            return Err(Refusal::new(
                "chain_changed",
                format!("the files of {} were changed meanwhile", origin.backup),
                "once more",
            ));
        }
    }
    Ok(())
}

/// Reads everything before anything is written, where that was asked.
pub(super) fn checks(origin: &Origin) -> Option<Vec<Step>> {
    let check = |(target, files): (&Target, &Vec<_>)| Step::Check {
        target: target.clone(),
        files: files.clone(),
    };
    let checks = origin.disks.iter().map(check).collect();
    origin.verify.then_some(checks)
}

/// A disk is written under an unfinished name, and gets its own when it is whole.
pub(super) fn fetch(origin: &Origin, target: &Target, to: &Image) -> [Step; 2] {
    let unfinished = layout::unfinished(&to.path);
    [
        Step::Fetch {
            target: target.clone(),
            chain: origin.disks.get(target).cloned().unwrap_or_default(),
            to: Image::new(unfinished.clone(), to.format.clone()),
        },
        Step::Rename {
            from: unfinished,
            to: to.path.clone(),
        },
    ]
}
