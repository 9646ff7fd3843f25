//! What a directory holds, of any length: names go to a scratch file, and are looked at by the hundred.

use std::fs::File;
use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Seek;

use crate::host::HostError;
use crate::host::Result;
use crate::host::faults;
use crate::host::guestfs::Appliance;
use crate::host::guestfs::Kind;
use crate::host::guestfs::browse::shown;
use crate::host::guestfs::words;
use crate::host::guestfs::words::Stat;
use crate::model::bytes::Bytes;
use crate::model::fault::Fault;

/// Names up to so many bytes in all are sorted; more come as the file system has them.
const SORTED: u64 = 16 << 20;
/// So many names are looked at with one question, or as many as fit on its line.
const AT_A_TIME: usize = 500;
/// So many are compared with a name that is not there.
const COMPARED: usize = 10_000;

/// One file of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Any bytes but zero; below the directory that was listed.
    pub name: Vec<u8>,
    /// None: it cannot be looked at.
    pub about: Option<About>,
}

/// What is known of a file without opening it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    /// What it is.
    pub kind: Kind,
    /// Its length.
    pub size: Bytes,
    /// Permissions, with the setuid, setgid and sticky bits.
    pub mode: u32,
    /// When its content last changed, in seconds since 1970 and nanoseconds.
    pub modified: (i64, i64),
}

impl About {
    fn of(stat: &Stat) -> Option<Self> {
        Some(Self {
            kind: Kind::of(stat.mode)?,
            size: Bytes(stat.size),
            mode: stat.mode & 0o7777,
            modified: (stat.seconds, stat.nanoseconds),
        })
    }
}

impl Appliance {
    /// Gives every entry of a directory, with `recursive` of all below it, or the one file that a path
    /// leads to. `each` ends the listing with an error.
    ///
    /// # Errors
    /// `Gone`: there is no such path.
    pub fn list(
        &mut self,
        path: &[u8],
        recursive: bool,
        each: &mut dyn FnMut(Listed) -> Result<()>,
    ) -> Result<()> {
        let (real, stat) = self.resolve(path)?;
        if Kind::of(stat.mode) != Some(Kind::Directory) {
            let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
            return each(Listed {
                name: name.to_vec(),
                about: About::of(&stat),
            });
        }
        let mut names = self.names(&real, recursive)?;
        let mut batch = Batch::default();
        while let Some(name) = names.next()? {
            let end = name.iter().rposition(|byte| *byte == b'/');
            let (dir, own) = match end {
                Some(end) => (&name[..end], &name[end + 1..]),
                None => (&b""[..], &name[..]),
            };
            if !batch.has_room(&real, dir, own) {
                self.look(&real, &mut batch, each)?;
            }
            if words::is_one_word(own) && batch.has_room(&real, dir, own) {
                batch.dir = dir.to_vec();
                batch.names.push(own.to_vec());
            } else {
                self.look(&real, &mut batch, each)?;
                let about = self.look_at(&real, &name);
                each(Listed { name, about })?;
            }
        }
        self.look(&real, &mut batch, each)
    }

    /// Looks at many files of a directory at once.
    fn look(
        &mut self,
        root: &[u8],
        batch: &mut Batch,
        each: &mut dyn FnMut(Listed) -> Result<()>,
    ) -> Result<()> {
        let Batch { dir, names } = std::mem::take(batch);
        if names.is_empty() {
            return Ok(());
        }
        let above = [root, b"/", &dir].concat();
        let tried = format!("look at what is in {}", shown(&above));
        let list = names.join(&b' ');
        let answer = self.words("lstatnslist", &[&above, &list], &tried)?;
        let stats = words::stats(&answer);
        if stats.len() != names.len() {
            let cause = "there are other files than before";
            return Err(HostError::new(Fault::Io, tried, cause));
        }
        for (own, stat) in names.into_iter().zip(stats) {
            let name = if dir.is_empty() {
                own
            } else {
                [&dir, &b"/"[..], &own].concat()
            };
            let about = stat.as_ref().and_then(About::of);
            each(Listed { name, about })?;
        }
        Ok(())
    }

    /// Looks at one, whatever it is called. One that cannot be looked at is listed all the same.
    fn look_at(&mut self, dir: &[u8], name: &[u8]) -> Option<About> {
        let path = [dir, b"/", name].concat();
        let answer = self.words("lstatns", &[&path], "look at a file").ok()?;
        let stats = words::stats(&answer);
        stats.first()?.as_ref().and_then(About::of)
    }

    /// The names in a directory, by name where they are not too many.
    fn names(&mut self, dir: &[u8], recursive: bool) -> Result<Names> {
        let tried = format!("list {}", shown(dir));
        let failed = |error: &io::Error| HostError::new(faults::of_io(error), &tried, error);
        let mut scratch = tempfile::tempfile().map_err(|error| failed(&error))?;
        let command = if recursive { "find0" } else { "ls0" };
        let length = self.session.ask(command, &[dir, b"-"], &tried, |answer| {
            io::copy(answer, &mut scratch).map_err(|error| failed(&error))
        })?;
        scratch.rewind().map_err(|error| failed(&error))?;
        let mut names = Names::Many(BufReader::new(scratch), tried.clone());
        if length <= SORTED {
            let mut all = Vec::new();
            while let Some(name) = names.next()? {
                all.push(name);
            }
            all.sort();
            names = Names::Few(all.into_iter());
        }
        Ok(names)
    }

    /// The nearest directory above a path that is there, and some names in it.
    ///
    /// # Errors
    /// The appliance ended.
    pub fn around(&mut self, path: &[u8]) -> Result<(Vec<u8>, Vec<Vec<u8>>)> {
        let mut above = path;
        loop {
            let end = above.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
            above = &above[..end];
            let dir = if above.is_empty() { b"/" } else { above };
            match self.resolve(dir) {
                Ok((real, stat)) if Kind::of(stat.mode) == Some(Kind::Directory) => {
                    let mut names = self.names(&real, false)?;
                    let mut some = Vec::new();
                    while let Some(name) = names.next()?.filter(|_| some.len() < COMPARED) {
                        some.push(name);
                    }
                    return Ok((dir.to_vec(), some));
                }
                Err(error) if error.fault == Fault::Stopped || above.is_empty() => {
                    return Err(error);
                }
                _ if above.is_empty() => return Ok((b"/".to_vec(), Vec::new())),
                _ => {}
            }
        }
    }
}

/// Files of one directory that are looked at with one question.
#[derive(Default)]
struct Batch {
    /// Below the one that is listed.
    dir: Vec<u8>,
    names: Vec<Vec<u8>>,
}

impl Batch {
    /// Whether a file of a directory can be asked for as well.
    fn has_room(&self, root: &[u8], dir: &[u8], own: &[u8]) -> bool {
        let length = |text: &[u8]| words::escaped(text).len() + 1;
        let names: usize = self.names.iter().map(|name| length(name)).sum();
        (self.names.is_empty() || self.dir == dir)
            && self.names.len() < AT_A_TIME
            && length(root) + length(dir) + names + length(own) < words::LONGEST_LINE - 100
    }
}

/// Names, each ended by a zero byte.
enum Names {
    Few(std::vec::IntoIter<Vec<u8>>),
    Many(BufReader<File>, String),
}

impl Names {
    fn next(&mut self) -> Result<Option<Vec<u8>>> {
        match self {
            Self::Few(names) => Ok(names.next()),
            Self::Many(from, tried) => {
                let mut name = Vec::new();
                let read = from.by_ref().read_until(0, &mut name);
                read.map_err(|error| HostError::new(faults::of_io(&error), tried.as_str(), error))?;
                name.pop_if(|last| *last == 0);
                Ok((!name.is_empty()).then_some(name))
            }
        }
    }
}
