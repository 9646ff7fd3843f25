//! Whether two images show the same.

use crate::host::HostError;
use crate::host::Image;
use crate::host::Result;
use crate::host::Task;
use crate::host::qemu_img::QemuImg;
use crate::host::qemu_img::Urgency;
use crate::host::qemu_img::absolute;
use crate::host::qemu_img::allocated;
use crate::model::machine::Layer;

/// What `qemu-img compare` exits with when they differ.
const DIFFER: i32 = 1;

impl QemuImg {
    /// Whether two images show the same, each through what lies below it.
    pub(in crate::host) async fn compare(
        &self,
        one: &Image,
        other: &Image,
        task: &Task<'_>,
    ) -> Result<bool> {
        let tried = format!("compare {} with {}", one.path, other.path);
        let layers = self.layers(one).await?;
        let size = |layers: &[Layer]| layers.first().map(|layer| layer.virtual_size);
        // It would take a longer one for the same where the rest is zeroes.
        if size(&layers) != size(&self.layers(other).await?) {
            return Ok(false);
        }
        let args = [
            "compare",
            "-p",
            "-f",
            one.format.as_str(),
            "-F",
            other.format.as_str(),
            absolute(&one.path, &tried)?,
            absolute(&other.path, &tried)?,
        ];
        let total = allocated(&layers, |_| true);
        match self.follow(&args, &tried, task, total, Urgency::Idle).await {
            Ok(()) => Ok(true),
            Err(HostError {
                exit: Some(DIFFER), ..
            }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
