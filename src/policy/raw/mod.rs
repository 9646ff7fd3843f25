//! A policy file as it is written: the keys there are, and what kind of value each takes.
//!
//! The JSON Schema is generated from these types and the files are held against it, so the two
//! cannot disagree. What a text means (`1h30m`, `0 2 * * *`) and whether a name exists is not known
//! here. Every key may be absent: what is missing is found later, after templates were merged.

mod offering;
mod policy;
mod settings;
mod text;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

pub(super) use offering::Offering;
pub(super) use offering::Step;
pub(super) use offering::Validate;
pub(super) use offering::ValidateSwitch;
pub(super) use policy::Policy;
pub(super) use policy::Retention;
pub(super) use policy::Schedule;
pub(super) use policy::Select;
pub(super) use policy::Template;
pub(super) use settings::AmountOfTime;
pub(super) use settings::AmountPerSecond;
pub(super) use settings::Settings;
pub(super) use text::Cron;
pub(super) use text::Duration;
pub(super) use text::Name;
pub(super) use text::Rate;

/// Backups of the virtual machines of one libvirt host. Several files are read as one: sections are
/// merged by name, and a name is written once.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "knib policy")]
#[expect(
    dead_code,
    reason = "read section by section, after files and templates were merged"
)]
pub(super) struct File {
    /// The version of this grammar: 1.
    #[schemars(required, example = 1, range(min = 1, max = 1))]
    pub version: Option<u32>,
    /// libvirt URI of this host. Default `qemu:///system`. `KNIB_CONNECT` and `--connect` win.
    #[schemars(example = "qemu:///system", length(min = 1))]
    pub connect: Option<String>,
    /// Path of the state file. Default `/var/lib/knib/state.db`. `KNIB_STATE` and `--state` win.
    #[schemars(example = "/var/lib/knib/state.db", regex(pattern = "^/"))]
    pub state: Option<String>,
    /// IANA time zone: of schedules that name none, and of retention's days, weeks and months.
    /// Default `UTC`.
    #[schemars(example = "Europe/Paris", length(min = 1))]
    pub timezone: Option<String>,
    /// Directories for backups.
    #[serde(default)]
    pub storage: BTreeMap<Name, Storage>,
    /// Settings of the whole host.
    #[serde(default)]
    pub settings: Settings,
    /// Kinds of backups.
    #[serde(default)]
    pub offerings: BTreeMap<Name, Offering>,
    /// Parts of policies that several policies share through `extends`.
    #[serde(default)]
    pub templates: BTreeMap<Name, Template>,
    /// Which VMs get which offering, when, and for how long.
    #[serde(default)]
    pub policies: BTreeMap<Name, Policy>,
}

/// A directory for backups. `knib apply` marks it; a directory without its mark is taken for a
/// storage that is not mounted.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Storage {
    /// Absolute path.
    #[schemars(required, example = "/mnt/backup/nas1", regex(pattern = "^/"))]
    pub path: Option<String>,
    /// What must stay free: a size or a percentage of the file system. Default `5%`.
    #[schemars(
        example = "200GiB",
        example = "5%",
        regex(pattern = r"^[0-9]+([.][0-9]{1,3})? ?(B|[KMGT]iB|kB|[MGT]B|%)$")
    )]
    pub min_free: Option<String>,
    /// Read the backups again from time to time and compare their digests. Off by default.
    pub verify: Option<Verify>,
}

/// Regular verification of a storage.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Verify {
    /// Each file is read again this long after its last verification. Default `30d`.
    pub interval: Option<Duration>,
    /// At most so fast; `0MB/s` is no limit. Default `200MB/s`.
    pub rate_limit: Option<Rate>,
}
