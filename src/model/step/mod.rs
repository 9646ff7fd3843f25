//! One fact to make true outside. About twenty kinds serve all verbs; doing one twice is the same as
//! doing it once.
//!
//! A step says what, not how: looking, doing one thing and looking again is the engine's. What a step
//! will have changed can be foreseen, which is how a plan's later actions are decided on the world
//! that its earlier ones will leave.

mod inverse;
mod parts;
mod subject;
mod synopsis;

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use serde::Deserialize;
use serde::Serialize;

use crate::model::backup::Marker;
use crate::model::backup::Owner;
use crate::model::backup::Remark;
use crate::model::bytes::Bytes;
use crate::model::digest::Digest;
use crate::model::id::BackupId;
use crate::model::id::StorageId;
use crate::model::id::Target;
use crate::model::id::VmId;
use crate::model::machine::Note;
use crate::model::op::Compression;
use crate::model::op::Manner;
use crate::model::op::OriginFile;
use crate::model::op::Trial;
use crate::model::orphan::OrphanKind;
use crate::model::policy::Quiesce;
use crate::model::seconds::Seconds;
pub use crate::model::step::parts::BackupAt;
pub use crate::model::step::parts::Image;
pub use crate::model::step::parts::OverlayAt;
pub use crate::model::step::parts::Turn;
pub use crate::model::step::parts::Written;

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
        /// How it is compressed; none: it is not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        compression: Option<Compression>,
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
        /// What lies on the layer in the chain that the VM uses, if anything does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        above: Option<Image>,
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
    /// A VM is off.
    Stop {
        /// Which VM.
        vm: VmId,
        /// Its guest is asked, and has so long.
        ask: Option<Seconds>,
        /// The plug is pulled, after that.
        pull: bool,
    },
    /// The definition of a VM that is off, as it would be over files that keep what it has now, is in a
    /// file.
    Describe {
        /// Which VM.
        vm: VmId,
        /// The serial that this program claims.
        claim: u64,
        /// Each disk, as it will be kept.
        heads: BTreeMap<Target, Image>,
        /// The file.
        to: Utf8PathBuf,
    },
    /// A VM that is off has other disks, all in one redefinition. Never taken back: where it did not take
    /// effect, nothing was.
    Swap {
        /// Which VM.
        vm: VmId,
        /// The serial that this program claims.
        claim: u64,
        /// Disks that it has.
        turns: BTreeMap<Target, Turn>,
        /// Disks that it gets besides.
        added: BTreeMap<Target, Image>,
        /// The definition that describes those.
        definition: Utf8PathBuf,
        /// Files below any of them that the definition names.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        backing: BTreeMap<Target, Vec<Image>>,
    },
    /// The files of a disk that was replaced have the names they are kept under, and find each other by
    /// them.
    Keep {
        /// Which VM.
        vm: VmId,
        /// The serial that this program claims.
        claim: u64,
        /// Which disk.
        target: Target,
        /// The files, top first, as they were called.
        files: Vec<Image>,
        /// The restore that replaced them.
        restore: BackupId,
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
    /// The storage is the right one, the VM's directory on it is ours, and there is room beside these
    /// files.
    Room {
        /// Which backup.
        of: BackupAt,
        /// Its files.
        files: Vec<Utf8PathBuf>,
        /// Thousandths of their length that must be free.
        thousandths: u64,
    },
    /// A compressed file is beside a backup's, continues what that one continues, and is on stable
    /// storage.
    Compress {
        /// Which disk.
        target: Target,
        /// The backup's file.
        from: Utf8PathBuf,
        /// The file that it continues, named relative to its directory.
        parent: Option<Utf8PathBuf>,
        /// The new file.
        to: Utf8PathBuf,
        /// How.
        how: Compression,
        /// Bounds it.
        limit: Seconds,
    },
    /// Two files show the same to a guest, each through what it continues.
    Compare {
        /// Which disk.
        target: Target,
        /// The backup's file.
        one: Utf8PathBuf,
        /// The compressed one.
        other: Utf8PathBuf,
        /// Bounds it.
        limit: Seconds,
    },
    /// The record of a backup says that each of its files is what it was, or the compressed one that
    /// its job found smaller.
    Announce {
        /// Which backup.
        of: BackupAt,
    },
    /// The record of a backup says that its files are what they were.
    Recant {
        /// Which backup.
        of: BackupAt,
    },
    /// A compressed file has the place of a backup's, or is not there where it was not announced.
    Replace {
        /// Which disk.
        target: Target,
        /// The compressed file.
        from: Utf8PathBuf,
        /// The backup's.
        to: Utf8PathBuf,
    },
    /// The record of a backup says what its files are now.
    Settle {
        /// Which backup.
        of: BackupAt,
    },
    /// A throwaway VM was booted from a backup's files, its guest was put through a trial, and both are
    /// gone.
    Boot {
        /// Which backup.
        of: BackupAt,
        /// What it continues, nearest first.
        ancestors: Vec<BackupId>,
        /// The VM.
        vm: VmId,
        /// What it is called.
        name: String,
        /// Where it has files of its own.
        dir: Utf8PathBuf,
        /// Its disks, each an empty layer.
        heads: BTreeMap<Target, Image>,
        /// The backup's files below them, by disk.
        backing: BTreeMap<Target, Vec<Image>>,
        /// The trial.
        trial: Box<Trial>,
    },
    /// A throwaway VM is not there, nor what it had besides its disks.
    Bury {
        /// Of which VM.
        of: VmId,
        /// The VM.
        vm: VmId,
        /// What it is called.
        name: String,
        /// Where it had files of its own.
        dir: Utf8PathBuf,
    },
    /// The record of a backup says how it went when it was booted.
    Attest {
        /// Which backup.
        of: BackupAt,
    },
    /// Files of backups have the bytes they must have.
    Check {
        /// Which disk.
        target: Target,
        /// Each file with its digest.
        files: Vec<OriginFile>,
    },
    /// Files of a backup were read, and whether they are what was written is known.
    Verify {
        /// Which backup.
        of: BackupAt,
        /// Its files.
        files: Vec<Written>,
        /// Bytes a second at most.
        rate: Option<Bytes>,
    },
    /// The record of a backup on its storage is the one that is known.
    Consult {
        /// Which backup.
        of: BackupAt,
        /// Of what it says.
        imprint: Digest,
    },
    /// Files of a backup are there, of the right length and on top of each other, and QEMU may read them,
    /// that of the VM as well where it runs. Their bytes are not read.
    Inspect {
        /// Which VM is to read them.
        by: VmId,
        /// Which disk.
        target: Target,
        /// The wanted one first, then what it continues.
        files: Vec<OriginFile>,
    },
    /// Files of backups were read for the bytes they must have. One that has others is told and does not
    /// stop what goes on.
    Audit {
        /// Which disk.
        target: Target,
        /// Each file with its digest.
        files: Vec<OriginFile>,
    },
    /// A backup says that a VM reads it.
    Lend {
        /// Which backup.
        of: BackupAt,
        /// Which VM.
        to: VmId,
    },
    /// It does no longer.
    Release {
        /// Which backup.
        of: BackupAt,
        /// Which VM.
        to: VmId,
    },
    /// There is an empty layer on a backup's file.
    Lay {
        /// Which disk.
        target: Target,
        /// The backup's file.
        on: Utf8PathBuf,
        /// The new layer.
        path: Utf8PathBuf,
    },
    /// A VM runs, or ran.
    Start {
        /// Which VM.
        vm: VmId,
        /// Its layers. While all of them are empty a VM that cannot be started was not touched; one that
        /// ran before stays off then.
        heads: BTreeMap<Target, Image>,
    },
    /// All that a disk shows is in its own file.
    Pull {
        /// Which VM.
        vm: VmId,
        /// Which disk.
        target: Target,
        /// Its file.
        head: Image,
        /// What that lay on at first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        below: Option<Image>,
    },
    /// The content of a backup's disk is in a file, every byte of the chain having been checked.
    Fetch {
        /// Which disk.
        target: Target,
        /// The backup's files, the wanted one first, then what it continues.
        chain: Vec<OriginFile>,
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
        /// Files below them that the definition names, by disk.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        backing: BTreeMap<Target, Vec<Image>>,
        /// Its UEFI variables.
        nvram: Option<Utf8PathBuf>,
        /// What else is kept and changed.
        manner: Manner,
    },
    /// A VM, on or off, has one disk more. Never taken back: where it did not get it, nothing was done.
    Attach {
        /// Which VM.
        vm: VmId,
        /// The serial that this program claims.
        claim: u64,
        /// The definition that describes the disk.
        definition: Utf8PathBuf,
        /// What it is called there.
        disk: Target,
        /// What it is called here.
        target: Target,
        /// Its file.
        image: Image,
        /// Files below it that the definition names, top first.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        backing: Vec<Image>,
    },
    /// A directory holds what is in an archive.
    Unpack {
        /// The archive.
        from: Utf8PathBuf,
        /// The directory.
        to: Utf8PathBuf,
    },
    /// A VM that was newly defined is not defined.
    Undefine {
        /// Which VM.
        vm: VmId,
    },
}
