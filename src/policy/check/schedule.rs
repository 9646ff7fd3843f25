//! `schedules` and `retention`.

use std::collections::BTreeMap;

use super::Check;
use super::MINUTE;
use super::YEAR;
use crate::model::calendar::Calendar;
use crate::model::policy::Retention;
use crate::model::policy::Schedule;
use crate::model::seconds::Seconds;
use crate::policy::node::Node;
use crate::policy::node::Value;
use crate::policy::raw;
use crate::policy::words::quote;

impl Check<'_, '_> {
    /// The schedules of a policy or a template. `node` is the map of them.
    pub(super) fn schedules(
        &mut self,
        raw: BTreeMap<raw::Name, raw::Schedule>,
        node: &Node,
        timezone: &str,
    ) -> BTreeMap<String, Schedule> {
        let mut schedules = BTreeMap::new();
        for (raw::Name(name), raw) in raw {
            if let Some(entry) = node.entry(&name) {
                let schedule = self.schedule(&name, raw, &entry.node, timezone);
                schedules.insert(name, schedule);
            }
        }
        schedules
    }

    fn schedule(
        &mut self,
        name: &str,
        raw: raw::Schedule,
        node: &Node,
        timezone: &str,
    ) -> Schedule {
        let cron = raw.cron.map(|cron| cron.0);
        let calendar = cron.as_deref().and_then(|cron| self.calendar(cron, node));
        let jitter = self.length(raw.jitter.as_ref(), node, "jitter", 0..=YEAR);
        if let (Some(jitter), Some(calendar)) = (jitter, &calendar) {
            self.fits(jitter, calendar, node);
        }
        let isolated = raw.isolated.unwrap_or_default();
        let storage = raw.storage.map(|storage| storage.0);
        if let Some(storage) = &storage {
            self.refer(storage, "storage", node.place_of("storage"));
        }
        if let (Some(entry), false) = (node.entry("storage"), isolated) {
            let text = format!(
                "schedule {} names a storage and is not isolated",
                quote(name)
            );
            let hint = "a chain lives on one storage: write `isolated: true`, or name the storage in the policy";
            self.refuse(
                "contradiction",
                text,
                entry.key,
                "only for isolated backups",
                hint,
            );
        }
        let retention = raw.retention.zip(node.at(&["retention"]));
        Schedule {
            cron: cron.unwrap_or_default(),
            timezone: match raw.timezone {
                Some(zone) => self.zone(&zone, node.place_of("timezone")),
                None => timezone.to_owned(),
            },
            jitter: jitter.unwrap_or_default(),
            deadline: self.length(raw.deadline.as_ref(), node, "deadline", MINUTE..=YEAR),
            isolated,
            quiesce: raw.quiesce.unwrap_or_default(),
            storage,
            retention: retention.map(|(raw, node)| self.retention(&raw, node)),
            paused: raw.paused.unwrap_or_default(),
        }
    }

    fn calendar(&mut self, cron: &str, node: &Node) -> Option<Calendar> {
        Calendar::parse(cron)
            .map_err(|why| {
                let place = node.place_of("cron");
                self.found
                    .misread("bad_cron", "a cron pattern", cron, place, why);
            })
            .ok()
    }

    /// With a jitter as long as the time between two slots, a VM's later slot could be due first.
    fn fits(&mut self, jitter: Seconds, calendar: &Calendar, node: &Node) {
        if jitter == Seconds(0) {
            return;
        }
        if let Some(gap) = calendar.shortest_gap().filter(|gap| jitter >= *gap) {
            let text = format!("`jitter` must be less than the {gap} from one slot to the next");
            let place = node.place_of("jitter");
            let finding =
                self.found
                    .error("out_of_range", text, place, format!("this is {jitter}"));
            self.found.add(finding);
        }
    }

    pub(super) fn retention(&mut self, raw: &raw::Retention, node: &Node) -> Retention {
        let retention = Retention {
            keep_last: raw.keep_last.unwrap_or_default(),
            keep_hourly: raw.keep_hourly.unwrap_or_default(),
            keep_daily: raw.keep_daily.unwrap_or_default(),
            keep_weekly: raw.keep_weekly.unwrap_or_default(),
            keep_monthly: raw.keep_monthly.unwrap_or_default(),
            keep_yearly: raw.keep_yearly.unwrap_or_default(),
            keep_within: self.length(raw.keep_within.as_ref(), node, "keepWithin", 0..=100 * YEAR),
        };
        // Whoever wrote zeros meant to keep little, and no rule at all would keep everything.
        // A value that could not be read was told already.
        let read = [
            raw.keep_last,
            raw.keep_hourly,
            raw.keep_daily,
            raw.keep_weekly,
            raw.keep_monthly,
            raw.keep_yearly,
        ];
        let read = read.into_iter().flatten().count();
        let all = matches!(&node.value, Value::Map(map) if map.len() == read);
        if all && read > 0 && retention.keeps_everything() {
            let text = "`retention` has no rule that keeps anything";
            let finding = self
                .found
                .error("keeps_nothing", text, node.place, "all of it is 0")
                .hint("write what is to stay, for example `keepLast: 1`; `{}` keeps every backup");
            self.found.add(finding);
        }
        retention
    }
}
