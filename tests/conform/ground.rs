//! A place where a scenario is told: a host, one VM of two disks, and what people and guests do to it.

use std::any::Any;
use std::ops::Range;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use knib::host::Host;
use knib::model::id::VmId;
use knib::model::machine::Format;

/// Cells of each disk, of 64 KiB.
pub(super) const CELLS: usize = 16;

/// A place. Its VM has `vda` (`a.qcow2`) and `vdb` (`b.raw`), is off, and its guest writes when it is told to.
pub(super) trait Ground {
    type Host: Host;

    fn host(&self) -> &Self::Host;
    /// Where its disks are.
    fn dir(&self) -> Utf8PathBuf;
    fn vm(&self) -> VmId;
    /// Whether it started.
    fn start(&self) -> bool;
    fn stop(&self);
    /// The guest, or with the VM off its owner, fills cells.
    fn write(&self, target: &str, cells: Range<usize>, value: u8);
    /// Its disk is lost.
    fn lose(&self, image: &Utf8Path);
    /// Somebody reads an image, until the value goes.
    fn reader(&self, image: &Utf8Path) -> Box<dyn Any>;
    /// The owner makes an image that no VM has open another size.
    fn resize(&self, image: &Utf8Path, cells: usize);
    /// What shows through an image that nobody writes, cell by cell; none when it cannot be read.
    fn cells(&self, image: &Utf8Path) -> Option<Vec<u8>>;
    /// Somebody lays the definition of the VM aside, and may bring it back later.
    fn definition(&self) -> String;
    fn bring_back(&self, definition: &str);
    /// A definition that wants to be in a network besides.
    fn in_network(&self, definition: &str, network: &str) -> String;
    /// Nobody but its owner may read an image, or everybody may again.
    fn shut(&self, image: &Utf8Path, shut: bool);
}

/// The format of an image, which its name tells.
pub(super) fn format_of(image: &Utf8Path) -> Format {
    if image.extension() == Some("raw") {
        Format::Raw
    } else {
        Format::Qcow2
    }
}
