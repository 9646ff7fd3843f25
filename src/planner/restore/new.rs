//! A new VM from a backup.

use std::collections::BTreeMap;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use serde_json::json;

use crate::model::backup::Backup;
use crate::model::backup::VmRef;
use crate::model::ground::Ground;
use crate::model::id::BackupId;
use crate::model::id::VmId;
use crate::model::layout;
use crate::model::machine::Disk;
use crate::model::machine::Format;
use crate::model::op::Beside;
use crate::model::op::Manner;
use crate::model::op::Op;
use crate::model::op::RestoreNew;
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
use crate::planner::draft::blocked;
use crate::planner::recover;
use crate::planner::request::about;
use crate::planner::restore;
use crate::planner::restore::How;
use crate::planner::restore::Writing;

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
    /// Its network cards keep their addresses all the same.
    pub keep_mac: bool,
    /// Its network cards are in this network of libvirt's.
    pub network: Option<String>,
    /// It is started.
    pub start: bool,
    /// How the backup is read.
    pub how: How,
}

/// A new, stopped VM from a backup. `world` holds the guest the backup is of, and whatever is defined.
#[must_use]
pub fn new_vm(asked: &NewVm, ground: &Ground, world: &World, options: &Options) -> Plan {
    let mut draft = Draft::new(world, options, "UTC");
    let guest = world.guests.get(&asked.from);
    about(&mut draft, guest);
    recover::plan(&mut draft);
    if let Some((guest, backup)) =
        guest.and_then(|guest| Some((guest, guest.record.backups.get(&asked.backup)?)))
    {
        let wish = wish(&mut draft, (asked, ground), guest, backup);
        draft.add(wish);
    }
    draft.finish(None, Vec::new(), Vec::new())
}

fn wish(
    draft: &mut Draft<'_>,
    (asked, ground): (&NewVm, &Ground),
    from: &Guest,
    backup: &Backup,
) -> Wish {
    let (world, record) = (draft.now, &from.record);
    let vm = VmRef {
        name: asked.name.clone(),
        uuid: VmId::new(draft.fresh_uuid(&asked.name)),
    };
    let dir = asked
        .dir
        .clone()
        .unwrap_or_else(|| beside(from, ground, backup));
    let disks: BTreeMap<_, _> = backup
        .disks
        .keys()
        .map(|target| {
            let extension = restore::extension(&asked.format);
            let path = layout::restored_disk(&dir, &asked.name, target, extension);
            (target.clone(), Image::new(path, asked.format.clone()))
        })
        .collect();
    let holds = |name: &str| backup.files.iter().any(|file| file == name);
    let stored = ground.stored.get(&backup.id);
    let tpm = stored
        .and_then(|stored| stored.firmware.tpm.as_ref())
        .filter(|_| holds(layout::TPM));
    let beside = Beside {
        nvram: holds(layout::NVRAM).then(|| layout::restored_nvram(&dir, &asked.name)),
        // libvirt names it after the VM.
        tpm: tpm.map(|tpm| tpm.with_file_name(vm.uuid.as_str())),
    };
    let (origin, mut blocks) = restore::origin(world, record, backup, disks.keys(), asked.how);
    let paths: BTreeMap<_, _> = disks
        .iter()
        .map(|(target, image)| (target, &image.path))
        .collect();
    let change = json!({ "name": vm.name, "uuid": vm.uuid, "backup": backup.id, "disks": paths });
    let written = restore::written(record, &backup.id, disks.keys());
    let estimate = restore::estimate(&written);
    let others = [&beside.nvram, &beside.tpm].into_iter().flatten();
    let files = disks.values().map(|image| &image.path).chain(others);
    blocks.extend(restore::taken(ground, files));
    let sizes = disks.values().zip(written.into_values());
    blocks.extend(Writing::default().add(ground, sizes));
    let lacking = restore::lacking(ground, backup, &vm.name);
    if let Some(lacking) = lacking.filter(|_| asked.network.is_none()) {
        if asked.start {
            let hint = "define them first, or say --network, or leave --start out";
            blocks.push(blocked("missing_neighbour", lacking.text.clone(), hint));
        }
        draft.findings.push(lacking);
    }
    let op = RestoreNew {
        origin,
        vm: vm.clone(),
        disks,
        beside,
        manner: Manner::Anew {
            keep_mac: asked.keep_mac,
            network: asked.network.clone(),
        },
        start: asked.start,
    };
    let mut wish = Wish::new(
        format!("restore.{}", asked.name),
        Op::RestoreNew(Box::new(op)),
        Class::Routine,
        Reason::Asked,
    );
    wish.change.after = change;
    wish.estimate = estimate;
    wish.gives = vec![Key::Vm(vm.uuid)];
    wish.blocks = blocks;
    if world
        .guests
        .values()
        .any(|guest| guest.machine.is_some() && guest.vm.name == asked.name)
    {
        let taken = blocked(
            "name_taken",
            format!("a VM named {} is defined here already", asked.name),
            "choose another --name",
        );
        wish.blocks.insert(0, taken);
    }
    wish
}

/// The directory of the disks that were backed up, while it is there: those the VM has, or had.
fn beside(from: &Guest, ground: &Ground, backup: &Backup) -> Utf8PathBuf {
    let machines = from.machine.iter().chain(ground.stored.get(&backup.id));
    let heads = machines
        .flat_map(|machine| &machine.disks)
        .filter(|disk| disk.holds_data())
        .filter_map(Disk::head);
    let mut dirs = heads.filter_map(Utf8Path::parent);
    let there = |dir: &&Utf8Path| from.machine.is_some() || ground.dirs.contains_key(*dir);
    dirs.find(there)
        .map_or_else(|| restore::LIBVIRT_IMAGES.into(), ToOwned::to_owned)
}
