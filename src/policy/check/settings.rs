//! `settings`.

use super::Check;
use super::HOUR;
use super::MINUTE;
use super::YEAR;
use crate::model::bytes::Bytes;
use crate::model::policy::CompressionSettings;
use crate::model::policy::Settings;
use crate::model::policy::ValidationSettings;
use crate::model::seconds::Seconds;
use crate::policy::node::Node;
use crate::policy::raw;
use crate::policy::raw::AmountOfTime;
use crate::policy::raw::AmountPerSecond;
use crate::policy::size;
use crate::policy::source::Place;

/// Bytes in the unit in which rates are bare numbers.
const MB: u64 = 1_000_000;

/// What a guest needs to boot at all.
const LEAST_MEMORY: Bytes = Bytes(64 << 20);

/// Seconds in the unit that a bare number of this setting has in `CloudStack`.
pub(in crate::policy) fn unit(key: &str) -> u64 {
    match key {
        "backup.validation.interval" => HOUR,
        "backup.compression.retry.interval" | "backup.validation.retry.interval" => MINUTE,
        _ => 1,
    }
}

impl Check<'_, '_> {
    pub(super) fn settings(&mut self) -> Settings {
        let default = Settings::default();
        let Some(node) = self.whole.at(&["settings"]) else {
            return default;
        };
        let Some(raw) = self.raw::<raw::Settings>(node) else {
            return default;
        };
        Settings {
            chain_size: raw.chain_size.unwrap_or(default.chain_size),
            timeout: self
                .time(raw.timeout.as_ref(), node, "knib.timeout")
                .unwrap_or(default.timeout),
            compression: self.compression(&raw, node, &default.compression),
            validation: self.validation(&raw, node, &default.validation),
        }
    }

    fn compression(
        &mut self,
        raw: &raw::Settings,
        node: &Node,
        default: &CompressionSettings,
    ) -> CompressionSettings {
        let rate = raw.compression_rate_limit.as_ref();
        let rate_place = node.place_of("backup.compression.rate.limit");
        let retry = raw.compression_retry_interval.as_ref();
        let timeout = raw.compression_timeout.as_ref();
        CompressionSettings {
            enabled: raw.compression_enabled.unwrap_or(default.enabled),
            concurrent: raw.compression_concurrent.unwrap_or(default.concurrent),
            attempts: raw.compression_attempts.unwrap_or(default.attempts),
            retry_interval: self
                .time(retry, node, "backup.compression.retry.interval")
                .unwrap_or(default.retry_interval),
            timeout: self
                .time(timeout, node, "backup.compression.timeout")
                .unwrap_or(default.timeout),
            minimum_free: raw.compression_minimum_free.unwrap_or(default.minimum_free),
            coroutines: raw.compression_coroutines.unwrap_or(default.coroutines),
            rate_limit: rate.map_or(default.rate_limit, |rate| self.rate(rate, rate_place)),
        }
    }

    fn validation(
        &mut self,
        raw: &raw::Settings,
        node: &Node,
        default: &ValidationSettings,
    ) -> ValidationSettings {
        let mut time = |raw: &Option<AmountOfTime>, key: &str, default: Seconds| {
            let key = format!("backup.validation.{key}");
            self.time(raw.as_ref(), node, &key).unwrap_or(default)
        };
        ValidationSettings {
            enabled: raw.validation_enabled.unwrap_or(default.enabled),
            interval: time(&raw.validation_interval, "interval", default.interval),
            concurrent: raw.validation_concurrent.unwrap_or(default.concurrent),
            attempts: raw.validation_attempts.unwrap_or(default.attempts),
            retry_interval: time(
                &raw.validation_retry_interval,
                "retry.interval",
                default.retry_interval,
            ),
            timeout: time(&raw.validation_timeout, "timeout", default.timeout),
            boot_timeout: time(
                &raw.validation_boot_timeout,
                "boot.default.timeout",
                default.boot_timeout,
            ),
            command_timeout: time(
                &raw.validation_command_timeout,
                "script.default.timeout",
                default.command_timeout,
            ),
            screenshot_wait: time(
                &raw.validation_screenshot_wait,
                "screenshot.default.wait",
                default.screenshot_wait,
            ),
            end_chain_on_failure: raw
                .validation_end_chain_on_failure
                .unwrap_or(default.end_chain_on_failure),
            memory: raw
                .validation_memory
                .as_ref()
                .map_or(default.memory, |text| self.memory(text, node)),
            vcpus: raw.validation_vcpus.unwrap_or(default.vcpus),
        }
    }

    /// An amount of memory that a guest can boot in; none for no limit.
    fn memory(&mut self, text: &str, node: &Node) -> Option<Bytes> {
        let key = "backup.validation.max.memory";
        let place = node.place_of(key);
        match size::read(text) {
            Ok(Bytes(0)) => None,
            Ok(memory) if memory < LEAST_MEMORY => {
                let text = format!("{key} must be 0B, for no limit, or at least {LEAST_MEMORY}");
                let finding =
                    self.found
                        .error("out_of_range", &text, place, "too little to boot in");
                self.found.add(finding);
                None
            }
            Ok(memory) => Some(memory),
            Err(why) => {
                self.found.misread("bad_size", "a size", text, place, why);
                None
            }
        }
    }

    /// A length of time, or a number in the setting's own unit.
    fn time(&mut self, amount: Option<&AmountOfTime>, node: &Node, key: &str) -> Option<Seconds> {
        let least = match key {
            "knib.timeout" | "backup.compression.timeout" | "backup.validation.timeout" => MINUTE,
            key => match key.rsplit('.').next() {
                Some("interval" | "wait") => 0,
                _ => 1,
            },
        };
        let bounds = least..=YEAR;
        match amount? {
            AmountOfTime::Bare(number) => {
                let length = Seconds(number.saturating_mul(unit(key)));
                Some(self.bounded(length, node.place_of(key), key, bounds))
            }
            AmountOfTime::Text(text) => self.length(Some(text), node, key, bounds),
        }
    }

    /// A rate; none for no limit.
    fn rate(&mut self, amount: &AmountPerSecond, place: Place) -> Option<Bytes> {
        match amount {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "the schema bounds it, and less than 1 is no limit"
            )]
            AmountPerSecond::Bare(number) => {
                (*number >= 1.0).then_some(Bytes((*number * 1_000_000.0) as u64))
            }
            AmountPerSecond::Text(text) => self.rate_text(&text.0, place),
        }
    }

    /// As [`Self::rate`], with its unit.
    pub(super) fn rate_text(&mut self, text: &str, place: Place) -> Option<Bytes> {
        match size::read_rate(text) {
            Ok(Bytes(0)) => None,
            Ok(rate) if rate.0 < MB => {
                let text = "a rate limit must be 0MB/s, for none, or at least 1MB/s";
                let finding = self
                    .found
                    .error("out_of_range", text, place, "less than 1MB/s");
                self.found.add(finding);
                None
            }
            Ok(rate) => Some(rate),
            Err(why) => {
                self.found.misread("bad_rate", "a rate", text, place, why);
                None
            }
        }
    }
}
