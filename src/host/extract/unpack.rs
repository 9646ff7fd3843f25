//! Files into a directory. They are written beside, in a stage that only knib's user can search, and
//! get their names there when all of them are whole and on stable storage. Nothing is ever written
//! through a link: every directory on the way is opened by its own name in the one above it.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::io::Read;
use std::io::Seek;
use std::io::SeekFrom;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::path::PathBuf;

use rustix::fs::AtFlags;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::Timespec;
use rustix::fs::Timestamps;
use rustix::fs::XattrFlags;
use tempfile::TempDir;

use crate::host::HostError;
use crate::host::Result;
use crate::host::extract::Item;
use crate::host::extract::Sink;
use crate::host::extract::Taken;
use crate::host::extract::What;
use crate::host::extract::place;
use crate::host::faults;
use crate::model::fault::Fault;

/// Bytes written at once; as many zeroes in their place become a hole.
const PIECE: usize = 64 * 1024;
/// Directories in each other that no one makes by accident.
const DEEPEST: usize = 500;
/// Of what takes effect when a file is run.
const SET_ID: u32 = 0o6000;

/// A directory that is being filled.
pub struct Unpacker {
    /// Gone when this is, with all that is in it.
    stage: TempDir,
    inside: OwnedFd,
    target: PathBuf,
    /// The target was made for this.
    made: bool,
    done: bool,
    /// The directory that was last written to.
    last: Option<(Vec<Vec<u8>>, OwnedFd)>,
    /// What directories get in the end: before, nothing could be written into some.
    directories: Vec<Item>,
    taken: Taken,
}

impl Unpacker {
    /// Prepares a directory, which is made if it is not there. One with anything in it is taken only to
    /// `overwrite`.
    ///
    /// # Errors
    /// `Conflict`: there is something in it. Else it cannot be written to.
    pub fn into(target: &Path, overwrite: bool) -> Result<Self> {
        let tried = format!("write into {}", target.display());
        let failed = |error: io::Error| HostError::new(faults::of_io(&error), &tried, error);
        let made = match std::fs::create_dir(target) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(failed(error)),
        };
        let target = target.canonicalize().map_err(failed)?;
        let mut entries = std::fs::read_dir(&target).map_err(failed)?;
        if !overwrite && entries.next().is_some() {
            let refused = HostError::new(Fault::Conflict, tried, "there is something in it");
            return Err(refused.hinted(
                "name an empty directory, or say --overwrite: files of the same names are replaced",
            ));
        }
        let stage = tempfile::Builder::new()
            .prefix(".knib-files.")
            .tempdir_in(&target)
            .map_err(failed)?;
        let inside = open_dir(rustix::fs::CWD, stage.path().as_os_str())
            .map_err(|error| failed(error.into()))?;
        Ok(Self {
            stage,
            inside,
            target,
            made,
            done: false,
            last: None,
            directories: Vec::new(),
            taken: Taken::default(),
        })
    }

    /// Gives everything its name in the target.
    ///
    /// # Errors
    /// `Conflict`: a file would take a directory's place, or a directory a file's. Nothing was placed
    /// then.
    pub fn finish(mut self) -> Result<Taken> {
        let tried = format!("write into {}", self.target.display());
        let failed = |error: io::Error| HostError::new(faults::of_io(&error), &tried, error);
        rustix::fs::syncfs(&self.inside).map_err(|error| failed(error.into()))?;
        let target = open_dir(rustix::fs::CWD, self.target.as_os_str())
            .map_err(|error| failed(error.into()))?;
        place::all(&self.inside, &target).map_err(failed)?;
        self.done = true;
        for item in self.directories.iter().rev() {
            directory_settled(&target, item).map_err(|error| failed(error.into()))?;
        }
        Ok(std::mem::take(&mut self.taken))
    }

    /// The directory that an item belongs into.
    fn parent(&mut self, path: &[Vec<u8>]) -> rustix::io::Result<&OwnedFd> {
        if self.last.as_ref().is_none_or(|(known, _)| known != path) {
            let dir = walk(&self.inside, path)?;
            self.last = Some((path.to_vec(), dir));
        }
        Ok(self.last.as_ref().map_or(&self.inside, |(_, dir)| dir))
    }

    fn make(&mut self, item: &Item, content: &mut dyn Read) -> Result<()> {
        let tried = format!("write {}", item.path.join(&b'/').escape_ascii());
        let failed = |error: io::Error| HostError::new(faults::of_io(&error), &tried, error);
        let unsafe_part = |part: &Vec<u8>| {
            part.is_empty()
                || part == b"."
                || part == b".."
                || part.iter().any(|c| b"/\0".contains(c))
        };
        let Some((name, above)) = item.path.split_last() else {
            return Ok(());
        };
        if item.path.iter().any(unsafe_part) {
            return Err(HostError::new(
                Fault::Conflict,
                tried,
                "its path leads elsewhere",
            ));
        }
        if item.path.len() > DEEPEST {
            self.taken.leave_out(item, "too deep");
            return Ok(());
        }
        let name = OsStr::from_bytes(name);
        match &item.what {
            What::Special => {
                self.taken.leave_out(item, "special file");
                return Ok(());
            }
            What::Directory => {
                let parent = self.parent(above).map_err(|error| failed(error.into()))?;
                rustix::fs::mkdirat(parent, name, Mode::RWXU).map_err(|e| failed(e.into()))?;
                self.directories.push(item.clone());
            }
            What::Symlink(to) => {
                let parent = self.parent(above).map_err(|error| failed(error.into()))?;
                rustix::fs::symlinkat(OsStr::from_bytes(to), parent, name)
                    .and_then(|()| {
                        let flags = AtFlags::SYMLINK_NOFOLLOW;
                        rustix::fs::utimensat(parent, name, &times(item), flags)
                    })
                    .map_err(|error| failed(error.into()))?;
            }
            What::Hardlink(to) => {
                let linked = to
                    .split_last()
                    .map(|(old, dirs)| Ok((OsStr::from_bytes(old), walk(&self.inside, dirs)?)))
                    .transpose()
                    .and_then(|old| {
                        let (old, dir) = old.ok_or(rustix::io::Errno::NOENT)?;
                        let parent = self.parent(above)?;
                        rustix::fs::linkat(&dir, old, parent, name, AtFlags::empty())
                    });
                match linked {
                    Err(rustix::io::Errno::NOENT) => {
                        self.taken.leave_out(item, "link to what was left out");
                        return Ok(());
                    }
                    linked => linked.map_err(|error| failed(error.into()))?,
                }
            }
            What::File { .. } => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
                let parent = self.parent(above).map_err(|error| failed(error.into()))?;
                let mode = Mode::RUSR | Mode::WUSR;
                let file = rustix::fs::openat(parent, name, flags | OFlags::CLOEXEC, mode)
                    .map_err(|error| failed(error.into()))?;
                let mut file = File::from(file);
                fill(&mut file, content, &tried)?;
                settled(&file, item).map_err(|error| failed(error.into()))?;
                if !attributes_set(&file, item) {
                    self.taken.leave_out(item, "attributes");
                }
            }
        }
        if item.mode & SET_ID != 0 && matches!(item.what, What::File { .. }) {
            self.taken.leave_out(item, "setuid or setgid");
        }
        self.taken.count(item);
        Ok(())
    }
}

impl Sink for Unpacker {
    fn take(&mut self, item: &Item, content: &mut dyn Read) -> Result<()> {
        self.make(item, content)
    }
}

impl Drop for Unpacker {
    fn drop(&mut self) {
        // The stage removes itself once it is let go of. A target that was made for nothing goes after
        // it; one with anything in it stays.
        let stage = self.stage.path().to_owned();
        let _ = std::fs::remove_dir_all(stage);
        if self.made && !self.done {
            let _ = std::fs::remove_dir(&self.target);
        }
    }
}

/// A directory by its own name, never by a link's.
pub(super) fn open_dir(at: impl AsFd, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty())
}

fn walk(from: &OwnedFd, path: &[Vec<u8>]) -> rustix::io::Result<OwnedFd> {
    let mut dir = from.try_clone().map_err(|_| rustix::io::Errno::MFILE)?;
    for part in path {
        dir = open_dir(&dir, OsStr::from_bytes(part))?;
    }
    Ok(dir)
}

/// Writes the content, all of it or an error.
fn fill(file: &mut File, content: &mut dyn Read, tried: &str) -> Result<()> {
    let unread = |error: io::Error| HostError::new(Fault::Io, tried, error);
    let unwritten = |error: io::Error| HostError::new(faults::of_io(&error), tried, error);
    let mut piece = vec![0; PIECE];
    let mut length = 0;
    loop {
        let mut filled = 0;
        while filled < PIECE {
            match content.read(&mut piece[filled..]).map_err(unread)? {
                0 => break,
                read => filled += read,
            }
        }
        if filled == 0 {
            break;
        }
        length += filled as u64;
        if piece[..filled].iter().all(|byte| *byte == 0) {
            file.seek(SeekFrom::Start(length)).map_err(unwritten)?;
        } else {
            file.write_all(&piece[..filled]).map_err(unwritten)?;
        }
    }
    file.set_len(length).map_err(unwritten)
}

fn times(item: &Item) -> Timestamps {
    let (tv_sec, tv_nsec) = item.modified;
    let at = Timespec { tv_sec, tv_nsec };
    Timestamps {
        last_access: at,
        last_modification: at,
    }
}

/// Permissions and time. What would let others act as knib's user is not for a guest to give.
fn settled(file: impl AsFd, item: &Item) -> rustix::io::Result<()> {
    let mode = Mode::from_raw_mode(item.mode & !SET_ID);
    rustix::fs::fchmod(&file, mode)?;
    rustix::fs::futimens(&file, &times(item))
}

fn directory_settled(target: &OwnedFd, item: &Item) -> rustix::io::Result<()> {
    let dir = walk(target, &item.path)?;
    attributes_set(&dir, item);
    settled(&dir, item)
}

/// Attributes that a user may set; all others mean something to this host. Whether it takes them.
fn attributes_set(file: impl AsFd, item: &Item) -> bool {
    let mut all = item.attributes.iter();
    all.all(|(name, value)| {
        !name.starts_with("user.")
            || rustix::fs::fsetxattr(&file, name.as_str(), value, XattrFlags::empty()).is_ok()
    })
}

#[cfg(test)]
mod tests;
