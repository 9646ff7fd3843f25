//! From the stage into the target: each file by one rename, directories that are there already entry by
//! entry. First it is seen that nothing is in the way.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::AtFlags;
use rustix::fs::Dir;
use rustix::fs::FileType;
use rustix::io::Errno;

use crate::host::extract::unpack::open_dir;

/// Gives everything in `from` its name in `to`.
pub(super) fn all(from: &OwnedFd, to: &OwnedFd) -> io::Result<()> {
    each(from, to, false)?;
    each(from, to, true)
}

/// With `act` renames; without only looks.
fn each(from: &OwnedFd, to: &OwnedFd, act: bool) -> io::Result<()> {
    let mut names = Vec::new();
    for entry in Dir::read_from(from)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    for name in names {
        let name = OsStr::from_bytes(&name);
        let is_dir = kind(from, name)? == Some(FileType::Directory);
        match (is_dir, kind(to, name)?) {
            (true, Some(FileType::Directory)) => {
                each(&open_dir(from, name)?, &open_dir(to, name)?, act)?;
            }
            (true, Some(_)) | (false, Some(FileType::Directory)) => {
                let text = format!(
                    "{} is there already and is {} directory",
                    name.display(),
                    if is_dir { "no" } else { "a" }
                );
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
            }
            _ if act => rustix::fs::renameat(from, name, to, name)?,
            _ => {}
        }
    }
    Ok(())
}

/// What has a name, links not followed; none: nothing has.
fn kind(dir: &OwnedFd, name: &OsStr) -> io::Result<Option<FileType>> {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(about) => Ok(Some(FileType::from_raw_mode(about.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
