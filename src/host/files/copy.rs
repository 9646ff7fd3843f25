//! Copies files that somebody may be writing: until they held still from the first byte to the last.

use std::fs;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use camino::Utf8Path;

use crate::host::Result;
use crate::host::files::on;
use crate::host::files::write::new;

/// So often it is tried.
const TRIES: u32 = 10;

/// Copies beside, syncs, renames into place. Symbolic links are followed.
pub(in crate::host) async fn copy(from: &Utf8Path, to: &Utf8Path) -> Result<()> {
    let to = to.to_owned();
    on(from, "copy", move |from| {
        new(&to, |file| still(file, |file| copied(from, file)))
    })
    .await
}

/// Writes a directory and all it holds as an archive.
pub(in crate::host) async fn archive(dir: &Utf8Path, to: &Utf8Path) -> Result<()> {
    let to = to.to_owned();
    on(dir, "archive", move |dir| {
        // Nothing is made of a directory that is not there.
        fs::read_dir(dir)?;
        new(&to, |file| still(file, |file| archived(dir, file)))
    })
    .await
}

/// Makes a directory of an archive, owners and modes as they were.
pub(in crate::host) async fn unpack(archive: &Utf8Path, to: &Utf8Path) -> Result<()> {
    let to = to.to_owned();
    on(archive, "unpack", move |archive| {
        fs::create_dir(&to)?;
        let unpack = ["--extract", "--same-owner", "--same-permissions", "--file"];
        let output = Command::new("tar")
            .args(unpack)
            .args([archive.as_str(), "--directory", to.as_str()])
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| io::Error::new(error.kind(), format!("tar: {error}")))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(io::Error::other(format!("tar: {}", said.trim())));
        }
        File::open(&to)?.sync_all()
    })
    .await
}

/// Does it until nobody wrote meanwhile.
fn still(to: &mut File, write: impl Fn(&mut File) -> io::Result<bool>) -> io::Result<()> {
    for _ in 0..TRIES {
        if write(to)? {
            return Ok(());
        }
        to.set_len(0)?;
        io::Seek::rewind(to)?;
    }
    Err(io::Error::new(
        io::ErrorKind::ResourceBusy,
        format!("it was changed while it was read, {TRIES} times"),
    ))
}

fn copied(from: &Utf8Path, to: &mut File) -> io::Result<bool> {
    let mut source = File::open(from)?;
    let before = stamp(&source)?;
    io::copy(&mut source, to)?;
    // Firmware may replace its file as well as write into it.
    Ok(stamp(&source)? == before && stamp(&File::open(from)?)? == before)
}

fn archived(dir: &Utf8Path, to: &mut File) -> io::Result<bool> {
    let output = Command::new("tar")
        .args(["--create", "--file=-", "--directory", dir.as_str(), "."])
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(to.try_clone()?)
        .stderr(Stdio::piped())
        .spawn()
        .and_then(Child::wait_with_output)
        .map_err(|error| io::Error::new(error.kind(), format!("tar: {error}")))?;
    match output.status.code() {
        Some(0) => Ok(true),
        // "file changed as we read it", or it was removed (GNU tar's manual, 3.1).
        Some(1) => Ok(false),
        _ => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(io::Error::other(format!("tar: {}", said.trim())))
        }
    }
}

/// What differs when a file was written to, or is another one.
fn stamp(file: &File) -> io::Result<(u64, u64, i64, i64)> {
    let about = file.metadata()?;
    Ok((about.ino(), about.len(), about.mtime(), about.mtime_nsec()))
}
