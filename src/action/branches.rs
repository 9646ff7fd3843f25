//! What becomes of a disk's files when a snapshot goes: the one branch that goes on from it is merged
//! down, or the end of a branch that nobody needs is dropped.
//!
//! A file is written into only while a single branch reads it and no snapshot that stays keeps it.

use camino::Utf8Path;

use crate::action::deltas;
use crate::action::vm;
use crate::model::layout;
use crate::model::machine::Disk;
use crate::model::machine::Machine;
use crate::model::program::Refusal;
use crate::model::record::Record;
use crate::model::snapshot::Snapshot;
use crate::model::snapshot::Snapshots;
use crate::model::step::Image;
use crate::model::step::Step;

/// A VM's files and snapshots as the steps so far will leave them.
pub(super) struct Ahead<'a> {
    pub(super) machine: Machine,
    pub(super) snapshots: Snapshots,
    pub(super) record: &'a Record,
    pub(super) claim: u64,
}

impl Ahead<'_> {
    /// Looks ahead over steps of the disks, each disk's one after the other, and makes stages of them.
    pub(super) fn play(&mut self, disks: Vec<Vec<Step>>) -> Vec<Vec<Step>> {
        for step in disks.iter().flatten() {
            self.move_delta(step);
            step.foresee(&mut self.machine);
            self.snapshots.follow(step);
        }
        deltas::side_by_side(disks)
    }

    /// The delta of the current backup lies on another file when the one it was laid on goes.
    fn move_delta(&mut self, step: &Step) {
        let Some((target, top, base)) = step.merged() else {
            return;
        };
        let left = self.record.current.as_ref().and_then(|current| {
            let backup = self.record.backups.get(current)?;
            backup.disks.get(target)?.delta.as_ref()
        });
        if left.is_some_and(|left| self.snapshots.lies(target, left).base == top.path) {
            let bases = &mut self.snapshots.bases;
            bases.insert(target.clone(), base.path.clone());
        }
    }

    /// Lets go of every removed snapshot that at most one branch goes on from, and of those that can
    /// go after it.
    pub(super) fn sweep(&mut self) -> Result<Vec<Vec<Step>>, Refusal> {
        let mut stages = Vec::new();
        while let Some((name, gone)) = self.first_to_go() {
            self.snapshots.forget(&name);
            let mut disks = Vec::new();
            for (target, file) in &gone.disks {
                if let Some(disk) = self.machine.disk(target) {
                    disks.push(self.let_go(disk, file)?);
                }
            }
            stages.extend(self.play(disks));
        }
        Ok(stages)
    }

    fn first_to_go(&self) -> Option<(String, Snapshot)> {
        let mut removed = self.snapshots.all.iter().filter(|(_, one)| one.removed);
        let found = removed.find(|(_, one)| {
            let mut files = one.disks.iter();
            files.all(|(target, file)| {
                let disk = self.machine.disk(target);
                disk.is_none_or(|disk| match disk.on(&file.path)[..] {
                    [] => true,
                    // A layer that somebody else laid there is not knib's to merge.
                    [layer] => layout::is_ours(&layer.path),
                    _ => false,
                })
            })
        });
        found.map(|(name, one)| (name.clone(), one.clone()))
    }

    /// The steps of one disk, after a snapshot that kept `file` was forgotten.
    fn let_go(&self, disk: &Disk, file: &Image) -> Result<Vec<Step>, Refusal> {
        let machine = &self.machine;
        deltas::all_branches_known(machine, disk)?;
        let [top] = disk.on(&file.path)[..] else {
            return Ok(self.drops(disk, &file.path));
        };
        let Some(base) = disk.layer(&file.path) else {
            return Ok(Vec::new());
        };
        let (vm, claim, target) = (machine.id.clone(), self.claim, disk.target.clone());
        let branches = disk
            .branches(&top.path)
            .into_iter()
            .map(deltas::image)
            .collect();
        let (top_image, base_image) = (deltas::image(top), deltas::image(base));
        if !disk.is_in_chain(&top.path) {
            return Ok(vec![Step::Fold {
                vm,
                claim,
                target,
                top: top_image,
                base: base_image,
                branches,
            }]);
        }
        vm::steady(machine, disk)?;
        deltas::not_shrunk(machine, disk, top, base.virtual_size)?;
        let at = disk.layers.iter().position(|layer| layer.path == top.path);
        let above = at.and_then(|at| disk.layers.get(at.checked_sub(1)?));
        Ok(vec![Step::Merge {
            vm,
            claim,
            target,
            top: top_image,
            base: base_image,
            above: above.map(deltas::image),
            branches,
        }])
    }

    /// The end of a branch that neither the VM nor a snapshot needs, from the top down.
    pub(super) fn drops(&self, disk: &Disk, end: &Utf8Path) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut above: Option<&Utf8Path> = None;
        for layer in disk.chain_of(end) {
            let path = layer.path.as_path();
            let on = disk.on(path);
            let mut others = on.iter().filter(|one| Some(one.path.as_path()) != above);
            if others.next().is_some()
                || !layout::is_ours(path)
                || disk.is_in_chain(path)
                || self.snapshots.kept_in(&disk.target, path).is_some()
            {
                break;
            }
            steps.push(Step::Drop {
                vm: self.machine.id.clone(),
                claim: self.claim,
                target: disk.target.clone(),
                path: layer.path.clone(),
                blank: false,
            });
            above = Some(path);
        }
        steps
    }
}

/// Whether a VM that goes by these snapshots is where they say: no guest writes to a kept file.
pub(super) fn expect_off_snapshots(
    machine: &Machine,
    snapshots: &Snapshots,
) -> Result<(), Refusal> {
    for disk in &machine.disks {
        let head = disk.layers.first();
        let kept = head.and_then(|head| snapshots.kept_in(&disk.target, &head.path));
        if let Some(kept) = kept {
            let (name, target) = (&machine.name, &disk.target);
            return Err(Refusal::new(
                "on_snapshot",
                format!(
                    "{name}: {target} writes to the file that snapshot {kept} keeps, as if it was defined from an older XML"
                ),
                format!("define the newest XML again: virsh edit {name} shows the present one"),
            ));
        }
    }
    Ok(())
}

/// The snapshot of a name that was not deleted.
pub(super) fn named<'a>(
    machine: &Machine,
    snapshots: &'a Snapshots,
    name: &str,
) -> Result<&'a Snapshot, Refusal> {
    let found = snapshots.all.get(name).filter(|one| !one.removed);
    found.ok_or_else(|| {
        Refusal::new(
            "unknown_snapshot",
            format!("{} has no snapshot {name:?}", machine.name),
            format!("knib snapshot list {}", machine.name),
        )
    })
}
