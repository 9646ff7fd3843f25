//! Files and directories out of an image, one after the other as they come, to whoever takes them.

use std::io;
use std::io::Read;
use std::io::Write;

use crate::host::HostError;
use crate::host::Result;
use crate::host::extract::Item;
use crate::host::extract::Sink;
use crate::host::extract::What;
use crate::host::faults;
use crate::host::guestfs::Appliance;
use crate::host::guestfs::Kind;
use crate::host::guestfs::browse::shown;
use crate::host::guestfs::stream;
use crate::host::guestfs::words::Stat;
use crate::model::fault::Fault;

/// A piece of a file that is passed on.
const PIECE: usize = 64 * 1024;

impl Appliance {
    /// What a path leads to.
    ///
    /// # Errors
    /// `Gone`: there is no such path.
    pub fn kind(&mut self, path: &[u8]) -> Result<Kind> {
        let (_, stat) = self.resolve(path)?;
        Kind::of(stat.mode).ok_or_else(|| {
            let tried = format!("find {}", shown(path));
            HostError::new(Fault::Io, tried, "it is nothing that a guest can have made")
        })
    }

    /// Gives the bytes of a regular file.
    ///
    /// # Errors
    /// It cannot be read to its end, or not be written.
    pub fn read(&mut self, path: &[u8], into: &mut dyn Write) -> Result<()> {
        let tried = format!("read {}", shown(path));
        let (real, stat) = self.resolve(path)?;
        self.content(&real, &stat, &tried, &mut |content| {
            let mut piece = vec![0; PIECE];
            loop {
                let length = content
                    .read(&mut piece)
                    .map_err(|error| cut(&tried, error))?;
                if length == 0 {
                    return Ok(());
                }
                into.write_all(&piece[..length]).map_err(|error| {
                    let fault = match error.kind() {
                        io::ErrorKind::BrokenPipe => Fault::Stopped,
                        _ => faults::of_io(&error),
                    };
                    HostError::new(fault, "write the result", error)
                })?;
            }
        })
    }

    /// Gives a file, or a directory with all it holds, to a sink. There it is called `name`; with none
    /// the directory's content is given without it.
    ///
    /// # Errors
    /// `Gone`: there is no such path. Else it cannot be read to its end, or the sink cannot take it.
    pub fn take(&mut self, path: &[u8], name: Option<&[u8]>, sink: &mut dyn Sink) -> Result<()> {
        let tried = format!("read {}", shown(path));
        let (real, stat) = self.resolve(path)?;
        let kind = Kind::of(stat.mode);
        let under: Vec<Vec<u8>> = name.into_iter().map(<[u8]>::to_vec).collect();
        if kind == Some(Kind::Directory) {
            let flags: [&[u8]; 2] = [b"numericowner:true", b"xattrs:true"];
            let args = [real.as_slice(), b"-", flags[0], flags[1]];
            return self.session.ask("tar-out", &args, &tried, |answer| {
                stream::items(answer, &tried, &under, sink)
            });
        }
        let mut item = Item {
            path: under,
            what: What::Special,
            mode: stat.mode & 0o7777,
            owner: (stat.uid, stat.gid),
            modified: (stat.seconds, stat.nanoseconds),
            attributes: Vec::new(),
        };
        if kind != Some(Kind::File) {
            return sink.take(&item, &mut io::empty());
        }
        item.what = What::File { size: stat.size };
        item.attributes = self.attributes(&real);
        self.content(&real, &stat, &tried, &mut |content| {
            sink.take(&item, content)
        })
    }

    /// The bytes of a regular file, all of them or an error.
    fn content(
        &mut self,
        real: &[u8],
        stat: &Stat,
        tried: &str,
        read: &mut dyn FnMut(&mut dyn Read) -> Result<()>,
    ) -> Result<()> {
        self.session
            .ask("download", &[real, b"-"], tried, |answer| {
                let mut content = answer.take(stat.size);
                read(&mut content)?;
                if content.limit() > 0 {
                    let cause =
                        format!("{} of its {} bytes are missing", content.limit(), stat.size);
                    return Err(HostError::new(Fault::Io, tried, cause));
                }
                Ok(())
            })
    }

    /// A file's extended attributes that a user may set, as far as its file system has any.
    fn attributes(&mut self, real: &[u8]) -> Vec<(String, Vec<u8>)> {
        let tried = format!("read the attributes of {}", shown(real));
        let listed = self
            .words("lgetxattrs", &[real], &tried)
            .unwrap_or_default();
        let names = listed
            .lines()
            .filter_map(|line| line.trim_start().strip_prefix("attrname: "));
        let names: Vec<_> = names.filter(|name| name.starts_with("user.")).collect();
        let mut attributes = Vec::new();
        for name in names {
            // One that is called like two is not there.
            if let Ok(value) = self.bytes("lgetxattr", &[real, name.as_bytes()], &tried) {
                attributes.push((name.to_owned(), value));
            }
        }
        attributes
    }
}

fn cut(tried: &str, error: io::Error) -> HostError {
    HostError::new(Fault::Io, tried, error)
}
