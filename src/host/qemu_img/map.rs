//! Reads what `qemu-img map --output=json` prints: which parts of an image come from where.

use serde::Deserialize;

use crate::host::HostError;
use crate::host::Result;
use crate::model::bytes::Bytes;
use crate::model::fault::Fault;

/// One extent, in bytes. They come in order and leave no gap.
#[derive(Deserialize)]
pub(super) struct Extent {
    start: u64,
    length: u64,
    depth: u32,
    /// Something is allocated there; older programs do not say, and then it is taken to be.
    #[serde(default = "taken")]
    present: bool,
    zero: bool,
    data: bool,
}

fn taken() -> bool {
    true
}

impl Extent {
    /// Whether it comes from the top layer.
    pub(super) fn is_of_top(&self) -> bool {
        self.depth == 0 && self.present
    }

    fn end(&self) -> u64 {
        self.start.saturating_add(self.length)
    }
}

pub(super) fn extents(json: &[u8], tried: &str) -> Result<Vec<Extent>> {
    serde_json::from_slice(json).map_err(|error| HostError::new(Fault::Unsupported, tried, error))
}

/// How much is data in `shown` and nothing in the top layer of `has`. What lies beyond the end of `has` was
/// cut off, and is not lacking.
pub(super) fn lacks(has: &[Extent], shown: &[Extent]) -> Bytes {
    let mut data = shown.iter().filter(|one| one.data && !one.zero).peekable();
    let mut lacking = 0;
    for hole in has.iter().filter(|one| !one.is_of_top()) {
        while data.next_if(|one| one.end() <= hole.start).is_some() {}
        while let Some(one) = data.peek().filter(|one| one.start < hole.end()) {
            lacking += one.end().min(hole.end()) - one.start.max(hole.start);
            if one.end() > hole.end() {
                break;
            }
            data.next();
        }
    }
    Bytes(lacking)
}

#[cfg(test)]
mod tests {
    use super::Extent;
    use super::lacks;

    fn map(parts: &[(u64, bool)]) -> Vec<Extent> {
        let mut start = 0;
        let extent = |(length, data): &(u64, bool)| {
            start += length;
            Extent {
                start: start - length,
                length: *length,
                depth: 0,
                present: *data,
                zero: !data,
                data: *data,
            }
        };
        parts.iter().map(extent).collect()
    }

    #[test]
    fn holes_lack_what_is_data_there() {
        let shown = map(&[(4, true), (4, false), (8, true)]);
        for (has, lacking) in [
            (map(&[(16, true)]), 0),
            (map(&[(16, false)]), 12),
            (map(&[(2, true), (1, false), (5, true), (8, false)]), 9),
            (map(&[(9, true), (1, false), (2, true), (1, false)]), 2),
            (map(&[(4, false)]), 4),
        ] {
            assert_eq!(lacks(&has, &shown).0, lacking);
        }
    }
}
