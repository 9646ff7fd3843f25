//! What backups of a VM will take, reckoned from those on record: a full as its disks are now, an
//! increment as those before it, and as much smaller when compressed as those before it became.

use std::sync::Arc;

use crate::model::backup::Backup;
use crate::model::backup::Kind;
use crate::model::bytes::Bytes;
use crate::model::id::BackupId;
use crate::model::id::VmId;
use crate::model::op::BackupOp;
use crate::model::op::Compress;
use crate::model::op::Op;
use crate::model::op::Phase;
use crate::model::plan::Action;
use crate::model::plan::Plan;
use crate::model::world::Guest;
use crate::model::world::World;
use crate::planner::space;

/// A VM without any incremental backup is reckoned to change by a part of its disks.
const UNKNOWN: u64 = 50;
/// So many backups tell what the next ones take.
const RECENT: usize = 7;

/// What backups of a VM take.
pub(super) struct Sizes {
    full: Size,
    increment: Size,
}

/// One kind of backup.
struct Size {
    copied: Bytes,
    /// Bytes that were left of so many, where some were compressed.
    packed: Option<(Bytes, Bytes)>,
}

/// What a compression does to a storage.
#[derive(Default)]
pub(super) struct Swap {
    pub(super) written: Bytes,
    pub(super) freed: Bytes,
}

impl Size {
    fn packed(&self, whole: Bytes) -> Bytes {
        let Some((left, of)) = self.packed.filter(|(_, of)| of.0 > 0) else {
            return whole;
        };
        let bytes = u128::from(whole.0) * u128::from(left.0) / u128::from(of.0);
        Bytes(u64::try_from(bytes).unwrap_or(whole.0))
    }
}

impl Sizes {
    pub(super) fn of(guest: &Guest) -> Self {
        let disks = guest.machine.iter().flat_map(|machine| &machine.disks);
        let full: Bytes = disks.map(space::whole).sum();
        let all = || guest.record.backups.values().rev().map(AsRef::as_ref);
        let of = |kind: Kind| all().filter(move |backup| backup.kind() == kind);
        let recent: Vec<Bytes> = of(Kind::Incremental)
            .take(RECENT)
            .map(Backup::uncompressed_size)
            .collect();
        let known = u64::try_from(recent.len()).unwrap_or(u64::MAX);
        let sum: Bytes = recent.into_iter().sum();
        let increment = sum.0.checked_div(known).unwrap_or(full.0 / UNKNOWN);
        // Where none of a kind was compressed, those of the other kind tell.
        let size = |kind: Kind, copied| Size {
            copied,
            packed: packed(of(kind)).or_else(|| packed(all())),
        };
        Self {
            full: size(Kind::Full, full),
            increment: size(Kind::Incremental, Bytes(increment)),
        }
    }

    fn of_kind(&self, is_incremental: bool) -> &Size {
        if is_incremental {
            &self.increment
        } else {
            &self.full
        }
    }

    /// What a backup writes.
    pub(super) fn copied(&self, op: &BackupOp) -> Bytes {
        let size = self.of_kind(op.parent.is_some());
        match op.compression {
            Some(_) => size.packed(size.copied),
            None => size.copied,
        }
    }

    /// What a step of a compression does: the start writes beside what the swap then frees.
    pub(super) fn compressed(&self, plan: &Plan, action: &Action, op: &Compress) -> Swap {
        if op.phase == Phase::Finalize {
            let freed = action.estimate.frees;
            return Swap {
                freed,
                ..Swap::default()
            };
        }
        let (before, after) = self.of_start(plan, action, op);
        Swap {
            written: after,
            freed: before,
        }
    }

    /// A backup's size before and after it is compressed.
    fn of_start(&self, plan: &Plan, action: &Action, op: &Compress) -> (Bytes, Bytes) {
        let made = backups(plan).find(|made| made.id == op.of.backup);
        let before = made.map_or(action.estimate.bytes, |made| self.copied(made));
        let incremental = made.map_or_else(
            || action.change.before["kind"] == "incremental",
            |made| made.parent.is_some(),
        );
        (before, self.of_kind(incremental).packed(before))
    }

    /// Gives the backups of a plan, as they are foreseen, the sizes they will have.
    pub(super) fn weigh(&self, world: &mut World, plan: &Plan) {
        for op in backups(plan) {
            let size = self.copied(op);
            resize(world, (&op.vm.uuid, &op.id), size);
        }
        for action in plan.actions.iter().filter(|action| action.is_free()) {
            if let Op::Compress(op) = &action.op
                && op.phase != Phase::Finalize
            {
                let (_, after) = self.of_start(plan, action, op);
                resize(world, (&op.of.vm.uuid, &op.of.backup), after);
            }
        }
    }
}

/// What recent compressed ones of these backups take, of what they took before.
fn packed<'a>(backups: impl Iterator<Item = &'a Backup>) -> Option<(Bytes, Bytes)> {
    let compressed = backups.filter(|backup| {
        let mut disks = backup.disks.values();
        backup.marks.compressed || disks.any(|disk| disk.uncompressed.is_some())
    });
    let sizes = compressed
        .take(RECENT)
        .map(|backup| (backup.size(), backup.uncompressed_size()));
    sizes.reduce(|sum, one| (sum.0 + one.0, sum.1 + one.1))
}

/// The first of its files stands for all of them.
fn resize(world: &mut World, (vm, id): (&VmId, &BackupId), size: Bytes) {
    let guest = world.guests.get_mut(vm);
    let Some(backup) = guest.and_then(|guest| guest.record.backups.get_mut(id)) else {
        return;
    };
    let sizes = std::iter::once(size).chain(std::iter::repeat(Bytes(0)));
    let files = Arc::make_mut(backup).disks.values_mut();
    files.zip(sizes).for_each(|(file, size)| file.size = size);
}

fn backups(plan: &Plan) -> impl Iterator<Item = &BackupOp> {
    let free = plan.actions.iter().filter(|action| action.is_free());
    free.filter_map(|action| match &action.op {
        Op::Backup(op) => Some(op.as_ref()),
        _ => None,
    })
}
