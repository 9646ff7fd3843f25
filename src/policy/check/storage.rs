//! `storage`.

use std::collections::BTreeMap;

use super::Check;
use super::DAY;
use super::HOUR;
use super::YEAR;
use crate::model::bytes::Bytes;
use crate::model::policy::MinFree;
use crate::model::policy::Storage;
use crate::model::policy::VerifyPolicy;
use crate::model::seconds::Seconds;
use crate::policy::node::Node;
use crate::policy::raw;
use crate::policy::size;

const MIN_FREE: MinFree = MinFree::Percent(5.0);
const VERIFY_INTERVAL: Seconds = Seconds(30 * DAY);
const VERIFY_RATE: Bytes = Bytes(200_000_000);

impl Check<'_, '_> {
    pub(super) fn storages(&mut self) -> BTreeMap<String, Storage> {
        let mut storages = BTreeMap::<String, Storage>::new();
        for (name, entry, raw) in self.section::<raw::Storage>("storage") {
            let node = &entry.node;
            let place = node.place_of("path");
            let path = match &raw.path {
                Some(path) => self.path(path, place),
                None => continue,
            };
            let same = storages.iter().find(|(_, other)| other.path == path);
            if let Some((other, _)) = same {
                let first = self
                    .whole
                    .at(&["storage", other, "path"])
                    .map(|node| node.place);
                let text = format!("storages `{other}` and `{name}` are the same directory");
                let finding = self.found.error("same_storage", text, place, "again here");
                let first = first.map(|place| self.found.origin(place));
                let finding = finding.at(first.as_ref(), "first here");
                self.found
                    .add(finding.hint("one directory is one storage: keep one of the names"));
            }
            let min_free = raw.min_free.as_ref().and_then(|text| {
                let place = node.place_of("minFree");
                size::read_min_free(text)
                    .map_err(|why| self.found.misread("bad_size", "a size", text, place, why))
                    .ok()
            });
            let verify = raw.verify.as_ref();
            let storage = Storage {
                path,
                min_free: min_free.unwrap_or(MIN_FREE),
                verify: verify.and_then(|verify| Some(self.verify(verify, node.at(&["verify"])?))),
            };
            storages.insert(name, storage);
        }
        storages
    }

    fn verify(&mut self, raw: &raw::Verify, node: &Node) -> VerifyPolicy {
        let interval = self.length(raw.interval.as_ref(), node, "interval", HOUR..=10 * YEAR);
        let rate = raw.rate_limit.as_ref();
        VerifyPolicy {
            interval: interval.unwrap_or(VERIFY_INTERVAL),
            rate_limit: match rate {
                Some(rate) => self.rate_text(&rate.0, node.place_of("rateLimit")),
                None => Some(VERIFY_RATE),
            },
        }
    }
}
