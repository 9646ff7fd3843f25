//! A disk of a backup comes to a VM.

use camino::Utf8PathBuf;
use serde_json::json;

use crate::model::backup::Backup;
use crate::model::ground::Ground;
use crate::model::id::BackupId;
use crate::model::id::Target;
use crate::model::id::VmId;
use crate::model::layout;
use crate::model::machine::Format;
use crate::model::machine::Machine;
use crate::model::op::Op;
use crate::model::op::RestoreDisk;
use crate::model::plan::Class;
use crate::model::plan::Plan;
use crate::model::reason::Reason;
use crate::model::step::Image;
use crate::model::world::Guest;
use crate::model::world::World;
use crate::planner::Options;
use crate::planner::draft::Draft;
use crate::planner::draft::Key;
use crate::planner::draft::Wish;
use crate::planner::recover;
use crate::planner::request::about;
use crate::planner::restore;
use crate::planner::restore::How;
use crate::planner::restore::Writing;
use crate::planner::restore::vm::dir_of;

/// What `knib restore disk` asks for.
#[derive(Clone, Debug)]
pub struct OneDisk {
    /// Of which VM the backup is.
    pub from: VmId,
    /// Which backup.
    pub backup: BackupId,
    /// Which of its disks.
    pub disk: Target,
    /// The VM that gets it.
    pub to: VmId,
    /// What it will be called there; none: as it was, or the next name that is free.
    pub target: Option<Target>,
    /// Where its file goes; none: beside the disks of that VM.
    pub dir: Option<Utf8PathBuf>,
    /// Its format.
    pub format: Format,
    /// How the backup is read.
    pub how: How,
}

/// One disk more for a VM.
#[must_use]
pub fn disk(asked: &OneDisk, ground: &Ground, world: &World, options: &Options) -> Plan {
    let mut draft = Draft::new(world, options, "UTC");
    let to = world.guests.get(&asked.to);
    about(&mut draft, to);
    recover::plan(&mut draft);
    let from = world.guests.get(&asked.from);
    let found = from.and_then(|from| Some((from, from.record.backups.get(&asked.backup)?)));
    if let (Some((from, backup)), Some(to)) = (found, to) {
        let wish = wish(&mut draft, (asked, ground), (from, backup), to);
        draft.add(wish);
    }
    draft.finish(None, Vec::new(), Vec::new())
}

fn wish(
    draft: &mut Draft<'_>,
    (asked, ground): (&OneDisk, &Ground),
    (from, backup): (&Guest, &Backup),
    to: &Guest,
) -> Wish {
    let (machine, record) = (to.machine.as_ref(), &from.record);
    let wanted = || std::iter::once(&asked.disk);
    let target = asked
        .target
        .clone()
        .unwrap_or_else(|| free(machine, &asked.disk));
    let dir = asked.dir.clone().unwrap_or_else(|| dir_of(machine));
    let extension = restore::extension(&asked.format);
    let path = layout::restored_disk(&dir, &to.vm.name, &target, extension);
    let path = if ground.is_taken(&path) {
        layout::restored(&path, &draft.allot(to))
    } else {
        path
    };
    let (origin, mut blocks) = restore::origin(draft.now, record, backup, wanted(), asked.how);
    let written = restore::written(record, &backup.id, wanted());
    blocks.extend(restore::taken(ground, std::iter::once(&path)));
    let after = json!({ "backup": backup.id, "disks": { target.as_str(): path } });
    let image = Image::new(path, asked.format.clone());
    let estimate = restore::estimate(&written);
    let disks = std::iter::once((&image, estimate.bytes));
    blocks.extend(Writing::default().add(ground, disks));
    let op = RestoreDisk {
        origin,
        vm: to.vm.clone(),
        disk: asked.disk.clone(),
        target,
        image,
    };
    let mut wish = Wish::new(
        format!("restore.{}/{}", to.vm.name, op.target),
        Op::RestoreDisk(Box::new(op)),
        Class::Routine,
        Reason::Asked,
    );
    wish.change.after = after;
    wish.estimate = estimate;
    wish.needs = vec![Key::Vm(to.vm.uuid.clone())];
    wish.gives = vec![Key::Vm(to.vm.uuid.clone())];
    wish.blocks = blocks;
    wish
}

/// The name a disk had, or the next of its kind that a VM has no disk at.
fn free(machine: Option<&Machine>, disk: &Target) -> Target {
    let kind = disk.as_str().trim_end_matches(|c: char| c.is_ascii_digit());
    let kind = kind.get(..2).unwrap_or("vd");
    let letters = ('a'..='z').map(|letter| Target::new(format!("{kind}{letter}")));
    let is_free = |target: &Target| machine.is_none_or(|machine| machine.disk(target).is_none());
    let mut names = std::iter::once(disk.clone()).chain(letters);
    names.find(is_free).unwrap_or_else(|| disk.clone())
}
