//! `settings`: flat, under the names they have in `CloudStack`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Duration;
use super::Rate;

/// Settings of the whole host. A length of time may be a bare number in the setting's own unit.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::policy) struct Settings {
    /// Backups in a chain: 1 makes each backup full, less than 1 never ends a chain. Default 8.
    #[serde(rename = "backup.chain.size")]
    #[schemars(range(max = 1024))]
    pub chain_size: Option<i64>,
    /// How long the copy of one backup may take; a bare number is in seconds. Default `12h`.
    #[serde(rename = "knib.timeout")]
    pub timeout: Option<AmountOfTime>,
    /// Run compression jobs. Default `true`.
    #[serde(rename = "backup.compression.task.enabled")]
    pub compression_enabled: Option<bool>,
    /// Compression jobs at the same time, less than 1 for no limit. Default 5.
    #[serde(rename = "backup.compression.max.concurrent.compressions.per.host")]
    #[schemars(range(max = 1000))]
    pub compression_concurrent: Option<i64>,
    /// Attempts in all. Default 2.
    #[serde(rename = "backup.compression.max.job.retries")]
    #[schemars(range(min = 1, max = 1000))]
    pub compression_attempts: Option<u32>,
    /// From one attempt to the next; a bare number is in minutes. Default `1h`.
    #[serde(rename = "backup.compression.retry.interval")]
    pub compression_retry_interval: Option<AmountOfTime>,
    /// How long one step of a compression may take; a bare number is in seconds. Default `8h`.
    #[serde(rename = "backup.compression.timeout")]
    pub compression_timeout: Option<AmountOfTime>,
    /// Free space that a compression needs, times the size of the backup. Default 1.
    #[serde(rename = "backup.compression.minimum.free.storage")]
    #[schemars(range(min = 0, max = 1000))]
    pub compression_minimum_free: Option<f64>,
    /// Threads of one compression. Default 1.
    #[serde(rename = "backup.compression.coroutines")]
    #[schemars(range(min = 1, max = 16))]
    pub compression_coroutines: Option<u32>,
    /// How fast a compression may write; a bare number is in MB/s, less than 1 for no limit.
    /// Default 0.
    #[serde(rename = "backup.compression.rate.limit")]
    pub compression_rate_limit: Option<AmountPerSecond>,
    /// Run validation jobs. Default `true`.
    #[serde(rename = "backup.validation.task.enabled")]
    pub validation_enabled: Option<bool>,
    /// A VM is booted at most once in this time; a bare number is in hours. Default `24h`.
    #[serde(rename = "backup.validation.interval")]
    pub validation_interval: Option<AmountOfTime>,
    /// Validations at the same time, less than 1 for no limit. Default 1.
    #[serde(rename = "backup.validation.max.concurrent.operations.per.host")]
    #[schemars(range(max = 1000))]
    pub validation_concurrent: Option<i64>,
    /// Attempts in all. Default 2.
    #[serde(rename = "backup.validation.max.job.retries")]
    #[schemars(range(min = 1, max = 1000))]
    pub validation_attempts: Option<u32>,
    /// From one attempt to the next; a bare number is in minutes. Default `1h`.
    #[serde(rename = "backup.validation.retry.interval")]
    pub validation_retry_interval: Option<AmountOfTime>,
    /// How long one validation may take; a bare number is in seconds. Default `1h`.
    #[serde(rename = "backup.validation.timeout")]
    pub validation_timeout: Option<AmountOfTime>,
    /// How long the guest agent may take to answer; a bare number is in seconds. Default `4m`.
    #[serde(rename = "backup.validation.boot.default.timeout")]
    pub validation_boot_timeout: Option<AmountOfTime>,
    /// How long a command in the guest may take; a bare number is in seconds. Default `1m`.
    #[serde(rename = "backup.validation.script.default.timeout")]
    pub validation_command_timeout: Option<AmountOfTime>,
    /// How long to wait before the picture is taken; a bare number is in seconds. Default `1m`.
    #[serde(rename = "backup.validation.screenshot.default.wait")]
    pub validation_screenshot_wait: Option<AmountOfTime>,
    /// Make the next backup full when one turns out invalid. Default `true`.
    #[serde(rename = "backup.validation.end.chain.on.fail")]
    pub validation_end_chain_on_failure: Option<bool>,
    /// Memory of the VM in which a backup is booted, at most; `0B` for no limit. Default `4GiB`.
    #[serde(rename = "backup.validation.max.memory")]
    #[schemars(
        example = "4GiB",
        regex(pattern = r"^[0-9]+([.][0-9]{1,3})? ?(B|[KMGT]iB|kB|[MGT]B)$")
    )]
    pub validation_memory: Option<String>,
    /// Processors of the VM in which a backup is booted, at most; less than 1 for no limit. Default 2.
    #[serde(rename = "backup.validation.max.vcpus")]
    #[schemars(range(max = 1024))]
    pub validation_vcpus: Option<i64>,
}

/// A length of time, or a number in the unit of the setting.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(in crate::policy) enum AmountOfTime {
    /// In the unit of the setting.
    Bare(#[schemars(range(min = 0, max = 1_000_000_000))] u64),
    /// With its unit.
    Text(Duration),
}

/// An amount of data a second, or a number in MB/s.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(in crate::policy) enum AmountPerSecond {
    /// In MB/s.
    Bare(#[schemars(range(min = 0, max = 1_000_000))] f64),
    /// With its unit.
    Text(Rate),
}
