//! `policies` and `templates`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::Cron;
use super::Duration;
use super::Name;
use super::Validate;
use crate::model::policy::First;
use crate::model::policy::Quiesce;

/// Which VMs get which offering, when, and for how long.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::policy) struct Policy {
    /// A template whose keys hold unless they are written here. Schedules are merged by name, maps
    /// key by key.
    pub extends: Option<Name>,
    /// Name of an offering.
    pub offering: Option<Name>,
    /// Name of a storage.
    pub storage: Option<Name>,
    /// Which VMs.
    #[schemars(required, extend("examples" = [{"names": ["db-*"]}]))]
    pub select: Option<Select>,
    /// Of two policies that select a VM the one with the higher number takes it. Default 0.
    #[schemars(range(min = -1_000_000, max = 1_000_000))]
    pub priority: Option<i64>,
    /// When, by name.
    #[serde(default)]
    pub schedules: BTreeMap<Name, Schedule>,
    /// Which backups stay. Without it all do.
    pub retention: Option<Retention>,
    /// Backups that stay whatever retention says.
    pub protect: Option<Protect>,
    /// Disks.
    pub disks: Option<Disks>,
    /// When a VM without one good backup gets its first. Default `immediate`.
    pub first: Option<First>,
    /// Nothing becomes due and nothing is let go. Default `false`.
    pub paused: Option<bool>,
    /// Overrides what the offering says, key by key.
    pub validate: Option<Validate>,
}

/// A part of a policy that several policies share.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "read as a policy that does not select")]
pub(in crate::policy) struct Template {
    /// Name of an offering.
    pub offering: Option<Name>,
    /// Name of a storage.
    pub storage: Option<Name>,
    /// Of two policies that select a VM the one with the higher number takes it.
    #[schemars(range(min = -1_000_000, max = 1_000_000))]
    pub priority: Option<i64>,
    /// When, by name.
    #[serde(default)]
    pub schedules: BTreeMap<Name, Schedule>,
    /// Which backups stay.
    pub retention: Option<Retention>,
    /// Backups that stay whatever retention says.
    pub protect: Option<Protect>,
    /// Disks.
    pub disks: Option<Disks>,
    /// When a VM without one good backup gets its first.
    pub first: Option<First>,
    /// Nothing becomes due and nothing is let go.
    pub paused: Option<bool>,
    /// Overrides what the offering says, key by key.
    pub validate: Option<Validate>,
}

/// Which VMs. All kinds of rules that are written are to be met; of a list one entry is enough, of
/// `tags` all are.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("anyOf" = [{"required": ["names"]}, {"required": ["uuids"]}, {"required": ["tags"]}]))]
pub(in crate::policy) struct Select {
    /// Patterns for the names of VMs: `*`, `?`, `[abc]`, and `\` before a character that is meant
    /// as it stands. The whole name is compared, capitals count.
    #[schemars(length(min = 1), inner(length(min = 1)), example = ["db-*"])]
    pub names: Option<Vec<String>>,
    /// Uuids of VMs.
    #[schemars(length(min = 1), inner(length(min = 1)))]
    pub uuids: Option<Vec<String>>,
    /// Patterns for the values of tags that `knib vm tag` wrote.
    #[schemars(extend("minProperties" = 1))]
    pub tags: Option<BTreeMap<String, String>>,
    /// Takes VMs out again, by the same rules.
    pub exclude: Option<Exclude>,
}

/// Which VMs are taken out again.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("anyOf" = [{"required": ["names"]}, {"required": ["uuids"]}, {"required": ["tags"]}]))]
pub(in crate::policy) struct Exclude {
    /// Patterns for the names of VMs.
    #[schemars(length(min = 1), inner(length(min = 1)))]
    pub names: Option<Vec<String>>,
    /// Uuids of VMs.
    #[schemars(length(min = 1), inner(length(min = 1)))]
    pub uuids: Option<Vec<String>>,
    /// Patterns for the values of tags.
    #[schemars(extend("minProperties" = 1))]
    pub tags: Option<BTreeMap<String, String>>,
}

/// Instants at which backups are wanted.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::policy) struct Schedule {
    /// When.
    pub cron: Option<Cron>,
    /// IANA time zone. Default: the policy file's.
    #[schemars(example = "Europe/Paris", length(min = 1))]
    pub timezone: Option<String>,
    /// Backups are spread over this time; a VM's own delay is always the same. Default `0s`.
    pub jitter: Option<Duration>,
    /// A backup that could not start this long after it was due is missed. Default: until the next
    /// is due.
    pub deadline: Option<Duration>,
    /// Full backups outside of the chain. Default `false`.
    pub isolated: Option<bool>,
    /// Whether the guest's file systems are frozen for the moment of the snapshot. Default
    /// `preferred`.
    pub quiesce: Option<Quiesce>,
    /// Name of another storage, for an isolated schedule.
    pub storage: Option<Name>,
    /// Gives this schedule's backups a retention of their own.
    pub retention: Option<Retention>,
    /// Nothing becomes due. Default `false`.
    pub paused: Option<bool>,
}

/// Which backups stay: each that any rule wants. 0 switches off a rule of the template.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "the keys of the file")]
pub(in crate::policy) struct Retention {
    /// The newest.
    #[schemars(range(min = 0, max = 100_000))]
    pub keep_last: Option<u32>,
    /// The newest of this many hours that have one.
    #[schemars(range(min = 0, max = 100_000))]
    pub keep_hourly: Option<u32>,
    /// The newest of this many days that have one.
    #[schemars(range(min = 0, max = 100_000))]
    pub keep_daily: Option<u32>,
    /// The newest of this many ISO weeks that have one.
    #[schemars(range(min = 0, max = 100_000))]
    pub keep_weekly: Option<u32>,
    /// The newest of this many months that have one.
    #[schemars(range(min = 0, max = 100_000))]
    pub keep_monthly: Option<u32>,
    /// The newest of this many years that have one.
    #[schemars(range(min = 0, max = 100_000))]
    pub keep_yearly: Option<u32>,
    /// All that are at most this much older than the newest good one.
    pub keep_within: Option<Duration>,
}

/// Backups that stay whatever retention says.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::policy) struct Protect {
    /// So many good ones. Default 1.
    #[schemars(range(min = 1, max = 1000))]
    pub min_backups: Option<u32>,
}

/// Disks of the policy's VMs.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::policy) struct Disks {
    /// Targets, as `virsh domblklist` names them, that are not backed up.
    #[schemars(inner(length(min = 1)), example = ["vdb"])]
    pub exclude: Option<Vec<String>>,
}
