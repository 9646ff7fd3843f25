//! Copies a file that somebody may be writing: until it held still from the first byte to the last.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;

use camino::Utf8Path;

use crate::host::Result;
use crate::host::files::on;
use crate::host::files::write::new;

/// So often it is tried.
const TRIES: u32 = 10;

/// Copies beside, syncs, renames into place. Symbolic links are followed.
pub(in crate::host) async fn copy(from: &Utf8Path, to: &Utf8Path) -> Result<()> {
    let to = to.to_owned();
    on(from, "copy", move |from| new(&to, |file| still(from, file))).await
}

fn still(from: &Utf8Path, to: &mut File) -> io::Result<()> {
    for _ in 0..TRIES {
        let mut source = File::open(from)?;
        let before = stamp(&source)?;
        io::copy(&mut source, to)?;
        // Firmware may replace its file as well as write into it.
        if stamp(&source)? == before && stamp(&File::open(from)?)? == before {
            return Ok(());
        }
        to.set_len(0)?;
        io::Seek::rewind(to)?;
    }
    Err(io::Error::new(
        io::ErrorKind::ResourceBusy,
        format!("it was changed while it was copied, {TRIES} times"),
    ))
}

/// What differs when a file was written to, or is another one.
fn stamp(file: &File) -> io::Result<(u64, u64, i64, i64)> {
    let about = file.metadata()?;
    Ok((about.ino(), about.len(), about.mtime(), about.mtime_nsec()))
}
