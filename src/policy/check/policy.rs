//! `policies` and `templates`.

use std::collections::BTreeMap;

use super::Check;
use crate::model::id::Target;
use crate::model::policy::Offering;
use crate::model::policy::Select;
use crate::model::policy::VmPolicy;
use crate::policy::node::Entry;
use crate::policy::node::Node;
use crate::policy::node::Value;
use crate::policy::raw;
use crate::policy::words::quote;

impl Check<'_, '_> {
    pub(super) fn policies(
        &mut self,
        offerings: &BTreeMap<String, Offering>,
        timezone: &str,
    ) -> BTreeMap<String, VmPolicy> {
        // A template that no policy uses is checked all the same. It has the keys of a policy.
        for (_, entry, raw) in self.section::<raw::Policy>("templates") {
            self.parts(raw, &entry.node, offerings, timezone);
        }
        if self.scope.complete && self.whole.entry("policies").is_none() {
            self.refuse(
                "missing_key",
                "the policy has no `policies`",
                self.whole.place,
                "in none of the files",
                "to back up nothing on purpose, write `policies: {}`",
            );
        }
        let policies = self.section::<raw::Policy>("policies").into_iter();
        policies
            .map(|(name, entry, raw)| {
                if let Some(raw::Name(template)) = &raw.extends {
                    self.refer(template, "templates", entry.node.place_of("extends"));
                }
                let policy = self.parts(raw, &entry.node, offerings, timezone);
                self.whole_policy(&name, &policy, &entry);
                (name, policy)
            })
            .collect()
    }

    /// What a policy and a template have in common: each key by itself.
    fn parts(
        &mut self,
        raw: raw::Policy,
        node: &Node,
        offerings: &BTreeMap<String, Offering>,
        timezone: &str,
    ) -> VmPolicy {
        let offering = raw.offering.map(|name| name.0);
        if let Some(name) = &offering {
            self.refer(name, "offerings", node.place_of("offering"));
        }
        let storage = raw.storage.map(|name| name.0);
        if let Some(name) = &storage {
            self.refer(name, "storage", node.place_of("storage"));
        }
        let named = offering
            .as_deref()
            .and_then(|name| Some((name, offerings.get(name)?)));
        let validate = self.how_for_policy(raw.validate.as_ref(), node, named);
        let schedules = match node.at(&["schedules"]) {
            Some(node) => self.schedules(raw.schedules, node, timezone),
            None => BTreeMap::new(),
        };
        let retention = raw.retention.zip(node.at(&["retention"]));
        let select = raw.select.zip(node.at(&["select"]));
        let disks = raw
            .disks
            .and_then(|disks| disks.exclude)
            .unwrap_or_default();
        VmPolicy {
            offering: offering.unwrap_or_default(),
            storage,
            select: select.map_or_else(Select::default, |(raw, node)| self.select(raw, node)),
            priority: raw.priority.unwrap_or_default(),
            schedules,
            // Without a rule everything is kept, as without retention.
            retention: retention
                .map(|(raw, node)| self.retention(&raw, node))
                .filter(|retention| !retention.keeps_everything()),
            min_backups: raw
                .protect
                .and_then(|protect| protect.min_backups)
                .unwrap_or(1),
            exclude_disks: disks.into_iter().map(Target::new).collect(),
            first: raw.first.unwrap_or_default(),
            paused: raw.paused.unwrap_or_default(),
            validate,
        }
    }

    /// What only a whole policy must have.
    fn whole_policy(&mut self, name: &str, policy: &VmPolicy, entry: &Entry) {
        let node = &entry.node;
        let name = quote(name);
        let template = node.at(&["extends"]).map(|node| &node.value);
        let inherits = match template {
            Some(Value::Text(template)) => self.whole.at(&["templates", template]).is_some(),
            Some(_) => false,
            None => true,
        };
        // What a template would have said is not known when there is no such template.
        if !inherits {
            return;
        }
        let mut missing = |key: &str, hint: &str| {
            let text = format!("policy {name} has no `{key}`");
            let label = format!("`{key}` is missing");
            self.refuse("missing_key", text, entry.key, &label, hint);
        };
        if node.entry("offering").is_none() {
            missing(
                "offering",
                "write one here or in the template that it extends",
            );
        }
        let elsewhere = |schedule: &crate::model::policy::Schedule| schedule.storage.is_some();
        let all_elsewhere =
            !policy.schedules.is_empty() && policy.schedules.values().all(elsewhere);
        if node.entry("storage").is_none() && !all_elsewhere {
            missing(
                "storage",
                "write one here or in the template that it extends",
            );
        }
        let schedules = node.entry("schedules").map(|entry| &entry.node);
        let no_schedule =
            schedules.is_none_or(|node| matches!(&node.value, Value::Map(map) if map.is_empty()));
        if no_schedule && !policy.paused {
            missing(
                "schedules",
                "for example `schedules: { nightly: { cron: \"0 2 * * *\" } }`; a policy without any is `paused: true`",
            );
        }
        for (schedule, entry) in policy
            .schedules
            .keys()
            .filter_map(|schedule| Some((schedule, schedules?.entry(schedule)?)))
        {
            if entry.node.entry("cron").is_none() {
                let text = format!(
                    "schedule {} of policy {name} has no `cron`",
                    quote(schedule)
                );
                let hint = "for example `cron: \"0 2 * * *\"`, 02:00 every day";
                self.refuse("missing_key", text, entry.key, "`cron` is missing", hint);
            }
        }
    }
}
