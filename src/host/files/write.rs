//! Writes a small file so that it is there whole or not at all.

use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::ErrorKind;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use camino::Utf8Path;

use crate::host::Result;
use crate::host::files::above;
use crate::host::files::on;
use crate::host::files::settle;
use crate::model::layout;

/// Readable for whoever made it alone: definitions hold passwords.
const PRIVATE: u32 = 0o600;

/// Writes beside, syncs, renames into place, syncs the directory. A run that is killed leaves one file
/// at most, whose name the next try takes again.
pub(in crate::host) async fn write(path: &Utf8Path, content: &[u8]) -> Result<()> {
    let content = content.to_owned();
    on(path, "write", move |path| {
        new(path, |file| file.write_all(&content))
    })
    .await
}

/// Makes a file with what `fill` writes, as `write` does.
pub(super) fn new(
    path: &Utf8Path,
    fill: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let beside = layout::unwritten(path);
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(PRIVATE);
    let mut file = options.open(&beside)?;
    let written = fill(&mut file)
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // What is told is why it could not be written.
        let _ = fs::remove_file(&beside);
    }
    written?;
    settle(above(path))
}
