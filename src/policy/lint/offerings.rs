//! Chains, compression and bare numbers: KL001, KL003, KL006.

use super::Lints;
use super::said;
use crate::model::finding::Severity;
use crate::model::seconds::Seconds;
use crate::policy::check::settings::unit;

const RATE: &str = "backup.compression.rate.limit";

impl Lints<'_> {
    pub(super) fn offerings(&mut self) {
        if self.policy.settings.chain_size < 1 {
            self.endless("settings.backup.chain.size", "chains never end");
        }
        for (name, offering) in &self.policy.offerings {
            if offering.backup_chain_size.is_some_and(|size| size < 1) {
                let path = format!("offerings.{name}.backupChainSize");
                self.endless(&path, &format!("chains of offering `{name}` never end"));
            }
            let keys = ["compressionLibrary", "compressMode"];
            for key in keys.into_iter().filter(|_| !offering.compress) {
                let path = format!("offerings.{name}.{key}");
                if self.origin(&path).is_some() {
                    let text = format!("offering `{name}` does not compress");
                    let said = said(text, "this has no effect", "write `compress: true`");
                    self.add("KL003", Severity::Warning, &[&path], said);
                }
            }
        }
    }

    fn endless(&mut self, path: &str, text: &str) {
        let hint =
            "each backup needs all before it: one damaged file makes every later backup unusable";
        self.add(
            "KL001",
            Severity::Warning,
            &[path],
            said(text, "less than 1 is no limit", hint),
        );
    }

    /// A number in a unit that only the documentation of `CloudStack` tells.
    pub(super) fn settings(&mut self) {
        let keys = [
            "knib.timeout",
            "backup.compression.retry.interval",
            "backup.compression.timeout",
            RATE,
            "backup.validation.interval",
            "backup.validation.retry.interval",
            "backup.validation.timeout",
            "backup.validation.boot.default.timeout",
            "backup.validation.script.default.timeout",
            "backup.validation.screenshot.default.wait",
        ];
        for key in keys {
            let path = format!("settings.{key}");
            let Some(number) = self.written(&path).filter(|text| *text != "0") else {
                continue;
            };
            let meant = match number.parse::<u64>() {
                Ok(number) if key != RATE => Seconds(number.saturating_mul(unit(key))).to_string(),
                Ok(number) => format!("{number}MB/s"),
                Err(_) => continue,
            };
            let text = format!("`{key}` is read as {meant}");
            let said = said(
                text,
                "a number without a unit",
                format!("write `{key}: {meant}`"),
            );
            self.add("KL006", Severity::Note, &[&path], said);
        }
    }

    /// The text of a value in its file.
    fn written(&self, path: &str) -> Option<String> {
        let origin = self.origin(path)?;
        let file = self.sources.file(&origin.file)?;
        let text = std::str::from_utf8(file.bytes.get(origin.start..origin.end)?).ok()?;
        Some(text.to_owned())
    }
}
