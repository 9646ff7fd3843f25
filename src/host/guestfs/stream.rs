//! The archive that the appliance makes of a directory (tar, POSIX.1-2001 with GNU's long names), read
//! entry by entry. Whoever broke into the appliance wrote it: no length in it is believed that could
//! fill the memory, and its paths are taken apart, not used.

use std::io;
use std::io::Read;

use tar::EntryType;
use tar::Header;

use crate::host::HostError;
use crate::host::Result;
use crate::host::extract::Item;
use crate::host::extract::Sink;
use crate::host::extract::What;
use crate::model::fault::Fault;

const BLOCK: u64 = 512;
/// More than names and attributes of any file take.
const LONGEST: u64 = 1 << 20;

/// What precedes an entry and is about it.
#[derive(Default)]
struct Extended {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    modified: Option<(i64, i64)>,
    attributes: Vec<(String, Vec<u8>)>,
}

/// Gives every entry to a sink, below `under`.
pub(super) fn items(
    from: &mut dyn Read,
    tried: &str,
    under: &[Vec<u8>],
    sink: &mut dyn Sink,
) -> Result<()> {
    let bad = |why: String| HostError::new(Fault::Io, tried, why);
    let mut extended = Extended::default();
    loop {
        let Some(header) = block(from).map_err(|error| bad(error.to_string()))? else {
            return Ok(());
        };
        let own = header
            .entry_size()
            .map_err(|error| bad(error.to_string()))?;
        let kind = header.entry_type();
        let about = matches!(
            kind,
            EntryType::XHeader
                | EntryType::XGlobalHeader
                | EntryType::GNULongName
                | EntryType::GNULongLink
        );
        let size = if about {
            own
        } else {
            extended.size.unwrap_or(own)
        };
        let mut body = from.take(size);
        if about {
            let text = whole(&mut body, size).map_err(|error| bad(error.to_string()))?;
            match kind {
                EntryType::XHeader => extended.learn(&text).map_err(|why| bad(why.to_owned()))?,
                EntryType::GNULongName => extended.path = Some(until_zero(&text)),
                EntryType::GNULongLink => extended.link = Some(until_zero(&text)),
                _ => {}
            }
        } else {
            let item = item(&header, std::mem::take(&mut extended), size, under).map_err(bad)?;
            sink.take(&item, &mut body)?;
            io::copy(&mut body, &mut io::sink()).map_err(|error| bad(error.to_string()))?;
            if body.limit() > 0 {
                return Err(bad("the archive ends in the middle of a file".to_owned()));
            }
        }
        let rest = (BLOCK - size % BLOCK) % BLOCK;
        let skipped = io::copy(&mut from.take(rest), &mut io::sink());
        if skipped.map_err(|error| bad(error.to_string()))? < rest {
            return Err(bad("the archive ends in the middle of a file".to_owned()));
        }
    }
}

/// The next header; none at the archive's end.
fn block(from: &mut dyn Read) -> io::Result<Option<Header>> {
    let mut header = Header::new_old();
    from.read_exact(header.as_mut_bytes())?;
    let bytes = header.as_bytes();
    if bytes.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    // Its own checksum counts as blanks.
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    if sum(&bytes[..148]) + 8 * u32::from(b' ') + sum(&bytes[156..]) != header.cksum()? {
        return Err(io::Error::other("the archive is damaged"));
    }
    Ok(Some(header))
}

fn whole(body: &mut dyn Read, size: u64) -> io::Result<Vec<u8>> {
    if size > LONGEST {
        return Err(io::Error::other("a name or an attribute is too long"));
    }
    let mut text = Vec::new();
    body.read_to_end(&mut text)?;
    Ok(text)
}

fn until_zero(text: &[u8]) -> Vec<u8> {
    text.split(|byte| *byte == 0)
        .next()
        .unwrap_or_default()
        .to_vec()
}

impl Extended {
    /// Records of the form `LENGTH KEY=VALUE\n`. A value may hold any byte.
    fn learn(&mut self, mut text: &[u8]) -> std::result::Result<(), &'static str> {
        const BAD: &str = "the archive is damaged";
        while !text.is_empty() {
            let blank = text.iter().position(|byte| *byte == b' ').ok_or(BAD)?;
            let length = std::str::from_utf8(&text[..blank]).ok();
            let length: usize = length.and_then(|text| text.parse().ok()).ok_or(BAD)?;
            let record = text.get(blank + 1..length).ok_or(BAD)?;
            let record = record.strip_suffix(b"\n").ok_or(BAD)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or(BAD)?;
            let (key, value) = (&record[..equals], &record[equals + 1..]);
            let number = || std::str::from_utf8(value).map_err(|_| BAD);
            match key {
                b"path" => self.path = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => self.size = Some(number()?.parse().map_err(|_| BAD)?),
                b"mtime" => self.modified = Some(instant(number()?).ok_or(BAD)?),
                _ => {
                    let name = key.strip_prefix(b"SCHILY.xattr.");
                    if let Some(name) = name.and_then(|name| std::str::from_utf8(name).ok()) {
                        self.attributes.push((name.to_owned(), value.to_vec()));
                    }
                }
            }
            text = &text[length..];
        }
        Ok(())
    }
}

/// Seconds since 1970 with their fraction: `-1.5` is half a second after `-2`.
fn instant(text: &str) -> Option<(i64, i64)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    let digits: String = fraction
        .chars()
        .chain("000000000".chars())
        .take(9)
        .collect();
    let nanoseconds: i64 = digits.parse().ok()?;
    Some(match (whole.starts_with('-'), nanoseconds) {
        (true, 1..) => (seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds),
        _ => (seconds, nanoseconds),
    })
}

fn item(
    header: &Header,
    extended: Extended,
    size: u64,
    under: &[Vec<u8>],
) -> std::result::Result<Item, String> {
    let link = || {
        let own = || header.link_name_bytes().map(std::borrow::Cow::into_owned);
        extended
            .link
            .clone()
            .or_else(own)
            .ok_or("a link leads nowhere")
    };
    let what = match header.entry_type() {
        EntryType::Regular | EntryType::Continuous => What::File { size },
        EntryType::Directory => What::Directory,
        EntryType::Symlink => What::Symlink(link()?),
        EntryType::Link => What::Hardlink(below(under, &link()?)?),
        EntryType::Char | EntryType::Block | EntryType::Fifo => What::Special,
        other => return Err(format!("it holds an entry of an unknown kind, {other:?}")),
    };
    let number = |value: io::Result<u64>| value.map_err(|error| error.to_string());
    let path = extended
        .path
        .unwrap_or_else(|| header.path_bytes().into_owned());
    let seconds = || header.mtime().ok().and_then(|at| i64::try_from(at).ok());
    let modified = extended.modified.or_else(|| Some((seconds()?, 0)));
    Ok(Item {
        path: below(under, &path)?,
        what,
        mode: header.mode().map_err(|error| error.to_string())? & 0o7777,
        owner: (number(header.uid())?, number(header.gid())?),
        modified: modified.unwrap_or_default(),
        attributes: extended.attributes,
    })
}

/// The parts of a path of the archive, below others. None of them leads up or anywhere else.
fn below(under: &[Vec<u8>], path: &[u8]) -> std::result::Result<Vec<Vec<u8>>, String> {
    let outside = || {
        format!(
            "it holds a path that leads outside: {}",
            path.escape_ascii()
        )
    };
    if path.starts_with(b"/") {
        return Err(outside());
    }
    let mut parts = under.to_vec();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(outside()),
            part if part.contains(&0) => return Err(outside()),
            part => parts.push(part.to_vec()),
        }
    }
    Ok(parts)
}

#[cfg(test)]
mod tests;
