//! Renames, onto nothing or onto what is to go.

use std::fs;
use std::io;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;

use camino::Utf8Path;
use rustix::fs::CWD;
use rustix::fs::RenameFlags;
use rustix::fs::renameat_with;
use rustix::io::Errno;

use crate::host::Result;
use crate::host::files::above;
use crate::host::files::on;
use crate::host::files::settle;

/// Renames a file or a directory and syncs the directories it leaves and enters.
pub(in crate::host) async fn rename(from: &Utf8Path, to: &Utf8Path) -> Result<()> {
    let target = to.to_owned();
    on(from, "rename", move |from| {
        let (from_std, to_std) = (from.as_std_path(), target.as_std_path());
        match renameat_with(CWD, from_std, CWD, to_std, RenameFlags::NOREPLACE) {
            // NFS among others.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => without_help(from, &target),
            renamed => renamed.map_err(io::Error::from),
        }
        .map_err(|error| io::Error::new(error.kind(), format!("to {target}: {error}")))?;
        settle(above(&target))?;
        settle(above(from))
    })
    .await
}

/// Renames a file onto another one and syncs the directory.
pub(in crate::host) async fn replace(from: &Utf8Path, to: &Utf8Path) -> Result<()> {
    let target = to.to_owned();
    on(from, "rename", move |from| {
        fs::rename(from, &target)
            .map_err(|error| io::Error::new(error.kind(), format!("to {target}: {error}")))?;
        settle(above(&target))
    })
    .await
}

/// Where the file system cannot be told to spare what is there: a link refuses a name that is
/// taken, a directory replaces an empty directory at most.
fn without_help(from: &Utf8Path, to: &Utf8Path) -> io::Result<()> {
    if fs::symlink_metadata(from)?.is_dir() {
        return match fs::symlink_metadata(to) {
            Ok(_) => Err(ErrorKind::AlreadyExists.into()),
            Err(error) if error.kind() == ErrorKind::NotFound => fs::rename(from, to),
            Err(error) => Err(error),
        };
    }
    match fs::hard_link(from, to) {
        // A run that was killed between the two calls.
        Err(error) if error.kind() == ErrorKind::AlreadyExists && is_same(from, to)? => Ok(()),
        linked => linked,
    }?;
    fs::remove_file(from)
}

fn is_same(one: &Utf8Path, other: &Utf8Path) -> io::Result<bool> {
    let id = |path| fs::symlink_metadata(path).map(|about| (about.dev(), about.ino()));
    Ok(id(one)? == id(other)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_replaced_without_help_either() {
        let dir = tempfile::tempdir().expect("a directory can be made");
        let dir = Utf8Path::from_path(dir.path()).expect("it is UTF-8");
        let (a, b, c) = (dir.join("a"), dir.join("b"), dir.join("c"));
        fs::write(&a, "a").expect("written");
        fs::write(&b, "b").expect("written");
        let refused = without_help(&a, &b).expect_err("b is there");
        assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&b).expect("it is there"), b"b");
        without_help(&a, &c).expect("c is free");
        fs::hard_link(&c, &a).expect("as a killed run leaves it");
        without_help(&a, &c).expect("they are the same file");
        assert!(!a.exists());
        fs::create_dir(&a).expect("made");
        assert!(without_help(&a, &b).is_err() && a.is_dir());
    }
}
