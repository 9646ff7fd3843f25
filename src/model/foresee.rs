//! What a step will have changed, before it is done.
//!
//! The planner decides a later action of a VM on the guest that the earlier ones will leave; tests
//! hold what happened against it. Nothing here asks whether a step is wise.

use jiff::Timestamp;

use crate::model::bytes::Bytes;
use crate::model::digest::Digest;
use crate::model::machine::Format;
use crate::model::machine::Layer;
use crate::model::machine::Machine;
use crate::model::machine::Source;
use crate::model::receipt::Consistency;
use crate::model::receipt::Receipt;
use crate::model::step::Step;

impl Step {
    /// Changes a VM as the step will; one that it has changed already stays as it is.
    pub fn foresee(&self, machine: &mut Machine) {
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
                    let source = Source::File {
                        path: at.path.clone(),
                        format: Format::Qcow2,
                    };
                    disk.source = Some(source.clone());
                    disk.inactive = Some(source);
                    if on {
                        disk.live.insert(0, at.path.clone());
                    }
                    let virtual_size = disk
                        .layers
                        .first()
                        .map_or(Bytes(0), |layer| layer.virtual_size);
                    let overlay = Layer {
                        path: at.path.clone(),
                        format: Format::Qcow2,
                        virtual_size,
                        allocated: Bytes(0),
                        internal_snapshots: 0,
                        encrypted: false,
                        compression: None,
                        data_file: false,
                    };
                    disk.layers.insert(0, overlay);
                }
            }
            Self::Merge {
                target, top, base, ..
            } => {
                let Some(disk) = machine.disk_mut(target) else {
                    return;
                };
                // A job that was there is this merge, which an earlier run began.
                disk.job = None;
                if disk.head() == Some(&top.path) {
                    let source = Source::File {
                        path: base.path.clone(),
                        format: base.format.clone(),
                    };
                    disk.source = Some(source.clone());
                    disk.inactive = Some(source);
                }
                let grown = disk
                    .layers
                    .iter()
                    .find(|layer| layer.path == top.path)
                    .map(|layer| layer.virtual_size);
                disk.layers.retain(|layer| layer.path != top.path);
                disk.live.retain(|path| *path != top.path);
                if let Some(below) = disk.layers.iter_mut().find(|layer| layer.path == base.path) {
                    below.virtual_size = grown.unwrap_or(below.virtual_size);
                }
            }
            Self::Mark { .. }
            | Self::Own { .. }
            | Self::Disown { .. }
            | Self::Stage { .. }
            | Self::Copy { .. }
            | Self::Capture { .. }
            | Self::Thaw { .. }
            | Self::Seal { .. }
            | Self::Publish { .. }
            | Self::Discard { .. }
            | Self::Remark { .. }
            | Self::Remove { .. }
            | Self::Clear { .. }
            | Self::Fetch { .. }
            | Self::Place { .. }
            | Self::Rename { .. }
            | Self::Unname { .. }
            | Self::Define { .. }
            | Self::Undefine { .. } => {}
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
            Self::Copy { .. } => Receipt::Copied {
                size: Bytes(0),
                digest: Digest::of(b""),
                virtual_size: Bytes(0),
            },
            Self::Capture { .. } => Receipt::Captured { files: Vec::new() },
            _ => Receipt::Done,
        }
    }
}
