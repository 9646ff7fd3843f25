//! Texts that stand under many keys: lengths of time, zones, paths.

use std::ops::RangeInclusive;

use camino::Utf8Component;
use camino::Utf8Path;
use camino::Utf8PathBuf;
use jiff::tz::TimeZone;

use super::Check;
use crate::model::misread::Misread;
use crate::model::seconds::Seconds;
use crate::policy::duration;
use crate::policy::node::Node;
use crate::policy::raw;
use crate::policy::source::Place;
use crate::policy::suggest::closest;

impl Check<'_, '_> {
    /// A length of time under a key, between two bounds.
    pub(super) fn length(
        &mut self,
        text: Option<&raw::Duration>,
        node: &Node,
        key: &str,
        bounds: RangeInclusive<u64>,
    ) -> Option<Seconds> {
        let text = &text?.0;
        let place = node.place_of(key);
        match duration::read(text) {
            Ok(length) => Some(self.bounded(length, place, key, bounds)),
            Err(why) => {
                self.found
                    .misread("bad_duration", "a length of time", text, place, why);
                None
            }
        }
    }

    pub(super) fn bounded(
        &mut self,
        length: Seconds,
        place: Place,
        key: &str,
        bounds: RangeInclusive<u64>,
    ) -> Seconds {
        if !bounds.contains(&length.0) {
            let (least, most) = (Seconds(*bounds.start()), Seconds(*bounds.end()));
            let text = format!("`{key}` must be between {least} and {most}");
            let finding =
                self.found
                    .error("out_of_range", text, place, format!("this is {length}"));
            self.found.add(finding);
        }
        length
    }

    /// A time zone, spelled as the database spells it.
    pub(super) fn zone(&mut self, name: &str, place: Place) -> String {
        if let Ok(zone) = TimeZone::get(name) {
            return zone.iana_name().unwrap_or(name).to_owned();
        }
        let known = jiff::tz::db().available().map(|name| name.to_string());
        let known = known.collect::<Vec<_>>();
        let city = |zone: &&String| {
            let last = zone.rsplit('/').next();
            last.is_some_and(|city| city.eq_ignore_ascii_case(name))
        };
        let meant = known.iter().find(city).map(String::as_str);
        let meant = meant.or_else(|| closest(name, known.iter().map(String::as_str)));
        let hint = match meant {
            Some(zone) => format!("did you mean `{zone}`?"),
            None if known.len() < 2 => {
                "this machine knows no time zones: install the package tzdata".into()
            }
            None => "zones are named as in `Europe/Paris`; `timedatectl list-timezones` lists them"
                .into(),
        };
        let why = Misread::new("no such time zone", 0..name.len()).hint(hint);
        self.found
            .misread("bad_zone", "a time zone", name, place, why);
        name.to_owned()
    }

    /// An absolute path, with one `/` between its parts.
    pub(super) fn path(&mut self, text: &str, place: Place) -> Utf8PathBuf {
        let path = Utf8Path::new(text);
        let problem = if !path.is_absolute() {
            Some((
                "not absolute",
                "write it from `/` on: knib is started in different directories",
            ))
        } else if path
            .components()
            .any(|part| part == Utf8Component::ParentDir)
        {
            Some(("goes up with `..`", "write the path itself"))
        } else if text.chars().any(char::is_control) {
            Some((
                "a control character",
                "libvirt and people could not read such a path",
            ))
        } else {
            None
        };
        if let Some((what, hint)) = problem {
            let why = Misread::new(what, 0..text.len()).hint(hint);
            self.found
                .misread("bad_path", "a path that knib can use", text, place, why);
        }
        path.components().collect()
    }
}
