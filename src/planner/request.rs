//! Plans of one action, for commands that name their object.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use serde_json::json;

use crate::model::backup::Backup;
use crate::model::backup::VmRef;
use crate::model::bytes::Bytes;
use crate::model::id::BackupId;
use crate::model::id::VmId;
use crate::model::layout;
use crate::model::machine::Format;
use crate::model::op::Clear;
use crate::model::op::Merge;
use crate::model::op::Op;
use crate::model::op::RestoreNew;
use crate::model::op::Tag;
use crate::model::orphan::Orphan;
use crate::model::plan::Class;
use crate::model::plan::Estimate;
use crate::model::plan::Plan;
use crate::model::plan::Shift;
use crate::model::policy::Policy;
use crate::model::policy::Quiesce;
use crate::model::reason::Reason;
use crate::model::world::Guest;
use crate::model::world::World;
use crate::planner::Options;
use crate::planner::backups;
use crate::planner::calls::Asked;
use crate::planner::draft::Draft;
use crate::planner::draft::Key;
use crate::planner::draft::Wish;
use crate::planner::draft::blocked;
use crate::planner::recover;
use crate::planner::removal;
use crate::planner::storages;

/// What `knib backup run` asks for.
#[derive(Clone, Debug)]
pub struct BackupRun {
    /// Which VM.
    pub vm: VmId,
    /// Outside of its chain.
    pub isolated: bool,
    /// All disks whole, a new chain.
    pub full: bool,
    /// Instead of what its schedules say.
    pub quiesce: Option<Quiesce>,
    /// Instead of its policy's; needed for a VM without one.
    pub storage: Option<String>,
}

/// What `knib restore new` asks for.
#[derive(Clone, Debug)]
pub struct NewVm {
    /// Of which VM.
    pub from: VmId,
    /// Which backup.
    pub backup: BackupId,
    /// The new name.
    pub name: String,
    /// Where its files go; none: beside the disks that were backed up, or libvirt's own directory.
    pub dir: Option<Utf8PathBuf>,
    /// The format of its disks.
    pub format: Format,
}

/// Where libvirt keeps images when nothing else is said.
const LIBVIRT_IMAGES: &str = "/var/lib/libvirt/images";

/// A backup of one VM now, and the recovery of what was interrupted on it.
#[must_use]
pub fn backup(
    asked: &BackupRun,
    policy: Option<&Policy>,
    world: &World,
    options: &Options,
) -> Plan {
    let zone = policy.map_or("UTC", |policy| policy.timezone.as_str());
    let mut draft = Draft::new(world, options, zone);
    about(&mut draft, world.guests.get(&asked.vm));
    recover::plan(&mut draft);
    if let Some(guest) = world.guests.get(&asked.vm) {
        let held = guest.record.assigned.as_ref();
        let by = held.and_then(|held| policy?.policies.get_key_value(&held.policy));
        let by = by.map(|(name, spec)| (name.as_str(), spec));
        let of_policy = by.and_then(|(_, spec)| spec.storage.as_deref());
        let storage = asked.storage.as_deref().or(of_policy);
        let strongest = by.and_then(|(_, spec)| {
            spec.schedules
                .values()
                .map(|schedule| schedule.quiesce)
                .max()
        });
        let wish = Asked {
            address: format!("backup.{}/asked", guest.vm.name),
            reason: Reason::Asked,
            policy: by,
            storage: storage.unwrap_or_default(),
            isolated: asked.isolated || by.is_none(),
            full: asked.full,
            quiesce: asked.quiesce.or(strongest).unwrap_or_default(),
            slots: Vec::new(),
            blocks: Vec::new(),
        };
        backups::add(&mut draft, policy, &asked.vm, wish, &mut BTreeMap::new());
    }
    draft.finish(None, Vec::new(), Vec::new())
}

/// Merges what a VM's backups left on primary and ends its chain.
#[must_use]
pub fn finish(vm: &VmId, world: &World, options: &Options) -> Plan {
    let mut draft = Draft::new(world, options, "UTC");
    let guest = world.guests.get(vm);
    about(&mut draft, guest);
    recover::plan(&mut draft);
    if let Some(guest) = guest {
        let op = Op::Merge(Merge {
            vm: guest.vm.clone(),
            leave: false,
        });
        let address = format!("merge.{}", guest.vm.name);
        let mut wish = Wish::new(address, op, Class::Routine, Reason::Asked);
        wish.estimate = draft.merge_estimate(&guest.vm);
        draft.add(wish);
    }
    draft.finish(None, Vec::new(), Vec::new())
}

/// Keeps a backup whatever lets others go, or keeps it no longer.
#[must_use]
pub fn pin(
    (vm, backup): (&VmId, &BackupId),
    pinned: bool,
    world: &World,
    options: &Options,
) -> Plan {
    let mut draft = Draft::new(world, options, "UTC");
    let guest = world.guests.get(vm);
    about(&mut draft, guest);
    if let Some(guest) = guest {
        let op = if pinned { Op::Pin } else { Op::Unpin };
        let mut wish = removal::wish(&draft, guest, backup, op, Reason::Asked);
        wish.change.after = json!({ "pinned": pinned });
        draft.add(wish);
    }
    draft.finish(None, Vec::new(), Vec::new())
}

/// Tags of one VM: these and no others.
#[must_use]
pub fn tag(vm: &VmId, tags: BTreeMap<String, String>, world: &World, options: &Options) -> Plan {
    let mut draft = Draft::new(world, options, "UTC");
    if let Some(guest) = world.guests.get(vm) {
        let vm = guest.vm.clone();
        let before = guest.machine.as_ref().map(|machine| &machine.tags);
        let change = Shift {
            before: json!(before),
            after: json!(tags),
        };
        let address = format!("tag.{}", vm.name);
        let op = Op::Tag(Tag { vm, tags });
        let mut wish = Wish::new(address, op, Class::Config, Reason::Asked);
        wish.change = change;
        draft.add(wish);
    }
    draft.finish(None, Vec::new(), Vec::new())
}

/// Removes what nothing refers to, where nothing can be lost with it.
#[must_use]
pub fn clear(found: &[Orphan], world: &World, options: &Options) -> Plan {
    let mut draft = Draft::new(world, options, "UTC");
    for orphan in found.iter().filter(|orphan| orphan.removable) {
        let op = Clear {
            path: orphan.path.clone(),
            kind: orphan.kind,
            vm: orphan.vm.clone(),
        };
        let address = format!("clear.{}", orphan.path);
        let mut wish = Wish::new(address, Op::Clear(op), Class::Routine, Reason::Asked);
        wish.estimate.frees = orphan.size;
        draft.add(wish);
    }
    draft.finish(None, Vec::new(), Vec::new())
}

/// What was found about other VMs is not for a command that names one.
pub(super) fn about(draft: &mut Draft<'_>, guest: Option<&Guest>) {
    let named = guest.map(|guest| guest.vm.name.as_str());
    draft
        .findings
        .retain(|finding| finding.vm.is_none() || finding.vm.as_deref() == named);
}

/// A new, stopped VM from a backup. `world` holds the guest the backup is of, and whatever is defined.
#[must_use]
pub fn new_vm(asked: &NewVm, world: &World, options: &Options) -> Plan {
    let mut draft = Draft::new(world, options, "UTC");
    let guest = world.guests.get(&asked.from);
    about(&mut draft, guest);
    if let Some((guest, backup)) =
        guest.and_then(|guest| Some((guest, guest.record.backups.get(&asked.backup)?)))
    {
        let wish = restore(&mut draft, asked, &guest.vm, backup);
        draft.add(wish);
    }
    draft.finish(None, Vec::new(), Vec::new())
}

fn restore(draft: &mut Draft<'_>, asked: &NewVm, from: &VmRef, backup: &Backup) -> Wish {
    let world = draft.now;
    let vm = VmRef {
        name: asked.name.clone(),
        uuid: VmId::new(draft.fresh_uuid(&asked.name)),
    };
    let dir = asked.dir.clone().unwrap_or_else(|| beside(world, from));
    let extension = if asked.format == Format::Raw {
        "raw"
    } else {
        "qcow2"
    };
    let disks: BTreeMap<_, _> = backup
        .disks
        .keys()
        .map(|target| {
            (
                target.clone(),
                layout::restored_disk(&dir, &asked.name, target, extension),
            )
        })
        .collect();
    let nvram = backup.files.iter().any(|file| file == layout::NVRAM);
    let nvram = nvram.then(|| layout::restored_nvram(&dir, &asked.name));
    let record = world.guests.get(&from.uuid).map(|guest| &guest.record);
    let ancestors = record
        .map(|record| record.ancestors(&backup.id))
        .unwrap_or_default();
    let (storage, elsewhere) = storages::holding(world, &backup.storage, &backup.id);
    let bytes: Bytes = backup.protected_size();
    let op = RestoreNew {
        backup: backup.id.clone(),
        from: from.clone(),
        vm: vm.clone(),
        storage,
        ancestors,
        disks: disks.clone(),
        format: asked.format.clone(),
        nvram,
    };
    let mut wish = Wish::new(
        format!("restore.{}", asked.name),
        Op::RestoreNew(Box::new(op)),
        Class::Routine,
        Reason::Asked,
    );
    wish.change.after =
        json!({ "name": vm.name, "uuid": vm.uuid, "backup": backup.id, "disks": disks });
    wish.estimate = Estimate {
        bytes,
        frees: Bytes(0),
        seconds: bytes.0.div_ceil(200 << 20),
    };
    wish.gives = vec![Key::Vm(vm.uuid)];
    wish.blocks.extend(elsewhere);
    if !record.is_some_and(|record| record.is_usable(&backup.id)) {
        wish.blocks.push(blocked(
            "unusable",
            format!("{} cannot be restored: a file of it, or of a backup it needs, is damaged or missing", backup.id),
            "choose another one: knib backup list",
        ));
    }
    if world
        .guests
        .values()
        .any(|guest| guest.machine.is_some() && guest.vm.name == asked.name)
    {
        wish.blocks.push(blocked(
            "name_taken",
            format!("a VM named {} is defined here already", asked.name),
            "choose another --name",
        ));
    }
    wish
}

/// The directory of the disks that were backed up, while it is there.
fn beside(world: &World, from: &VmRef) -> Utf8PathBuf {
    let machine = world
        .guests
        .get(&from.uuid)
        .and_then(|guest| guest.machine.as_ref());
    let heads = machine
        .into_iter()
        .flat_map(|machine| &machine.disks)
        .filter(|disk| disk.holds_data());
    let dir = heads
        .filter_map(|disk| disk.head())
        .find_map(|head| head.parent());
    dir.map_or_else(|| Utf8PathBuf::from(LIBVIRT_IMAGES), ToOwned::to_owned)
}
