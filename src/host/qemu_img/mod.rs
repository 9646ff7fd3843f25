//! Image files, by way of `qemu-img`.
//!
//! Every path that is passed is absolute, so that none can be taken for an option, a protocol or a
//! `json:` text; every format is named, so that none is guessed from what a guest wrote. `-U` is
//! used for looking alone: without it QEMU's lock refuses a layer that is still written.

mod compare;
mod convert;
mod info;
mod map;
mod progress;

use camino::Utf8Path;

use crate::host::HostError;
use crate::host::Image;
use crate::host::Result;
use crate::host::Task;
use crate::host::command::Program;
use crate::host::files;
use crate::host::qemu_img::map::Extent;
use crate::host::qemu_img::progress::Progress;
use crate::model::bytes::Bytes;
use crate::model::fault::Fault;
use crate::model::machine::Layer;

/// The program.
#[derive(Clone, Debug)]
pub(super) struct QemuImg {
    program: Program,
    /// Starts what takes long, so that it ends with knib: a copy or a commit whose knib was killed
    /// would keep its locks, its share of the disk and the room that it takes for hours.
    setpriv: Program,
    /// Lets everybody else's reads and writes go first.
    ionice: Program,
}

impl QemuImg {
    /// Looks for it.
    pub(super) fn find() -> Result<Self> {
        let program = Program::find("qemu-img").ok_or_else(|| {
            HostError::new(Fault::Gone, "find qemu-img", "it is not in PATH")
                .hinted("install it: qemu-utils on Debian and Ubuntu, qemu-img on Fedora")
        })?;
        let setpriv = Program::find("setpriv").ok_or_else(|| {
            HostError::new(Fault::Gone, "find setpriv", "it is not in PATH")
                .hinted("install it: util-linux")
        })?;
        let ionice = Program::find("ionice").ok_or_else(|| {
            HostError::new(Fault::Gone, "find ionice", "it is not in PATH")
                .hinted("install it: util-linux")
        })?;
        Ok(Self {
            program,
            setpriv,
            ionice,
        })
    }

    /// The version that it says it is: `7.2.18`.
    pub(super) async fn version(&self) -> Result<Option<String>> {
        let tried = "ask qemu-img for its version";
        let said = self.program.output(&["--version"], tried).await?;
        let said = String::from_utf8_lossy(&said);
        let mut words = said.split_whitespace();
        let is_version = |word: &&str| word.starts_with(|first: char| first.is_ascii_digit());
        Ok(words.find(is_version).map(str::to_owned))
    }

    /// An image and everything below it, top first.
    pub(super) async fn layers(&self, image: &Image) -> Result<Vec<Layer>> {
        let tried = format!("read the layers of {}", image.path);
        let flags = ["info", "-U", "--backing-chain", "--output=json", "-f"];
        let args = [
            &flags[..],
            &[image.format.as_str(), absolute(&image.path, &tried)?],
        ]
        .concat();
        let json = self.program.output(&args, &tried).await?;
        info::layers(&json, image, &tried, files::real)
    }

    /// Whether nothing was ever written into an overlay, not even zeroes.
    pub(super) async fn is_blank(&self, image: &Image) -> Result<bool> {
        let tried = format!("see whether {} is empty", image.path);
        let extents = self.map(image, &tried).await?;
        Ok(!extents.iter().any(Extent::is_of_top))
    }

    /// How much of what `from` shows as data an image that lies on nothing has nothing of.
    pub(super) async fn lacks(&self, image: &Image, from: &Image) -> Result<Bytes> {
        let tried = format!("see what {} lacks of {}", image.path, from.path);
        let (has, shows) = (
            self.map(image, &tried).await?,
            self.map(from, &tried).await?,
        );
        Ok(map::lacks(&has, &shows))
    }

    async fn map(&self, image: &Image, tried: &str) -> Result<Vec<Extent>> {
        let (format, path) = (image.format.as_str(), absolute(&image.path, tried)?);
        let args = ["map", "-U", "--output=json", "-f", format, path];
        map::extents(&self.program.output(&args, tried).await?, tried)
    }

    /// Makes an empty overlay.
    pub(super) async fn create(&self, path: &Utf8Path, on: &Image) -> Result<()> {
        let tried = format!("make {path} on {}", on.path);
        let (below, path) = (absolute(&on.path, &tried)?, absolute(path, &tried)?);
        let flags = ["create", "-q", "-f", "qcow2", "-F", on.format.as_str()];
        let args = [&flags[..], &["-b", below, path]].concat();
        self.program.output(&args, &tried).await.map(drop)
    }

    /// Opens it for reading and lets nobody else write meanwhile.
    pub(super) async fn idle(&self, image: &Image) -> Result<()> {
        let tried = format!("see that nobody writes {}", image.path);
        let path = absolute(&image.path, &tried)?;
        let args = ["info", "--output=json", "-f", image.format.as_str(), path];
        self.program.output(&args, &tried).await.map(drop)
    }

    /// Commits `top` into `base`; `top` keeps its content.
    pub(super) async fn commit(&self, top: &Image, base: &Image, task: &Task<'_>) -> Result<()> {
        let tried = format!("commit {} into {}", top.path, base.path);
        let base = absolute(&base.path, &tried)?;
        let top_path = absolute(&top.path, &tried)?;
        let total = allocated(&self.layers(top).await?, |layer| layer.path != base);
        let args = [
            "commit",
            "-p",
            "-d",
            "-f",
            top.format.as_str(),
            "-b",
            base,
            top_path,
        ];
        self.follow(&args, &tried, task, total, Urgency::Usual)
            .await
    }

    /// Writes another backing file into a header.
    pub(super) async fn rebase(&self, image: &Image, backing: &Image) -> Result<()> {
        let tried = format!("put {} on {}", image.path, backing.path);
        let (format, under) = (image.format.as_str(), backing.format.as_str());
        let below = absolute(&backing.path, &tried)?;
        let path = absolute(&image.path, &tried)?;
        let args = ["rebase", "-u", "-f", format, "-F", under, "-b", below, path];
        self.program.output(&args, &tried).await.map(drop)
    }

    /// Brings all that the files below an image hold into it.
    pub(super) async fn flatten(&self, image: &Image, task: &Task<'_>) -> Result<()> {
        let tried = format!("bring everything below {} into it", image.path);
        let path = absolute(&image.path, &tried)?;
        let layers = self.layers(image).await?;
        let below = layers.get(1..).unwrap_or_default();
        let total = allocated(below, |_| true);
        let args = ["rebase", "-p", "-f", image.format.as_str(), "-b", "", path];
        self.follow(&args, &tried, task, total, Urgency::Usual)
            .await
    }

    /// Opens an image and all below it as another user would.
    pub(super) async fn readable_by(&self, (user, group): (u32, u32), image: &Image) -> Result<()> {
        if user == 0 || !rustix::process::geteuid().is_root() {
            return Ok(());
        }
        let tried = format!("read {} as QEMU does (uid {user}, gid {group})", image.path);
        let path = absolute(&image.path, &tried)?;
        let (user, group) = (user.to_string(), group.to_string());
        let become_it = ["--reuid", &user, "--regid", &group, "--init-groups"];
        let program = self.program.path().as_str();
        let read = ["info", "-U", "--backing-chain", "--output=json"];
        let image = ["-f", image.format.as_str(), path];
        let args = [&become_it[..], &[program], &read, &image].concat();
        self.setpriv.output(&args, &tried).await.map(drop)
    }

    /// Cuts an image down to a size.
    pub(super) async fn shrink(&self, image: &Image, size: Bytes) -> Result<()> {
        let tried = format!("cut {} down to {size}", image.path);
        let path = absolute(&image.path, &tried)?;
        let now = self
            .layers(image)
            .await?
            .first()
            .map(|layer| layer.virtual_size);
        if now.is_some_and(|now| now < size) {
            let cause = "it is smaller than that already";
            return Err(HostError::new(Fault::Conflict, tried, cause));
        }
        let args = [
            "resize",
            "--shrink",
            "-f",
            image.format.as_str(),
            path,
            &size.0.to_string(),
        ];
        self.program.output(&args, &tried).await.map(drop)
    }

    /// Runs a command that takes long and prints how far it is. A kill of knib kills it: what it leaves
    /// is begun again by the next run, and a commit that is begun again does no harm.
    async fn follow(
        &self,
        args: &[&str],
        tried: &str,
        task: &Task<'_>,
        total: Bytes,
        urgency: Urgency,
    ) -> Result<()> {
        let mut progress = Progress::default();
        (task.report)(Bytes(0), total);
        let mut bound = vec!["--pdeathsig", "KILL"];
        if urgency == Urgency::Idle {
            // Where the kernel knows no such thing it is done all the same.
            bound.extend([self.ionice.path().as_str(), "-t", "-c", "3"]);
        }
        bound.push(self.program.path().as_str());
        self.setpriv
            .follow(&[&bound[..], args].concat(), tried, task, |piece| {
                if let Some(done) = progress.take(piece) {
                    let done = u128::from(total.0) * u128::from(done) / 10_000;
                    (task.report)(Bytes(u64::try_from(done).unwrap_or(total.0)), total);
                }
            })
            .await
    }
}

/// Whether everybody else's reads and writes go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Urgency {
    Usual,
    Idle,
}

/// A path that `qemu-img` can only take for a file's.
fn absolute<'a>(path: &'a Utf8Path, tried: &str) -> Result<&'a str> {
    if path.is_absolute() {
        return Ok(path.as_str());
    }
    let cause = format!("{path} is not an absolute path");
    Err(HostError::new(Fault::Conflict, tried, cause))
}

/// What the top layers take together, down to the first that `counts` turns down.
fn allocated(layers: &[Layer], counts: impl Fn(&Layer) -> bool) -> Bytes {
    let top = layers.iter().take_while(|layer| counts(layer));
    top.map(|layer| layer.allocated).sum()
}
