//! What takes a step back.

use std::collections::BTreeMap;

use crate::model::id::Target;
use crate::model::id::VmId;
use crate::model::machine::Format;
use crate::model::step::Image;
use crate::model::step::Step;
use crate::model::step::Turn;

impl Step {
    /// What makes it as if it had never been done, from wherever it got to. Guest writes are never
    /// dropped: the inverse of an overlay is a merge. A claim is spent rather than taken back: it is
    /// made again, for the record will know it.
    #[must_use]
    #[expect(clippy::too_many_lines, reason = "one arm a step")]
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
                    above: None,
                    branches: Vec::new(),
                })
                .collect(),
            Self::Copy { to: path, .. }
            | Self::Place { to: path, .. }
            | Self::Compress { to: path, .. }
            | Self::Unpack { to: path, .. }
            | Self::Describe { to: path, .. }
            | Self::Lay { path, .. } => vec![Self::Discard { path: path.clone() }],
            Self::Lend { of, to } => vec![Self::Release {
                of: of.clone(),
                to: to.clone(),
            }],
            Self::Boot {
                of, vm, name, dir, ..
            } => vec![Self::Bury {
                of: of.vm.clone(),
                vm: vm.clone(),
                name: name.clone(),
                dir: dir.clone(),
            }],
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
            } => vec![pointed_back(vm, *claim, heads)],
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
            | Self::Attach { .. }
            | Self::Keep { .. }
            | Self::Check { .. }
            | Self::Verify { .. }
            | Self::Consult { .. }
            | Self::Inspect { .. }
            | Self::Audit { .. }
            | Self::Release { .. }
            | Self::Start { .. }
            | Self::Pull { .. }
            | Self::Drop { .. }
            | Self::Discard { .. }
            | Self::Remove { .. }
            | Self::Clear { .. }
            | Self::Room { .. }
            | Self::Compare { .. }
            | Self::Recant { .. }
            | Self::Replace { .. }
            | Self::Settle { .. }
            | Self::Bury { .. }
            | Self::Attest { .. }
            | Self::Unname { .. }
            | Self::Undefine { .. } => Vec::new(),
        }
    }
}

fn pointed_back(vm: &VmId, claim: u64, heads: &BTreeMap<Target, Turn>) -> Step {
    let back = heads
        .iter()
        .map(|(target, turn)| (target.clone(), turn.back()));
    Step::Point {
        vm: vm.clone(),
        claim,
        heads: back.collect(),
        back: true,
    }
}
