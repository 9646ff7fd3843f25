//! Plans of one action, for commands that name their object.

use std::collections::BTreeMap;

use serde_json::json;

use crate::model::id::ActionId;
use crate::model::id::BackupId;
use crate::model::id::VmId;
use crate::model::layout;
use crate::model::op::Abandon;
use crate::model::op::Clear;
use crate::model::op::Merge;
use crate::model::op::Op;
use crate::model::op::Tag;
use crate::model::orphan::Orphan;
use crate::model::plan::Class;
use crate::model::plan::Plan;
use crate::model::plan::Shift;
use crate::model::policy::Policy;
use crate::model::policy::Quiesce;
use crate::model::program::Mark;
use crate::model::reason::Block;
use crate::model::reason::Reason;
use crate::model::step::Step;
use crate::model::world::Guest;
use crate::model::world::Open;
use crate::model::world::World;
use crate::planner::Options;
use crate::planner::backups;
use crate::planner::calls::Asked;
use crate::planner::draft;
use crate::planner::draft::Draft;
use crate::planner::draft::Wish;
use crate::planner::recover;
use crate::planner::removal;

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

/// Gives up an interrupted action: what it did stays as it is.
#[must_use]
pub fn abandon(action: &ActionId, world: &World, options: &Options) -> Plan {
    let mut draft = Draft::new(world, options, "UTC");
    if let Some(open) = world.opens().find(|open| open.action == *action) {
        let vm = open.op.vm().cloned();
        about(
            &mut draft,
            vm.as_ref().and_then(|vm| world.guests.get(&vm.uuid)),
        );
        let verb = open.op.verb().as_str();
        let name = open.op.object().unwrap_or_default();
        let begun = open.program.steps();
        let begun = begun.filter(|(stage, n, _)| {
            matches!(open.marks[*stage][*n], Some(Mark::Intended | Mark::Done))
        });
        let op = Op::Abandon(Abandon {
            action: action.clone(),
            vm,
            stays: begun.map(|(_, _, step)| step.synopsis()).collect(),
        });
        let mut wish = Wish::new(
            format!("abandon.{name}/{verb}"),
            op,
            Class::Destructive,
            recover::interrupted(open),
        );
        if open.alive {
            wish.blocks.push(draft::busy(open));
        }
        let guest = open.op.vm().and_then(|vm| world.guests.get(&vm.uuid));
        wish.blocks
            .extend(guest.and_then(|guest| put_away(open, guest)));
        draft.add(wish);
    }
    draft.finish(None, Vec::new(), Vec::new())
}

/// A stopped VM whose delta is being merged does not start: its file has another name meanwhile.
fn put_away(open: &Open, guest: &Guest) -> Option<Block> {
    let merges = |(_, _, step): (_, _, &Step)| matches!(step, Step::Merge { .. });
    let machine = guest.machine.as_ref()?;
    let mut unread = machine.disks.iter().filter(|disk| disk.layers.is_empty());
    let head =
        unread.find_map(|disk| disk.head().filter(|head| layout::delta_of(head).is_some()))?;
    let name = &machine.name;
    open.program.steps().any(merges).then(|| {
        draft::blocked(
            "put_away",
            format!("{name} could not start: {head} was put away while it is merged"),
            format!(
                "give it its name back first: mv {} {head}",
                layout::merged(head)
            ),
        )
    })
}

/// What was found about other VMs is not for a command that names one.
pub(super) fn about(draft: &mut Draft<'_>, guest: Option<&Guest>) {
    let named = guest.map(|guest| guest.vm.name.as_str());
    draft
        .findings
        .retain(|finding| finding.vm.is_none() || finding.vm.as_deref() == named);
}
