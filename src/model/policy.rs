//! What people want: the policy with every default filled in and every template merged.
//!
//! The grammar is described in the policy's JSON Schema; this is its meaning. Values here are
//! checked: references exist, patterns parse, numbers make sense.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use crate::model::bytes::Bytes;
use crate::model::digest::Digest;
use crate::model::finding::Origin;
use crate::model::id::Target;
use crate::model::seconds::Seconds;

/// A whole policy, as one or several files say it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// The libvirt URI; always one of this host.
    pub connect: String,
    /// The state file.
    pub state: Utf8PathBuf,
    /// IANA zone: the default of schedules, and the zone of retention's days, weeks and months.
    pub timezone: String,
    /// Settings of the whole host.
    pub settings: Settings,
    /// Storages by name.
    pub storages: BTreeMap<String, Storage>,
    /// Offerings by name.
    pub offerings: BTreeMap<String, Offering>,
    /// Policies by name.
    pub policies: BTreeMap<String, VmPolicy>,
    /// Of the files' bytes, in the order they were read.
    pub digest: Digest,
    /// Where each value was written: `policies.prod.retention.keepDaily` -> place. A value that
    /// came from a template has the template's place; a default has none.
    #[serde(skip)]
    pub origins: BTreeMap<String, Origin>,
}

/// A directory for backups.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Storage {
    /// Absolute.
    pub path: Utf8PathBuf,
    /// What must stay free.
    pub min_free: MinFree,
    /// Regular verification; off when absent.
    pub verify: Option<VerifyPolicy>,
}

/// What must stay free on a storage.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MinFree {
    /// This many bytes.
    Bytes(Bytes),
    /// This part of the file system, in percent.
    Percent(f64),
}

impl MinFree {
    /// In bytes, on a file system of a size.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a file system to the nearest megabyte is plenty"
    )]
    pub fn of(self, total: Bytes) -> Bytes {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => Bytes((total.0 as f64 * percent / 100.0) as u64),
        }
    }
}

/// How a storage's files are verified.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VerifyPolicy {
    /// Each file is read again this long after its last verification.
    pub interval: Seconds,
    /// Bytes a second; none for no limit.
    pub rate_limit: Option<Bytes>,
}

/// What kind of backups.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Offering {
    /// For people.
    pub description: Option<String>,
    /// Whether backups are compressed.
    pub compress: bool,
    /// With what.
    pub compression_library: CompressionLibrary,
    /// By a job afterwards or while copying.
    pub compress_mode: CompressMode,
    /// Whether and how backups are booted.
    pub validate: Option<Box<Validation>>,
    /// Whether a VM may run from a backup.
    pub allow_quick_restore: bool,
    /// Whether files may be taken out of backups.
    pub allow_extract_file: bool,
    /// Backups in a chain; below 1 there is no limit; absent: the setting.
    pub backup_chain_size: Option<i64>,
}

/// The compression of qcow2 clusters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum CompressionLibrary {
    #[default]
    Zstd,
    Zlib,
}

impl CompressionLibrary {
    /// As policies and `qemu-img` spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Zlib => "zlib",
        }
    }
}

/// When compression happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CompressMode {
    /// A job after the backup.
    #[default]
    Job,
    /// While the backup is copied.
    Inline,
}

/// How a backup is validated; keys left out of a policy are absent and take the settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// In the order they are carried out; absent: what suits the VM.
    pub steps: Option<Vec<ValidationStep>>,
    /// How long the agent may take to answer.
    pub boot_timeout: Option<Seconds>,
    /// How long to wait before the picture.
    pub screenshot_wait: Option<Seconds>,
    /// Path of a program in the guest.
    pub command: Option<String>,
    /// Its arguments.
    pub arguments: Option<Vec<String>>,
    /// How long it may take.
    pub command_timeout: Option<Seconds>,
    /// What it must exit with.
    pub expected_exit_code: Option<i32>,
    /// What it must print.
    pub expected_output: Option<String>,
    /// A VM is booted at most once in this time.
    pub interval: Option<Seconds>,
    /// Whether an invalid backup ends the chain.
    pub end_chain_on_failure: Option<bool>,
}

impl Validation {
    /// What it leaves out, from another one.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        let (one, other) = (self.clone(), other.clone());
        Self {
            steps: one.steps.or(other.steps),
            boot_timeout: one.boot_timeout.or(other.boot_timeout),
            screenshot_wait: one.screenshot_wait.or(other.screenshot_wait),
            command: one.command.or(other.command),
            arguments: one.arguments.or(other.arguments),
            command_timeout: one.command_timeout.or(other.command_timeout),
            expected_exit_code: one.expected_exit_code.or(other.expected_exit_code),
            expected_output: one.expected_output.or(other.expected_output),
            interval: one.interval.or(other.interval),
            end_chain_on_failure: one.end_chain_on_failure.or(other.end_chain_on_failure),
        }
    }
}

/// One step of a validation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum ValidationStep {
    WaitForBoot,
    Screenshot,
    ExecuteCommand,
}

/// Which VMs get what, when, and for how long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VmPolicy {
    /// Name of an offering.
    pub offering: String,
    /// Name of a storage. May be absent only when each schedule names one.
    pub storage: Option<String>,
    /// Which VMs.
    pub select: Select,
    /// Of two policies that select a VM the higher takes it.
    pub priority: i64,
    /// When, by name.
    pub schedules: BTreeMap<String, Schedule>,
    /// For how long; everything is kept when absent.
    pub retention: Option<Retention>,
    /// So many good backups stay whatever retention says.
    pub min_backups: u32,
    /// Disks that are not backed up.
    pub exclude_disks: Vec<Target>,
    /// When a VM without one good backup gets its first.
    pub first: First,
    /// Nothing becomes due and nothing is let go.
    pub paused: bool,
    /// Overrides the offering's, key by key.
    pub validate: Option<Validation>,
}

/// When a VM without one good backup gets its first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum First {
    /// At the next apply.
    #[default]
    Immediate,
    /// When a schedule asks.
    NextSlot,
}

/// Which VMs: by identity, never by state. Kinds of rule are all to be met, one entry of each is enough.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Select {
    /// Globs over domain names.
    pub names: Vec<String>,
    /// Uuids in lower case.
    pub uuids: Vec<String>,
    /// Globs over the values of knib tags; all are to match.
    pub tags: BTreeMap<String, String>,
    /// Taken out again.
    pub exclude: Option<Box<Select>>,
}

/// Instants at which backups are wanted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// Five fields, or `@daily` and the like.
    pub cron: String,
    /// IANA zone.
    pub timezone: String,
    /// A slot is delayed by a share of this that is fixed for the VM.
    pub jitter: Seconds,
    /// Older slots are missed; absent: until the next slot.
    pub deadline: Option<Seconds>,
    /// Backups outside of the chain.
    pub isolated: bool,
    /// What the guest is asked before.
    pub quiesce: Quiesce,
    /// Of isolated backups: instead of the policy's.
    pub storage: Option<String>,
    /// Present: this schedule's backups are a group of their own.
    pub retention: Option<Retention>,
    /// Nothing becomes due.
    pub paused: bool,
}

/// Whether the guest's file systems are frozen while the overlays are made; from weak to strong.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Quiesce {
    /// Not asked.
    None,
    /// Asked; without an answer the backup is made all the same.
    #[default]
    Preferred,
    /// Without an answer there is no backup.
    Required,
}

/// Which backups stay: each that any rule wants. Without any rule all do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// The newest.
    pub keep_last: u32,
    /// The newest of this many hours that have one.
    pub keep_hourly: u32,
    /// Of this many days.
    pub keep_daily: u32,
    /// Of this many ISO weeks.
    pub keep_weekly: u32,
    /// Of this many months.
    pub keep_monthly: u32,
    /// Of this many years.
    pub keep_yearly: u32,
    /// All that are at most this much older than the newest good one.
    pub keep_within: Option<Seconds>,
}

impl Retention {
    /// Whether no rule is set, so that nothing is ever let go.
    #[must_use]
    pub fn keeps_everything(&self) -> bool {
        *self == Self::default()
    }
}

/// Settings of the whole host, under the seed's names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// `backup.chain.size`; below 1 there is no limit.
    pub chain_size: i64,
    /// `knib.timeout`: bounds the copy of one backup.
    pub timeout: Seconds,
    /// `backup.compression.*`.
    pub compression: CompressionSettings,
    /// `backup.validation.*`.
    pub validation: ValidationSettings,
}

/// `backup.compression.*`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CompressionSettings {
    /// `task.enabled`
    pub enabled: bool,
    /// `max.concurrent.compressions.per.host`; below 1 there is no limit.
    pub concurrent: i64,
    /// `max.job.retries`: attempts in all.
    pub attempts: u32,
    /// `retry.interval`
    pub retry_interval: Seconds,
    /// `timeout`, of one step.
    pub timeout: Seconds,
    /// `minimum.free.storage`, times the size of the backup.
    pub minimum_free: f64,
    /// `coroutines`, 1 to 16.
    pub coroutines: u32,
    /// `rate.limit` in bytes a second; none for no limit.
    pub rate_limit: Option<Bytes>,
}

/// `backup.validation.*`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValidationSettings {
    /// `task.enabled`
    pub enabled: bool,
    /// `interval`
    pub interval: Seconds,
    /// `max.concurrent.operations.per.host`; below 1 there is no limit.
    pub concurrent: i64,
    /// `max.job.retries`: attempts in all.
    pub attempts: u32,
    /// `retry.interval`
    pub retry_interval: Seconds,
    /// `timeout`
    pub timeout: Seconds,
    /// `boot.default.timeout`
    pub boot_timeout: Seconds,
    /// `script.default.timeout`
    pub command_timeout: Seconds,
    /// `screenshot.default.wait`
    pub screenshot_wait: Seconds,
    /// `end.chain.on.fail`
    pub end_chain_on_failure: bool,
    /// `max.memory` of a throwaway VM; none for no limit.
    pub memory: Option<Bytes>,
    /// `max.vcpus` of a throwaway VM; below 1 there is no limit.
    pub vcpus: i64,
}

impl Default for Settings {
    /// The seed's defaults.
    fn default() -> Self {
        Self {
            chain_size: 8,
            timeout: Seconds(43_200),
            compression: CompressionSettings {
                enabled: true,
                concurrent: 5,
                attempts: 2,
                retry_interval: Seconds(3_600),
                timeout: Seconds(28_800),
                minimum_free: 1.0,
                coroutines: 1,
                rate_limit: None,
            },
            validation: ValidationSettings {
                enabled: true,
                interval: Seconds(86_400),
                concurrent: 1,
                attempts: 2,
                retry_interval: Seconds(3_600),
                timeout: Seconds(3_600),
                boot_timeout: Seconds(240),
                command_timeout: Seconds(60),
                screenshot_wait: Seconds(60),
                end_chain_on_failure: true,
                memory: Some(Bytes(4 << 30)),
                vcpus: 2,
            },
        }
    }
}
