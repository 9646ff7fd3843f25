//! The layers that knib laid on a disk: where the next one goes, and which can be merged.

use camino::Utf8Path;
use camino::Utf8PathBuf;

use crate::action::vm;
use crate::model::bytes::Bytes;
use crate::model::id::BackupId;
use crate::model::layout;
use crate::model::machine::Disk;
use crate::model::machine::Layer;
use crate::model::machine::Machine;
use crate::model::program::Refusal;
use crate::model::record::Record;
use crate::model::snapshot::Snapshots;
use crate::model::step::Image;
use crate::model::step::Step;

/// The longest file name that Linux file systems take, in bytes.
pub(super) const LONGEST_NAME: usize = 255;

/// The merges that take every delta knib left out of a disk's chain, lowest first. `claim` is the
/// serial that the program claims, `laid` what it lays on the disk first. What other branches read is
/// never written: a delta that lies on such a file stays.
pub(super) fn merges(
    machine: &Machine,
    record: &Record,
    snapshots: &Snapshots,
    disk: &Disk,
    claim: u64,
    laid: Option<&Image>,
) -> Result<Vec<Step>, Refusal> {
    vm::readable(machine, disk)?;
    let mut steps = Vec::new();
    // The file that takes the next delta, as large as it will be by then.
    let mut below: Option<(&Layer, Bytes)> = None;
    for (at, layer) in disk.layers.iter().enumerate().rev() {
        let ours = layout::delta_of(&layer.path)
            .is_some_and(|id| left(record, machine, &id) || is_where_laid(disk, layer, &id));
        let base = below.filter(|(base, _)| ours && is_own(snapshots, disk, &base.path));
        if let Some((base, size)) = base {
            not_shrunk(machine, disk, layer, size)?;
            steps.push(Step::Merge {
                vm: machine.id.clone(),
                claim,
                target: disk.target.clone(),
                top: image(layer),
                base: image(base),
                above: at
                    .checked_sub(1)
                    .map_or_else(|| laid.cloned(), |above| Some(image(&disk.layers[above]))),
                branches: disk.branches(&layer.path).into_iter().map(image).collect(),
            });
            below = Some((base, layer.virtual_size));
        } else {
            below = Some((layer, layer.virtual_size));
        }
    }
    if !steps.is_empty() {
        all_branches_known(machine, disk)?;
    }
    Ok(steps)
}

/// Whether the branch that the VM uses is the only one that reads a file.
fn is_own(snapshots: &Snapshots, disk: &Disk, path: &Utf8Path) -> bool {
    snapshots.kept_in(&disk.target, path).is_none() && disk.branches(path).is_empty()
}

/// A commit never makes a file smaller, and QEMU cannot: the disk would grow back over old bytes.
pub(super) fn not_shrunk(
    machine: &Machine,
    disk: &Disk,
    top: &Layer,
    base: Bytes,
) -> Result<(), Refusal> {
    if machine.power.is_on() && top.virtual_size < base {
        return Err(Refusal::new(
            "shrunk_disk",
            format!(
                "{}: {} was made smaller; its delta cannot be merged while the VM runs",
                machine.name, disk.target
            ),
            format!("stop {} once; the next apply merges it", machine.name),
        ));
    }
    Ok(())
}

/// A file that goes takes with it what lies on it, so all that may lie there must have been read.
pub(super) fn all_branches_known(machine: &Machine, disk: &Disk) -> Result<(), Refusal> {
    vm::readable(machine, disk)?;
    match disk.unreadable.first() {
        None => Ok(()),
        Some(path) => Err(Refusal::new(
            "unreadable_snapshot",
            format!(
                "{}: a file of {} that a snapshot keeps could not be read: {path}",
                machine.name, disk.target
            ),
            format!("qemu-img info -U --backing-chain {path}"),
        )),
    }
}

/// The path of a new layer beside the disk. `named` makes it of the nearest file that knib did not lay, or of
/// the lowest where it laid all that can be seen.
pub(super) fn overlay_path(
    machine: &Machine,
    disk: &Disk,
    named: impl FnOnce(&Utf8Path) -> Utf8PathBuf,
) -> Result<Utf8PathBuf, Refusal> {
    let name = disk
        .layers
        .iter()
        .find(|layer| !layout::is_ours(&layer.path))
        .or(disk.layers.last())
        .and_then(|layer| layer.path.file_name())
        .unwrap_or_default();
    let beside = disk.layers.first().map(|layer| layer.path.as_path());
    let twin = machine.disks.iter().find(|other| {
        let head = other.layers.first().map(|layer| layer.path.as_path());
        other.target != disk.target && head.is_some() && head == beside
    });
    if let Some(twin) = twin {
        let (vm, target, other) = (&machine.name, &disk.target, &twin.target);
        return Err(Refusal::new(
            "one_file_twice",
            format!("{vm}: {target} and {other} are the same file"),
            format!("give {other} a file of its own, or detach it: virsh detach-disk {vm} {other}"),
        ));
    }
    let path = named(&beside.unwrap_or(Utf8Path::new("")).with_file_name(name));
    if path
        .file_name()
        .is_some_and(|name| name.len() > LONGEST_NAME)
    {
        return Err(Refusal::new(
            "name_too_long",
            format!(
                "{}: the file name of {} leaves no room for a delta's: {name}",
                machine.name, disk.target
            ),
            "give the image a shorter name",
        ));
    }
    if !machine.power.is_on() && path.as_str().contains(',') {
        // libvirt doubles the comma in the name of the file it makes, though not in the definition.
        return Err(Refusal::new(
            "comma_in_path",
            format!(
                "{}: libvirt cannot make an overlay of {} while the VM is off: {path}",
                machine.name, disk.target
            ),
            "start the VM, or move its disk to a path without a comma",
        ));
    }
    Ok(path)
}

/// Runs each disk's steps one after the other, the disks side by side.
pub(super) fn side_by_side(disks: Vec<Vec<Step>>) -> Vec<Vec<Step>> {
    let mut stages: Vec<Vec<Step>> = Vec::new();
    for steps in disks {
        for (n, step) in steps.into_iter().enumerate() {
            if stages.len() <= n {
                stages.push(Vec::new());
            }
            stages[n].push(step);
        }
    }
    stages
}

/// A layer as a step names it.
pub(super) fn image(layer: &Layer) -> Image {
    Image::new(layer.path.clone(), layer.format.clone())
}

/// Whether a backup of this VM left a delta that bears its id.
fn left(record: &Record, machine: &Machine, id: &BackupId) -> bool {
    record.current.as_ref() == Some(id)
        || record.backups.contains_key(id)
        || machine
            .note
            .as_ref()
            .is_some_and(|note| note.current.as_ref() == Some(id))
}

/// Whether a layer is the very file that the delta of a backup is on this disk. It may have been away
/// while its backup was deleted.
fn is_where_laid(disk: &Disk, layer: &Layer, id: &BackupId) -> bool {
    let layers = disk
        .layers
        .iter()
        .skip_while(|above| above.path != layer.path);
    let mut below = layers.skip(1).filter(|below| !layout::is_ours(&below.path));
    below
        .next()
        .is_some_and(|below| layout::delta(&below.path, id) == layer.path)
}
