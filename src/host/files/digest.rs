//! Reads a file for its digest, in bounded memory, and no faster than it is allowed to.

use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Read;
use std::num::NonZeroU64;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use camino::Utf8Path;
use rustix::fs::Advice;
use tokio::sync::watch;

use crate::host::HostError;
use crate::host::ReadFrom;
use crate::host::Result;
use crate::host::StopLevel;
use crate::host::Task;
use crate::host::command::expired;
use crate::host::files::on;
use crate::model::bytes::Bytes;
use crate::model::digest::Digest;
use crate::model::fault::Fault;

/// What is read at once, small enough to be hashed while a processor's cache still holds it.
const PIECE: usize = 1 << 20;
/// How often it is told.
const NEWS: u64 = 64 << 20;
/// So long it is slept at once by one who must not read on.
const NAP: Duration = Duration::from_millis(100);

/// Digest and length of a file.
pub(in crate::host) async fn digest(
    path: &Utf8Path,
    from: ReadFrom,
    task: &Task<'_>,
) -> Result<(Digest, Bytes)> {
    let (tell, mut news) = watch::channel((Bytes(0), Bytes(0)));
    let enough = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&enough);
    let mut work = std::pin::pin!(on(path, "read", move |path| {
        read(path, from, &tell, &told)
    }));
    let mut limit = std::pin::pin!(expired(task.limit));
    let (fault, why) = loop {
        tokio::select! {
            done = &mut work => return done,
            Ok(()) = news.changed() => {
                let (done, total) = *news.borrow_and_update();
                (task.report)(done, total);
            }
            () = task.stop.reached(StopLevel::Now) => break (Fault::Stopped, "asked to stop"),
            () = &mut limit => break (Fault::Timeout, "it took too long"),
        }
    };
    // Not waited for: a storage that hangs may never let the thread go.
    enough.store(true, Ordering::Relaxed);
    Err(HostError::new(fault, format!("read {path}"), why))
}

fn read(
    path: &Utf8Path,
    from: ReadFrom,
    tell: &watch::Sender<(Bytes, Bytes)>,
    enough: &AtomicBool,
) -> io::Result<(Digest, Bytes)> {
    // Without it a pipe would wait for a writer.
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(nonblock)
        .open(path)?;
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "it is not a file",
        ));
    }
    rustix::fs::fadvise(&file, 0, None, Advice::Sequential)?;
    let mut pace = Pace::new(from, &file)?;
    let mut hasher = blake3::Hasher::new();
    let mut piece = vec![0; PIECE];
    let mut done = 0_u64;
    while !enough.load(Ordering::Relaxed) {
        if pace.waits(done) {
            continue;
        }
        let length = match file.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            length => length?,
        };
        if length == 0 {
            pace.let_go(&file, done)?;
            return Ok((Digest::blake3(&hasher.finalize()), Bytes(done)));
        }
        hasher.update(&piece[..length]);
        let before = done;
        done += length as u64;
        if before / NEWS != done / NEWS {
            pace.let_go(&file, done)?;
            tell.send_replace((Bytes(done), Bytes(about.len().max(done))));
        }
    }
    Err(io::Error::other("asked to stop"))
}

/// What one who reads from the storage heeds.
struct Pace {
    from: ReadFrom,
    began: Instant,
    /// So many bytes the host does not hold any more.
    gone: u64,
}

impl Pace {
    fn new(from: ReadFrom, file: &File) -> io::Result<Self> {
        if let ReadFrom::Storage { .. } = from {
            rustix::fs::fadvise(file, 0, None, Advice::DontNeed)?;
        }
        Ok(Self {
            from,
            began: Instant::now(),
            gone: 0,
        })
    }

    /// Sleeps for a while, and says so, when there was more to read than there was time for.
    fn waits(&self, done: u64) -> bool {
        let ReadFrom::Storage { rate: Some(rate) } = self.from else {
            return false;
        };
        let allowed = self.began.elapsed().as_millis() * u128::from(rate.0) / 1000;
        let early = u128::from(done) > allowed;
        if early {
            thread::sleep(NAP);
        }
        early
    }

    /// The host need not hold what was read.
    fn let_go(&mut self, file: &File, done: u64) -> io::Result<()> {
        if let ReadFrom::Storage { .. } = self.from {
            let length = NonZeroU64::new(done - self.gone);
            if length.is_some() {
                rustix::fs::fadvise(file, self.gone, length, Advice::DontNeed)?;
            }
            self.gone = done;
        }
        Ok(())
    }
}
