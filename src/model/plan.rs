//! A list of actions: the only thing that is ever executed. Saved as it is printed.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;

use crate::model::backup::VmRef;
use crate::model::bytes::Bytes;
use crate::model::digest::Digest;
use crate::model::finding::Finding;
use crate::model::id::ActionId;
use crate::model::id::BackupId;
use crate::model::id::HostId;
use crate::model::id::PlanId;
use crate::model::op::Op;
use crate::model::op::Verb;
use crate::model::policy::Policy;
use crate::model::program::Program;
use crate::model::reason::Block;
use crate::model::reason::Reason;

/// What a saved plan calls itself.
pub const FORMAT: &str = "knib.plan";
/// A greater major number is refused, a greater minor one adds keys.
pub const FORMAT_VERSION: &str = "1.0";

/// A list of actions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// `knib.plan`
    pub format: String,
    /// `1.0`
    pub format_version: String,
    /// The program that made it.
    pub knib_version: String,
    /// Used once.
    pub id: PlanId,
    /// The instant all of it was decided at.
    pub clock: Clock,
    /// The hypervisor it is for.
    pub host: PlanHost,
    /// Of the policy's files; none for a command that names its object.
    pub policy: Option<Digest>,
    /// In the order they are shown; an action comes after those it depends on.
    pub actions: Vec<Action>,
    /// What else there is to say.
    pub findings: Vec<Finding>,
    /// What comes next, soonest first.
    pub upcoming: Vec<Upcoming>,
    /// VMs that no policy selects, by name.
    pub unprotected: Vec<String>,
    /// Backups that stay and why, where it was asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<KeptBackup>,
    /// Counts.
    pub summary: Summary,
    /// The policy it was made from, so that a saved plan needs no files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Value>")]
    pub resolved: Option<Box<Policy>>,
    /// Of all of the above, so that a saved plan that was edited is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub integrity: Option<Digest>,
}

/// The one clock of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Clock {
    /// The instant.
    pub now: Timestamp,
    /// It was given with `--at`: such a plan is for looking only.
    pub given: bool,
    /// The policy's zone, for printing.
    pub timezone: String,
}

/// The hypervisor a plan is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlanHost {
    /// libvirt's host uuid.
    pub uuid: HostId,
    /// Its name.
    pub hostname: String,
    /// The libvirt URI.
    pub uri: String,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Action {
    /// Unique for good.
    pub id: ActionId,
    /// Unique in a plan and the same in the next: `backup.db-01/nightly@2026-11-23T01:00Z`.
    pub address: String,
    /// What kind of thing.
    pub verb: Verb,
    /// How careful to be with it.
    pub class: Class,
    /// Why.
    pub reason: Reason,
    /// Of which VM.
    pub vm: Option<VmRef>,
    /// What is different afterwards.
    pub change: Shift,
    /// What it will take.
    pub estimate: Estimate,
    /// Actions that come first.
    pub depends_on: Vec<ActionId>,
    /// Why it is not done, if it is not.
    pub blocked_by: Vec<Block>,
    /// The verb with its parameters.
    #[schemars(with = "Value")]
    pub op: Op,
    /// How it is carried out; none while it is blocked.
    #[schemars(with = "Value")]
    pub program: Option<Program>,
    /// How it ended, once it was applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Outcome>,
    /// What it failed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How careful to be with an action.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// What the policy asks for day by day.
    Routine,
    /// A change of what is on record.
    Config,
    /// A restore point goes that the last applied policy would have kept.
    Destructive,
    /// Carrying on what was interrupted.
    Recovery,
}

/// What is different afterwards.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Shift {
    /// Null: it was not there.
    pub before: Value,
    /// Null: it is gone.
    pub after: Value,
}

/// What an action will take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Estimate {
    /// Written.
    pub bytes: Bytes,
    /// Given back.
    pub frees: Bytes,
    /// Time.
    pub seconds: u64,
}

/// How an action ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It did what it was to do.
    Done,
    /// It did not, and what it had done was taken back or is left to be carried on.
    Failed,
    /// Something it depends on did not happen, or the world has changed since.
    Skipped,
    /// It wants a human.
    Blocked,
    /// Another run has it.
    Busy,
    /// It waits for a time.
    Held,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Upcoming {
    /// With the VM's share of the jitter.
    pub due_at: Timestamp,
    /// Before it.
    pub slot: Timestamp,
    /// Of which VM.
    pub vm: String,
    /// Under which policy.
    pub policy: String,
    /// Which schedule.
    pub schedule: String,
}

/// A backup that stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeptBackup {
    /// Of which VM.
    pub vm: String,
    /// Which.
    pub backup: BackupId,
    /// The instant it shows.
    pub created: Timestamp,
    /// `daily 4 of 7`, `pinned`
    pub kept_by: Vec<String>,
}

/// Counts of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// Actions that will be done, by verb.
    #[serde(flatten)]
    pub verbs: BTreeMap<String, u64>,
    /// Actions that want a human.
    pub blocked: u64,
    /// Actions that wait for a time or for another run.
    pub held: u64,
    /// Actions of class destructive.
    pub destructive: u64,
    /// Of all that will be done.
    pub bytes_written: Bytes,
    /// The same.
    pub bytes_freed: Bytes,
}

impl Action {
    /// Nothing stands in its way.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.blocked_by.is_empty()
    }

    /// It wants a human.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.blocked_by
            .iter()
            .any(|block| matches!(block, Block::Blocked(_)))
    }

    /// Nothing but this one rule stands in its way.
    #[must_use]
    pub fn is_blocked_as(&self, code: &str) -> bool {
        let is = |block: &Block| matches!(block, Block::Blocked(why) if why.code == code);
        !self.blocked_by.is_empty() && self.blocked_by.iter().all(is)
    }
}

impl Plan {
    /// Nothing would be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.actions.iter().any(Action::is_free)
    }

    /// How people call an action of it.
    #[must_use]
    pub fn name_of<'a>(&'a self, id: &'a ActionId) -> &'a str {
        let action = self.actions.iter().find(|action| action.id == *id);
        action.map_or(id.as_str(), |action| &action.address)
    }

    /// Counts its actions.
    #[must_use]
    pub fn summarise(actions: &[Action]) -> Summary {
        let mut summary = Summary::default();
        for action in actions {
            if action.class == Class::Destructive {
                summary.destructive += 1;
            }
            if action.is_free() {
                *summary
                    .verbs
                    .entry(action.verb.as_str().to_owned())
                    .or_default() += 1;
                summary.bytes_written = summary.bytes_written + action.estimate.bytes;
                summary.bytes_freed = summary.bytes_freed + action.estimate.frees;
            } else if action.is_blocked() {
                summary.blocked += 1;
            } else {
                summary.held += 1;
            }
        }
        summary
    }
}
