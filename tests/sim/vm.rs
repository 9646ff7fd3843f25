//! VMs as libvirt keeps them: a stored definition, a running one, and what QEMU has open.
//!
//! What the guest wrote is kept beside, cell by cell: the oracle, which never looks into an image.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use knib::model::id::Target;
use knib::model::id::VmId;
use knib::model::machine::Agent;
use knib::model::machine::Device;
use knib::model::machine::Disk;
use knib::model::machine::Firmware;
use knib::model::machine::Format;
use knib::model::machine::JobKind;
use knib::model::machine::Machine;
use knib::model::machine::Note;
use knib::model::machine::Power;
use knib::model::machine::Source;
use knib::model::step::Image;
use serde::Deserialize;
use serde::Serialize;

use crate::sim::jobs::BlockJob;
use crate::sim::jobs::Brought;
use crate::sim::site::Moment;

/// A definition. Its text is its JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Definition {
    pub(crate) id: VmId,
    pub(crate) name: String,
    pub(crate) note: Option<Note>,
    pub(crate) disks: Vec<DiskDef>,
    /// Those it wants to be in. There are none here, so it cannot be started.
    pub(crate) networks: Vec<String>,
    /// It has a channel for a guest agent.
    pub(crate) channel: bool,
}

/// A disk of a definition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct DiskDef {
    pub(crate) target: Target,
    pub(crate) device: Device,
    pub(crate) image: Option<Image>,
    /// An explicit `<backingStore>`: believed at a start, whatever the headers say.
    pub(crate) below: Option<Vec<Utf8PathBuf>>,
}

/// A VM.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(crate) struct Vm {
    pub(crate) stored: Definition,
    pub(crate) running: Option<Running>,
    /// How often it was started.
    pub(crate) starts: u32,
    pub(crate) managed_save: bool,
    pub(crate) snapshots: Vec<String>,
    pub(crate) agent: Agent,
    /// The agent will take so many ticks to freeze, once; libvirt does not wait that long.
    pub(crate) slow_freeze: Option<u32>,
    pub(crate) frozen: bool,
    /// By somebody else, who will thaw it.
    pub(crate) frozen_by_others: bool,
    /// False: somebody defined it wrongly, and its disks may show something else.
    pub(crate) watched: bool,
    /// The oracle: what each disk would show to a guest.
    pub(crate) wrote: Moment,
    /// What they showed when it was defined.
    pub(crate) born: Moment,
    /// What they showed each time it was pointed at a snapshot, and at which.
    pub(crate) left: Vec<(Moment, String)>,
}

/// A QEMU process.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    pub(crate) definition: Definition,
    /// Another one with each start.
    pub(crate) number: u32,
    /// What it has open, top first.
    pub(crate) open: BTreeMap<Target, Vec<Utf8PathBuf>>,
    pub(crate) jobs: BTreeMap<Target, BlockJob>,
    /// What jobs that ended brought into which file, and QEMU has not written down.
    pub(crate) unwritten: BTreeMap<Target, (JobKind, (Utf8PathBuf, Brought))>,
    /// Where a file is now that was renamed while it was open.
    pub(crate) renamed: BTreeMap<Utf8PathBuf, Utf8PathBuf>,
    /// A freeze that is still to come.
    pub(crate) freezes_in: Option<u32>,
}

impl Running {
    /// The files of a disk that QEMU has in hand, top first, whatever they are called by now.
    pub(crate) fn chain(&self, target: &Target) -> Vec<Utf8PathBuf> {
        let open = self.open.get(target).into_iter().flatten();
        open.map(|path| self.renamed.get(path).unwrap_or(path).clone())
            .collect()
    }
}

impl Definition {
    pub(crate) fn disk_mut(&mut self, target: &Target) -> Option<&mut DiskDef> {
        self.disks.iter_mut().find(|disk| disk.target == *target)
    }

    pub(crate) fn disk(&self, target: &Target) -> Option<&DiskDef> {
        self.disks.iter().find(|disk| disk.target == *target)
    }
}

impl DiskDef {
    pub(crate) fn hard_disk(target: &str, image: Image) -> Self {
        Self {
            target: Target::new(target),
            device: Device::Disk,
            image: Some(image),
            below: None,
        }
    }

    pub(crate) fn path(&self) -> Option<&Utf8PathBuf> {
        self.image.as_ref().map(|image| &image.path)
    }

    /// What libvirt writes after it changed a chain: the head, and all that is below it.
    pub(crate) fn lead(&mut self, chain: &[Utf8PathBuf], format: Format) {
        self.image = Some(Image::new(chain[0].clone(), format));
        self.below = Some(chain[1..].to_vec());
    }

    fn source(&self) -> Option<Source> {
        let image = self.image.clone()?;
        Some(Source::File {
            path: image.path,
            format: image.format,
        })
    }
}

impl Vm {
    /// A VM that is off.
    pub(crate) fn off(stored: Definition) -> Self {
        let agent = if stored.channel {
            Agent::Silent
        } else {
            Agent::None
        };
        Self {
            stored,
            running: None,
            starts: 0,
            managed_save: false,
            snapshots: Vec::new(),
            agent,
            slow_freeze: None,
            frozen: false,
            frozen_by_others: false,
            watched: true,
            wrote: Moment::new(),
            born: Moment::new(),
            left: Vec::new(),
        }
    }

    /// As libvirt shows it.
    pub(crate) fn machine(&self) -> Machine {
        let now = self
            .running
            .as_ref()
            .map_or(&self.stored, |running| &running.definition);
        let disks = now.disks.iter().map(|disk| self.disk(disk)).collect();
        Machine {
            id: self.stored.id.clone(),
            name: self.stored.name.clone(),
            power: match self.running {
                Some(_) => Power::Running,
                None => Power::Off,
            },
            persistent: true,
            managed_save: self.managed_save,
            snapshots: self.snapshots.clone(),
            agent: match (self.agent, &self.running) {
                (Agent::Connected, None) => Agent::Silent,
                (agent, _) => agent,
            },
            note: self.stored.note.clone(),
            tags: BTreeMap::new(),
            disks,
            firmware: Firmware::default(),
        }
    }

    fn disk(&self, disk: &DiskDef) -> Disk {
        let inactive = self.stored.disk(&disk.target);
        let running = self.running.as_ref();
        let job = running.and_then(|running| running.jobs.get(&disk.target));
        let open = running.and_then(|running| running.open.get(&disk.target));
        Disk {
            target: disk.target.clone(),
            device: disk.device,
            source: disk.source(),
            inactive: inactive.and_then(DiskDef::source),
            readonly: disk.device == Device::Cdrom,
            shareable: false,
            in_use: false,
            live: open.cloned().unwrap_or_default(),
            job: job.map(BlockJob::seen),
            layers: Vec::new(),
            off_chain: Vec::new(),
            unreadable: Vec::new(),
        }
    }
}
