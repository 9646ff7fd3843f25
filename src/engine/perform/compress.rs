//! Compressed files beside those of a backup, shown to hold the same. They are read by nobody yet.

use std::time::Duration;

use camino::Utf8Path;
use camino::Utf8PathBuf;

use crate::engine::Engine;
use crate::engine::perform::Performed;
use crate::engine::perform::Scene;
use crate::engine::perform::conflict;
use crate::engine::perform::copy::written;
use crate::engine::perform::remark::place;
use crate::host::Convert;
use crate::host::Host;
use crate::host::Result;
use crate::host::Task;
use crate::model::bytes::Bytes;
use crate::model::fault::Fault;
use crate::model::id::Target;
use crate::model::machine::Format;
use crate::model::op::Compression;
use crate::model::program::StepError;
use crate::model::receipt::Receipt;
use crate::model::seconds::Seconds;
use crate::model::step::BackupAt;
use crate::model::step::Image;

/// So often it is looked whether somebody ended the job.
const LOOK: Duration = Duration::from_secs(1);

/// A new file takes as much as the old one at most, so that there must be some share of it.
pub(super) async fn room<H: Host>(
    engine: &Engine<H>,
    of: &BackupAt,
    files: &[Utf8PathBuf],
    thousandths: u64,
) -> Performed {
    place(of).ours(engine).await?;
    let sizes = engine.host.lengths(files).await?;
    let size: Bytes = sizes.into_iter().flatten().sum();
    let wanted = u128::from(size.0) * u128::from(thousandths) / 1000;
    let wanted = Bytes(u64::try_from(wanted).unwrap_or(u64::MAX));
    let free = engine.host.space(&of.storage).await?.free;
    if free >= wanted {
        return Ok(Receipt::Done);
    }
    Err(StepError {
        fault: Fault::NoSpace,
        text: format!(
            "{} has {free} free; compressing {}, which takes {size}, needs {wanted}",
            of.storage, of.backup
        ),
        hint: Some(
            "make room there; settings: backup.compression.minimum.free.storage says how much is needed"
                .to_owned(),
        ),
    })
}

/// A file and the compressed one beside it.
pub(super) struct Files<'a> {
    pub(super) target: &'a Target,
    pub(super) from: &'a Utf8Path,
    pub(super) to: &'a Utf8Path,
    pub(super) limit: Seconds,
}

impl Files<'_> {
    /// Always from the beginning: half a file proves nothing.
    pub(super) async fn compress<H: Host>(
        &self,
        engine: &Engine<H>,
        scene: &Scene,
        parent: Option<&Utf8Path>,
        how: Compression,
    ) -> Performed {
        let convert = Convert {
            layers: vec![image(self.from)],
            backing: parent.map(Utf8Path::to_owned),
            to: self.to.to_owned(),
            format: Format::Qcow2,
            compression: Some(how),
            idle: true,
        };
        engine.host.remove(self.to).await?;
        let before = engine.host.lengths(&[self.from.to_owned()]).await?;
        let report = engine.reporter(scene, "compress", self.target);
        let task = self.task(engine, &report);
        unless_ended(engine, scene, engine.host.convert(&convert, &task)).await?;
        written(engine, self.to, before.into_iter().next().flatten()).await
    }

    pub(super) async fn compare<H: Host>(&self, engine: &Engine<H>, scene: &Scene) -> Performed {
        let report = engine.reporter(scene, "compare", self.target);
        let task = self.task(engine, &report);
        let (one, other) = (image(self.from), image(self.to));
        let compared = engine.host.compare(&one, &other, &task);
        if unless_ended(engine, scene, compared).await? {
            return Ok(Receipt::Done);
        }
        Err(StepError {
            fault: Fault::Io,
            text: format!("{} does not show the same as {}", self.to, self.from),
            hint: Some(format!(
                "the backup is as it was; see whether it is whole: qemu-img check {}",
                self.from
            )),
        })
    }

    fn task<'a, H: Host>(
        &self,
        engine: &'a Engine<H>,
        report: &'a dyn Fn(Bytes, Bytes),
    ) -> Task<'a> {
        Task {
            report,
            stop: &engine.stop,
            limit: Some(self.limit.duration()),
        }
    }
}

/// A call that takes long, until somebody ends the job.
async fn unless_ended<H: Host, T>(
    engine: &Engine<H>,
    scene: &Scene,
    call: impl Future<Output = Result<T>>,
) -> std::result::Result<T, StepError> {
    tokio::select! {
        biased;
        done = call => done.map_err(|error| advised(error.into())),
        error = ended(engine, scene) => Err(error),
    }
}

/// Returns when somebody ended the job.
pub(super) async fn ended<H: Host>(engine: &Engine<H>, scene: &Scene) -> StepError {
    loop {
        if let Err(error) = still_wished(engine, scene) {
            return error;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Fails where somebody ended the job.
pub(super) fn still_wished<H: Host>(
    engine: &Engine<H>,
    scene: &Scene,
) -> std::result::Result<(), StepError> {
    let Some(attempt) = scene.op.attempt() else {
        return Ok(());
    };
    let job = engine.state.job(&attempt.vm.uuid, &attempt.job)?;
    if job.as_ref().is_some_and(|job| !job.is_over()) {
        return Ok(());
    }
    let hint = format!("knib job retry {}", attempt.job);
    Err(conflict(
        format!("the job {} was cancelled", attempt.job),
        hint,
    ))
}

/// What is advised about backups does not fit.
fn advised(error: StepError) -> StepError {
    let hint = match error.fault {
        Fault::Timeout => Some("settings: backup.compression.timeout bounds each step".to_owned()),
        Fault::NoSpace => Some("make room; the job is tried again".to_owned()),
        _ => error.hint,
    };
    StepError { hint, ..error }
}

fn image(path: &Utf8Path) -> Image {
    Image::new(path, Format::Qcow2)
}
