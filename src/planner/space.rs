//! Whether there is room: on the storage for the copy, on primary for what the guest writes meanwhile.

use camino::Utf8Path;
use camino::Utf8PathBuf;

use crate::model::backup::VmRef;
use crate::model::bytes::Bytes;
use crate::model::layout;
use crate::model::machine::Disk;
use crate::model::machine::Machine;
use crate::model::op::DiskPlan;
use crate::model::plan::Estimate;
use crate::model::policy::Policy;
use crate::model::reason::Block;
use crate::model::record::Record;
use crate::model::world::World;
use crate::planner::chain::Shape;
use crate::planner::draft::Draft;
use crate::planner::draft::blocked;

/// Bytes a second that an estimate of time reckons with.
const RATE: u64 = 200 << 20;
/// A delta is reckoned to grow by as much as the last one, and by this much at least.
const LEAST_GROWTH: Bytes = Bytes(16 << 20);

/// What a backup will write: what its layers take on their file system.
pub(super) fn estimate(machine: &Machine, record: &Record, shape: &Shape) -> Estimate {
    let depth = |disk: &Disk| {
        let delta = record.delta_left(shape.parent.as_ref()?, &disk.target)?;
        delta.depth_in(disk)
    };
    let of = |disk: &Disk| {
        let taken = match shape.disks.get(&disk.target) {
            Some(DiskPlan::Full { .. }) => disk.layers.len(),
            Some(DiskPlan::Incremental) => depth(disk).map_or(0, |at| at + 1),
            None => 0,
        };
        upper(disk, taken)
    };
    let bytes = machine.disks.iter().map(of).sum();
    Estimate {
        bytes,
        frees: Bytes(0),
        seconds: seconds(bytes),
    }
}

/// What a full copy of a disk takes, at most.
pub(super) fn whole(disk: &Disk) -> Bytes {
    upper(disk, disk.layers.len())
}

/// What so many of its upper layers take, and never more than the disk is large.
fn upper(disk: &Disk, taken: usize) -> Bytes {
    let layers = disk.layers.iter().take(taken);
    let allocated: Bytes = layers.map(|layer| layer.allocated).sum();
    let top = disk.layers.first();
    allocated.min(top.map_or(Bytes(0), |layer| layer.virtual_size))
}

pub(super) fn seconds(bytes: Bytes) -> u64 {
    bytes.0.div_ceil(RATE)
}

/// Why there is no room, if there is none. `planned` is what earlier actions will write there.
pub(super) fn storage(
    policy: Option<&Policy>,
    world: &World,
    name: &str,
    wanted: Bytes,
    planned: Bytes,
) -> Option<Block> {
    let space = world.storages.get(name)?.space.as_ref()?;
    let least = policy
        .and_then(|policy| policy.storages.get(name))
        .map_or(Bytes(0), |storage| storage.min_free.of(space.total));
    let left = space.free.less(planned);
    (left < least + wanted).then(|| {
        blocked(
            "storage_full",
            format!("storage {name} has {left} free; {wanted} and {least} to stay free are needed"),
            "delete backups that are not needed, or make the storage larger; no snapshot was taken",
        )
    })
}

/// Why primary has no room for the deltas of a VM, if it has none.
pub(super) fn primary(world: &World, machine: &Machine, shape: &Shape) -> Option<Block> {
    let mut wanted: std::collections::BTreeMap<Utf8PathBuf, Bytes> =
        std::collections::BTreeMap::new();
    for disk in machine
        .disks
        .iter()
        .filter(|disk| shape.disks.contains_key(&disk.target))
    {
        let Some(dir) = disk.head().and_then(Utf8Path::parent) else {
            continue;
        };
        let deltas = disk
            .layers
            .iter()
            .filter(|layer| layout::delta_of(&layer.path).is_some());
        let last = deltas
            .map(|layer| layer.allocated)
            .max()
            .unwrap_or_default();
        let growth = wanted.entry(dir.to_owned()).or_default();
        *growth = *growth + last.max(LEAST_GROWTH);
    }
    wanted.into_iter().find_map(|(dir, growth)| {
        let space = world.primaries.get(&dir)?;
        (space.free < growth).then(|| {
            blocked(
                "primary_full",
                format!("{dir} has {} free; a delta may take {growth}", space.free),
                "make room there; a full disk would pause the VM",
            )
        })
    })
}

impl Draft<'_> {
    /// What merging all deltas of a VM will write.
    pub(super) fn merge_estimate(&self, vm: &VmRef) -> Estimate {
        let machine = self
            .ahead
            .guests
            .get(&vm.uuid)
            .and_then(|guest| guest.machine.as_ref());
        let layers = machine
            .into_iter()
            .flat_map(|machine| &machine.disks)
            .flat_map(|disk| &disk.layers);
        let deltas = layers.filter(|layer| layout::delta_of(&layer.path).is_some());
        let bytes = deltas.map(|layer| layer.allocated).sum();
        Estimate {
            bytes,
            frees: bytes,
            seconds: seconds(bytes),
        }
    }
}
