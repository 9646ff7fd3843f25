//! Writes a small file so that it is there whole or not at all.

use std::io;
use std::io::Write;

use camino::Utf8Path;

use crate::host::Result;
use crate::host::files::above;
use crate::host::files::on;
use crate::host::files::settle;

/// Writes beside, syncs, renames into place, syncs the directory.
pub(in crate::host) async fn write(path: &Utf8Path, content: &[u8]) -> Result<()> {
    let content = content.to_owned();
    on(path, "write", move |path| {
        let dir = above(path);
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        // Made with mode 0600, whatever the umask.
        let mut beside = tempfile::Builder::new()
            .prefix(&format!(".{name}."))
            .suffix(".tmp")
            .tempfile_in(dir)?;
        beside.write_all(&content)?;
        beside.as_file().sync_all()?;
        beside.persist(path).map_err(|failed| failed.error)?;
        settle(dir)
    })
    .await
}
