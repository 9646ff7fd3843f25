//! What `qemu-img` does: each program holds its images open from its first half to its second, and
//! one that is killed in between leaves the first.

use camino::Utf8Path;
use camino::Utf8PathBuf;
use knib::host::Convert;
use knib::host::HostError;
use knib::host::Result;
use knib::model::bytes::Bytes;
use knib::model::fault::Fault;
use knib::model::id::BackupId;
use knib::model::layout;
use knib::model::machine::Format;
use knib::model::machine::Layer;
use knib::model::step;

use crate::sim::files::Node;
use crate::sim::files::gone;
use crate::sim::image::Image;
use crate::sim::image::ZERO;
use crate::sim::image::brought;
use crate::sim::site::Site;

/// How much of a program's work is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    First,
    Second,
}

impl Half {
    fn of(self, cells: usize) -> std::ops::Range<usize> {
        match self {
            Self::First => 0..cells / 2,
            Self::Second => 0..cells,
        }
    }
}

impl Site {
    pub(crate) fn layers(&self, image: &step::Image) -> Result<Vec<Layer>> {
        let chain = self.files.chain(&image.path)?;
        let layer = |path: Utf8PathBuf| {
            let image = self.files.open(&path, "open")?;
            Ok(Layer {
                format: image.format.clone(),
                virtual_size: image.virtual_size(),
                allocated: image.allocated(),
                internal_snapshots: image.internal_snapshots,
                encrypted: false,
                compression: None,
                data_file: false,
                path,
            })
        };
        chain.into_iter().map(layer).collect()
    }

    pub(crate) fn is_blank(&self, image: &step::Image) -> Result<bool> {
        let image = self.files.open(&image.path, "look into")?;
        Ok(image.is_blank())
    }

    pub(crate) fn lacks(&self, image: &step::Image, from: &step::Image) -> Result<Bytes> {
        let image = self.files.open(&image.path, "look into")?;
        let shown = self.files.seen(&self.files.chain(&from.path)?)?;
        let cells = image.cells.iter().zip(shown);
        let lacking = cells.filter(|(has, shows)| has.is_none() && *shows != ZERO);
        Ok(Bytes(lacking.count() as u64 * super::image::CELL))
    }

    pub(crate) fn create(&mut self, path: &Utf8Path, on: &step::Image) -> Result<()> {
        self.readable(&on.path, "make an overlay on")?;
        let below = self.files.image(&on.path).map(|image| image.cells.len());
        let image = Image::over(on.path.as_str(), below.unwrap_or_default());
        self.files.put_loosely(path, Node::Image(image.into()))
    }

    pub(crate) fn idle(&self, image: &step::Image) -> Result<()> {
        self.readable(&image.path, "see that nobody writes")
    }

    pub(crate) fn readable_by_qemu(&self, image: &step::Image) -> Result<()> {
        let chain = self.files.chain(&image.path)?;
        match chain.iter().find(|path| self.shut.contains(*path)) {
            None => Ok(()),
            Some(path) => Err(HostError::new(Fault::Denied, "open", path.as_str())),
        }
    }

    fn readable(&self, path: &Utf8Path, verb: &str) -> Result<()> {
        if self.is_written(path) {
            return Err(locked(verb, path));
        }
        self.files.open(path, verb).map(drop)
    }

    fn writable(&self, path: &Utf8Path, verb: &str) -> Result<()> {
        if self.is_run_from(path) || self.is_open(path) {
            return Err(locked(verb, path));
        }
        self.files.open(path, verb).map(drop)
    }

    /// Opens what a copy reads: what it copies, and all that it has open. Every layer must be still.
    pub(crate) fn open_for_convert(&mut self, convert: &Convert) -> Result<[Vec<Utf8PathBuf>; 2]> {
        let top = &convert.layers[0].path;
        let chain = self.files.chain(top)?;
        let mut read = chain;
        if convert.backing.is_some() {
            let wanted: Vec<_> = convert.layers.iter().map(|one| one.path.clone()).collect();
            if !read.starts_with(&wanted) {
                let cause = "the layers are not on top of each other as expected";
                return Err(HostError::new(Fault::Conflict, "copy", cause));
            }
            read = wanted;
        }
        for path in &read {
            self.readable(path, "copy")?;
        }
        let open = if convert.idle {
            self.files.chain(top)?
        } else {
            read.clone()
        };
        self.programs
            .extend(open.iter().map(|path| (path.clone(), false)));
        Ok([read, open])
    }

    /// Writes what the layers hold, so far.
    pub(crate) fn convert(
        &mut self,
        convert: &Convert,
        read: &[Utf8PathBuf],
        half: Half,
    ) -> Result<()> {
        let images: Result<Vec<_>> = read
            .iter()
            .map(|path| self.files.open(path, "copy"))
            .collect();
        let images = images?;
        let cells = images[0].cells.len();
        let mut copy = Image::empty(convert.format.clone(), cells);
        copy.backing = convert.backing.as_ref().map(ToString::to_string);
        copy.compressed = convert.compression.is_some();
        for at in half.of(cells) {
            copy.cells[at] = match (brought(&images, at), &convert.backing) {
                (cell, Some(_)) => cell,
                (Some(cell), None) if cell != ZERO => Some(cell),
                (_, None) => (convert.format == Format::Raw).then_some(ZERO),
            };
        }
        self.refuse_final_names(&convert.to, "copied to");
        self.files
            .put_loosely(&convert.to, Node::Image(copy.into()))
    }

    /// Opens what a comparison reads: two chains.
    pub(crate) fn open_for_compare(&mut self, tops: &[Utf8PathBuf]) -> Result<Vec<Utf8PathBuf>> {
        let mut read = Vec::new();
        for top in tops {
            read.extend(self.files.chain(top)?);
        }
        for path in &read {
            self.readable(path, "compare")?;
        }
        self.programs
            .extend(read.iter().map(|path| (path.clone(), false)));
        Ok(read)
    }

    /// What both show, each through what lies below it.
    pub(crate) fn compare(&self, one: &Utf8Path, other: &Utf8Path) -> Result<bool> {
        let shown = |path: &Utf8Path| {
            self.readable(path, "compare")?;
            self.files.seen(&self.files.chain(path)?)
        };
        Ok(shown(one)? == shown(other)?)
    }

    /// Opens what a commit writes. No VM may have it.
    pub(crate) fn open_for_commit(&mut self, top: &Utf8Path, base: &Utf8Path) -> Result<()> {
        for path in [top, base] {
            self.writable(path, "commit")?;
        }
        if !self.files.chain(top)?[1..]
            .iter()
            .any(|below| below == base)
        {
            let cause = "the second is not below the first";
            return Err(HostError::new(Fault::Conflict, "commit", cause));
        }
        self.programs.push((top.to_owned(), true));
        self.programs.push((base.to_owned(), true));
        Ok(())
    }

    /// Writes what `top` and the layers between bring into `base`, so far. A base is made larger, never
    /// smaller.
    pub(crate) fn commit_offline(
        &mut self,
        top: &Utf8Path,
        base: &Utf8Path,
        half: Half,
    ) -> Result<()> {
        let chain = self.files.chain(top)?;
        let depth = chain.iter().position(|path| path == base);
        let depth = depth.ok_or_else(|| gone("commit", base))?;
        let below = self.files.seen(&chain[depth + 1..])?;
        let above: Result<Vec<_>> = chain[..depth]
            .iter()
            .map(|path| self.files.open(path, "commit").cloned())
            .collect();
        let above = above?;
        let above: Vec<_> = above.iter().collect();
        let cells = above[0].cells.len();
        let into = self.files.image_mut(base);
        let into = into.ok_or_else(|| gone("commit", base))?;
        if into.cells.len() < cells {
            into.resize(cells, &below);
        }
        for at in half.of(cells) {
            if let Some(cell) = brought(&above, at) {
                into.cells[at] = Some(cell);
            }
        }
        Ok(())
    }

    /// Opens what a flattening writes. No VM may have it.
    pub(crate) fn open_for_flatten(&mut self, path: &Utf8Path) -> Result<()> {
        self.writable(path, "flatten")?;
        self.programs.push((path.to_owned(), true));
        Ok(())
    }

    /// Writes what shows from below, so far; the header last.
    pub(crate) fn flatten(&mut self, path: &Utf8Path, half: Half) -> Result<()> {
        let chain = self.files.chain(path)?;
        let seen = self.files.seen(&chain)?;
        let image = self
            .files
            .image_mut(path)
            .ok_or_else(|| gone("flatten", path))?;
        for at in half.of(image.cells.len()) {
            image.cells[at].get_or_insert(seen[at]);
        }
        if half == Half::Second {
            image.backing = None;
        }
        Ok(())
    }

    /// A program ends, well or not.
    pub(crate) fn close(&mut self, paths: &[Utf8PathBuf]) {
        for path in paths {
            if let Some(at) = self.programs.iter().position(|(open, _)| open == path) {
                self.programs.remove(at);
            }
        }
    }

    /// `rebase -u`: believes what it is told.
    pub(crate) fn rebase(&mut self, image: &step::Image, backing: &step::Image) -> Result<()> {
        self.writable(&image.path, "rebase")?;
        // What was renamed below it cannot be read until it is told.
        let before = self
            .files
            .chain(&image.path)
            .and_then(|chain| self.files.seen(&chain))
            .ok();
        let header = self.files.image_mut(&image.path);
        header.expect("it was just opened").backing = Some(backing.path.to_string());
        let after = self.files.chain(&image.path);
        let after = after.and_then(|chain| self.files.seen(&chain)).ok();
        let another = before.is_some() && after != before && !self.is_lacking(&image.path);
        if after.is_none() || another {
            self.complain(format!("{} was put on something else", image.path));
        }
        Ok(())
    }

    pub(crate) fn shrink(&mut self, image: &step::Image, size: Bytes) -> Result<()> {
        self.writable(&image.path, "shrink")?;
        let cells = usize::try_from(size.0 / super::image::CELL).expect("a disk is small");
        let image = self.files.image_mut(&image.path);
        let image = image.expect("it was just opened");
        if image.cells.len() < cells {
            let cause = "it is smaller than that already";
            return Err(HostError::new(Fault::Conflict, "shrink", cause));
        }
        image.cells.truncate(cells);
        Ok(())
    }

    /// Files of backups have their final name whole, and are never written again.
    pub(crate) fn refuse_final_names(&mut self, path: &Utf8Path, how: &str) {
        if Self::is_published(path) {
            self.complain(format!("a published backup was {how}: {path}"));
        }
    }

    /// Writes a small file. Of a published backup it can only be its record.
    pub(crate) fn write_text(&mut self, path: &Utf8Path, content: &[u8]) -> Result<()> {
        if path.file_name() == Some(layout::RECORD) {
            self.published.remove(path);
        } else {
            self.refuse_final_names(path, "written");
        }
        self.files.write(path, content)?;
        if Self::is_published(path) && path.file_name() == Some(layout::RECORD) {
            self.expect_truth(path.parent().unwrap_or(path));
        }
        self.remember_backups();
        Ok(())
    }

    /// Renames. Who has the file open keeps it. A backup that loses its name is one that nothing needs.
    pub(crate) fn rename(&mut self, from: &Utf8Path, to: &Utf8Path) -> Result<()> {
        self.files.rename(from, to)?;
        if from.file_name().is_some_and(BackupId::is_one) {
            self.forget_backup(from);
        }
        let running = self.vms.values_mut().filter_map(|vm| vm.running.as_mut());
        for running in running {
            running.renamed.remove(to);
            if running.open.values().flatten().any(|open| open == from) {
                running.renamed.insert(from.to_owned(), to.to_owned());
            }
        }
        self.remember_backups();
        Ok(())
    }

    /// Renames onto another file. Of a backup it shows the same, and nobody has it open.
    pub(crate) fn replace(&mut self, from: &Utf8Path, to: &Utf8Path) -> Result<()> {
        if !self.compare(from, to)? {
            self.complain(format!(
                "{from} took the place of {to} and shows something else"
            ));
        }
        if self.is_open(to) || self.is_run_from(to) {
            self.complain(format!("{to} was replaced under a reader"));
        }
        self.files.replace(from, to)?;
        self.published.remove(to);
        if Self::is_published(to) {
            self.expect_truth(to.parent().unwrap_or(to));
        }
        self.remember_backups();
        Ok(())
    }

    /// Removes, unless somebody depends on it, which must never be asked for.
    pub(crate) fn remove(&mut self, path: &Utf8Path) {
        for file in self.files.below(path) {
            if let Some(user) = self.user_of(&file) {
                self.complain(format!("{file} was removed, which is used by {user}"));
            }
            self.refuse_final_names(&file, "removed");
        }
        self.files.remove(path);
    }
}

fn locked(verb: &str, path: &Utf8Path) -> HostError {
    HostError::new(
        Fault::Busy,
        format!("{verb} {path}"),
        "Failed to get lock. Is another process using the image?",
    )
}
