//! `offerings`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Duration;
use crate::model::policy::CompressMode;
use crate::model::policy::CompressionLibrary;
use crate::model::policy::ValidationStep;

/// What kind of backups.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::policy) struct Offering {
    /// For people.
    #[schemars(length(min = 1))]
    pub description: Option<String>,
    /// Compress backups. Default `false`.
    pub compress: Option<bool>,
    /// With what. Default `zstd`; an image that can only do zlib gets zlib.
    pub compression_library: Option<CompressionLibrary>,
    /// When to compress. Default `job`.
    pub compress_mode: Option<CompressMode>,
    /// Boot backups to see whether they work: `true`, or a map that says how. Default `false`.
    pub validate: Option<ValidateSwitch>,
    /// Let a VM start from a backup before its disks are copied back. Default `false`.
    pub allow_quick_restore: Option<bool>,
    /// Let files be taken out of backups. Default `false`.
    pub allow_extract_file: Option<bool>,
    /// Backups in a chain: 1 makes each backup full, less than 1 never ends a chain. Default: the
    /// setting `backup.chain.size`.
    #[schemars(range(max = 1024))]
    pub backup_chain_size: Option<i64>,
}

/// Whether to boot backups, or how.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(in crate::policy) enum ValidateSwitch {
    /// `true`: take a picture of the screen, and wait for the guest agent where there is one.
    Switch(bool),
    /// How.
    How(Box<Validate>),
}

/// How backups are validated. Keys left out take the settings `backup.validation.*`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::policy) struct Validate {
    /// What is done, in this order. Default: `screenshot`, and `waitForBoot` where the VM has a
    /// guest agent channel.
    #[schemars(length(min = 1))]
    pub steps: Option<Vec<Step>>,
    /// How long the guest agent may take to answer.
    pub boot_timeout: Option<Duration>,
    /// How long to wait before the picture is taken.
    pub screenshot_wait: Option<Duration>,
    /// Path of a program in the guest.
    #[schemars(length(min = 1))]
    pub command: Option<String>,
    /// Its arguments.
    pub arguments: Option<Vec<String>>,
    /// How long it may take.
    pub command_timeout: Option<Duration>,
    /// What it must exit with. Default 0.
    #[schemars(range(min = 0, max = 255))]
    pub expected_exit_code: Option<i32>,
    /// What it must print.
    pub expected_output: Option<String>,
    /// A VM is booted at most once in this time.
    pub interval: Option<Duration>,
    /// Make the next backup full when one turns out invalid.
    pub end_chain_on_failure: Option<bool>,
}

/// One step of a validation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::policy) enum Step {
    /// Wait until the guest agent answers.
    WaitForBoot,
    /// Take a picture of the screen.
    Screenshot,
    /// Run `command` in the guest.
    ExecuteCommand,
}

impl From<Step> for ValidationStep {
    fn from(step: Step) -> Self {
        match step {
            Step::WaitForBoot => Self::WaitForBoot,
            Step::Screenshot => Self::Screenshot,
            Step::ExecuteCommand => Self::ExecuteCommand,
        }
    }
}
