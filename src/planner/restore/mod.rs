//! Restores, for the commands that name a backup: what they read, where it is to be, and whether there
//! is anything in the way.

mod disk;
mod new;
mod replaced;
mod vm;

use std::collections::BTreeMap;

use camino::Utf8Path;
use camino::Utf8PathBuf;

use crate::model::backup::Backup;
use crate::model::backup::VmRef;
use crate::model::bytes::Bytes;
use crate::model::finding::Finding;
use crate::model::finding::Severity;
use crate::model::ground::Ground;
use crate::model::id::BackupId;
use crate::model::id::Target;
use crate::model::layout;
use crate::model::machine::Format;
use crate::model::op::Origin;
use crate::model::op::OriginFile;
use crate::model::plan::Estimate;
use crate::model::plan::Plan;
use crate::model::reason::Block;
use crate::model::record::Record;
use crate::model::step::Image;
use crate::model::world::Space;
use crate::model::world::World;
use crate::planner::Options;
use crate::planner::consolidate;
use crate::planner::draft::Draft;
use crate::planner::draft::blocked;
use crate::planner::recover;
pub use crate::planner::restore::disk::OneDisk;
pub use crate::planner::restore::disk::disk;
pub use crate::planner::restore::new::NewVm;
pub use crate::planner::restore::new::new_vm;
pub(super) use crate::planner::restore::replaced::plan as discard;
pub use crate::planner::restore::vm::InPlace;
pub use crate::planner::restore::vm::vms;
use crate::planner::space;
use crate::planner::storages;

/// Where libvirt keeps images when nothing else is said.
pub const LIBVIRT_IMAGES: &str = "/var/lib/libvirt/images";

/// How the files of a backup are read.
#[derive(Clone, Copy, Debug, Default)]
pub struct How {
    /// All of them before anything is written.
    pub verify: bool,
    /// The VM runs from them at once.
    pub quick: bool,
    /// One that was let go will do.
    pub removed: bool,
}

/// What was left half way, and nothing else.
#[must_use]
pub fn rest(world: &World, options: &Options) -> Plan {
    let mut draft = Draft::new(world, options, "UTC");
    recover::plan(&mut draft);
    consolidate::plan(&mut draft);
    draft.finish(None, Vec::new(), Vec::new())
}

/// The offering says no, as it was last applied; else as it was when the backup was made.
fn forbidden(world: &World, backup: &Backup) -> Option<Block> {
    let made = backup.offering.as_deref()?;
    let applied = world.applied.offerings.get(&made.name);
    let offering = applied.map_or(&made.spec, |applied| &applied.spec);
    let name = &made.name;
    (!offering.allow_quick_restore).then(|| {
        blocked(
            "quick_forbidden",
            format!("the offering {name} does not allow quick restore"),
            format!("restore without --quick, or say allowQuickRestore: true in offerings.{name} and apply it"),
        )
    })
}

/// What a restore reads, and what stands in the way of reading it.
fn origin<'a>(
    world: &World,
    record: &Record,
    backup: &Backup,
    wanted: impl Iterator<Item = &'a Target>,
    how: How,
) -> (Origin, Vec<Block>) {
    let (storage, elsewhere) = storages::holding(world, &backup.storage, &backup.id);
    let mut blocks = Vec::from_iter(elsewhere);
    if !record.is_usable(&backup.id) {
        blocks.push(blocked(
            "unusable",
            format!("{} cannot be restored: a file of it, or of a backup it needs, is damaged or missing", backup.id),
            "choose another one: knib backup list",
        ));
    }
    if backup.marks.removed.is_some() && !how.removed {
        blocks.push(blocked(
            "removed",
            format!(
                "{} was removed; its files are there for what continues it",
                backup.id
            ),
            "choose another one (knib backup list), or restore it all the same: --force",
        ));
    }
    if how.quick {
        blocks.extend(forbidden(world, backup));
    }
    let mut disks = BTreeMap::new();
    for target in wanted {
        // A chain that is broken is refused by the program.
        let files = record.files_of(&backup.id, target).unwrap_or_default();
        let file = |id: &BackupId, name: &str| {
            layout::backup_dir(&storage.path, &backup.vm.uuid, id).join(name)
        };
        let files = files.into_iter().map(|(id, disk)| OriginFile {
            path: file(id, &disk.name),
            digest: disk.digest,
            size: disk.size,
        });
        disks.insert(target.clone(), files.collect());
    }
    let origin = Origin {
        backup: backup.id.clone(),
        from: named(world, backup),
        storage,
        ancestors: record.ancestors(&backup.id),
        disks,
        verify: how.verify,
        quick: how.quick,
    };
    (origin, blocks)
}

/// What is written of each disk of a backup: at most what its chain holds, uncompressed, and what a guest
/// sees.
fn written<'a>(
    record: &Record,
    backup: &BackupId,
    wanted: impl Iterator<Item = &'a Target>,
) -> BTreeMap<Target, Bytes> {
    let of = |target: &Target| {
        let files = record.files_of(backup, target).unwrap_or_default();
        let held: Bytes = files
            .iter()
            .map(|(_, file)| file.uncompressed.unwrap_or(file.size).max(file.size))
            .sum();
        held.min(
            files
                .first()
                .map_or(Bytes(0), |(_, file)| file.virtual_size),
        )
    };
    wanted.map(|target| (target.clone(), of(target))).collect()
}

fn estimate(written: &BTreeMap<Target, Bytes>) -> Estimate {
    let bytes = written.values().copied().sum();
    Estimate {
        bytes,
        frees: Bytes(0),
        seconds: space::seconds(bytes),
    }
}

/// Why files have no place, if they have none: something has their name.
fn taken<'a>(
    ground: &'a Ground,
    files: impl Iterator<Item = &'a Utf8PathBuf>,
) -> impl Iterator<Item = Block> {
    files.filter(|path| ground.is_taken(path)).map(|path| {
        blocked(
            "file_taken",
            format!("{path} is there already and is not touched"),
            "move it away, or choose another directory or name: --disk-dir",
        )
    })
}

/// What restores of one plan will write, by file system.
#[derive(Debug, Default)]
struct Writing(BTreeMap<u64, Bytes>);

impl Writing {
    /// One more restore, with the bytes of each disk. Why there is no room for it beside those before, if
    /// there is none.
    fn add<'a>(
        &mut self,
        ground: &Ground,
        disks: impl Iterator<Item = (&'a Image, Bytes)>,
    ) -> Vec<Block> {
        let mut wanted: BTreeMap<u64, (&Utf8Path, &Space, Bytes)> = BTreeMap::new();
        for (image, bytes) in disks {
            let dir = image.path.parent();
            let room = dir.and_then(|dir| Some((dir, ground.room.get(dir)?)));
            let Some((dir, space)) = room else { continue };
            let (.., sum) = wanted.entry(space.device).or_insert((dir, space, Bytes(0)));
            *sum = *sum + bytes;
        }
        let mut blocks = Vec::new();
        for (device, (dir, space, bytes)) in wanted {
            let before = self.0.entry(device).or_default();
            if space.free < *before + bytes {
                let others = match *before {
                    Bytes(0) => String::new(),
                    before => format!(", and the VMs restored before it take {before}"),
                };
                blocks.push(blocked(
                    "no_room",
                    format!(
                        "{dir} has {} free{others}; the disks may take {bytes}",
                        space.free
                    ),
                    "make room there, or choose another directory: --disk-dir",
                ));
            }
            *before = *before + bytes;
        }
        blocks
    }
}

/// Networks and pools that the VM will lack, as far as that was looked for.
fn lacking(ground: &Ground, backup: &Backup, vm: &str) -> Option<Finding> {
    let missing = ground
        .missing
        .get(&backup.id)
        .filter(|missing| !missing.is_empty())?;
    let text = format!("{vm} will lack what is not here: {}", missing.join(", "));
    let hint = "its backup has their definitions: virsh net-define, virsh pool-define";
    Some(
        Finding::new(Severity::Warning, "missing_neighbour", text)
            .vm(vm)
            .hint(hint),
    )
}

/// How files of a format are called.
fn extension(format: &Format) -> &str {
    format.as_str()
}

/// The VM as it is called now, or was when it was backed up.
fn named(world: &World, backup: &Backup) -> VmRef {
    let guest = world.guests.get(&backup.vm.uuid);
    guest.map_or_else(|| VmRef::clone(&backup.vm), |guest| guest.vm.clone())
}
