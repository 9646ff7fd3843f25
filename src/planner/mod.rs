//! From what people want and what is, to a list of actions with reasons. Pure: the same policy and
//! world give the same plan, byte for byte but for its id.
//!
//! Everything is decided on the world `ahead`: the one that the actions planned so far will leave.

pub mod adopt;
mod assign;
mod backups;
mod calls;
mod chain;
pub mod clock;
mod config;
pub mod consolidate;
mod damage;
pub mod doctor;
mod draft;
pub mod due;
pub mod fields;
pub mod files;
pub mod forecast;
pub mod jobs;
mod keep;
pub mod offerings;
pub mod rebuild;
mod recover;
pub mod removal;
pub mod request;
pub mod restore;
pub mod snapshots;
mod space;
mod storages;
pub mod validations;
pub mod verify;

use std::collections::BTreeSet;

use crate::model::finding::Finding;
use crate::model::id::BackupId;
use crate::model::id::PlanId;
use crate::model::id::VmId;
use crate::model::op::Group;
use crate::model::plan::Plan;
use crate::model::policy::Policy;
use crate::model::world::World;
use crate::planner::draft::Draft;
pub use crate::planner::keep::spared;
use crate::policy::glob::Glob;

/// What a plan is made under, besides policy and world.
#[derive(Clone, Debug)]
pub struct Options {
    /// The plan's id, drawn by the caller.
    pub id: PlanId,
    /// The libvirt URI, for the plan's head.
    pub uri: String,
    /// Of this program.
    pub version: String,
    /// The instant was given and is not the clock's.
    pub clock_given: bool,
    /// Only actions of these groups; none: all.
    pub only: Option<BTreeSet<Group>>,
    /// Only actions of VMs with such a name; none: all.
    pub vm: Option<Glob>,
    /// Backups that stay are told as well, each with its reasons.
    pub show_kept: bool,
    /// Backups that somebody allowed to go although the retention in force keeps them.
    pub allowed: BTreeSet<(VmId, BackupId)>,
}

impl Options {
    /// Whether a finding is about the VMs that the plan is about, or about none.
    fn concerns(&self, finding: &Finding) -> bool {
        match (&self.vm, &finding.vm) {
            (Some(pattern), Some(name)) => pattern.matches(name),
            _ => true,
        }
    }

    fn admits(&self, group: Group, vm: Option<&str>) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(&group))
            && vm.is_none_or(|name| self.admits_vm(name))
    }

    fn admits_vm(&self, name: &str) -> bool {
        let pattern = self.vm.as_ref();
        pattern.is_none_or(|pattern| pattern.matches(name))
    }
}

/// What makes the world what the policy says, and what is due at its instant.
#[must_use]
pub fn reconcile(policy: &Policy, world: &World, options: &Options) -> Plan {
    ahead(policy, world, options).0
}

/// The same, with the world that the plan will leave.
fn ahead(policy: &Policy, world: &World, options: &Options) -> (Plan, World) {
    let mut draft = Draft::new(world, options, &policy.timezone);
    clock::tell(&mut draft);
    recover::plan(&mut draft);
    consolidate::plan(&mut draft);
    storages::plan(&mut draft, policy);
    config::plan(&mut draft, policy);
    let unprotected = assign::plan(&mut draft, policy);
    adopt::plan(&mut draft);
    config::plan_removals(&mut draft, policy);
    removal::plan(&mut draft);
    damage::plan(&mut draft);
    let upcoming = backups::plan(&mut draft, policy);
    // What goes needs no job.
    keep::plan(&mut draft, policy);
    jobs::plan(&mut draft, policy);
    validations::plan(&mut draft, policy);
    verify::plan(&mut draft, policy);
    restore::discard(&mut draft);
    draft.finish_ahead(Some(policy.digest), upcoming, unprotected)
}
