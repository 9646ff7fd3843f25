//! What every verb that touches a VM asks of it first, and what it writes down in it.

use camino::Utf8PathBuf;

use crate::model::backup::VmRef;
use crate::model::change::Change;
use crate::model::id::BackupId;
use crate::model::lease::Lease;
use crate::model::lease::Subject;
use crate::model::machine::Disk;
use crate::model::machine::Format;
use crate::model::machine::Machine;
use crate::model::machine::Note;
use crate::model::machine::Power;
use crate::model::machine::Source;
use crate::model::program::Direction;
use crate::model::program::Program;
use crate::model::program::Refusal;
use crate::model::record::Record;
use crate::model::snapshot::Snapshots;
use crate::model::step::Image;
use crate::model::step::Step;
use crate::model::world::Guest;

/// The guest, if anything is known of it.
pub(super) fn known<'a>(guest: Option<&'a Guest>, vm: &VmRef) -> Result<&'a Guest, Refusal> {
    guest.ok_or_else(|| gone(vm))
}

/// The VM as it is, if it may be touched at all.
pub(super) fn touchable(guest: &Guest) -> Result<&Machine, Refusal> {
    let machine = guest.machine.as_ref().ok_or_else(|| gone(&guest.vm))?;
    let name = &machine.name;
    if !machine.persistent {
        return Err(Refusal::new(
            "transient_vm",
            format!("{name} is transient: nothing about it would outlive its next stop"),
            format!("define it: virsh dumpxml {name} >vm.xml && virsh define vm.xml"),
        ));
    }
    if machine.managed_save {
        return Err(Refusal::new(
            "managed_save",
            format!(
                "{name} has a managed save: its next start would resume below any delta made now"
            ),
            format!("virsh start {name}, or virsh managedsave-remove {name}"),
        ));
    }
    if let Some((disk, delta)) = newest_writes_missed(guest) {
        return Err(Refusal::new(
            "old_definition",
            format!(
                "{name} was defined from an older XML: {} does not lie on {delta}, which holds the guest's newest writes",
                disk.target
            ),
            format!(
                "define it with that file again before it runs (virsh edit {name}); if it is right as it is: knib vm adopt {name}, and the next backup is full"
            ),
        ));
    }
    match &machine.power {
        Power::Off | Power::Running | Power::Paused { io_error: false } => Ok(machine),
        Power::Paused { io_error: true } => Err(Refusal::new(
            "io_error",
            format!("{name} is paused by an I/O error, most likely a full disk"),
            format!("make room, then virsh resume {name}; virsh domblkerror {name} names the disk"),
        )),
        Power::Other(state) => Err(Refusal::new(
            "vm_state",
            format!("{name} is neither on nor off: {state}"),
            format!("see virsh domstate --reason {name}"),
        )),
    }
}

/// What a verb holds that changes a VM and no backup.
pub(super) fn lease(vm: &VmRef) -> Vec<Lease> {
    vec![Lease::exclusive(Subject::Vm(vm.uuid.clone()))]
}

/// The VM, if no snapshot that somebody else keeps forbids changing its layers.
pub(super) fn without_foreign_snapshots(guest: &Guest) -> Result<&Machine, Refusal> {
    let machine = touchable(guest)?;
    let name = &machine.name;
    if machine.has_foreign_snapshots() {
        return Err(Refusal::new(
            "foreign_snapshots",
            format!(
                "{name} has snapshots that knib did not make; changing its layers would break them"
            ),
            format!("see virsh snapshot-list {name}; virsh snapshot-delete takes one away"),
        ));
    }
    Ok(machine)
}

/// Whether a VM was defined from an XML that is older than the record and points below a delta.
pub(super) fn is_outdated(guest: &Guest) -> bool {
    newest_writes_missed(guest).is_some()
}

/// A disk that does not lie on the delta it was left with, where the note is older than the record.
/// With the newest note it is a disk that was moved, or merged by somebody who left the note alone.
fn newest_writes_missed(guest: &Guest) -> Option<(&Disk, Utf8PathBuf)> {
    let (machine, record) = (guest.machine.as_ref()?, &guest.record);
    let current = record.current.as_ref()?;
    let noted = machine.note.as_ref().map_or(0, |note| note.serial);
    if noted >= record.serial {
        return None;
    }
    machine.disks.iter().find_map(|disk| {
        let delta = record.delta_left(current, &disk.target)?;
        let missed = delta.depth_in(disk).is_none();
        missed.then_some((disk, delta.path))
    })
}

/// The file that a disk writes to, if live and persistent definition agree and no job works on it.
pub(super) fn steady(machine: &Machine, disk: &Disk) -> Result<Image, Refusal> {
    let (name, target) = (&machine.name, &disk.target);
    if let Some(job) = &disk.job {
        return Err(Refusal::new(
            "block_job",
            format!(
                "{name}: a block job works on {target} ({:?}, {} of {})",
                job.kind, job.done, job.total
            ),
            format!("wait for it: virsh blockjob {name} {target}"),
        ));
    }
    if disk.in_use {
        let file = disk.head().map_or("its image", |path| path.as_str());
        return Err(Refusal::new(
            "in_use_elsewhere",
            format!("{name} is off here, but something has {file} ({target}) open"),
            "it may run on another host: back it up there; fuser and lsof tell who has it here",
        ));
    }
    if disk.source != disk.inactive {
        let shown = |source: &Option<Source>| match source {
            Some(Source::File { path, .. }) => path.to_string(),
            Some(Source::Other(kind)) => kind.clone(),
            None => "nothing".to_owned(),
        };
        return Err(Refusal::new(
            "definitions_differ",
            format!(
                "{name}: {target} runs on {} but its definition says {}",
                shown(&disk.source),
                shown(&disk.inactive)
            ),
            format!(
                "make the definition name what runs (virsh edit {name}), or restart {name} if it is the other one that is right"
            ),
        ));
    }
    match &disk.source {
        Some(Source::File { path, format }) if matches!(format, Format::Qcow2 | Format::Raw) => {
            readable(machine, disk)?;
            if disk.layers.iter().any(|layer| layer.encrypted) {
                return Err(unsupported(name, disk, "an encrypted image"));
            }
            if disk.layers.iter().any(|layer| layer.data_file) {
                return Err(unsupported(
                    name,
                    disk,
                    "an image with a data file of its own",
                ));
            }
            Ok(Image::new(path.clone(), format.clone()))
        }
        Some(Source::File { path, format }) => {
            Err(unsupported(name, disk, &format!("{format} file {path}")))
        }
        Some(Source::Other(kind)) => Err(unsupported(name, disk, kind)),
        None => Err(unsupported(name, disk, "empty")),
    }
}

/// Whether it is known what lies below a disk that is a file.
pub(super) fn readable(machine: &Machine, disk: &Disk) -> Result<(), Refusal> {
    let (name, target) = (&machine.name, &disk.target);
    match disk.head() {
        Some(path) if disk.layers.is_empty() => Err(Refusal::new(
            "unreadable_disk",
            format!("{name}: the image of {target} could not be read: {path}"),
            format!("qemu-img info -U --backing-chain {path}"),
        )),
        _ => Ok(()),
    }
}

/// The step that writes the note that is in the domain when an action closes.
pub(super) fn note_left(program: &Program, went: Direction) -> Option<&Step> {
    let mut notes = program
        .steps()
        .map(|(_, _, step)| step)
        .filter(|step| matches!(step, Step::Note { .. }));
    match went {
        Direction::Forward => notes.last(),
        Direction::Back => notes.next(),
    }
}

/// What the record learns of a program that ends with its note; without a note knib never touched the
/// VM. Turned back, only the claim was spent.
pub(super) fn touched(vm: &VmRef, program: &Program, went: Direction) -> Vec<Change> {
    let Some(Step::Note { note, .. }) = note_left(program, went) else {
        return Vec::new();
    };
    vec![Change::Touched {
        vm: vm.clone(),
        serial: note.as_ref().map_or(0, |note| note.serial),
        current: note.as_ref().and_then(|note| note.current.clone()),
    }]
}

/// The step that writes a program's note.
pub(super) fn note(
    machine: &Machine,
    claim: u64,
    claims: bool,
    current: Option<BackupId>,
    snapshots: &Snapshots,
) -> Step {
    Step::Note {
        vm: machine.id.clone(),
        claim,
        claims,
        note: Some(Note {
            serial: claim,
            current,
            snapshots: snapshots.clone(),
            replaced: machine.replaced(),
        }),
    }
}

/// The step that takes the note of a program away.
pub(super) fn no_note(machine: &Machine, claim: u64) -> Step {
    Step::Note {
        vm: machine.id.clone(),
        claim,
        claims: false,
        note: None,
    }
}

/// The serial that a program claims, and its first stage, which does.
pub(super) fn claims(guest: &Guest, machine: &Machine) -> (u64, Vec<Step>) {
    let claim = claim(machine, &guest.record);
    let current = guest.record.current.clone();
    let note = note(machine, claim, true, current, guest.snapshots());
    (claim, vec![note])
}

/// The serial a program claims: above whatever record and domain say.
pub(super) fn claim(machine: &Machine, record: &Record) -> u64 {
    let noted = machine.note.as_ref().map_or(0, |note| note.serial);
    record.serial.max(noted).saturating_add(1)
}

fn gone(vm: &VmRef) -> Refusal {
    Refusal::new(
        "vm_gone",
        format!("{} is not defined here any more", vm.name),
        "virsh list --all",
    )
}

fn unsupported(name: &str, disk: &Disk, what: &str) -> Refusal {
    Refusal::new(
        "unsupported_disk",
        format!("{name}: {} cannot be captured: {what}", disk.target),
        format!(
            "back it up by other means and exclude it: policies.<name>.disks: {{ exclude: [\"{}\"] }}",
            disk.target
        ),
    )
}
