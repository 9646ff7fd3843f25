//! Files that a command was told to write: whole under their name, or not there.

use std::fs;
use std::io;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use camino::Utf8Path;

use crate::cli::failure::Failure;
use crate::cli::failure::Result;

/// Writes beside and renames; what was there is replaced.
pub(super) fn replace(path: &Utf8Path, content: &[u8]) -> Result<()> {
    let write = || {
        let mut file = beside(path)?;
        file.write_all(content)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    write().map_err(|error| Failure::file("write", path, &error))
}

/// Writes beside and renames, where nothing is.
pub(super) fn create(path: &Utf8Path, content: &[u8]) -> Result<()> {
    let write = || {
        let mut file = beside(path)?;
        file.write_all(content)?;
        file.as_file().sync_all()?;
        file.persist_noclobber(path).map_err(|error| error.error)?;
        Ok(())
    };
    write().map_err(|error| Failure::file("write", path, &error))
}

/// Reads a file whole.
pub(super) fn read(path: &Utf8Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| Failure::file("read", path, &error))
}

/// With the permissions that the umask leaves, as any new file.
fn beside(path: &Utf8Path) -> io::Result<tempfile::NamedTempFile> {
    let dir = match path.parent() {
        Some(dir) if dir != "" => dir,
        _ => Utf8Path::new("."),
    };
    tempfile::Builder::new()
        .prefix(".knib-")
        .permissions(fs::Permissions::from_mode(0o666))
        .tempfile_in(dir)
}
