//! Files and directories of storages and of primary.
//!
//! Backups hold what a guest holds, so nothing is made for everybody to read. Directories are 0750
//! and images 0640: a VM that is quick-restored reads them as QEMU's user, whose group the storage
//! may have been given, with the set-group-ID bit, once; without that only root reads them. Small
//! files (definitions with their passwords, notes) are 0600, since QEMU never reads those.

mod copy;
mod digest;
mod rename;
mod space;
mod write;

use std::fs;
use std::fs::DirBuilder;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::OpenOptionsExt;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use tokio::task::spawn_blocking;

use crate::host::Entry;
use crate::host::HostError;
use crate::host::Result;
use crate::host::faults;
pub(super) use crate::host::files::copy::archive;
pub(super) use crate::host::files::copy::copy;
pub(super) use crate::host::files::copy::unpack;
pub(super) use crate::host::files::digest::digest;
pub(super) use crate::host::files::rename::rename;
pub(super) use crate::host::files::rename::replace;
pub(super) use crate::host::files::space::space;
pub(super) use crate::host::files::write::write;
use crate::model::bytes::Bytes;

const DIRECTORY: u32 = 0o750;
/// A directory of disks: the user of QEMU must reach them, and need not see their names.
const PASSAGE: u32 = 0o711;
const IMAGE: u32 = 0o640;

/// What a directory holds, by name. A name that is not UTF-8 is shown as far as it can be.
pub(super) async fn list(dir: &Utf8Path) -> Result<Vec<Entry>> {
    on(dir, "list", |dir| {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let about = match entry.metadata() {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                about => about?,
            };
            entries.push(Entry {
                name: entry.file_name().to_string_lossy().into_owned(),
                is_dir: about.is_dir(),
                size: Bytes(about.len()),
            });
        }
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(entries)
    })
    .await
}

/// The length of each file; none of one that is not there, or is no file.
pub(super) async fn lengths(paths: &[Utf8PathBuf]) -> Result<Vec<Option<Bytes>>> {
    let Some(first) = paths.first() else {
        return Ok(Vec::new());
    };
    let paths = paths.to_owned();
    on(first, "look at files like", move |_| {
        let length = |path: &Utf8PathBuf| match fs::symlink_metadata(path) {
            Ok(about) => Ok(about.is_file().then_some(Bytes(about.len()))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        paths.iter().map(length).collect()
    })
    .await
}

/// A small file, whole.
pub(super) async fn read(path: &Utf8Path) -> Result<Vec<u8>> {
    on(path, "read", |path| fs::read(path)).await
}

/// Waits until a file, or a directory's entries, are on stable storage.
pub(super) async fn sync(path: &Utf8Path) -> Result<()> {
    on(path, "sync", settle).await
}

/// Makes a directory that may be there already.
pub(super) async fn make_dir(dir: &Utf8Path) -> Result<()> {
    on(dir, "make directory", |dir| {
        match DirBuilder::new().mode(DIRECTORY).create(dir) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
            made => made,
        }?;
        settle(above(dir))
    })
    .await
}

/// Makes a directory, and those above it, that others may pass through.
pub(super) async fn make_dirs(dir: &Utf8Path) -> Result<()> {
    on(dir, "make directory", |dir| {
        DirBuilder::new()
            .recursive(true)
            .mode(PASSAGE)
            .create(dir)?;
        settle(above(dir))
    })
    .await
}

/// Removes a file, or a directory with all it holds.
pub(super) async fn remove(path: &Utf8Path) -> Result<()> {
    on(path, "remove", |path| {
        let removed = match fs::symlink_metadata(path) {
            Ok(about) if about.is_dir() => fs::remove_dir_all(path),
            Ok(_) => fs::remove_file(path),
            Err(error) => Err(error),
        };
        match removed {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    })
    .await
}

/// Makes an empty image file that QEMU is to fill, in the place of whatever is there.
pub(super) async fn fresh(path: &Utf8Path) -> Result<()> {
    remove(path).await?;
    on(path, "create", |path| {
        let mut options = OpenOptions::new();
        options
            .write(true)
            .create_new(true)
            .mode(IMAGE)
            .open(path)
            .map(drop)
    })
    .await
}

/// The canonical spelling of a path, as far as it exists: what `b3/../b2` and symbolic links lead
/// to. Two spellings of one file must compare equal wherever knib asks whether it is in use.
pub(super) fn real(path: &Utf8Path) -> Utf8PathBuf {
    if let Ok(real) = path.canonicalize_utf8() {
        return real;
    }
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => real(parent).join(name),
        _ => path.to_owned(),
    }
}

/// Runs file calls where they may block.
async fn on<T: Send + 'static>(
    path: &Utf8Path,
    verb: &'static str,
    work: impl FnOnce(&Utf8Path) -> io::Result<T> + Send + 'static,
) -> Result<T> {
    let at = path.to_owned();
    let done = spawn_blocking(move || work(&at)).await;
    done.unwrap_or_else(|stopped| Err(io::Error::other(stopped)))
        .map_err(|error| HostError::new(faults::of_io(&error), format!("{verb} {path}"), error))
}

fn settle(path: &Utf8Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// The directory of a path.
fn above(path: &Utf8Path) -> &Utf8Path {
    path.parent()
        .filter(|dir| !dir.as_str().is_empty())
        .unwrap_or(Utf8Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_spelling() {
        let dir = tempfile::tempdir().expect("a directory can be made");
        let dir = Utf8Path::from_path(dir.path())
            .expect("it is UTF-8")
            .canonicalize_utf8();
        let dir = dir.expect("it is there");
        fs::create_dir(dir.join("b1")).expect("made");
        std::os::unix::fs::symlink(dir.join("b1"), dir.join("link")).expect("linked");
        fs::write(dir.join("b1/vda"), "x").expect("written");
        assert_eq!(real(&dir.join("b1/../link/vda")), dir.join("b1/vda"));
        assert_eq!(real(&dir.join("link/gone")), dir.join("b1/gone"));
        assert_eq!(real(&dir.join("gone/x/y")), dir.join("gone/x/y"));
    }
}
