//! An archive (tar) of files as they come. Modes, owners and attributes are the guest's: nothing of it
//! takes effect here.

use std::io;
use std::io::Read;
use std::io::Write;

use tar::Builder;
use tar::EntryType;
use tar::Header;

use crate::host::HostError;
use crate::host::Result;
use crate::host::extract::Item;
use crate::host::extract::Sink;
use crate::host::extract::Taken;
use crate::host::extract::What;
use crate::host::faults;
use crate::model::fault::Fault;

/// What a header has room for.
const NAME: usize = 100;

/// An archive that is being written.
pub struct Archive<W: Write> {
    builder: Builder<W>,
    taken: Taken,
}

impl<W: Write> Archive<W> {
    /// One that nothing was written to yet.
    pub fn new(to: W) -> Self {
        Self {
            builder: Builder::new(to),
            taken: Taken::default(),
        }
    }

    /// Writes its end.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn finish(self) -> Result<Taken> {
        let ended = self.builder.into_inner().and_then(|mut to| to.flush());
        ended.map_err(|error| failed(&error))?;
        Ok(self.taken)
    }

    /// What was written so far, with its end.
    #[cfg(test)]
    pub(in crate::host) fn bytes(self) -> W {
        self.builder
            .into_inner()
            .expect("a test writes into memory")
    }

    fn append(&mut self, item: &Item, content: &mut dyn Read) -> io::Result<()> {
        let mut header = Header::new_ustar();
        let mut path = item.path.join(&b'/');
        let mut link = Vec::new();
        let (kind, size) = match &item.what {
            What::File { size } => (EntryType::Regular, *size),
            What::Directory => {
                path.push(b'/');
                (EntryType::Directory, 0)
            }
            What::Symlink(to) => {
                link.clone_from(to);
                (EntryType::Symlink, 0)
            }
            What::Hardlink(to) => {
                link = to.join(&b'/');
                (EntryType::Link, 0)
            }
            What::Special => return Ok(()),
        };
        let (seconds, nanoseconds) = item.modified;
        let time = format!("{seconds}.{nanoseconds:09}");
        let mut more: Vec<(String, &[u8])> = item
            .attributes
            .iter()
            .map(|(name, value)| (format!("SCHILY.xattr.{name}"), value.as_slice()))
            .collect();
        if seconds >= 0 && nanoseconds > 0 {
            more.push(("mtime".to_owned(), time.as_bytes()));
        }
        if path.len() > NAME {
            more.push(("path".to_owned(), &path));
        }
        if link.len() > NAME {
            more.push(("linkpath".to_owned(), &link));
        }
        let more = more.iter().map(|(name, value)| (name.as_str(), *value));
        self.builder.append_pax_extensions(more)?;
        let old = header.as_old_mut();
        put(&mut old.name, &path);
        put(&mut old.linkname, &link);
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(item.mode);
        header.set_uid(item.owner.0);
        header.set_gid(item.owner.1);
        header.set_mtime(u64::try_from(seconds).unwrap_or_default());
        header.set_cksum();
        self.builder.append(&header, content.take(size))
    }
}

impl<W: Write> Sink for Archive<W> {
    fn take(&mut self, item: &Item, content: &mut dyn Read) -> Result<()> {
        if item.path.is_empty() {
            return Ok(());
        }
        if item.what == What::Special {
            self.taken.leave_out(item, "special file");
            return Ok(());
        }
        self.append(item, content).map_err(|error| failed(&error))?;
        self.taken.count(item);
        Ok(())
    }
}

/// As much as there is room for.
fn put(field: &mut [u8], text: &[u8]) {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text[..length]);
}

/// A reader that has seen enough and left is no failure of anything.
fn failed(error: &io::Error) -> HostError {
    let fault = match error.kind() {
        io::ErrorKind::BrokenPipe => Fault::Stopped,
        _ => faults::of_io(error),
    };
    HostError::new(fault, "write the archive", error)
}
