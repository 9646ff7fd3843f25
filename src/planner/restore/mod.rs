//! Restores, for the commands that name a backup: what they read, where it is to be, and whether there
//! is anything in the way.

mod disk;
mod new;
mod replaced;
mod vm;

use std::collections::BTreeMap;
use std::collections::BTreeSet;

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
use crate::model::reason::Block;
use crate::model::record::Record;
use crate::model::world::World;
use crate::planner::draft::blocked;
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
pub(super) const LIBVIRT_IMAGES: &str = "/var/lib/libvirt/images";

/// How the files of a backup are read.
#[derive(Clone, Copy, Debug, Default)]
pub struct How {
    /// All of them before anything is written.
    pub verify: bool,
    /// The VM runs from them at once.
    pub quick: bool,
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

/// What is written of a backup's disks: at most what their chains hold, and what a guest sees.
fn estimate<'a>(
    record: &Record,
    backup: &BackupId,
    wanted: impl Iterator<Item = &'a Target>,
) -> Estimate {
    let of = |target| {
        let files = record.files_of(backup, target).unwrap_or_default();
        let held: Bytes = files.iter().map(|(_, file)| file.size).sum();
        held.min(
            files
                .first()
                .map_or(Bytes(0), |(_, file)| file.virtual_size),
        )
    };
    let bytes = wanted.map(of).sum();
    Estimate {
        bytes,
        frees: Bytes(0),
        seconds: space::seconds(bytes),
    }
}

/// Why what is to be written has no place, if it has none: something has the name, or there is no room.
fn no_place<'a>(
    ground: &Ground,
    files: impl Iterator<Item = &'a Utf8PathBuf>,
    wanted: Bytes,
) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut dirs = BTreeSet::new();
    for path in files {
        dirs.extend(path.parent());
        if ground.is_taken(path) {
            blocks.push(blocked(
                "file_taken",
                format!("{path} is there already and is not touched"),
                "move it away, or choose another directory or name: --disk-dir",
            ));
        }
    }
    // One directory for all of them, or the room of each is not known apart.
    for dir in dirs {
        let free = ground.dirs.get(dir).map(|dir| dir.space.free);
        if let Some(free) = free.filter(|free| *free < wanted) {
            blocks.push(blocked(
                "no_room",
                format!("{dir} has {free} free; the disks may take {wanted}"),
                "make room there, or choose another directory: --disk-dir",
            ));
        }
    }
    blocks
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
    guest.map_or_else(|| backup.vm.clone(), |guest| guest.vm.clone())
}
