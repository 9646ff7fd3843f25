//! Scenarios in which backups are read again, and one of them is not what was written.

use knib::model::id::VmId;
use knib::model::layout;

use crate::crash::scenario::Ask;
use crate::crash::scenario::DB;
use crate::crash::scenario::Scenario;
use crate::crash::scenario::Story;
use crate::crash::scenario::verifying;
use crate::sim::STORAGE;

/// A byte of a file of the second of two is another. It is no disk's, so that all else can be judged.
fn rotten() -> Story {
    let story = Story::new(&verifying())
        .time_passes()
        .apply("2026-11-22T12:00:01Z")
        .apply("2026-11-23T02:30:00Z");
    let dir = layout::backup_dir(STORAGE.into(), &VmId::new(DB), &story.latest());
    story.site(|site| {
        let file = dir.join(layout::DOMAIN);
        site.published.remove(&file);
        let mut text = site.files.read(&file).expect("it is there");
        text[0] ^= 1;
        let written = site.files.write(&file, &text);
        written.expect("it can be written");
    })
}

/// Somebody asks for it.
pub(crate) fn asked() -> Scenario {
    let story = rotten();
    let last = story.latest();
    story.asks("verify, asked", Ask::Verify(last), 0)
}

/// It is time.
pub(crate) fn scheduled() -> Scenario {
    let story = rotten().wait("2026-11-23T15:00:00Z");
    story.asks("verify, scheduled", Ask::Apply, 0)
}
