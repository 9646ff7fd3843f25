//! One fact to make true outside. About twenty kinds serve all verbs; doing one twice is the same as
//! doing it once.
//!
//! A step says what, not how: looking, doing one thing and looking again is the engine's. What a step
//! will have changed can be foreseen, which is how a plan's later actions are decided on the world
//! that its earlier ones will leave.

use std::collections::BTreeMap;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use serde::Deserialize;
use serde::Serialize;

use crate::model::backup::Marker;
use crate::model::backup::Owner;
use crate::model::backup::Remark;
use crate::model::digest::Digest;
use crate::model::id::BackupId;
use crate::model::id::StorageId;
use crate::model::id::Target;
use crate::model::id::VmId;
use crate::model::layout;
use crate::model::machine::Format;
use crate::model::machine::Note;
use crate::model::orphan::OrphanKind;
use crate::model::policy::Quiesce;
use crate::model::seconds::Seconds;

/// A file with its format, never guessed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Image {
    /// Absolute.
    pub path: Utf8PathBuf,
    /// As definition or header say.
    pub format: Format,
}

impl Image {
    /// A file with its format.
    pub fn new(path: impl Into<Utf8PathBuf>, format: Format) -> Self {
        Self {
            path: path.into(),
            format,
        }
    }
}

/// Where a backup is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupAt {
    /// The storage.
    pub storage: Utf8PathBuf,
    /// What its marker says.
    pub id: StorageId,
    /// Of which VM.
    pub vm: VmId,
    /// Which backup.
    pub backup: BackupId,
}

impl BackupAt {
    /// Its directory.
    #[must_use]
    pub fn dir(&self) -> Utf8PathBuf {
        layout::backup_dir(&self.storage, &self.vm, &self.backup)
    }
}

/// One fact to make true outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// A directory carries a storage's marker.
    Mark {
        /// The directory.
        storage: Utf8PathBuf,
        /// What its marker says.
        marker: Marker,
    },
    /// The domain carries a note, or none.
    Note {
        /// Which VM.
        vm: VmId,
        /// The serial that this program claims.
        claim: u64,
        /// This step makes the claim; a later one only finds it.
        claims: bool,
        /// What it says.
        note: Option<Note>,
    },
    /// The storage is the right one, the VM's directory on it is ours, and there is a stage.
    Stage {
        /// The storage.
        storage: Utf8PathBuf,
        /// What its marker says.
        id: StorageId,
        /// Which VM.
        vm: VmId,
        /// The stage.
        dir: Utf8PathBuf,
    },
    /// The VM writes into new overlays, all made at one instant.
    Overlay {
        /// Which VM.
        vm: VmId,
        /// The serial that this program claims.
        claim: u64,
        /// Every disk that is captured.
        disks: BTreeMap<Target, OverlayAt>,
        /// Every other hard disk, floppy and CD-ROM.
        others: Vec<Target>,
        /// What the guest is asked.
        quiesce: Quiesce,
    },
    /// What frozen layers hold is in a file of the stage.
    Copy {
        /// Which disk.
        target: Target,
        /// The layers, top first. A full copy names the top one and takes all below.
        layers: Vec<Image>,
        /// The backup whose file the new one continues, named relative to the stage.
        parent: Option<Utf8PathBuf>,
        /// The new file.
        to: Utf8PathBuf,
        /// Bounds the copy.
        limit: Seconds,
    },
    /// Definitions, firmware and boot files of the VM are in the stage.
    Capture {
        /// Which VM.
        vm: VmId,
        /// The stage.
        dir: Utf8PathBuf,
    },
    /// A guest whose freeze ran out of time has been seen thawed.
    Thaw {
        /// Which VM.
        vm: VmId,
    },
    /// The stage is complete and on stable storage.
    Seal {
        /// The stage.
        dir: Utf8PathBuf,
    },
    /// The stage is the backup: one rename.
    Publish {
        /// The stage.
        from: Utf8PathBuf,
        /// The backup.
        to: Utf8PathBuf,
    },
    /// A layer's content is in the file below it, and the layer is gone.
    Merge {
        /// Which VM.
        vm: VmId,
        /// The serial that this program claims.
        claim: u64,
        /// Which disk.
        target: Target,
        /// The layer that goes.
        top: Image,
        /// The file that takes its content.
        base: Image,
        /// What else lies on the layer, in branches that the VM does not use.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        branches: Vec<Image>,
    },
    /// The same of a layer and a file below it that the VM does not use.
    Fold {
        /// Which VM.
        vm: VmId,
        /// The serial that this program claims.
        claim: u64,
        /// Which disk.
        target: Target,
        /// The layer that goes.
        top: Image,
        /// The file that takes its content.
        base: Image,
        /// What lies on the layer.
        branches: Vec<Image>,
    },
    /// There is an empty layer on a file of a disk.
    Create {
        /// Which VM.
        vm: VmId,
        /// The serial that this program claims.
        claim: u64,
        /// Which disk.
        target: Target,
        /// The new layer.
        path: Utf8PathBuf,
        /// What it lies on.
        on: Image,
    },
    /// The definition of a VM that is off names other files, all in one redefinition.
    Point {
        /// Which VM.
        vm: VmId,
        /// The serial that this program claims.
        claim: u64,
        /// Each disk.
        heads: BTreeMap<Target, Turn>,
        /// It takes back what was done. What a guest wrote to meanwhile stays in use.
        back: bool,
    },
    /// A layer that neither the VM nor a snapshot needs is not there, with what guests wrote to it. One
    /// that the VM uses all the same stays.
    Drop {
        /// Which VM.
        vm: VmId,
        /// The serial that this program claims.
        claim: u64,
        /// Which disk.
        target: Target,
        /// The layer.
        path: Utf8PathBuf,
        /// Only if nothing was ever written to it.
        blank: bool,
    },
    /// This state owns a VM's directory on a storage.
    Own {
        /// The storage.
        storage: Utf8PathBuf,
        /// What its marker says.
        id: StorageId,
        /// Which VM.
        vm: VmId,
        /// Whose it was.
        from: Box<Owner>,
        /// Every backup in it.
        backups: Vec<BackupId>,
    },
    /// Whoever owned a VM's directory before owns it again.
    Disown {
        /// The storage.
        storage: Utf8PathBuf,
        /// What its marker says.
        id: StorageId,
        /// Which VM.
        vm: VmId,
        /// Whose it was.
        to: Box<Owner>,
    },
    /// A VM's definition has these tags and no others.
    Tag {
        /// Which VM.
        vm: VmId,
        /// Names and values.
        tags: BTreeMap<String, String>,
    },
    /// A file or directory that knib made is not there.
    Discard {
        /// What.
        path: Utf8PathBuf,
    },
    /// The record of a backup on its storage says this.
    Remark {
        /// Which backup.
        of: BackupAt,
        /// What it says.
        remark: Remark,
    },
    /// The files of a backup are not there: its directory loses its name at once, then what it holds.
    Remove {
        /// Which backup.
        of: BackupAt,
    },
    /// What nothing refers to is not there.
    Clear {
        /// Where.
        path: Utf8PathBuf,
        /// What it is.
        kind: OrphanKind,
    },
    /// The content of a backup's disk is in a file, every byte of the chain having been checked.
    Fetch {
        /// Which disk.
        target: Target,
        /// The backup's files, the wanted one first, then what it continues.
        chain: Vec<Utf8PathBuf>,
        /// The digests they must have, in the same order.
        digests: Vec<Digest>,
        /// The new file.
        to: Image,
    },
    /// A small file is a copy of another.
    Place {
        /// From where.
        from: Utf8PathBuf,
        /// To where.
        to: Utf8PathBuf,
    },
    /// A finished file has its final name.
    Rename {
        /// The unfinished name.
        from: Utf8PathBuf,
        /// The final one.
        to: Utf8PathBuf,
    },
    /// A file that got its final name has the unfinished one again. Where it never got it, whatever has
    /// the final name stays.
    Unname {
        /// The unfinished name.
        from: Utf8PathBuf,
        /// The final one.
        to: Utf8PathBuf,
    },
    /// A new VM is defined.
    Define {
        /// The definition it is made from.
        definition: Utf8PathBuf,
        /// The new uuid.
        vm: VmId,
        /// The new name.
        name: String,
        /// Its disks.
        disks: BTreeMap<Target, Image>,
        /// Its UEFI variables.
        nvram: Option<Utf8PathBuf>,
    },
    /// A VM that was newly defined is not defined.
    Undefine {
        /// Which VM.
        vm: VmId,
    },
}

/// An overlay and what it covers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverlayAt {
    /// What the guest writes to before.
    pub base: Image,
    /// What the guest writes to afterwards.
    pub path: Utf8PathBuf,
}

/// From one file to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// What the VM used before.
    pub from: Image,
    /// What it uses afterwards.
    pub to: Image,
}

impl Turn {
    fn back(&self) -> Self {
        Self {
            from: self.to.clone(),
            to: self.from.clone(),
        }
    }
}

impl Step {
    /// The VM whose definition or disks it changes.
    #[must_use]
    pub fn vm(&self) -> Option<&VmId> {
        match self {
            Self::Note { vm, .. }
            | Self::Overlay { vm, .. }
            | Self::Capture { vm, .. }
            | Self::Thaw { vm }
            | Self::Merge { vm, .. }
            | Self::Fold { vm, .. }
            | Self::Create { vm, .. }
            | Self::Point { vm, .. }
            | Self::Drop { vm, .. }
            | Self::Tag { vm, .. }
            | Self::Define { vm, .. }
            | Self::Undefine { vm } => Some(vm),
            Self::Mark { .. }
            | Self::Own { .. }
            | Self::Disown { .. }
            | Self::Stage { .. }
            | Self::Copy { .. }
            | Self::Seal { .. }
            | Self::Publish { .. }
            | Self::Discard { .. }
            | Self::Remark { .. }
            | Self::Remove { .. }
            | Self::Clear { .. }
            | Self::Fetch { .. }
            | Self::Place { .. }
            | Self::Rename { .. }
            | Self::Unname { .. } => None,
        }
    }

    /// In words, for a plan with details, a log and an error: `merge vda: a into b`.
    #[must_use]
    pub fn synopsis(&self) -> String {
        let file = |path: &Utf8Path| path.file_name().unwrap_or(path.as_str()).to_owned();
        match self {
            Self::Mark { storage, .. } => format!("mark {storage} as a storage"),
            Self::Note {
                note: Some(note), ..
            } => match &note.current {
                Some(current) => format!(
                    "note in the domain: change {}, current {current}",
                    note.serial
                ),
                None => format!("note in the domain: change {}", note.serial),
            },
            Self::Note { note: None, .. } => "take the note out of the domain".to_owned(),
            Self::Stage { dir, .. } => format!("make {dir}"),
            Self::Overlay { disks, .. } => {
                let names: Vec<_> = disks.keys().map(Target::as_str).collect();
                format!("freeze {} under new overlays", names.join(" and "))
            }
            Self::Copy {
                target, layers, to, ..
            } => {
                let from: Vec<_> = layers.iter().map(|layer| file(&layer.path)).collect();
                format!("copy {target}: {} to {to}", from.join(", "))
            }
            Self::Capture { dir, .. } => format!("write the definitions to {dir}"),
            Self::Thaw { .. } => "see the guest thawed".to_owned(),
            Self::Seal { dir } => format!("complete and sync {dir}"),
            Self::Publish { to, .. } => format!("publish {to}"),
            Self::Merge {
                target, top, base, ..
            }
            | Self::Fold {
                target, top, base, ..
            } => {
                format!(
                    "merge {target}: {} into {}",
                    file(&top.path),
                    file(&base.path)
                )
            }
            Self::Create {
                target, path, on, ..
            } => format!("lay {} on {target}'s {}", file(path), file(&on.path)),
            Self::Point { heads, .. } => {
                let names = heads
                    .iter()
                    .map(|(target, turn)| format!("{target} to {}", file(&turn.to.path)));
                format!("point {}", names.collect::<Vec<_>>().join(" and "))
            }
            Self::Drop { target, path, .. } => format!("drop {target}'s {}", file(path)),
            Self::Own { storage, vm, .. } => format!("take over {}", layout::vm_dir(storage, vm)),
            Self::Disown {
                storage, vm, to, ..
            } => {
                format!(
                    "give {} back to {}",
                    layout::vm_dir(storage, vm),
                    to.hostname
                )
            }
            Self::Tag { tags, .. } => {
                let tags: Vec<_> = tags.iter().map(|(k, v)| format!("{k}={v}")).collect();
                format!("set the tags: {}", tags.join(" "))
            }
            Self::Discard { path } | Self::Clear { path, .. } => format!("remove {path}"),
            Self::Remark { of, remark } => {
                let what = match remark {
                    Remark::Pinned { pinned: true } => "pinned",
                    Remark::Pinned { pinned: false } => "not pinned",
                    Remark::Removed { at: Some(_) } => "removed",
                    Remark::Removed { at: None } => "not removed",
                    Remark::Unusable { why: Some(_) } => "unusable",
                    Remark::Unusable { why: None } => "usable",
                };
                format!("note in {}: {what}", of.dir())
            }
            Self::Remove { of } => format!("remove {}", of.dir()),
            Self::Fetch { target, to, .. } => format!("write {target} to {}", to.path),
            Self::Place { from, to } => format!("copy {from} to {to}"),
            Self::Rename { from, to } => format!("rename {} to {to}", file(from)),
            Self::Unname { from, to } => format!("rename {} back to {from}", file(to)),
            Self::Define { name, .. } => format!("define {name}"),
            Self::Undefine { vm } => format!("undefine {vm}"),
        }
    }

    /// What makes it as if it had never been done, from wherever it got to. Guest writes are never
    /// dropped: the inverse of an overlay is a merge. A claim is spent rather than taken back: it is
    /// made again, for the record will know it.
    #[must_use]
    pub fn inverse(&self) -> Vec<Self> {
        match self {
            Self::Note { claims: true, .. } => vec![self.clone()],
            Self::Stage { dir, .. } => vec![Self::Discard { path: dir.clone() }],
            Self::Overlay {
                vm, claim, disks, ..
            } => disks
                .iter()
                .map(|(target, at)| Self::Merge {
                    vm: vm.clone(),
                    claim: *claim,
                    target: target.clone(),
                    top: Image::new(at.path.clone(), Format::Qcow2),
                    base: at.base.clone(),
                    branches: Vec::new(),
                })
                .collect(),
            Self::Copy { to, .. } | Self::Place { to, .. } => {
                vec![Self::Discard { path: to.clone() }]
            }
            Self::Fetch { to, .. } => vec![Self::Discard {
                path: to.path.clone(),
            }],
            Self::Create {
                vm,
                claim,
                target,
                path,
                ..
            } => vec![Self::Drop {
                vm: vm.clone(),
                claim: *claim,
                target: target.clone(),
                path: path.clone(),
                blank: true,
            }],
            Self::Point {
                vm, claim, heads, ..
            } => {
                let back = heads
                    .iter()
                    .map(|(target, turn)| (target.clone(), turn.back()));
                vec![Self::Point {
                    vm: vm.clone(),
                    claim: *claim,
                    heads: back.collect(),
                    back: true,
                }]
            }
            Self::Rename { from, to } => vec![Self::Unname {
                from: from.clone(),
                to: to.clone(),
            }],
            Self::Own {
                storage,
                id,
                vm,
                from,
                ..
            } => vec![Self::Disown {
                storage: storage.clone(),
                id: id.clone(),
                vm: vm.clone(),
                to: from.clone(),
            }],
            Self::Define { vm, .. } => vec![Self::Undefine { vm: vm.clone() }],
            Self::Remark { of, remark } => vec![Self::Remark {
                of: of.clone(),
                remark: remark.inverse(),
            }],
            Self::Note { claims: false, .. }
            | Self::Mark { .. }
            | Self::Disown { .. }
            | Self::Tag { .. }
            | Self::Capture { .. }
            | Self::Thaw { .. }
            | Self::Seal { .. }
            | Self::Publish { .. }
            | Self::Merge { .. }
            | Self::Fold { .. }
            | Self::Drop { .. }
            | Self::Discard { .. }
            | Self::Remove { .. }
            | Self::Clear { .. }
            | Self::Unname { .. }
            | Self::Undefine { .. } => Vec::new(),
        }
    }
}
