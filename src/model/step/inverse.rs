//! What takes a step back.

use crate::model::machine::Format;
use crate::model::step::Image;
use crate::model::step::Step;

impl Step {
    /// What makes it as if it had never been done, from wherever it got to. Guest writes are never
    /// dropped: the inverse of an overlay is a merge. A claim is spent rather than taken back: it is
    /// made again, for the record will know it.
    #[must_use]
    pub fn inverse(&self) -> Vec<Self> {
        match self {
            Self::Note { claims: true, .. } => vec![self.clone()],
            Self::Stage { dir, .. } => vec![Self::Discard { path: dir.clone() }],
            Self::Overlay {
                vm, claim, disks, ..
            } => disks
                .iter()
                .map(|(target, at)| Self::Merge {
                    vm: vm.clone(),
                    claim: *claim,
                    target: target.clone(),
                    top: Image::new(at.path.clone(), Format::Qcow2),
                    base: at.base.clone(),
                    branches: Vec::new(),
                })
                .collect(),
            Self::Copy { to, .. } | Self::Place { to, .. } | Self::Compress { to, .. } => {
                vec![Self::Discard { path: to.clone() }]
            }
            Self::Describe { to, .. } => vec![Self::Discard { path: to.clone() }],
            Self::Fetch { to, .. } => vec![Self::Discard {
                path: to.path.clone(),
            }],
            Self::Create {
                vm,
                claim,
                target,
                path,
                ..
            } => vec![Self::Drop {
                vm: vm.clone(),
                claim: *claim,
                target: target.clone(),
                path: path.clone(),
                blank: true,
            }],
            Self::Point {
                vm, claim, heads, ..
            } => {
                let back = heads
                    .iter()
                    .map(|(target, turn)| (target.clone(), turn.back()));
                vec![Self::Point {
                    vm: vm.clone(),
                    claim: *claim,
                    heads: back.collect(),
                    back: true,
                }]
            }
            Self::Announce { of } => vec![Self::Recant { of: of.clone() }],
            Self::Rename { from, to } => vec![Self::Unname {
                from: from.clone(),
                to: to.clone(),
            }],
            Self::Own {
                storage,
                id,
                vm,
                from,
                ..
            } => vec![Self::Disown {
                storage: storage.clone(),
                id: id.clone(),
                vm: vm.clone(),
                to: from.clone(),
            }],
            Self::Define { vm, .. } => vec![Self::Undefine { vm: vm.clone() }],
            Self::Remark { of, remark } => vec![Self::Remark {
                of: of.clone(),
                remark: remark.inverse(),
            }],
            Self::Note { claims: false, .. }
            | Self::Mark { .. }
            | Self::Disown { .. }
            | Self::Tag { .. }
            | Self::Capture { .. }
            | Self::Thaw { .. }
            | Self::Seal { .. }
            | Self::Publish { .. }
            | Self::Merge { .. }
            | Self::Fold { .. }
            | Self::Stop { .. }
            | Self::Swap { .. }
            | Self::Keep { .. }
            | Self::Check { .. }
            | Self::Drop { .. }
            | Self::Discard { .. }
            | Self::Remove { .. }
            | Self::Clear { .. }
            | Self::Room { .. }
            | Self::Compare { .. }
            | Self::Recant { .. }
            | Self::Replace { .. }
            | Self::Settle { .. }
            | Self::Unname { .. }
            | Self::Undefine { .. } => Vec::new(),
        }
    }
}
