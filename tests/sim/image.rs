//! Images as maps of cells: what a guest sees through a chain of layers, and what a commit does.
//!
//! Knows nothing of files: a chain is given as images, top first.

use std::fmt::Write;

use knib::model::bytes::Bytes;
use knib::model::machine::Format;

/// What one cell stands for.
pub(crate) const CELL: u64 = 64 << 10;

/// What a guest reads where nothing was written.
pub(crate) const ZERO: u64 = 0;

/// An image file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) format: Format,
    /// None: what lies below shows through. `ZERO` is an explicit zero.
    pub(crate) cells: Vec<Option<u64>>,
    /// As the header spells it, relative to the file or absolute.
    pub(crate) backing: Option<String>,
    pub(crate) internal_snapshots: u32,
    /// Shorter, and the same to a guest.
    pub(crate) compressed: bool,
}

impl Image {
    pub(crate) fn empty(format: Format, cells: usize) -> Self {
        let cell = (format == Format::Raw).then_some(ZERO);
        Self {
            format,
            cells: vec![cell; cells],
            backing: None,
            internal_snapshots: 0,
            compressed: false,
        }
    }

    pub(crate) fn over(backing: impl Into<String>, cells: usize) -> Self {
        Self {
            backing: Some(backing.into()),
            ..Self::empty(Format::Qcow2, cells)
        }
    }

    pub(crate) fn virtual_size(&self) -> Bytes {
        Bytes(self.cells.len() as u64 * CELL)
    }

    pub(crate) fn allocated(&self) -> Bytes {
        let written = self.cells.iter().flatten().filter(|cell| **cell != ZERO);
        Bytes(written.count() as u64 * CELL)
    }

    /// Nothing was ever written into it.
    pub(crate) fn is_blank(&self) -> bool {
        self.cells.iter().all(Option::is_none)
    }

    /// Grows or cuts it. `below` is what shows from below, whose tail must not come to light.
    pub(crate) fn resize(&mut self, cells: usize, below: &[u64]) {
        let before = self.cells.len();
        self.cells.resize(cells, None);
        let tail = self.cells.iter_mut().enumerate().skip(before);
        for (at, cell) in tail {
            if self.format == Format::Raw || at < below.len() {
                *cell = Some(ZERO);
            }
        }
    }

    /// Its bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let Self {
            format,
            cells,
            backing,
            internal_snapshots,
            compressed,
        } = self;
        let mut text = format!("{format} {backing:?} {internal_snapshots} {}:", cells.len());
        for cell in cells {
            match cell {
                Some(cell) => write!(text, " {cell}").expect("a string takes it"),
                None => text.push_str(" -"),
            }
        }
        if *compressed {
            return blake3::hash(text.as_bytes()).to_string().into_bytes();
        }
        text.into_bytes()
    }
}

/// What a guest sees through a chain, top first.
pub(crate) fn seen(chain: &[&Image]) -> Vec<u64> {
    let size = chain.first().map_or(0, |top| top.cells.len());
    (0..size).map(|at| cell_at(chain, at)).collect()
}

/// Where a layer ends, zeroes begin, whatever lies below.
fn cell_at(chain: &[&Image], at: usize) -> u64 {
    for layer in chain {
        match layer.cells.get(at) {
            Some(Some(cell)) => return *cell,
            Some(None) => {}
            None => return ZERO,
        }
    }
    ZERO
}

/// What the layers of `above`, top first, bring to the cell at `at` of whatever lies below them.
/// None: they let it through.
pub(crate) fn brought(above: &[&Image], at: usize) -> Option<u64> {
    for layer in above {
        match layer.cells.get(at) {
            Some(Some(cell)) => return Some(*cell),
            Some(None) => {}
            None => return Some(ZERO),
        }
    }
    None
}
