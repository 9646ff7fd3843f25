//! The files of a disk as a tree: the chain that the VM uses, and the branches that snapshots keep.

use camino::Utf8Path;
use camino::Utf8PathBuf;

use crate::model::machine::Disk;
use crate::model::machine::Layer;
use crate::model::machine::OffChain;

impl Disk {
    /// A file of the disk, whether the VM uses it or not.
    #[must_use]
    pub fn layer(&self, path: &Utf8Path) -> Option<&Layer> {
        let off = self.off_chain.iter().map(|off| &off.layer);
        self.layers
            .iter()
            .chain(off)
            .find(|layer| layer.path == path)
    }

    /// Whether the VM uses a file.
    #[must_use]
    pub fn is_in_chain(&self, path: &Utf8Path) -> bool {
        self.layers.iter().any(|layer| layer.path == path)
    }

    /// The file right below another.
    #[must_use]
    pub fn below(&self, path: &Utf8Path) -> Option<&Utf8Path> {
        if let Some(at) = self.layers.iter().position(|layer| layer.path == path) {
            return self.layers.get(at + 1).map(|below| below.path.as_path());
        }
        let off = self.off_chain.iter().find(|off| off.layer.path == path)?;
        off.below.as_deref()
    }

    /// The files right on another, in the order of their names, that of the VM's chain first.
    #[must_use]
    pub fn on(&self, path: &Utf8Path) -> Vec<&Layer> {
        let in_chain = self.layers.iter();
        let off = self.off_chain.iter().map(|off| &off.layer);
        in_chain
            .chain(off)
            .filter(|layer| self.below(&layer.path) == Some(path))
            .collect()
    }

    /// The files right on another that the VM does not use.
    #[must_use]
    pub fn branches(&self, path: &Utf8Path) -> Vec<&Layer> {
        let all = self.on(path).into_iter();
        all.filter(|layer| !self.is_in_chain(&layer.path)).collect()
    }

    /// A file and all below it.
    #[must_use]
    pub fn chain_of(&self, path: &Utf8Path) -> Vec<&Layer> {
        let mut chain: Vec<&Layer> = Vec::new();
        let mut next = Some(path);
        while let Some(layer) = next.and_then(|path| self.layer(path)) {
            // Headers that another program is changing could lead in a circle.
            if chain.contains(&layer) {
                break;
            }
            chain.push(layer);
            next = self.below(&layer.path);
        }
        chain
    }

    /// Learns a chain that the VM does not use, top first.
    pub fn learn_branch(&mut self, chain: Vec<Layer>) {
        let below: Vec<Option<Utf8PathBuf>> = chain
            .iter()
            .skip(1)
            .map(|layer| Some(layer.path.clone()))
            .chain([None])
            .collect();
        for (layer, below) in chain.into_iter().zip(below) {
            if self.layer(&layer.path).is_none() {
                self.off_chain.push(OffChain { layer, below });
            }
        }
        self.off_chain
            .sort_by(|a, b| a.layer.path.cmp(&b.layer.path));
    }

    /// Lets the VM use another chain of the tree, the one of `head`.
    pub fn switch(&mut self, head: &Utf8Path) {
        let chain: Vec<Layer> = self.chain_of(head).into_iter().cloned().collect();
        let before = std::mem::replace(&mut self.layers, chain);
        let used = |path: &Utf8Path, layers: &[Layer]| layers.iter().any(|one| one.path == path);
        let layers = &self.layers;
        self.off_chain.retain(|off| !used(&off.layer.path, layers));
        self.learn_branch(before);
    }
}
