//! A VM as libvirt and the image headers show it at one instant.
//!
//! This is what is, not what ought to be: it knows nothing of policies or of what knib did before.

use std::collections::BTreeMap;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use serde::Deserialize;
use serde::Serialize;

use crate::model::bytes::Bytes;
use crate::model::id::BackupId;
use crate::model::id::Target;
use crate::model::id::VmId;
use crate::model::layout;
use crate::model::snapshot::Snapshots;
use crate::model::step::Image;

/// One VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// libvirt's uuid.
    pub id: VmId,
    /// libvirt's name.
    pub name: String,
    /// What it is doing.
    pub power: Power,
    /// Whether the definition outlives the run.
    pub persistent: bool,
    /// Whether a start would resume a saved run, below any delta made since.
    pub managed_save: bool,
    /// Names of snapshots that libvirt keeps metadata of.
    pub snapshots: Vec<String>,
    /// The guest agent's channel.
    pub agent: Agent,
    /// knib's note in the metadata of the persistent definition.
    pub note: Option<Note>,
    /// knib's tags in the metadata.
    pub tags: BTreeMap<String, String>,
    /// By target, in the order of the definition.
    pub disks: Vec<Disk>,
    /// Files besides disks that a restored VM needs.
    pub firmware: Firmware,
}

/// What a VM is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Power {
    /// Not started.
    Off,
    /// Executing.
    Running,
    /// Started and held.
    Paused {
        /// QEMU paused it for an I/O error.
        io_error: bool,
    },
    /// Anything else: dying, crashed with its process there, suspended by the guest.
    Other(String),
}

impl Power {
    /// Whether a QEMU process has the disks open.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !matches!(self, Self::Off)
    }
}

/// The guest agent's channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Agent {
    /// The definition has no channel for it.
    None,
    /// There is a channel and nobody is connected.
    Silent,
    /// Something in the guest is connected.
    Connected,
}

/// What knib writes into a domain's metadata. A hint: defining an older XML drops it, a libvirt
/// revert brings an older one back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Counts the programs that touched the VM; a domain with a lower one than the record was
    /// defined from an older XML.
    pub serial: u64,
    /// The backup whose delta the VM writes to.
    pub current: Option<BackupId>,
    /// Its snapshots, so that they outlive the record.
    #[serde(default, skip_serializing_if = "Snapshots::is_empty")]
    pub snapshots: Snapshots,
    /// What restores replaced and keep, by the id of the restore.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub replaced: BTreeMap<BackupId, Vec<Utf8PathBuf>>,
}

/// Files besides disks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Firmware {
    /// UEFI variables.
    pub nvram: Option<Utf8PathBuf>,
    /// Kernel of a direct boot.
    pub kernel: Option<Utf8PathBuf>,
    /// Its initial ramdisk.
    pub initrd: Option<Utf8PathBuf>,
    /// The directory in which an emulated TPM keeps its state.
    #[serde(default)]
    pub tpm: Option<Utf8PathBuf>,
}

/// One disk of a VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// `vda`
    pub target: Target,
    /// What the guest sees.
    pub device: Device,
    /// What the VM uses now, or at its next start when it is off. None: an empty drive.
    pub source: Option<Source>,
    /// What the persistent definition says. Equal to `source` unless somebody changed one of them.
    pub inactive: Option<Source>,
    /// The guest may not write.
    pub readonly: bool,
    /// Other VMs may write.
    pub shareable: bool,
    /// The VM is off, and something has the image open all the same. Asked where an action begins.
    #[serde(default)]
    pub in_use: bool,
    /// Files that libvirt says the running VM has open, top first. Empty when it is off.
    pub live: Vec<Utf8PathBuf>,
    /// A block job that works on it.
    pub job: Option<Job>,
    /// What the image headers say, top first. Empty when they were not or could not be read.
    pub layers: Vec<Layer>,
    /// What snapshots keep besides, by path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub off_chain: Vec<OffChain>,
    /// Files that snapshots keep, and that are there, but could not be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<Utf8PathBuf>,
}

/// An image file that the VM does not use, for it belongs to another branch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffChain {
    /// The file.
    pub layer: Layer,
    /// The file that it lies on.
    pub below: Option<Utf8PathBuf>,
}

/// What the guest sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "libvirt's words")]
pub enum Device {
    Disk,
    Cdrom,
    Floppy,
    Lun,
}

/// Where a disk's content comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A file.
    File {
        /// Absolute.
        path: Utf8PathBuf,
        /// As the definition names it.
        format: Format,
    },
    /// Anything knib cannot capture: `block device /dev/sdb`, `network rbd`, `volume pool/name`.
    Other(String),
}

impl Source {
    /// The path, of a file.
    #[must_use]
    pub fn file(&self) -> Option<&Utf8Path> {
        match self {
            Self::File { path, .. } => Some(path),
            Self::Other(_) => None,
        }
    }

    /// The path with its format, of a file.
    #[must_use]
    pub fn image(&self) -> Option<Image> {
        match self {
            Self::File { path, format } => Some(Image::new(path.clone(), format.clone())),
            Self::Other(_) => None,
        }
    }
}

/// The format of an image.
#[derive(
    Clone,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// QEMU's own.
    Qcow2,
    /// The bytes themselves.
    #[default]
    Raw,
    /// One that knib only reads, in QEMU's spelling.
    #[serde(untagged)]
    Other(String),
}

impl Format {
    /// QEMU's spelling.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Qcow2 => "qcow2",
            Self::Raw => "raw",
            Self::Other(name) => name,
        }
    }

    /// From QEMU's spelling.
    #[must_use]
    pub fn named(name: &str) -> Self {
        match name {
            "qcow2" => Self::Qcow2,
            "raw" => Self::Raw,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// One image file of a disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Absolute and canonical.
    pub path: Utf8PathBuf,
    /// From the file below which it was found, or the definition; never guessed for a raw file.
    pub format: Format,
    /// What the guest sees.
    pub virtual_size: Bytes,
    /// What the file takes on its file system.
    pub allocated: Bytes,
    /// How many internal snapshots it holds.
    pub internal_snapshots: u32,
    /// Encrypted clusters or a LUKS payload.
    pub encrypted: bool,
    /// The cluster compression that the header allows.
    pub compression: Option<String>,
    /// The guest's bytes are in another file, that no backing link leads to.
    pub data_file: bool,
}

/// A block job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// What kind.
    pub kind: JobKind,
    /// Bytes done.
    pub done: Bytes,
    /// Bytes in all, which may still grow.
    pub total: Bytes,
    /// A commit of the active layer that waits for its pivot.
    pub ready: bool,
}

/// What a block job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// Of a layer below the active one.
    Commit,
    /// Of the active layer.
    ActiveCommit,
    /// From the files below.
    Pull,
    /// To another place.
    Copy,
    /// libvirt's own backup.
    Backup,
    /// Any other.
    Other,
}

impl Machine {
    /// The disk at a target.
    #[must_use]
    pub fn disk(&self, target: &Target) -> Option<&Disk> {
        self.disks.iter().find(|disk| disk.target == *target)
    }

    /// Whether somebody else keeps snapshots of it: a delta on top would break deleting them, a merge
    /// below would break reverting to them.
    #[must_use]
    pub fn has_foreign_snapshots(&self) -> bool {
        let mut layers = self.disks.iter().flat_map(|disk| &disk.layers);
        !self.snapshots.is_empty() || layers.any(|layer| layer.internal_snapshots > 0)
    }

    /// What restores replaced and keep, by the id of the restore.
    #[must_use]
    pub fn replaced(&self) -> BTreeMap<BackupId, Vec<Utf8PathBuf>> {
        let note = self.note.as_ref();
        note.map(|note| note.replaced.clone()).unwrap_or_default()
    }

    /// The same, to change a foreseen one.
    pub fn disk_mut(&mut self, target: &Target) -> Option<&mut Disk> {
        self.disks.iter_mut().find(|disk| disk.target == *target)
    }
}

impl Disk {
    /// Every file it is known to read: what image headers say, and what the running VM has open.
    pub fn files(&self) -> impl Iterator<Item = &Utf8PathBuf> {
        let layers = self.layers.iter().map(|layer| &layer.path);
        layers.chain(&self.live)
    }

    /// A hard disk that is a file, of which no more is known.
    #[must_use]
    pub fn new(target: Target, image: &Image) -> Self {
        let source = Some(Source::File {
            path: image.path.clone(),
            format: image.format.clone(),
        });
        Self {
            target,
            device: Device::Disk,
            inactive: source.clone(),
            source,
            readonly: false,
            shareable: false,
            in_use: false,
            live: Vec::new(),
            job: None,
            layers: Vec::new(),
            off_chain: Vec::new(),
            unreadable: Vec::new(),
        }
    }

    /// The file the guest writes to.
    #[must_use]
    pub fn head(&self) -> Option<&Utf8Path> {
        self.source.as_ref().and_then(Source::file)
    }

    /// Whether the file is anywhere in the chain, as libvirt or the headers see it.
    #[must_use]
    pub fn uses(&self, path: &Utf8Path) -> bool {
        self.live.iter().any(|live| live == path)
            || self.layers.iter().any(|layer| layer.path == path)
            || [&self.source, &self.inactive]
                .into_iter()
                .flatten()
                .any(|source| source.file() == Some(path))
    }

    /// The files of the chain that are this disk's alone, top first: down to the one that the lowest of
    /// knib's layers was laid on, or the top one where there is none. Below are templates.
    #[must_use]
    pub fn own_layers(&self) -> &[Layer] {
        let ours = |layer: &Layer| layout::is_ours(&layout::unreplaced(&layer.path));
        let lowest = self.layers.iter().rposition(ours);
        let own = lowest.map_or(1, |at| at + 2).min(self.layers.len());
        &self.layers[..own]
    }

    /// Whether backups concern it at all: a hard disk that this VM alone writes.
    #[must_use]
    pub fn holds_data(&self) -> bool {
        matches!(self.device, Device::Disk | Device::Lun) && !self.readonly && self.source.is_some()
    }
}
