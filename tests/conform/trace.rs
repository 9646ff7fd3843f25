//! The story of a scenario: each call with how it ended, and what could be observed after it.

use std::ops::Range;

use camino::Utf8Path;
use knib::host::Head;
use knib::host::Host;
use knib::host::HostError;
use knib::host::NewOverlay;
use knib::host::Stop;
use knib::host::StopLevel;
use knib::host::Task;
use knib::model::id::Target;
use knib::model::id::VmId;
use knib::model::machine::Disk;
use knib::model::machine::Layer;
use knib::model::machine::Source;
use knib::model::step::Image;
use tokio::sync::watch;

use crate::conform::ground::Ground;
use crate::conform::ground::format_of;

/// The story so far, and the place where it goes on.
pub(super) struct Trace<G> {
    pub(super) ground: G,
    text: String,
    stop: Stop,
    _sender: watch::Sender<StopLevel>,
    /// Images whose content is nobody's business for now: a job that ended early wrote into them.
    blurred: Vec<String>,
}

impl<G: Ground> Trace<G> {
    /// The whole story of a scenario.
    pub(super) async fn of(ground: G, scenario: impl AsyncFnOnce(&mut Self)) -> String {
        let (sender, receiver) = watch::channel(StopLevel::No);
        let mut trace = Self {
            ground,
            text: String::new(),
            stop: Stop::new(receiver),
            _sender: sender,
            blurred: Vec::new(),
        };
        trace.observe().await;
        scenario(&mut trace).await;
        trace.say("the end");
        trace.contents().await;
        trace.text
    }

    pub(super) fn host(&self) -> &G::Host {
        self.ground.host()
    }

    pub(super) fn task(&self) -> Task<'_> {
        Task {
            report: &|_, _| (),
            stop: &self.stop,
            limit: None,
        }
    }

    pub(super) fn image(&self, name: &str) -> Image {
        let path = self.ground.dir().join(name);
        let format = format_of(&path);
        Image::new(path, format)
    }

    pub(super) fn overlay(&self, target: &str, name: &str) -> NewOverlay {
        NewOverlay {
            target: Target::new(target),
            path: self.ground.dir().join(name),
        }
    }

    pub(super) fn head(&self, target: &str, name: &str) -> Head {
        Head::new(Target::new(target), self.image(name))
    }

    /// One more line.
    pub(super) fn say(&mut self, what: &str) {
        self.text += what;
        self.text += "\n";
    }

    /// From here on the content of these images is not told.
    pub(super) fn blur(&mut self, names: &[&str]) {
        self.blurred = names.iter().map(ToString::to_string).collect();
    }

    /// How a call ended. What it failed with is told by its kind, as the engine branches on it.
    pub(super) fn ended<T>(&mut self, what: &str, ended: &Result<T, HostError>) {
        let how = match ended {
            Ok(_) => "ok".to_owned(),
            Err(error) => format!("{:?}", error.fault),
        };
        self.say(&format!("{what}: {how}"));
    }

    /// How a call ended, and what there is to see afterwards.
    pub(super) async fn did<T>(&mut self, what: &str, ended: Result<T, HostError>) {
        self.ended(what, &ended);
        self.observe().await;
    }

    /// What guests and owners do, and what there is to see afterwards.
    pub(super) async fn start(&mut self) {
        let started = self.ground.start();
        self.say(&format!("start: {started}"));
        self.observe().await;
    }

    pub(super) async fn stop(&mut self) {
        self.ground.stop();
        self.say("stop");
        self.observe().await;
        self.contents().await;
    }

    pub(super) fn write(&mut self, target: &str, cells: Range<usize>, value: u8) {
        self.ground.write(target, cells.clone(), value);
        self.say(&format!("{target} {cells:?} = {value}"));
    }

    /// Follows a job until it is gone, or waits for its pivot.
    pub(super) async fn follow(&mut self, target: &str) {
        let (vm, target) = (self.ground.vm(), Target::new(target));
        loop {
            let job = self
                .host()
                .job(&vm, &target)
                .await
                .expect("the VM is there");
            match job {
                None => {
                    self.say(&format!("the job of {target} is gone"));
                    break;
                }
                Some(job) if job.ready => {
                    let whole = job.done == job.total;
                    self.say(&format!(
                        "{target}: {:?} is ready, whole: {whole}",
                        job.kind
                    ));
                    break;
                }
                Some(_) => tokio::task::yield_now().await,
            }
        }
        self.observe().await;
    }

    /// Everything that knib could see.
    pub(super) async fn observe(&mut self) {
        let vm = self.ground.vm();
        self.observe_vm(&vm).await;
        let entries = self.host().list(&self.ground.dir()).await;
        let entries = entries.expect("the directory is there");
        let names: Vec<_> = entries.iter().map(|entry| entry.name.as_str()).collect();
        self.say(&format!("  files {names:?}"));
    }

    /// What a look at the headers alone does not show: the content of each image of a VM that is off.
    pub(super) async fn contents(&mut self) {
        let entries = self.host().list(&self.ground.dir()).await;
        for entry in entries.expect("the directory is there") {
            self.content(&entry.name).await;
        }
    }

    pub(super) async fn observe_vm(&mut self, vm: &VmId) {
        let machine = match self.host().machine(vm).await {
            Ok(machine) => machine,
            Err(error) => {
                self.say(&format!("  no VM: {:?}", error.fault));
                return;
            }
        };
        let note = machine.note.as_ref().map(|note| {
            let current = note.current.as_ref().map(ToString::to_string);
            format!("{} {}", note.serial, current.unwrap_or_default())
        });
        self.say(&format!(
            "  VM on: {}, persistent: {}, managed save: {}, note: {note:?}",
            machine.power.is_on(),
            machine.persistent,
            machine.managed_save
        ));
        for disk in &machine.disks {
            let line = shown(disk);
            self.say(&line);
            let layers = match &disk.source {
                Some(Source::File { path, format }) => {
                    let head = Image::new(path.clone(), format.clone());
                    self.host().layers(&head).await
                }
                _ => continue,
            };
            match layers {
                Err(error) => self.say(&format!("    layers: {:?}", error.fault)),
                Ok(layers) => self.say(&format!("    layers: {}", towered(&layers))),
            }
        }
    }

    async fn content(&mut self, name: &str) {
        let mut line = format!("  {name} ");
        let image = self.image(name);
        match self.host().layers(&image).await {
            Err(error) => line += &format!("{:?}", error.fault),
            Ok(layers) => {
                line += &towered(&layers);
                if layers.len() > 1 {
                    let blank = self.host().is_blank(&image).await;
                    line += &format!(" blank: {:?}", blank.ok());
                }
                if !self.blurred.iter().any(|blurred| blurred == name) {
                    line += &format!(" {:?}", self.ground.cells(&image.path));
                }
            }
        }
        self.say(&line);
    }
}

/// Layers with formats and cells, top first.
fn towered(layers: &[Layer]) -> String {
    let of = |layer: &Layer| {
        let cells = layer.virtual_size.0 >> 16;
        format!("{}({}, {cells})", name(&layer.path), layer.format)
    };
    layers.iter().map(of).collect::<Vec<_>>().join(" < ")
}

fn shown(disk: &Disk) -> String {
    let source = |source: &Option<Source>| match source {
        Some(Source::File { path, format }) => format!("{}({format})", name(path)),
        Some(Source::Other(_)) => "something else".to_owned(),
        None => "nothing".to_owned(),
    };
    let live: Vec<_> = disk.live.iter().map(|path| name(path)).collect();
    format!(
        "    {} {:?} now {}, next {}, live {live:?}, job {:?}",
        disk.target,
        disk.device,
        source(&disk.source),
        source(&disk.inactive),
        disk.job.as_ref().map(|job| job.kind)
    )
}

fn name(path: &Utf8Path) -> &str {
    path.file_name().unwrap_or_default()
}
