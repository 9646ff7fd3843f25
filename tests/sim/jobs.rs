//! Block jobs as QEMU and libvirt run them.
//!
//! A commit below the active layer ends by itself and takes the layer out of the chain. One of the
//! active layer gets ready and waits for its pivot; until then the base lacks the newest writes.
//! Both die with QEMU, and what they wrote to the base stays half written.
//!
//! QEMU changes the headers before it writes down where a file has what the job brought: until then that goes with
//! it. Of a commit below the active layer it does so right after, of a pull when it is told to (QEMU 7.2).

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use camino::Utf8PathBuf;
use knib::model::bytes::Bytes;
use knib::model::id::Target;
use knib::model::machine::Job;
use knib::model::machine::JobKind;

use crate::sim::files::Files;
use crate::sim::image::CELL;
use crate::sim::image::ZERO;
use crate::sim::image::brought;
use crate::sim::vm::Definition;
use crate::sim::vm::Running;
use crate::sim::vm::Vm;

/// So many jobs' worth of looks it takes to copy a disk.
const LOOKS: usize = 2;

/// A commit, or a pull.
#[derive(Clone, Debug)]
pub(crate) struct BlockJob {
    kind: JobKind,
    base: Utf8PathBuf,
    /// What goes into the base, top first: from above it, or with a pull from below.
    above: Vec<Utf8PathBuf>,
    /// Cells below are copied.
    next: usize,
    cells: usize,
    /// Written by the guest after they were copied.
    dirty: BTreeSet<usize>,
    brought: Brought,
}

/// Cells that a job wrote, with what they were before.
pub(crate) type Brought = BTreeMap<usize, Option<u64>>;

impl BlockJob {
    pub(crate) fn commit(open: &[Utf8PathBuf], top: usize, base: usize, cells: usize) -> Self {
        Self {
            kind: if top == 0 {
                JobKind::ActiveCommit
            } else {
                JobKind::Commit
            },
            base: open[base].clone(),
            above: open[top..base].to_vec(),
            next: 0,
            cells,
            dirty: BTreeSet::new(),
            brought: Brought::new(),
        }
    }

    /// Everything goes into the top.
    pub(crate) fn pull(open: &[Utf8PathBuf], cells: usize) -> Self {
        Self {
            kind: JobKind::Pull,
            base: open[0].clone(),
            above: open[1..].to_vec(),
            next: 0,
            cells,
            dirty: BTreeSet::new(),
            brought: Brought::new(),
        }
    }

    pub(crate) fn base(&self) -> &Utf8PathBuf {
        &self.base
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.kind == JobKind::ActiveCommit && self.next == self.cells
    }

    pub(crate) fn seen(&self) -> Job {
        Job {
            kind: self.kind,
            done: Bytes(self.next as u64 * CELL),
            total: Bytes(self.cells as u64 * CELL),
            ready: self.is_ready(),
        }
    }

    /// The guest wrote to the active layer.
    pub(crate) fn written(&mut self, cell: usize) {
        if self.kind == JobKind::ActiveCommit && cell < self.next {
            self.dirty.insert(cell);
        }
        if self.kind == JobKind::Pull {
            self.brought.remove(&cell);
        }
    }

    fn copy(&mut self, files: &mut Files, cells: impl Iterator<Item = usize>) {
        let above: Vec<_> = self
            .above
            .iter()
            .filter_map(|path| files.image(path).cloned())
            .collect();
        let above: Vec<_> = above.iter().collect();
        let Some(base) = files.image_mut(&self.base) else {
            return;
        };
        for at in cells {
            if let Some(cell) = brought(&above, at) {
                let before = base.cells[at].replace(cell);
                self.brought.entry(at).or_insert(before);
            }
        }
    }

    /// What is below and nobody has written over since.
    fn bring(&mut self, files: &mut Files) {
        let until = self.cells.min(self.next + self.cells.div_ceil(LOOKS));
        let below = files.seen(&self.above).unwrap_or_default();
        if let Some(top) = files.image_mut(&self.base) {
            for at in self.next..until {
                if top.cells[at].is_none() {
                    top.cells[at] = Some(below.get(at).copied().unwrap_or(ZERO));
                    self.brought.insert(at, None);
                }
            }
        }
        self.next = until;
    }

    fn advance(&mut self, files: &mut Files) {
        if self.kind == JobKind::Pull {
            return self.bring(files);
        }
        let dirty = std::mem::take(&mut self.dirty);
        self.copy(files, dirty.into_iter());
        let until = self.cells.min(self.next + self.cells.div_ceil(LOOKS));
        self.copy(files, self.next..until);
        self.next = until;
    }
}

impl Vm {
    /// Lets every job go on for a moment.
    pub(crate) fn work(&mut self, files: &mut Files) {
        let Some(running) = &mut self.running else {
            return;
        };
        running
            .unwritten
            .retain(|_, (kind, _)| *kind == JobKind::Pull);
        let targets: Vec<Target> = running.jobs.keys().cloned().collect();
        for target in targets {
            let job = running.jobs.get_mut(&target).expect("it was just listed");
            job.advance(files);
            if job.kind == JobKind::ActiveCommit || job.next < job.cells {
                continue;
            }
            let job = running.jobs.remove(&target).expect("it is there");
            if job.kind == JobKind::Commit {
                leave_chain(running, &mut self.stored, files, &target, &job);
            } else {
                stand_alone(running, &mut self.stored, files, &target);
            }
            running
                .unwritten
                .insert(target, (job.kind, (job.base, job.brought)));
        }
    }

    /// QEMU is gone at once, and with it what it had not written down. The disks that lack something now.
    pub(crate) fn die(&mut self, files: &mut Files) -> Vec<Target> {
        let unwritten = self.running.take().map(|running| running.unwritten);
        let mut lacking = Vec::new();
        for (target, (_, (path, brought))) in unwritten.into_iter().flatten() {
            if let Some(image) = files.image_mut(&path) {
                for (at, before) in brought {
                    image.cells[at] = before;
                }
                lacking.push(target);
            }
        }
        lacking
    }

    /// The VM goes on with the base.
    pub(crate) fn pivot(&mut self, files: &mut Files, target: &Target) {
        let Some(running) = &mut self.running else {
            return;
        };
        if let Some(mut job) = running.jobs.remove(target) {
            job.advance(files);
            leave_chain(running, &mut self.stored, files, target, &job);
        }
    }
}

/// Nothing is below the top any more: for QEMU, in its header, and in both definitions.
fn stand_alone(running: &mut Running, stored: &mut Definition, files: &mut Files, target: &Target) {
    let open = running.open.get_mut(target).expect("a job has a disk");
    open.truncate(1);
    let top = files.image_mut(&open[0]).expect("QEMU has it open");
    top.backing = None;
    let format = top.format.clone();
    for definition in [&mut running.definition, stored] {
        if let Some(disk) = definition.disk_mut(target)
            && disk.path() == Some(&open[0])
        {
            disk.lead(open, format.clone());
        }
    }
}

/// What was committed is no longer part of the chain: for QEMU, in the header above it, and in both
/// definitions.
fn leave_chain(
    running: &mut Running,
    stored: &mut Definition,
    files: &mut Files,
    target: &Target,
    job: &BlockJob,
) {
    let open = running.open.get_mut(target).expect("a job has a disk");
    let before = open[0].clone();
    let first = open.iter().position(|path| *path == job.above[0]);
    if let Some(over) = first
        .and_then(|first| first.checked_sub(1))
        .map(|over| open[over].clone())
        && let Some(image) = files.image_mut(&over)
    {
        image.backing = Some(job.base.to_string());
    }
    open.retain(|path| !job.above.contains(path));
    let format = files
        .image(&open[0])
        .map(|image| image.format.clone())
        .expect("the head is there");
    for definition in [&mut running.definition, stored] {
        if let Some(disk) = definition.disk_mut(target)
            && disk.path() == Some(&before)
        {
            disk.lead(open, format.clone());
        }
    }
}
