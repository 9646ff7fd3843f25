//! Files, directories and what a power cut leaves of them.
//!
//! Content is lost unless the file was synced, a name unless its directory was. Knows nothing of who
//! has a file open.

use std::collections::BTreeMap;
use std::rc::Rc;

use camino::Utf8Component;
use camino::Utf8Path;
use camino::Utf8PathBuf;
use knib::host::Entry;
use knib::host::HostError;
use knib::host::Result;
use knib::model::bytes::Bytes;
use knib::model::digest::Digest;
use knib::model::fault::Fault;

use crate::sim::image::Image;
use crate::sim::image::seen;

/// What a path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    Dir,
    Text(Rc<[u8]>),
    Image(Rc<Image>),
}

#[derive(Clone, Debug)]
struct Kept {
    node: Node,
    /// The content is on stable storage.
    synced: bool,
    /// So is its name.
    named: bool,
}

/// All files there are, by their paths as text: comparing paths part by part takes its time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Files(BTreeMap<String, Kept>);

impl Files {
    pub(crate) fn node(&self, path: &Utf8Path) -> Option<&Node> {
        self.0.get(path.as_str()).map(|kept| &kept.node)
    }

    pub(crate) fn image(&self, path: &Utf8Path) -> Option<&Image> {
        match self.node(path)? {
            Node::Image(image) => Some(image),
            _ => None,
        }
    }

    /// As QEMU opens it.
    pub(crate) fn open(&self, path: &Utf8Path, verb: &str) -> Result<&Image> {
        match self.node(path) {
            None => Err(gone(verb, path)),
            Some(Node::Image(image)) => Ok(image),
            Some(_) => {
                let cause = "Image is not in qcow2 format";
                Err(HostError::new(Fault::Io, format!("{verb} {path}"), cause))
            }
        }
    }

    /// To be written into, as QEMU does, which flushes.
    pub(crate) fn image_mut(&mut self, path: &Utf8Path) -> Option<&mut Image> {
        match &mut self.0.get_mut(path.as_str())?.node {
            Node::Image(image) => Some(Rc::make_mut(image)),
            _ => None,
        }
    }

    /// Puts something there for good.
    pub(crate) fn put(&mut self, path: impl Into<String>, node: Node) {
        let kept = Kept {
            node,
            synced: true,
            named: true,
        };
        self.0.insert(path.into(), kept);
    }

    /// The same, until the power is cut.
    pub(crate) fn put_loosely(&mut self, path: &Utf8Path, node: Node) -> Result<()> {
        self.expect_dir(path.parent().unwrap_or(path), "write")?;
        let named = self.0.get(path.as_str()).is_some_and(|kept| kept.named);
        let kept = Kept {
            node,
            synced: false,
            named,
        };
        self.0.insert(path.to_string(), kept);
        Ok(())
    }

    pub(crate) fn write(&mut self, path: &Utf8Path, content: &[u8]) -> Result<()> {
        self.expect_dir(path.parent().unwrap_or(path), "write")?;
        self.put(path.as_str(), Node::Text(content.into()));
        Ok(())
    }

    pub(crate) fn sync(&mut self, path: &Utf8Path) -> Result<()> {
        let kept = self
            .0
            .get_mut(path.as_str())
            .ok_or_else(|| gone("sync", path))?;
        kept.synced = true;
        if kept.node == Node::Dir {
            let entries = self.0.iter_mut();
            entries
                .filter(|(at, _)| Utf8Path::new(at).parent() == Some(path))
                .for_each(|(_, kept)| kept.named = true);
        }
        Ok(())
    }

    pub(crate) fn make_dir(&mut self, dir: &Utf8Path) -> Result<()> {
        self.expect_dir(dir.parent().unwrap_or(dir), "make directory")?;
        match self.node(dir) {
            None => self.put(dir.as_str(), Node::Dir),
            Some(Node::Dir) => {}
            Some(_) => return Err(conflict("make directory", dir)),
        }
        Ok(())
    }

    pub(crate) fn rename(&mut self, from: &Utf8Path, to: &Utf8Path) -> Result<()> {
        if self.node(from).is_none() {
            return Err(gone("rename", from));
        }
        self.expect_dir(to.parent().unwrap_or(to), "rename")?;
        if self.node(to).is_some() {
            return Err(conflict("rename", to));
        }
        for path in self.below(from) {
            let mut kept = self.0.remove(path.as_str()).expect("it was just listed");
            kept.named |= path == from;
            let rest = &path.as_str()[from.as_str().len()..];
            self.0.insert(format!("{to}{rest}"), kept);
        }
        Ok(())
    }

    pub(crate) fn replace(&mut self, from: &Utf8Path, to: &Utf8Path) -> Result<()> {
        let Some(mut kept) = self.0.remove(from.as_str()) else {
            return Err(gone("rename", from));
        };
        kept.named = true;
        self.0.insert(to.to_string(), kept);
        Ok(())
    }

    pub(crate) fn remove(&mut self, path: &Utf8Path) {
        for path in self.below(path) {
            self.0.remove(path.as_str());
        }
    }

    /// The path and, of a directory, all it holds.
    pub(crate) fn below(&self, path: &Utf8Path) -> Vec<Utf8PathBuf> {
        let path = path.as_str().trim_end_matches('/');
        let all = self.0.range(path.to_owned()..);
        all.map(|(at, _)| at)
            .take_while(|at| at.starts_with(path))
            .filter(|at| matches!(at.as_bytes().get(path.len()), None | Some(b'/')))
            .map(Utf8PathBuf::from)
            .collect()
    }

    pub(crate) fn list(&self, dir: &Utf8Path) -> Result<Vec<Entry>> {
        self.expect_dir(dir, "list")?;
        let all = self.0.iter().map(|(at, kept)| (Utf8Path::new(at), kept));
        Ok(all
            .filter(|(at, _)| at.parent() == Some(dir))
            .map(|(at, kept)| Entry {
                name: at.file_name().expect("it is below").to_owned(),
                is_dir: kept.node == Node::Dir,
                size: Bytes(bytes(&kept.node).len() as u64),
            })
            .collect())
    }

    pub(crate) fn read(&self, path: &Utf8Path) -> Result<Vec<u8>> {
        match self.node(path) {
            None => Err(gone("read", path)),
            Some(Node::Dir) => Err(conflict("read", path)),
            Some(node) => Ok(bytes(node)),
        }
    }

    pub(crate) fn digest(&self, path: &Utf8Path) -> Result<(Digest, Bytes)> {
        let content = self.read(path)?;
        Ok((Digest::of(&content), Bytes(content.len() as u64)))
    }

    /// An image and everything below it, as the headers say.
    pub(crate) fn chain(&self, top: &Utf8Path) -> Result<Vec<Utf8PathBuf>> {
        let mut chain = vec![top.to_owned()];
        loop {
            let last = chain.last().expect("it begins with the top");
            match &self.open(last, "open")?.backing {
                None => return Ok(chain),
                Some(name) => chain.push(beside(last, name)),
            }
        }
    }

    /// What shows through a chain.
    pub(crate) fn seen(&self, chain: &[Utf8PathBuf]) -> Result<Vec<u64>> {
        let images: Result<Vec<_>> = chain.iter().map(|path| self.open(path, "open")).collect();
        Ok(seen(&images?))
    }

    /// What was not synced is torn, what was not named is gone.
    pub(crate) fn cut_power(&mut self) {
        self.0.retain(|_, kept| kept.named);
        for kept in self.0.values_mut().filter(|kept| !kept.synced) {
            kept.node = Node::Text(Rc::from(&b"\0\0\0"[..]));
        }
    }

    fn expect_dir(&self, dir: &Utf8Path, verb: &str) -> Result<()> {
        match self.node(dir) {
            Some(Node::Dir) => Ok(()),
            Some(_) => Err(conflict(verb, dir)),
            None => Err(gone(verb, dir)),
        }
    }
}

fn bytes(node: &Node) -> Vec<u8> {
    match node {
        Node::Dir => Vec::new(),
        Node::Text(text) => text.to_vec(),
        Node::Image(image) => image.bytes(),
    }
}

/// What a header's name leads to, in one spelling.
fn beside(image: &Utf8Path, name: &str) -> Utf8PathBuf {
    let joined = image.parent().unwrap_or(image).join(name);
    let mut plain = Utf8PathBuf::new();
    for part in joined.components() {
        match part {
            Utf8Component::ParentDir => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}

pub(crate) fn gone(verb: &str, path: &Utf8Path) -> HostError {
    HostError::new(
        Fault::Gone,
        format!("{verb} {path}"),
        "no such file or directory",
    )
}

fn conflict(verb: &str, path: &Utf8Path) -> HostError {
    HostError::new(
        Fault::Conflict,
        format!("{verb} {path}"),
        "it is there already, or is something else",
    )
}
