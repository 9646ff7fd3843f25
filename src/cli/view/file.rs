//! File systems and files in a backup.

use std::fmt::Write;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::host::extract::Taken;
use crate::host::guestfs::Filesystem;
use crate::host::guestfs::Kind;
use crate::host::guestfs::Listed;
use crate::model::backup::VmRef;
use crate::model::bytes::Bytes;
use crate::model::id::BackupId;

/// A file system in a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FilesystemView {
    /// As the guest may call it: `/dev/vda1`, `/dev/vg/data`
    pub device: String,
    /// `ext4`, `xfs`, `vfat`; `crypto_LUKS` is encrypted.
    #[serde(rename = "type")]
    pub kind: String,
    /// Of the device.
    pub size: Bytes,
    /// Its name, if it has one.
    pub label: Option<String>,
}

/// A file in a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FileView {
    /// Below the directory that was listed.
    pub name: String,
    /// The bytes of a name that is no text, in hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name_hex: Option<String>,
    /// None: it cannot be looked at.
    #[serde(rename = "type")]
    pub kind: Option<Kind>,
    /// Length.
    pub size: Option<Bytes>,
    /// Permissions in octal digits: `0644`
    pub mode: Option<String>,
    /// When its content last changed.
    pub mtime: Option<Timestamp>,
}

/// What was taken out of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TakenView {
    /// Of which VM.
    pub vm: VmRef,
    /// Out of which backup.
    pub backup: BackupId,
    /// Regular files, further names of one not counted.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Symbolic and hard links.
    pub links: u64,
    /// Of regular files.
    pub bytes: Bytes,
    /// What was not taken.
    pub left_out: Vec<LeftOutView>,
}

/// Something that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LeftOutView {
    /// Of which file, where it would be.
    pub path: String,
    /// `special file`, `setuid or setgid`, `attributes`, `too deep`, `link to what was left out`
    pub what: String,
}

impl From<Filesystem> for FilesystemView {
    fn from(one: Filesystem) -> Self {
        Self {
            device: one.device,
            kind: one.kind,
            size: one.size,
            label: one.label,
        }
    }
}

impl From<Listed> for FileView {
    fn from(one: Listed) -> Self {
        let hex = |bytes: &[u8]| {
            bytes.iter().fold(String::new(), |mut text, byte| {
                let _ = write!(text, "{byte:02x}");
                text
            })
        };
        let is_text = std::str::from_utf8(&one.name).is_ok();
        let about = one.about;
        let mtime = |(seconds, nanoseconds): (i64, i64)| {
            Timestamp::new(seconds, i32::try_from(nanoseconds).ok()?).ok()
        };
        Self {
            name: String::from_utf8_lossy(&one.name).into_owned(),
            name_hex: (!is_text).then(|| hex(&one.name)),
            kind: about.map(|about| about.kind),
            size: about.map(|about| about.size),
            mode: about.map(|about| format!("{:04o}", about.mode)),
            mtime: about.and_then(|about| mtime(about.modified)),
        }
    }
}

impl TakenView {
    /// What was taken out of a backup of a VM.
    #[must_use]
    pub fn new(taken: &Taken, vm: &VmRef, backup: &BackupId) -> Self {
        let left_out = taken.left_out.iter().map(|one| LeftOutView {
            path: String::from_utf8_lossy(&one.path).into_owned(),
            what: one.what.to_owned(),
        });
        Self {
            vm: vm.clone(),
            backup: backup.clone(),
            files: taken.files,
            directories: taken.directories,
            links: taken.links,
            bytes: taken.bytes,
            left_out: left_out.collect(),
        }
    }
}
