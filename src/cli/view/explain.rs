//! Why: a policy's effective values with where they were written, which VMs it has and by which of its
//! rules, and what keeps a backup.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::model::backup::Backup;
use crate::model::backup::VmRef;
use crate::model::bytes::Bytes;
use crate::model::finding::Origin;
use crate::model::id::BackupId;
use crate::model::machine::Machine;
use crate::model::plan::Upcoming;
use crate::model::policy::Policy;
use crate::model::policy::VmPolicy;
use crate::model::retention::Rules;
use crate::model::world::Guest;
use crate::model::world::World;
use crate::planner::fields;
use crate::policy::select;

/// An effective value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ValueView {
    /// `retention.keepDaily`
    pub key: String,
    /// As a policy spells it.
    pub value: String,
    /// Where it was written; null: it is the default, or the policy is the one last applied.
    pub origin: Option<Origin>,
}

/// A policy.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct PolicyView {
    /// Its name.
    pub name: String,
    /// Every value, templates and defaults included.
    pub values: Vec<ValueView>,
    /// What its rules keep, in words.
    pub keeps: String,
    /// VMs that its rules select, by name.
    pub selects: Vec<SelectedView>,
}

/// A VM that a policy selects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SelectedView {
    /// Which VM.
    pub vm: String,
    /// `names db-*, tag env=prod`
    pub by: String,
    /// A policy of higher priority that selects it too, and takes it.
    pub taken_by: Option<String>,
}

/// A policy that selects a VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ClaimView {
    /// Its name.
    pub policy: String,
    /// `names db-*, tag env=prod`
    pub by: String,
    /// Of several the highest takes the VM.
    pub priority: i64,
    /// Where the rules are.
    pub origin: Option<Origin>,
}

/// A VM.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct VmExplained {
    /// Which VM.
    pub vm: VmRef,
    /// Policies that select it, the one that takes it first.
    pub claims: Vec<ClaimView>,
    /// The first two have the same priority: neither takes it.
    pub tie: bool,
    /// The policy in force, as last applied.
    pub in_force: Option<String>,
    /// Since when slots count.
    pub since: Option<Timestamp>,
    /// The values of the policy that takes it.
    pub values: Vec<ValueView>,
    /// What the policy that takes it keeps, in words.
    pub keeps: Option<String>,
    /// What lets its backups go now, in words.
    pub keeps_now: Option<String>,
    /// Backups that are kept now and would go by the policy.
    pub spared: Vec<BackupId>,
    /// Its next slots.
    pub upcoming: Vec<Upcoming>,
}

/// A backup.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct BackupExplained {
    /// Which.
    pub id: BackupId,
    /// Of which VM.
    pub vm: VmRef,
    /// The instant it shows.
    pub created: Timestamp,
    /// When it was let go.
    pub removed: Option<Timestamp>,
    /// What lets backups of the VM go, in words; null: nothing does.
    pub rules: Option<String>,
    /// Every reason to keep it.
    pub kept_by: Vec<String>,
    /// Every rule that does not keep it, and why.
    pub passed: Vec<String>,
    /// Backups whose files it needs.
    pub needs: Vec<BackupId>,
    /// Listed backups that need its files.
    pub needed_by: Vec<BackupId>,
    /// What would be freed if it went alone.
    pub frees_bytes: Bytes,
}

/// Every value of a policy with its place.
#[must_use]
pub fn values(policy: &Policy, name: &str, spec: &VmPolicy) -> Vec<ValueView> {
    let flat: BTreeMap<String, String> = fields::flat(spec)
        .into_iter()
        .map(|(key, value)| (written(&key), value))
        .collect();
    flat.into_iter()
        .map(|(key, value)| {
            let path = format!("policies.{name}.{key}");
            let first = format!("{path}[0]");
            let origin = policy.origins.get(&path);
            let origin = origin.or_else(|| policy.origins.get(&first));
            // A schedule without a zone has the policy's.
            let zone = || policy.origins.get("timezone");
            let origin = origin.or_else(|| key.ends_with(".timezone").then(zone).flatten());
            let origin = origin.cloned();
            ValueView { key, value, origin }
        })
        .collect()
}

/// Where a policy has a key that the model has elsewhere.
fn written(key: &str) -> String {
    match key {
        "minBackups" => "protect.minBackups".to_owned(),
        "excludeDisks" => "disks.exclude".to_owned(),
        key => key.to_owned(),
    }
}

/// Policies that select a VM, the one that takes it first.
#[must_use]
pub fn claims(policy: &Policy, machine: &Machine) -> Vec<ClaimView> {
    let all = policy.policies.iter();
    let mut claims: Vec<ClaimView> = all
        .filter_map(|(name, spec)| {
            let (vm, uuid) = (&machine.name, machine.id.as_str());
            let by = select::matched(&spec.select, vm, uuid, &machine.tags)?;
            let origin = policy.origins.get(&format!("policies.{name}.select"));
            Some(ClaimView {
                policy: name.clone(),
                by: by.to_string(),
                priority: spec.priority,
                origin: origin.cloned(),
            })
        })
        .collect();
    claims.sort_by_key(|claim| std::cmp::Reverse(claim.priority));
    claims
}

/// A policy and the VMs it selects.
#[must_use]
pub fn policy(policy: &Policy, name: &str, spec: &VmPolicy, world: &World) -> PolicyView {
    let machines = world
        .guests
        .values()
        .filter_map(|guest| guest.machine.as_ref());
    let mut selects: Vec<SelectedView> = machines
        .filter_map(|machine| {
            let claims = claims(policy, machine);
            let own = claims.iter().find(|claim| claim.policy == name)?;
            let first = claims.first().map(|claim| &claim.policy);
            Some(SelectedView {
                vm: machine.name.clone(),
                by: own.by.clone(),
                taken_by: first.filter(|first| *first != name).cloned(),
            })
        })
        .collect();
    selects.sort_by(|a, b| a.vm.cmp(&b.vm));
    PolicyView {
        name: name.to_owned(),
        values: values(policy, name, spec),
        keeps: Rules::of(name, spec, &policy.timezone).to_string(),
        selects,
    }
}

/// A VM, under a policy, with what comes next.
#[must_use]
pub fn vm(policy: &Policy, guest: &Guest, upcoming: &[Upcoming], now: Timestamp) -> VmExplained {
    let claims = guest
        .machine
        .as_ref()
        .map(|machine| claims(policy, machine))
        .unwrap_or_default();
    let tie = claims.len() > 1 && claims[0].priority == claims[1].priority;
    let taken = claims.first().filter(|_| !tie);
    let spec = taken.and_then(|claim| policy.policies.get_key_value(&claim.policy));
    let rules = spec.map(|(name, spec)| Rules::of(name, spec, &policy.timezone));
    let record = &guest.record;
    let in_force = record.retention.as_deref();
    let spared = in_force.zip(rules.as_ref());
    let upcoming = upcoming.iter().filter(|next| next.vm == guest.vm.name);
    VmExplained {
        vm: guest.vm.clone(),
        tie,
        in_force: record.assigned.as_ref().map(|held| held.policy.clone()),
        since: record.assigned.as_ref().map(|held| held.since),
        values: spec.map_or_else(Vec::new, |(name, spec)| values(policy, name, spec)),
        keeps: rules.as_ref().map(ToString::to_string),
        keeps_now: in_force.map(ToString::to_string),
        spared: spared
            .map(|(in_force, rules)| in_force.spares(rules, record, now))
            .unwrap_or_default(),
        upcoming: upcoming.cloned().collect(),
        claims,
    }
}

/// A backup, by the retention in force.
#[must_use]
pub fn backup(guest: &Guest, backup: &Backup, now: Timestamp) -> BackupExplained {
    let record = &guest.record;
    let rules = record.retention.as_deref();
    let verdict = rules.and_then(|rules| rules.judge(record, now).remove(&backup.id));
    let verdict = verdict.unwrap_or_default();
    let goes = record
        .goes_with(&BTreeSet::from([backup.id.clone()]))
        .into_iter();
    let goes = goes.filter_map(|id| record.backups.get(&id).map(|one| one.size()));
    BackupExplained {
        id: backup.id.clone(),
        vm: guest.vm.clone(),
        created: backup.created,
        removed: backup.marks.removed,
        rules: rules.map(ToString::to_string),
        kept_by: verdict.reasons(),
        passed: verdict.passed.iter().map(ToString::to_string).collect(),
        needs: record.ancestors(&backup.id),
        needed_by: record.needed_by(&backup.id),
        frees_bytes: goes.sum(),
    }
}
