//! What a step will have changed, before it is done.
//!
//! The planner decides a later action of a VM on the guest that the earlier ones will leave; tests
//! hold what happened against it. Nothing here asks whether a step is wise.

use std::collections::BTreeMap;

use camino::Utf8Path;
use jiff::Timestamp;

use crate::model::backup::Validated;
use crate::model::bytes::Bytes;
use crate::model::digest::Digest;
use crate::model::machine::Agent;
use crate::model::machine::Disk;
use crate::model::machine::Format;
use crate::model::machine::Layer;
use crate::model::machine::Machine;
use crate::model::machine::Power;
use crate::model::machine::Source;
use crate::model::receipt::Consistency;
use crate::model::receipt::Receipt;
use crate::model::step::Image;
use crate::model::step::Step;
use crate::model::step::Turn;

impl Step {
    /// Changes a VM as the step will; one that it has changed already stays as it is.
    #[expect(clippy::too_many_lines, reason = "one arm a step")]
    pub fn foresee(&self, machine: &mut Machine) {
        if self.vm() != Some(&machine.id) {
            return;
        }
        match self {
            Self::Note { note, .. } => machine.note.clone_from(note),
            Self::Tag { tags, .. } => machine.tags.clone_from(tags),
            Self::Overlay { disks, .. } => {
                let on = machine.power.is_on();
                for (target, at) in disks {
                    let Some(disk) = machine.disk_mut(target) else {
                        continue;
                    };
                    if disk.head() == Some(&at.path) {
                        continue;
                    }
                    name(disk, &Image::new(at.path.clone(), Format::Qcow2));
                    if on {
                        disk.live.insert(0, at.path.clone());
                    }
                    let virtual_size = disk
                        .layers
                        .first()
                        .map_or(Bytes(0), |layer| layer.virtual_size);
                    disk.layers.insert(0, blank(&at.path, virtual_size));
                }
            }
            Self::Merge {
                target,
                top,
                base,
                branches,
                ..
            }
            | Self::Fold {
                target,
                top,
                base,
                branches,
                ..
            } => {
                if let Some(disk) = machine.disk_mut(target) {
                    if matches!(self, Self::Merge { .. }) {
                        merge(disk, top, base);
                    } else {
                        fold(disk, top, base);
                    }
                    lay(disk, branches, base);
                }
            }
            Self::Create {
                target, path, on, ..
            } => {
                if let Some(disk) = machine.disk_mut(target) {
                    let size = disk.layer(&on.path).map(|layer| layer.virtual_size);
                    let mut chain = vec![blank(path, size.unwrap_or_default())];
                    chain.extend(disk.chain_of(&on.path).into_iter().cloned());
                    disk.learn_branch(chain);
                }
            }
            Self::Point { heads, .. } => {
                for (target, Turn { to, .. }) in heads {
                    if let Some(disk) = machine.disk_mut(target) {
                        name(disk, to);
                        disk.switch(&to.path);
                    }
                }
            }
            Self::Stop { .. } => {
                machine.power = Power::Off;
                if machine.agent == Agent::Connected {
                    machine.agent = Agent::Silent;
                }
                machine.disks.iter_mut().for_each(|disk| disk.live.clear());
            }
            Self::Attach {
                target,
                image,
                backing,
                ..
            } => {
                let on = machine.power.is_on();
                if machine.disk(target).is_none() {
                    let mut disk = Disk::new(target.clone(), image);
                    if on {
                        let open = std::iter::once(image).chain(backing);
                        disk.live.extend(open.map(|image| image.path.clone()));
                    }
                    machine.disks.push(disk);
                }
            }
            Self::Start { .. } => {
                machine.power = Power::Running;
                for disk in machine.disks.iter_mut().filter(|disk| disk.holds_data()) {
                    let head = disk.head().map(Utf8Path::to_owned);
                    let below = disk.layers.iter().skip(1).map(|layer| layer.path.clone());
                    disk.live = head.into_iter().chain(below).collect();
                }
            }
            Self::Pull { target, .. } => {
                if let Some(disk) = machine.disk_mut(target) {
                    disk.job = None;
                    disk.layers.truncate(1);
                    disk.live.truncate(1);
                }
            }
            Self::Swap { turns, added, .. } => {
                for (target, Turn { to, .. }) in turns {
                    if let Some(disk) = machine.disk_mut(target) {
                        replace(disk, to);
                    }
                }
                for (target, image) in added {
                    if machine.disk(target).is_none() {
                        machine.disks.push(Disk::new(target.clone(), image));
                    }
                }
            }
            Self::Drop { target, path, .. } => {
                if let Some(disk) = machine.disk_mut(target) {
                    disk.off_chain.retain(|off| off.layer.path != *path);
                }
            }
            // What is left changes nothing that is seen of a VM, or is of none.
            _ => {}
        }
    }
}

/// Both definitions name a file.
fn name(disk: &mut Disk, image: &Image) {
    let source = Some(Source::File {
        path: image.path.clone(),
        format: image.format.clone(),
    });
    disk.source.clone_from(&source);
    disk.inactive = source;
}

/// A layer of the chain goes into the file below it.
fn merge(disk: &mut Disk, top: &Image, base: &Image) {
    // A job that was there is this merge, which an earlier run began.
    disk.job = None;
    if disk.head() == Some(&top.path) {
        name(disk, base);
    }
    let layers = disk.layers.iter();
    let grown = layers
        .clone()
        .find(|layer| layer.path == top.path)
        .map(|layer| layer.virtual_size);
    disk.layers.retain(|layer| layer.path != top.path);
    disk.live.retain(|path| *path != top.path);
    if let Some(below) = disk.layers.iter_mut().find(|layer| layer.path == base.path) {
        below.virtual_size = grown.unwrap_or(below.virtual_size);
    }
    // A snapshot may still name the layer of a merge that an earlier run began.
    disk.off_chain.retain(|off| off.layer.path != top.path);
}

/// The same off the chain.
fn fold(disk: &mut Disk, top: &Image, base: &Image) {
    let size = disk.layer(&top.path).map(|layer| layer.virtual_size);
    disk.off_chain.retain(|off| off.layer.path != top.path);
    let mut files = disk.off_chain.iter_mut().map(|off| &mut off.layer);
    if let (Some(size), Some(below)) = (size, files.find(|layer| layer.path == base.path)) {
        below.virtual_size = size;
    }
}

/// A disk is another file, that stands alone.
fn replace(disk: &mut Disk, image: &Image) {
    if disk.head() == Some(&image.path) {
        return;
    }
    name(disk, image);
    disk.layers = Vec::new();
    disk.off_chain = Vec::new();
}

/// A new layer.
fn blank(path: &Utf8Path, virtual_size: Bytes) -> Layer {
    Layer {
        path: path.to_owned(),
        format: Format::Qcow2,
        virtual_size,
        allocated: Bytes(0),
        internal_snapshots: 0,
        encrypted: false,
        compression: None,
        data_file: false,
    }
}

/// Branches lie on another file.
fn lay(disk: &mut Disk, branches: &[Image], base: &Image) {
    for off in &mut disk.off_chain {
        if branches.iter().any(|branch| branch.path == off.layer.path) {
            off.below = Some(base.path.clone());
        }
    }
}

impl Step {
    /// The receipt that a plan reckons with: right in kind, empty in what only the doing can tell.
    #[must_use]
    pub fn foreseen(&self, now: Timestamp) -> Receipt {
        match self {
            Self::Overlay { .. } => Receipt::Frozen {
                at: now,
                consistency: Consistency::Crash,
                thaw_owed: false,
            },
            Self::Copy { .. } | Self::Compress { .. } => Receipt::Copied {
                size: Bytes(0),
                digest: Digest::of(b""),
                virtual_size: Bytes(0),
                uncompressed: None,
            },
            Self::Announce { .. } => Receipt::Announced {
                files: BTreeMap::new(),
            },
            Self::Capture { .. } => Receipt::Captured {
                files: Vec::new(),
                sums: BTreeMap::new(),
            },
            Self::Verify { .. } => Receipt::Whole,
            Self::Boot { .. } => Receipt::Judged(Box::new(Validated {
                at: now,
                reasons: Vec::new(),
                ends_chain: false,
                pictured: false,
            })),
            _ => Receipt::Done,
        }
    }
}
