//! Writes the content of frozen layers into one new file, byte for byte what a guest saw, whatever
//! was zeroed, discarded, grown or cut in them.

use std::fs;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use serde_json::json;

use crate::host::Convert;
use crate::host::HostError;
use crate::host::Image;
use crate::host::Result;
use crate::host::Task;
use crate::host::files;
use crate::host::qemu_img::QemuImg;
use crate::host::qemu_img::Urgency;
use crate::host::qemu_img::absolute;
use crate::host::qemu_img::allocated;
use crate::model::bytes::Bytes;
use crate::model::fault::Fault;
use crate::model::machine::Format;
use crate::model::op::Compression;
use crate::sabotage;
use crate::sabotage::Sabotage;

/// How a copy reads and writes: out of order, through the page cache, where the digest finds the
/// bytes a moment later.
const PACE: [&str; 3] = ["-W", "-m", "16"];

/// How a copy is compressed. Out of order as well, which `qemu-img` advises against, where what it
/// wrote is compared afterwards: that is what jobs do, idly.
fn compressed(how: &Compression, idle: bool) -> Vec<String> {
    let mut args = vec!["-c".to_owned()];
    if idle {
        args.push("-W".to_owned());
    }
    args.extend(["-m".to_owned(), how.coroutines.to_string()]);
    if let Some(rate) = how.rate {
        args.extend(["-r".to_owned(), rate.0.to_string()]);
    }
    let library = how.library.as_str();
    args.extend(["-o".to_owned(), format!("compression_type={library}")]);
    args
}

impl QemuImg {
    /// Writes a new file. One that is there is unlinked first, so that neither a symbolic nor a
    /// hard link leads the writing elsewhere. What a failure leaves is the caller's to remove.
    pub(in crate::host) async fn convert(&self, convert: &Convert, task: &Task<'_>) -> Result<()> {
        let tried = match convert.layers.as_slice() {
            [top, ..] => format!("copy {} to {}", top.path, convert.to),
            [] => {
                return Err(HostError::new(
                    Fault::Conflict,
                    "copy nothing",
                    "no layer is named",
                ));
            }
        };
        absolute(&convert.to, &tried)?;
        files::fresh(&convert.to).await?;
        match (&convert.backing, convert.layers.as_slice()) {
            (Some(backing), layers @ [_, _, ..]) if convert.compression.is_none() => {
                self.squash(layers, backing, &convert.to, &tried, task)
                    .await
            }
            (Some(backing), layers @ [_, _, ..]) => {
                // What a commit writes is not compressed.
                let plain = Scratch(format!("{}.plain", convert.to).into());
                files::fresh(&plain.0).await?;
                self.squash(layers, backing, &plain.0, &tried, task).await?;
                let layer = Image::new(plain.0.clone(), Format::Qcow2);
                self.copy(&layer, Some(backing), convert, &tried, task)
                    .await
            }
            (backing, layers) => {
                let below = backing.as_deref();
                self.copy(&layers[0], below, convert, &tried, task).await
            }
        }
    }

    /// One layer, or with no backing the whole chain.
    async fn copy(
        &self,
        top: &Image,
        backing: Option<&Utf8Path>,
        convert: &Convert,
        tried: &str,
        task: &Task<'_>,
    ) -> Result<()> {
        let layers = self.layers(top).await?;
        let copied = if backing.is_some() {
            layers.get(..1).unwrap_or_default()
        } else {
            &layers
        };
        let mut args = vec!["convert", "-p"];
        let compression = convert.compression.as_ref();
        let compression = compression.map(|how| compressed(how, convert.idle));
        match &compression {
            Some(compressed) => args.extend(compressed.iter().map(String::as_str)),
            None => args.extend(PACE),
        }
        args.extend(["-f", top.format.as_str(), "-O", convert.format.as_str()]);
        if let Some(backing) = backing.filter(|_| sabotage::is(Sabotage::ZeroesDropped)) {
            let size = layers[0].virtual_size;
            self.create_over(backing, &convert.to, size, tried).await?;
            args.extend(["-n", "--target-is-zero"]);
        } else if let Some(backing) = backing {
            args.extend(["-B", backing.as_str(), "-F", "qcow2"]);
        }
        args.extend([absolute(&top.path, tried)?, convert.to.as_str()]);
        let urgency = if convert.idle {
            Urgency::Idle
        } else {
            Urgency::Usual
        };
        self.follow(&args, tried, task, allocated(copied, |_| true), urgency)
            .await
    }

    /// Several layers. `convert` would copy the top one only and say nothing, so they are committed
    /// into an empty overlay over the backing file, in one pass.
    async fn squash(
        &self,
        layers: &[Image],
        backing: &Utf8Path,
        to: &Utf8Path,
        tried: &str,
        task: &Task<'_>,
    ) -> Result<()> {
        let found = self.layers(&layers[0]).await?;
        let wanted = layers.iter().map(|layer| files::real(&layer.path));
        if !wanted.eq(found
            .iter()
            .take(layers.len())
            .map(|layer| layer.path.clone()))
        {
            let cause = "the layers are not on top of each other as expected";
            return Err(HostError::new(Fault::Conflict, tried, cause));
        }
        // The graph opens them without a lock, since a commit wants layers between its ends for
        // itself, and a running VM reads them. That nobody writes them is asked here.
        for layer in layers {
            self.idle(layer).await?;
        }
        let size = found[0].virtual_size;
        self.create_over(backing, to, size, tried).await?;
        // A commit opens its top for writing. An empty one spares the layers that.
        let top = Scratch(format!("{to}.top").into());
        files::fresh(&top.0).await?;
        let size = size.0.to_string();
        self.program
            .output(&["create", "-f", "qcow2", top.0.as_str(), &size], tried)
            .await?;
        let graph = graph(&top.0, layers, to);
        // As `convert` does by itself: whoever relies on the file syncs it, once.
        let cache = ["-t", "unsafe"];
        let args = [
            &["commit", "-p", "-d"][..],
            &cache,
            &["-b", to.as_str(), &graph],
        ]
        .concat();
        let total = allocated(&found[..layers.len()], |_| true);
        self.follow(&args, tried, task, total, Urgency::Usual).await
    }

    /// An empty image over a backing file.
    async fn create_over(
        &self,
        backing: &Utf8Path,
        to: &Utf8Path,
        size: Bytes,
        tried: &str,
    ) -> Result<()> {
        let size = size.0.to_string();
        let image = ["create", "-f", "qcow2", "-F", "qcow2"];
        let below = ["-b", backing.as_str(), to.as_str(), &size];
        self.program
            .output(&[&image[..], &below].concat(), tried)
            .await?;
        Ok(())
    }
}

/// `top`, over `layers`, over `bottom`, as QEMU reads it.
fn graph(top: &Utf8Path, layers: &[Image], bottom: &Utf8Path) -> String {
    let file = |path: &Utf8Path| json!({ "driver": "file", "filename": path });
    let bottom = json!({ "driver": "qcow2", "file": file(bottom) });
    let below = layers.iter().rev().fold(bottom, |below, layer| {
        json!({
            "driver": layer.format.as_str(),
            "file": { "driver": "file", "filename": layer.path, "locking": "off" },
            "backing": below,
        })
    });
    format!(
        "json:{}",
        json!({ "driver": "qcow2", "file": file(top), "backing": below })
    )
}

/// A file of this call alone.
struct Scratch(Utf8PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left over, it is one small file in a directory that is staged again or removed whole.
        let _ = fs::remove_file(&self.0);
    }
}
