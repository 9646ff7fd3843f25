//! Lists and shows, drawn for people.

mod backups;
mod files;
mod jobs;
mod others;
mod runs;
mod snapshots;
mod verified;
mod vms;

use jiff::Timestamp;
use jiff::tz::TimeZone;

pub use crate::cli::render::lists::backups::backup;
pub use crate::cli::render::lists::backups::backups;
pub use crate::cli::render::lists::files::file;
pub use crate::cli::render::lists::files::filesystems;
pub use crate::cli::render::lists::jobs::jobs;
pub use crate::cli::render::lists::others::chains;
pub use crate::cli::render::lists::others::offerings;
pub use crate::cli::render::lists::others::storages;
pub use crate::cli::render::lists::runs::run;
pub use crate::cli::render::lists::runs::runs;
pub use crate::cli::render::lists::snapshots::snapshots;
pub use crate::cli::render::lists::verified::verified;
pub use crate::cli::render::lists::vms::status;
pub use crate::cli::render::lists::vms::vms;

/// When it is, and in which zone times are shown.
#[derive(Clone, Debug)]
pub struct When {
    /// Now.
    pub now: Timestamp,
    /// The zone.
    pub zone: TimeZone,
}

fn or_dash(text: Option<impl ToString>) -> String {
    text.map_or_else(|| "-".to_owned(), |text| text.to_string())
}

fn yes(is: bool) -> String {
    if is { "yes" } else { "no" }.to_owned()
}
