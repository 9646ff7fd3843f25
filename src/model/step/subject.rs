//! What a step is about.

use crate::model::id::Target;
use crate::model::id::VmId;
use crate::model::step::Image;
use crate::model::step::Step;

impl Step {
    /// The disk, the layer that goes and the file that takes its content, of one that merges.
    #[must_use]
    pub fn merged(&self) -> Option<(&Target, &Image, &Image)> {
        match self {
            Self::Merge {
                target, top, base, ..
            }
            | Self::Fold {
                target, top, base, ..
            } => Some((target, top, base)),
            _ => None,
        }
    }

    /// The VM whose definition or disks it changes.
    #[must_use]
    pub fn vm(&self) -> Option<&VmId> {
        match self {
            Self::Note { vm, .. }
            | Self::Overlay { vm, .. }
            | Self::Capture { vm, .. }
            | Self::Thaw { vm }
            | Self::Merge { vm, .. }
            | Self::Fold { vm, .. }
            | Self::Create { vm, .. }
            | Self::Point { vm, .. }
            | Self::Stop { vm, .. }
            | Self::Describe { vm, .. }
            | Self::Swap { vm, .. }
            | Self::Keep { vm, .. }
            | Self::Drop { vm, .. }
            | Self::Tag { vm, .. }
            | Self::Attach { vm, .. }
            | Self::Start { vm, .. }
            | Self::Pull { vm, .. }
            | Self::Define { vm, .. }
            | Self::Undefine { vm } => Some(vm),
            Self::Mark { .. }
            | Self::Own { .. }
            | Self::Disown { .. }
            | Self::Stage { .. }
            | Self::Copy { .. }
            | Self::Seal { .. }
            | Self::Publish { .. }
            | Self::Discard { .. }
            | Self::Remark { .. }
            | Self::Remove { .. }
            | Self::Clear { .. }
            | Self::Room { .. }
            | Self::Compress { .. }
            | Self::Compare { .. }
            | Self::Announce { .. }
            | Self::Recant { .. }
            | Self::Replace { .. }
            | Self::Settle { .. }
            | Self::Boot { .. }
            | Self::Bury { .. }
            | Self::Attest { .. }
            | Self::Check { .. }
            | Self::Verify { .. }
            | Self::Consult { .. }
            | Self::Inspect { .. }
            | Self::Audit { .. }
            | Self::Lend { .. }
            | Self::Release { .. }
            | Self::Lay { .. }
            | Self::Fetch { .. }
            | Self::Place { .. }
            | Self::Unpack { .. }
            | Self::Rename { .. }
            | Self::Unname { .. } => None,
        }
    }
}
