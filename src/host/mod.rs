//! The seam to everything outside: libvirt, qemu-img and files, about thirty primitive calls.
//!
//! Calls are primitive, not steps: what a step does with them is the engine's, so that the simulated
//! host of the tests exercises the very same logic. No call waits for a block job, none decides,
//! and none knows the state file. Nouns in, nouns out: XML, flags and handles stay behind it.

mod command;
mod equipment;
mod error;
pub mod extract;
mod faults;
mod files;
pub mod guestfs;
mod libvirt;
mod local;
mod namespace;
mod qemu_img;
mod task;

use std::collections::BTreeMap;
use std::time::Duration;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use serde_json::Value;

pub use crate::host::error::HostError;
pub use crate::host::error::Result;
pub use crate::host::local::Local;
pub use crate::host::task::Stop;
pub use crate::host::task::StopLevel;
pub use crate::host::task::Task;
use crate::model::bytes::Bytes;
use crate::model::digest::Digest;
use crate::model::id::Target;
use crate::model::id::VmId;
use crate::model::machine::Format;
use crate::model::machine::Job;
use crate::model::machine::Layer;
use crate::model::machine::Machine;
use crate::model::machine::Note;
use crate::model::op::Compression;
use crate::model::op::Manner;
use crate::model::step::Image;
use crate::model::world::Identity;
use crate::model::world::Space;

/// An overlay that is to be made on top of a disk.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct NewOverlay {
    /// Which disk.
    pub target: Target,
    /// The new file; nothing is there before.
    pub path: Utf8PathBuf,
}

/// The content that frozen layers hold, written into one new qcow2 file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Convert {
    /// What is copied, top first, never empty. Without `backing` the whole chain below the first
    /// is flattened and the rest of the list is not looked at.
    pub layers: Vec<Image>,
    /// The file that the new one continues: its name as it is to be written into the header,
    /// relative to `to`, and its format. Always qcow2.
    pub backing: Option<Utf8PathBuf>,
    /// The new file. A file that is there is overwritten.
    pub to: Utf8PathBuf,
    /// `qcow2`, or `raw` for a full copy.
    pub format: Format,
    /// How it is compressed; none: it is not. Always qcow2.
    pub compression: Option<Compression>,
    /// Whether everybody else's reads and writes go first.
    pub idle: bool,
}

/// A definition's disk that is to name another file.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Head {
    /// Which disk.
    pub target: Target,
    /// What it shall be.
    pub image: Image,
    /// The files below it that the definition is to name, top first, so that libvirt leaves their owners
    /// alone; empty: it says nothing of them.
    pub backing: Vec<Image>,
}

impl Head {
    /// A file, of whose backing files the definition says nothing.
    #[must_use]
    pub fn new(target: Target, image: Image) -> Self {
        Self {
            target,
            image,
            backing: Vec::new(),
        }
    }
}

/// What the persistent definition of a VM is to have instead of what it has.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Exchange {
    /// Disks that are to name another file.
    pub heads: Vec<Head>,
    /// Disks that come.
    pub added: Vec<Head>,
    /// The stored definition that describes those, at the same targets.
    pub definition: String,
    /// Disks that go.
    pub removed: Vec<Target>,
}

/// How a stored definition becomes a VM.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Renewal {
    /// The new uuid.
    pub id: VmId,
    /// The new name.
    pub name: String,
    /// The disks it has; every other writable hard disk of the definition is dropped.
    pub heads: Vec<Head>,
    /// Its UEFI variables, where the definition has some.
    pub nvram: Option<Utf8PathBuf>,
    /// What else is kept and changed.
    pub manner: Manner,
}

/// How a stored definition becomes a VM that is there for a short while and reaches nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Throwaway {
    /// Its uuid.
    pub id: VmId,
    /// Its name.
    pub name: String,
    /// The disks it has, and no others.
    pub heads: Vec<Head>,
    /// Its own copy of the UEFI variables.
    pub nvram: Option<Utf8PathBuf>,
    /// Its own copy of the kernel of a direct boot.
    pub kernel: Option<Utf8PathBuf>,
    /// The same of its initial ramdisk.
    pub initrd: Option<Utf8PathBuf>,
    /// Memory that it has at most.
    pub memory: Option<Bytes>,
    /// Processors that it has at most.
    pub vcpus: Option<u32>,
}

/// Where the bytes of a file are read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFrom {
    /// What the host still holds of it will do.
    Memory,
    /// From where it is stored, as far as the file system lets go of what the host holds; nothing of it
    /// stays there afterwards.
    Storage {
        /// Bytes a second at most.
        rate: Option<Bytes>,
    },
}

/// Which of a VM's two definitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Definition {
    /// What runs; of a VM that is off, the persistent one.
    Live,
    /// What the next start takes.
    Persistent,
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name, without the directory.
    pub name: String,
    /// A directory itself, symbolic links not followed.
    pub is_dir: bool,
    /// Length in bytes.
    pub size: Bytes,
}

/// A network or a storage pool of libvirt's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// `network`, `pool`
    pub kind: &'static str,
    /// libvirt's name.
    pub name: String,
    /// Its definition.
    pub definition: String,
}

/// What knib needs from outside.
#[expect(
    async_fn_in_trait,
    reason = "one thread runs all futures; none needs to be sent"
)]
pub trait Host: 'static {
    // machines

    /// Who this is.
    async fn identity(&self) -> Result<Identity>;
    /// Every VM, running or not, without its layers.
    async fn machines(&self) -> Result<Vec<Machine>>;
    /// One VM, without its layers.
    async fn machine(&self, vm: &VmId) -> Result<Machine>;
    /// The networks and pools that a VM's definition names, as far as they are here.
    async fn neighbours(&self, vm: &VmId) -> Result<Vec<Neighbour>>;
    /// A definition, byte for byte as libvirt gives it, with what it holds back from strangers.
    async fn definition(&self, vm: &VmId, which: Definition) -> Result<String>;
    /// One atomic disk-only snapshot without metadata, of a VM that is on or off. Every hard disk
    /// is named: in `overlays`, or in `others`, which stay as they are. With `freeze` the guest's
    /// file systems are frozen around it and the agent has that long to answer. After `Agent` look
    /// again: the guest may freeze later, and a thaw that fails comes after the overlays were made.
    async fn snapshot(
        &self,
        vm: &VmId,
        overlays: &[NewOverlay],
        others: &[Target],
        freeze: Option<Duration>,
    ) -> Result<()>;
    /// Whether the agent says that file systems are frozen.
    async fn is_frozen(&self, vm: &VmId) -> Result<bool>;
    /// Thaws them.
    async fn thaw(&self, vm: &VmId) -> Result<()>;
    /// Writes knib's note into the persistent definition, and into the live one of a VM that is on;
    /// None takes it away.
    async fn note(&self, vm: &VmId, note: Option<&Note>) -> Result<()>;
    /// Writes tags into the persistent definition, and into the live one of a VM that is on: these and
    /// no others.
    async fn tag(&self, vm: &VmId, tags: &BTreeMap<String, String>) -> Result<()>;
    /// Lets the persistent definition name other files, in one redefinition; whatever it says of
    /// the files below them goes, but for those that are given.
    async fn point(&self, vm: &VmId, heads: &[Head]) -> Result<()>;
    /// The persistent definition as it would be with other files; nothing is changed.
    async fn described(&self, vm: &VmId, heads: &[Head]) -> Result<String>;
    /// A stored definition as a VM that is off, each disk over the layers that the definition names.
    async fn stored(&self, definition: &str) -> Result<Machine>;
    /// The networks and pools that a stored definition names and that are not here: `network lan`.
    async fn missing(&self, definition: &str) -> Result<Vec<String>>;
    /// Gives a VM, on or off, one disk more: the disk `from` of a stored definition, with its own file.
    async fn attach(&self, vm: &VmId, definition: &str, from: &Target, head: &Head) -> Result<()>;
    /// As `point`, and disks come and go besides.
    async fn swap(&self, vm: &VmId, exchange: &Exchange) -> Result<()>;
    /// Starts a VM.
    async fn start(&self, vm: &VmId) -> Result<()>;
    /// libvirt's number of a VM's run, another one with each start; none of a VM that is off.
    async fn run(&self, vm: &VmId) -> Result<Option<u32>>;
    /// Asks the guest to shut down, and does not wait for it.
    async fn shutdown(&self, vm: &VmId) -> Result<()>;
    /// Pulls the plug of a VM that is on.
    async fn destroy(&self, vm: &VmId) -> Result<()>;
    /// Starts to bring all that the files below a disk's top hold into the top.
    async fn pull(&self, vm: &VmId, target: &Target) -> Result<()>;
    /// Lets the QEMU of a VM write what it still keeps of a disk's top into its file.
    async fn flush(&self, vm: &VmId, target: &Target) -> Result<()>;
    /// Starts to commit `top` into `base`, the files below it down to and without `base` included;
    /// nothing is deleted.
    async fn commit(
        &self,
        vm: &VmId,
        target: &Target,
        top: &Utf8Path,
        base: &Utf8Path,
    ) -> Result<()>;
    /// The block job of a disk.
    async fn job(&self, vm: &VmId, target: &Target) -> Result<Option<Job>>;
    /// Ends a job: with `pivot` onto the base of a ready commit, else where it stands.
    async fn end_job(&self, vm: &VmId, target: &Target, pivot: bool) -> Result<()>;
    /// Starts a throwaway VM from a stored definition: it ends when this process does, whatever ends that.
    /// What its guest may miss of what the definition has.
    async fn boot(&self, definition: &str, throwaway: &Throwaway) -> Result<Vec<String>>;
    /// Asks a guest's agent, and returns what it answered to that. `Agent` where it did not in time, or
    /// said no.
    async fn ask(&self, vm: &VmId, order: &Value, limit: Duration) -> Result<Value>;
    /// What a VM's screen shows, as PNG or PPM.
    async fn screenshot(&self, vm: &VmId) -> Result<Vec<u8>>;
    /// What QEMU, or libvirt, said last of a VM of that name; empty where it said nothing.
    async fn last_words(&self, name: &str) -> Result<String>;
    /// What was logged of a VM of that name, which is not there any more, goes.
    async fn forget(&self, name: &str) -> Result<()>;
    /// Defines a VM from a stored definition, without knib's note.
    async fn define(&self, definition: &str, renewal: &Renewal) -> Result<()>;
    /// Takes the definition of a VM that is off away, and its nvram file; disks stay.
    async fn undefine(&self, vm: &VmId) -> Result<()>;

    // images

    /// An image and everything below it, top first. Looks without taking a lock, so it is for
    /// deciding, never for copying.
    async fn layers(&self, image: &Image) -> Result<Vec<Layer>>;
    /// Whether nothing was ever written into an overlay: all it shows comes from below.
    async fn is_blank(&self, image: &Image) -> Result<bool>;
    /// How much of what `from` shows as data an image that lies on nothing has nothing of. Looks without
    /// taking a lock.
    async fn lacks(&self, image: &Image, from: &Image) -> Result<Bytes>;
    /// Makes an empty overlay on an image, of its size. A file that is there is overwritten.
    async fn create(&self, path: &Utf8Path, on: &Image) -> Result<()>;
    /// `Busy` when a process has the image open for writing, here or on another host.
    async fn idle(&self, image: &Image) -> Result<()>;
    /// Writes a new file. QEMU's lock refuses a layer that is still written.
    async fn convert(&self, convert: &Convert, task: &Task<'_>) -> Result<()>;
    /// Whether two images show the same to a guest, each through what lies below it. Everybody else's
    /// reads and writes go first.
    async fn compare(&self, one: &Image, other: &Image, task: &Task<'_>) -> Result<bool>;
    /// Commits `top` into `base` while no VM has them open; `top` keeps its content.
    async fn commit_offline(&self, top: &Image, base: &Image, task: &Task<'_>) -> Result<()>;
    /// Writes another backing file into a header, both being known to show the same.
    async fn rebase(&self, image: &Image, backing: &Image) -> Result<()>;
    /// Brings all that the files below an image hold into it, while no VM has it open. Ended in between,
    /// it shows what it showed.
    async fn flatten(&self, image: &Image, task: &Task<'_>) -> Result<()>;
    /// `Denied` unless QEMU, as VMs are run here, may read an image and all below it.
    async fn readable(&self, image: &Image) -> Result<()>;
    /// `Gone` unless the QEMU of a VM finds each file where it is found here; a VM that is off finds all.
    async fn finds(&self, vm: &VmId, files: &[Utf8PathBuf]) -> Result<()>;
    /// Cuts an image that no VM has open down to a size.
    async fn shrink(&self, image: &Image, size: Bytes) -> Result<()>;

    // files

    /// Digest and length of a file.
    async fn digest(
        &self,
        path: &Utf8Path,
        from: ReadFrom,
        task: &Task<'_>,
    ) -> Result<(Digest, Bytes)>;
    /// What a directory holds, by name.
    async fn list(&self, dir: &Utf8Path) -> Result<Vec<Entry>>;
    /// The length of each file; none of one that is not there, or is no file.
    async fn lengths(&self, files: &[Utf8PathBuf]) -> Result<Vec<Option<Bytes>>>;
    /// A small file, whole.
    async fn read(&self, path: &Utf8Path) -> Result<Vec<u8>>;
    /// A small file, whole: written beside, synced, renamed into place.
    async fn write(&self, path: &Utf8Path, content: &[u8]) -> Result<()>;
    /// A file beside the disks, copied as `write` writes it, and as it was at one instant. `Busy`
    /// where it never holds still.
    async fn copy(&self, from: &Utf8Path, to: &Utf8Path) -> Result<()>;
    /// A directory beside the disks as an archive (tar), written as `copy` does.
    async fn archive(&self, dir: &Utf8Path, to: &Utf8Path) -> Result<()>;
    /// A directory with what an archive holds. `Conflict` where something is.
    async fn unpack(&self, archive: &Utf8Path, to: &Utf8Path) -> Result<()>;
    /// Waits until a file, or a directory's entries, are on stable storage.
    async fn sync(&self, path: &Utf8Path) -> Result<()>;
    /// Makes a directory that may be there already; its parent is there.
    async fn make_dir(&self, dir: &Utf8Path) -> Result<()>;
    /// Makes a directory for disks, and those above it, where they are not there; whoever runs VMs may
    /// pass through.
    async fn make_dirs(&self, dir: &Utf8Path) -> Result<()>;
    /// Renames a file, or a directory onto nothing, and syncs the directories. `Conflict` where
    /// something is.
    async fn rename(&self, from: &Utf8Path, to: &Utf8Path) -> Result<()>;
    /// Renames a file onto another one, whose name it takes, and syncs the directory.
    async fn replace(&self, from: &Utf8Path, to: &Utf8Path) -> Result<()>;
    /// Removes a file, or a directory with all it holds, symbolic links not followed. What is not
    /// there is removed.
    async fn remove(&self, path: &Utf8Path) -> Result<()>;
    /// Room on the file system of a directory.
    async fn space(&self, dir: &Utf8Path) -> Result<Space>;
}
