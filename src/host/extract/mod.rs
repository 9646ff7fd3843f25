//! What becomes of files that are taken out of a backup: they are unpacked into a directory, or
//! written as an archive. The names, links and modes are a guest's, and a guest may mean harm.

mod archive;
mod place;
mod unpack;

use std::io::Read;

use crate::host::Result;
pub use crate::host::extract::archive::Archive;
pub use crate::host::extract::unpack::Unpacker;
use crate::model::bytes::Bytes;

/// One file on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its place below where it is put, part by part; no part is `..`, empty, or holds a `/`.
    pub path: Vec<Vec<u8>>,
    /// What it is.
    pub what: What,
    /// Permissions, with the setuid, setgid and sticky bits.
    pub mode: u32,
    /// The guest's numbers of its user and its group.
    pub owner: (u64, u64),
    /// When its content last changed, in seconds since 1970 and nanoseconds.
    pub modified: (i64, i64),
    /// Extended attributes.
    pub attributes: Vec<(String, Vec<u8>)>,
}

/// What a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// With so many bytes.
    File {
        /// So many.
        size: u64,
    },
    /// A directory.
    Directory,
    /// A symbolic link, with its text.
    Symlink(Vec<u8>),
    /// Another name of a file that came before.
    Hardlink(Vec<Vec<u8>>),
    /// A device, a pipe or a socket.
    Special,
}

/// Takes files as they come.
pub trait Sink {
    /// One of them; `content` are a regular file's bytes.
    ///
    /// # Errors
    /// It cannot be written.
    fn take(&mut self, item: &Item, content: &mut dyn Read) -> Result<()>;
}

/// What was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Regular files, further names of one not counted.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Links of both kinds.
    pub links: u64,
    /// Of regular files.
    pub bytes: Bytes,
    /// What was not.
    pub left_out: Vec<LeftOut>,
}

/// Something that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Of which file.
    pub path: Vec<u8>,
    /// What of it: `special file`, `setuid`.
    pub what: &'static str,
}

impl Taken {
    fn count(&mut self, item: &Item) {
        match &item.what {
            What::File { size } => {
                self.files += 1;
                self.bytes = self.bytes + Bytes(*size);
            }
            What::Directory => self.directories += 1,
            What::Symlink(_) | What::Hardlink(_) => self.links += 1,
            What::Special => {}
        }
    }

    fn leave_out(&mut self, item: &Item, what: &'static str) {
        let path = item.path.join(&b'/');
        self.left_out.push(LeftOut { path, what });
    }
}
