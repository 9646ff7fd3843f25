//! A backup: one point in time of a whole VM, one file per disk. Its form on the storage is
//! `backup.json`.
//!
//! What can be derived is not stored: whether it is current, whether it ended its chain, its status.

use std::collections::BTreeMap;
use std::sync::Arc;

use camino::Utf8PathBuf;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::Serialize;

use crate::model::bytes::Bytes;
use crate::model::digest::Digest;
use crate::model::id::BackupId;
use crate::model::id::HostId;
use crate::model::id::StateId;
use crate::model::id::StorageId;
use crate::model::id::Target;
use crate::model::id::VmId;
use crate::model::policy::Offering;
use crate::model::receipt::Consistency;

/// The version of `backup.json` that this program writes.
pub const FORMAT: u32 = 1;

/// A VM by both its names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct VmRef {
    /// For people; may change.
    pub name: String,
    /// For good.
    pub uuid: VmId,
}

/// One instant that a schedule asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Slot {
    /// Which schedule.
    pub schedule: String,
    /// Before jitter.
    pub at: Timestamp,
}

/// Whether a file, or a backup, stands alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Kind {
    Full,
    Incremental,
}

/// A backup.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Backup {
    /// The version of this form.
    pub format: u32,
    /// Sorts by time.
    pub id: BackupId,
    /// Of which VM.
    pub vm: Arc<VmRef>,
    /// The instant it shows.
    pub created: Timestamp,
    /// The backup before it in its chain, which its incremental files continue.
    pub parent: Option<BackupId>,
    /// Its place in a chain; an isolated backup has none.
    pub link: Option<Link>,
    /// How settled the guest was.
    pub consistency: Consistency,
    /// The policy that asked for it.
    pub policy: Option<String>,
    /// The offering it was made under, as it was.
    pub offering: Option<Arc<OfferingCopy>>,
    /// The slots it served.
    pub slots: Vec<Slot>,
    /// Where it is.
    pub storage: Arc<StorageRef>,
    /// Who made it.
    pub origin: Arc<Maker>,
    /// One entry a disk, by target.
    pub disks: BTreeMap<Target, Box<DiskFile>>,
    /// Other files in its directory.
    pub files: Vec<String>,
    /// Of what those hold, by name; older backups have none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sums: BTreeMap<String, Digest>,
    /// What was learned or decided about it later.
    pub marks: Marks,
}

/// A place in a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Link {
    /// Counts the chains of a VM from 1.
    pub chain: u32,
    /// Counts the backups of a chain from 1.
    pub position: u32,
}

/// Who reads a backup, as a file beside it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reader {
    /// On which host.
    pub hostname: String,
    /// Which VM.
    pub vm: VmId,
    /// Since when.
    pub since: Timestamp,
}

/// An offering as it was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OfferingCopy {
    /// Its name.
    pub name: String,
    /// What it said.
    pub spec: Offering,
}

/// A storage.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct StorageRef {
    /// What the policy calls it.
    pub name: String,
    /// What its marker says.
    pub id: StorageId,
}

/// Who made a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Maker {
    /// The hypervisor.
    pub host: HostId,
    /// Its name.
    pub hostname: String,
    /// Its state file.
    pub state: StateId,
    /// The program's version.
    pub knib: String,
}

/// One disk's file in a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskFile {
    /// In the backup's directory.
    pub name: String,
    /// The file it continues. A disk may stand alone in an incremental backup.
    pub parent: Option<Edge>,
    /// What a guest sees.
    pub virtual_size: Bytes,
    /// Length of the file.
    pub size: Bytes,
    /// Of the bytes first published: its identity, by which children name it.
    pub birth: Digest,
    /// Of the bytes that are there now.
    pub digest: Digest,
    /// Length of the file before it was compressed; none: it is as it was published. Of one that was
    /// compressed while it was copied, what its content took on primary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uncompressed: Option<Bytes>,
    /// While a compressed file takes its place: the file is the one described above, or this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub becomes: Option<Compressed>,
    /// What it left on primary; none when the chain was ended with it.
    pub delta: Option<Delta>,
}

/// A disk's file, compressed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compressed {
    /// Length of the file.
    pub size: Bytes,
    /// Of its bytes.
    pub digest: Digest,
}

/// From a file to the one it continues, on the same disk of an earlier backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edge {
    /// Which backup.
    pub backup: BackupId,
    /// Its file's identity.
    pub birth: Digest,
}

/// The overlay that collects what the guest writes after a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    /// The overlay.
    pub path: Utf8PathBuf,
    /// The file it will be merged into.
    pub base: Utf8PathBuf,
}

/// What was learned or decided about a backup after it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    /// Somebody wants it kept.
    pub pinned: bool,
    /// Retention or a person let it go at this instant.
    pub removed: Option<Timestamp>,
    /// A file that was found damaged or missing.
    pub unusable: Option<Unusable>,
    /// Its files are compressed, except those that would not be smaller.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub compressed: bool,
    /// How it went when it was booted last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validated: Option<Box<Validated>>,
}

/// How it went when a backup was booted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validated {
    /// When.
    pub at: Timestamp,
    /// What its guest failed at, in words; none: nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// Nothing continues its chain because of that: the next backup is full.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ends_chain: bool,
    /// There is a picture of its screen beside it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pictured: bool,
}

impl Validated {
    /// It booted and did all it was to do.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.reasons.is_empty()
    }
}

/// Something about a backup, as it is from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "remark", rename_all = "snake_case")]
pub enum Remark {
    /// Somebody wants it kept, or does no longer.
    Pinned {
        /// Which of both.
        pinned: bool,
    },
    /// It is let go.
    Removed {
        /// Since when; none: it is not.
        at: Option<Timestamp>,
    },
    /// It cannot be restored.
    Unusable {
        /// Why; none: it can.
        why: Option<Unusable>,
    },
    /// Each of these disks' files is what it was, or this one; every other is what it was.
    Becomes {
        /// None: all are what they were.
        files: BTreeMap<Target, Compressed>,
    },
    /// These disks' files are these. Those of the others would not be smaller.
    Compressed {
        /// Those that are.
        files: BTreeMap<Target, Compressed>,
    },
    /// It was booted.
    Validated {
        /// How that went; none: it was not.
        how: Option<Box<Validated>>,
    },
}

impl Remark {
    /// As it was before, of a mark that was not there, or was the other one.
    #[must_use]
    pub fn inverse(&self) -> Self {
        match self {
            Self::Pinned { pinned } => Self::Pinned { pinned: !pinned },
            Self::Removed { .. } => Self::Removed { at: None },
            Self::Unusable { .. } => Self::Unusable { why: None },
            Self::Validated { .. } => Self::Validated { how: None },
            Self::Becomes { .. } | Self::Compressed { .. } => Self::Becomes {
                files: BTreeMap::new(),
            },
        }
    }
}

/// Why a backup cannot be restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unusable {
    /// `missing`, `damaged`, `ancestor`.
    pub code: String,
    /// The file, where it is known.
    pub file: Option<String>,
}

impl Backup {
    /// Holds what is the same in another one, its neighbour most likely, only once in memory.
    pub fn share_with(&mut self, other: &Self) {
        if self.origin == other.origin {
            self.origin = Arc::clone(&other.origin);
        }
        if self.offering == other.offering {
            self.offering.clone_from(&other.offering);
        }
        if self.vm == other.vm {
            self.vm = Arc::clone(&other.vm);
        }
        if self.storage == other.storage {
            self.storage = Arc::clone(&other.storage);
        }
    }

    /// Takes a remark up.
    pub fn learn(&mut self, remark: &Remark) {
        match remark {
            Remark::Pinned { pinned } => self.marks.pinned = *pinned,
            Remark::Removed { at } => self.marks.removed = *at,
            Remark::Unusable { why } => self.marks.unusable.clone_from(why),
            Remark::Validated { how } => self.marks.validated.clone_from(how),
            Remark::Becomes { files } => {
                for (target, disk) in &mut self.disks {
                    disk.becomes = files.get(target).cloned();
                }
            }
            Remark::Compressed { files } => {
                self.marks.compressed = true;
                for (target, disk) in &mut self.disks {
                    disk.becomes = None;
                    if let Some(Compressed { size, digest }) = files.get(target)
                        && disk.uncompressed.is_none()
                    {
                        disk.uncompressed = Some(disk.size);
                        (disk.size, disk.digest) = (*size, *digest);
                    }
                }
            }
        }
    }

    /// What tells its record from any other: all of it but marks, and names that storages are given.
    ///
    /// # Panics
    /// Never: it is plain data.
    #[must_use]
    pub fn imprint(&self) -> Digest {
        let mut bare = self.clone();
        bare.marks = Marks::default();
        Arc::make_mut(&mut bare.storage).name.clear();
        let text = serde_json::to_vec(&bare).expect("it is plain data");
        Digest::of(&text)
    }

    /// Full unless it has a parent.
    #[must_use]
    pub fn kind(&self) -> Kind {
        if self.parent.is_some() {
            Kind::Incremental
        } else {
            Kind::Full
        }
    }

    /// Outside of any chain.
    #[must_use]
    pub fn is_isolated(&self) -> bool {
        self.link.is_none()
    }

    /// Listed, no file known damaged, and its guest failed at nothing.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.is_whole() && !self.is_invalid()
    }

    /// Listed, and no file known damaged.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.marks.removed.is_none() && self.marks.unusable.is_none()
    }

    /// It was booted, and its guest did all it was to do.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let how = self.marks.validated.as_ref();
        how.is_some_and(|how| how.is_valid())
    }

    /// It was booted, and its guest failed at something.
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        let how = self.marks.validated.as_ref();
        how.is_some_and(|how| !how.is_valid())
    }

    /// Bytes of its files.
    #[must_use]
    pub fn size(&self) -> Bytes {
        self.disks.values().map(|disk| disk.size).sum()
    }

    /// Bytes of its files before they were compressed.
    #[must_use]
    pub fn uncompressed_size(&self) -> Bytes {
        let sizes = self.disks.values();
        sizes
            .map(|disk| disk.uncompressed.unwrap_or(disk.size))
            .sum()
    }

    /// Bytes that a guest sees.
    #[must_use]
    pub fn protected_size(&self) -> Bytes {
        self.disks.values().map(|disk| disk.virtual_size).sum()
    }
}

/// `owner.json`: whose state writes below a VM's directory on a storage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The hypervisor.
    pub host_uuid: HostId,
    /// Its name.
    pub hostname: String,
    /// Its state file.
    pub state_id: StateId,
    /// Since when.
    pub since: Timestamp,
    /// The libvirt that runs its VMs: a host may have several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
}

/// `.knib-storage`: what a directory is known by, wherever it is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// The version of the layout.
    pub format: u32,
    /// Its name for good.
    pub id: StorageId,
}
