//! What the policy says against what the record says it said: offerings and policies.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::json;
use serde_json::to_value;

use crate::model::op::Named;
use crate::model::op::OfferingSet;
use crate::model::op::Op;
use crate::model::op::PolicySet;
use crate::model::plan::Class;
use crate::model::plan::Shift;
use crate::model::policy::Policy;
use crate::model::policy::VmPolicy;
use crate::model::reason::Reason;
use crate::model::world::AppliedPolicy;
use crate::planner::draft::Draft;
use crate::planner::draft::Key;
use crate::planner::draft::Wish;
use crate::planner::draft::blocked;
use crate::planner::fields::differences;

/// New and changed ones.
pub(super) fn plan(draft: &mut Draft<'_>, policy: &Policy) {
    for (name, spec) in &policy.offerings {
        let before = draft.ahead.applied.offerings.get(name).cloned();
        let before = before.filter(|known| !known.removed);
        let set = OfferingSet {
            name: name.clone(),
            spec: spec.clone(),
        };
        let (op, reason) = match &before {
            None => (Op::OfferingCreate(set), Reason::New),
            Some(known) if known.spec == *spec => continue,
            Some(known) => (
                Op::OfferingUpdate(set),
                Reason::Changed {
                    fields: differences(&known.spec, spec),
                },
            ),
        };
        let mut wish = Wish::new(format!("offering.{name}"), op, Class::Config, reason);
        wish.change = Shift {
            before: before.map_or_else(
                || json!(null),
                |known| to_value(&known.spec).unwrap_or_default(),
            ),
            after: to_value(spec).unwrap_or_default(),
        };
        wish.gives = vec![Key::Offering(name.clone())];
        draft.add(wish);
    }
    for (name, spec) in &policy.policies {
        let before = draft.ahead.applied.policies.get(name).cloned();
        let since = since(spec, before.as_ref(), draft.now.now);
        let set = PolicySet {
            name: name.clone(),
            spec: spec.clone(),
            since,
        };
        let (op, reason) = match &before {
            None => (Op::PolicyCreate(set), Reason::New),
            Some(known) if known.spec == *spec => continue,
            Some(known) => (
                Op::PolicyUpdate(set),
                Reason::Changed {
                    fields: differences(&known.spec, spec),
                },
            ),
        };
        let mut wish = Wish::new(format!("policy.{name}"), op, Class::Config, reason);
        wish.change = Shift {
            before: before.map_or_else(
                || json!(null),
                |known| to_value(&known.spec).unwrap_or_default(),
            ),
            after: to_value(spec).unwrap_or_default(),
        };
        wish.needs = vec![Key::Offering(spec.offering.clone())];
        wish.gives = vec![Key::Policy(name.clone())];
        draft.add(wish);
    }
}

/// Since when each schedule counts: a new one, or one with another text, from now on.
fn since(
    spec: &VmPolicy,
    before: Option<&AppliedPolicy>,
    now: Timestamp,
) -> BTreeMap<String, Timestamp> {
    let kept = |name: &str| {
        let known = before?;
        let (old, new) = (known.spec.schedules.get(name)?, spec.schedules.get(name)?);
        let same = old.cron == new.cron && old.timezone == new.timezone;
        known.since.get(name).copied().filter(|_| same)
    };
    spec.schedules
        .keys()
        .map(|name| (name.clone(), kept(name).unwrap_or(now)))
        .collect()
}

/// Ones that are no longer in the policy. An offering stays while a VM holds it.
pub(super) fn plan_removals(draft: &mut Draft<'_>, policy: &Policy) {
    let gone: Vec<String> = draft
        .ahead
        .applied
        .policies
        .keys()
        .filter(|name| !policy.policies.contains_key(*name))
        .cloned()
        .collect();
    for name in gone {
        let op = Op::PolicyDelete(Named { name: name.clone() });
        let mut wish = Wish::new(format!("policy.{name}"), op, Class::Config, Reason::Dropped);
        wish.change.before = draft
            .ahead
            .applied
            .policies
            .get(&name)
            .and_then(|known| to_value(&known.spec).ok())
            .unwrap_or_default();
        let held = holders(draft, |policy, _| policy == name);
        if !held.is_empty() {
            wish.blocks.push(blocked(
                "policy_held",
                format!("policy {name} is still in force for {}", held.join(", ")),
                "what keeps these VMs from leaving it is said above",
            ));
        }
        draft.add(wish);
    }
    let known = draft
        .ahead
        .applied
        .offerings
        .iter()
        .filter(|(_, known)| !known.removed);
    let gone: Vec<String> = known
        .map(|(name, _)| name)
        .filter(|name| !policy.offerings.contains_key(*name))
        .cloned()
        .collect();
    for name in gone {
        let op = Op::OfferingDelete(Named { name: name.clone() });
        let mut wish = Wish::new(
            format!("offering.{name}"),
            op,
            Class::Config,
            Reason::Dropped,
        );
        wish.change.before = draft
            .ahead
            .applied
            .offerings
            .get(&name)
            .and_then(|known| to_value(&known.spec).ok())
            .unwrap_or_default();
        let held = holders(draft, |_, offering| offering == name);
        if !held.is_empty() {
            wish.blocks.push(blocked(
                "offering_held",
                format!("offering {name} is still held by {}", held.join(", ")),
                "it can go once no VM holds it; put it back into the policy until then",
            ));
        }
        draft.add(wish);
    }
}

/// VMs that in the world ahead have a policy, or an offering, of which `which` is true.
fn holders(draft: &Draft<'_>, which: impl Fn(&str, &str) -> bool) -> Vec<String> {
    let applied = &draft.ahead.applied.policies;
    let holds = |policy: &str| {
        let offering = applied
            .get(policy)
            .map_or("", |known| known.spec.offering.as_str());
        which(policy, offering)
    };
    let guests = draft.ahead.guests.values();
    guests
        .filter(|guest| {
            guest
                .record
                .assigned
                .as_ref()
                .is_some_and(|assigned| holds(&assigned.policy))
        })
        .map(|guest| guest.vm.name.clone())
        .collect()
}
