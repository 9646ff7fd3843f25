//! Backups that are due, each decided on the VM as it will be by then.

use std::collections::BTreeMap;

use serde_json::json;

use crate::model::backup::OfferingCopy;
use crate::model::backup::StorageRef;
use crate::model::bytes::Bytes;
use crate::model::id::StorageId;
use crate::model::id::VmId;
use crate::model::op::BackupOp;
use crate::model::op::Group;
use crate::model::op::Op;
use crate::model::op::StorageAt;
use crate::model::plan::Class;
use crate::model::plan::Upcoming;
use crate::model::policy::CompressMode;
use crate::model::policy::Policy;
use crate::model::policy::Settings;
use crate::model::reason::Block;
use crate::model::world::Guest;
use crate::model::world::StorageSeen;
use crate::planner::adopt;
use crate::planner::calls::Asked;
use crate::planner::calls::Calls;
use crate::planner::chain;
use crate::planner::chain::Shape;
use crate::planner::chain::Wanted;
use crate::planner::draft::Draft;
use crate::planner::draft::Key;
use crate::planner::draft::Wish;
use crate::planner::draft::blocked;
use crate::planner::jobs;
use crate::planner::space;
use crate::planner::storages;

/// Plans what is due and returns what comes next.
pub(super) fn plan(draft: &mut Draft<'_>, policy: &Policy) -> Vec<Upcoming> {
    let mut upcoming = Vec::new();
    let mut planned: BTreeMap<String, Bytes> = BTreeMap::new();
    for id in draft.now.guests.keys() {
        let Some(guest) = draft.ahead.guests.get(id).cloned() else {
            continue;
        };
        if guest.machine.is_none() || !draft.admits(Group::Backup, Some(&guest.vm.name)) {
            continue;
        }
        let Some(assigned) = &guest.record.assigned else {
            continue;
        };
        let Some((name, spec)) = policy.policies.get_key_value(&assigned.policy) else {
            continue;
        };
        if spec.paused {
            continue;
        }
        let due = Calls::of(draft, &guest, name, spec, assigned, &mut upcoming);
        for asked in due.asked(&guest, name, spec, draft) {
            add(draft, Some(policy), id, asked, &mut planned);
        }
    }
    upcoming
}

/// Adds one backup, decided on the VM as it will be by then.
pub(super) fn add(
    draft: &mut Draft<'_>,
    policy: Option<&Policy>,
    vm: &VmId,
    asked: Asked<'_>,
    planned: &mut BTreeMap<String, Bytes>,
) {
    let Some(guest) = draft.ahead.guests.get(vm).cloned() else {
        return;
    };
    let Some(machine) = &guest.machine else {
        return;
    };
    let (storage, nowhere) = place(draft, asked.storage);
    let settings = policy.map_or_else(Settings::default, |policy| policy.settings.clone());
    let offering = asked.policy.and_then(|(_, spec)| {
        let known = policy?.offerings.get(&spec.offering)?;
        Some(OfferingCopy {
            name: spec.offering.clone(),
            spec: known.clone(),
        })
    });
    let of_offering = offering
        .as_ref()
        .and_then(|offering| offering.spec.backup_chain_size);
    let wanted = Wanted {
        storage: &storage.is.id,
        chain_size: of_offering.unwrap_or(settings.chain_size),
        isolated: asked.isolated,
        full: asked.full,
        exclude: asked.policy.map_or(&[], |(_, spec)| &spec.exclude_disks),
    };
    let shape = chain::shape(machine, &guest.record, &wanted);
    let estimate = space::estimate(machine, &guest.record, &shape);
    let earlier = planned.get(asked.storage).copied().unwrap_or_default();

    let inline = offering.as_ref().map(|offering| &offering.spec);
    let inline = inline.filter(|spec| spec.compress && spec.compress_mode == CompressMode::Inline);
    let cannot = inline.and_then(|_| jobs::cannot(draft.now, &settings.compression));
    let compression = inline.map(|spec| {
        let wanted = spec.compression_library;
        jobs::compression(draft.now, wanted, &settings.compression)
    });
    let id = draft.allot(&guest);
    let op = BackupOp {
        id: id.clone(),
        vm: guest.vm.clone(),
        storage: storage.clone(),
        policy: asked.policy.map(|(name, _)| name.to_owned()),
        offering: offering.clone(),
        slots: asked.slots,
        parent: shape.parent.clone(),
        link: shape.link,
        ends_chain: shape.ends_chain,
        disks: shape.disks.clone(),
        others: shape.others.clone(),
        quiesce: asked.quiesce,
        timeout: settings.timeout,
        compression,
    };
    let mut wish = Wish::new(
        asked.address,
        Op::Backup(Box::new(op)),
        Class::Routine,
        asked.reason,
    );
    wish.change.after = described(&shape, asked.storage, wanted.chain_size);
    wish.estimate = estimate;
    wish.blocks = asked.blocks;
    wish.blocks.extend(nowhere);
    wish.blocks.extend(cannot);
    wish.blocks
        .extend(owned_elsewhere(draft, &guest, asked.storage));
    wish.blocks.extend(space::storage(
        policy,
        draft.now,
        asked.storage,
        estimate.bytes,
        earlier,
    ));
    wish.blocks
        .extend(space::primary(draft.now, machine, &shape));
    wish.needs = vec![Key::Vm(vm.clone()), Key::Storage(asked.storage.to_owned())];
    wish.needs
        .extend(asked.policy.map(|(name, _)| Key::Policy(name.to_owned())));
    wish.gives = vec![Key::Vm(vm.clone()), Key::Backup(vm.clone(), id)];
    if draft.add(wish) {
        let sum = planned.entry(asked.storage.to_owned()).or_default();
        *sum = *sum + estimate.bytes;
    }
}

/// Where a storage is, as the actions before will have left it, and why it cannot be used.
fn place(draft: &Draft<'_>, name: &str) -> (StorageAt, Option<Block>) {
    let seen = draft.ahead.storages.get(name);
    let id = seen.and_then(StorageSeen::usable);
    let missing = || {
        blocked(
            "storage_unmarked",
            format!("{name:?} is not a storage yet"),
            "the action that makes it one is blocked or was not asked for; knib storage list",
        )
    };
    let block = storages::unusable(&draft.ahead, name).or_else(|| id.is_none().then(missing));
    let is = StorageRef {
        name: name.to_owned(),
        id: id.cloned().unwrap_or_else(|| StorageId::new("")),
    };
    let path = seen.map(|seen| seen.path.clone()).unwrap_or_default();
    (StorageAt { is, path }, block)
}

fn described(shape: &Shape, storage: &str, chain_size: i64) -> serde_json::Value {
    json!({
        "kind": if shape.parent.is_some() { "incremental" } else { "full" },
        "parent": shape.parent,
        "chain": shape.link.map(|link| link.chain),
        "position": shape.link.map(|link| link.position),
        "chain_size": chain_size,
        "isolated": shape.link.is_none(),
        "ends_chain": shape.ends_chain,
        "storage": storage,
        "disks": shape.disks,
    })
}

/// Two hosts on one storage never write below one VM.
pub(super) fn owned_elsewhere(draft: &Draft<'_>, guest: &Guest, storage: &str) -> Option<Block> {
    let owner = draft
        .ahead
        .storages
        .get(storage)?
        .vms
        .get(&guest.vm.uuid)?
        .owner
        .as_ref()?;
    let state = draft.now.state.as_ref();
    if state == Some(&owner.state_id) {
        return None;
    }
    let name = &guest.vm.name;
    Some(if adopt::is_of_this_libvirt(draft.now, owner) {
        blocked(
            "state_missing",
            format!("{storage} holds backups of {name} that another state file of this host made"),
            "name that state file with --state, or make it anew from the storages: knib state rebuild",
        )
    } else {
        blocked(
            "owned_elsewhere",
            format!(
                "the backups of {name} on {storage} belong to {}",
                owner.hostname
            ),
            format!("knib vm adopt {name} takes them over"),
        )
    })
}
