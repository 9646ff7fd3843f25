//! Observes VMs.

use std::thread;
use std::time::Duration;
use std::time::Instant;

use camino::Utf8PathBuf;
use virt::domain_snapshot::DomainSnapshot;
use virt::sys;

use crate::host::HostError;
use crate::host::Result;
use crate::host::files;
use crate::host::libvirt::Libvirt;
use crate::host::libvirt::Vm;
use crate::host::libvirt::faults;
use crate::host::libvirt::ffi;
use crate::host::libvirt::jobs;
use crate::host::libvirt::xml;
use crate::host::libvirt::xml::Link;
use crate::host::libvirt::xml::Seen;
use crate::host::libvirt::xml::SeenDisk;
use crate::model::bytes::Bytes;
use crate::model::fault::Fault;
use crate::model::id::VmId;
use crate::model::machine::Device;
use crate::model::machine::Disk;
use crate::model::machine::Firmware;
use crate::model::machine::Job;
use crate::model::machine::JobKind;
use crate::model::machine::Layer;
use crate::model::machine::Machine;
use crate::model::machine::Power;
use crate::model::machine::Source;

/// How often a VM that changes while it is looked at is looked at.
const LOOKS: u32 = 5;
/// How long libvirt may take to notice that a QEMU ended: on a busy host that is seconds.
const NOTICES: Duration = Duration::from_secs(20);

impl Libvirt {
    /// Every VM. One that vanishes meanwhile is left out.
    pub(in crate::host) async fn machines(&self) -> Result<Vec<Machine>> {
        self.call("list the VMs".to_owned(), |connect, tried| {
            let domains = connect
                .list_all_domains(0)
                .map_err(|error| faults::error(tried, &error))?;
            let mut machines = Vec::with_capacity(domains.len());
            for domain in domains {
                let name = domain
                    .name()
                    .map_err(|error| faults::error(tried, &error))?;
                let vm = Vm { domain, name };
                // One that ends while it is looked at fails in many ways, and once.
                match observe(&vm).or_else(|_| observe(&vm)) {
                    Err(error) if error.fault == Fault::Gone => {}
                    machine => machines.push(machine?),
                }
            }
            machines.sort_by(|one, other| one.name.cmp(&other.name));
            Ok(machines)
        })
        .await
    }

    /// One VM.
    pub(in crate::host) async fn machine(&self, vm: &VmId) -> Result<Machine> {
        self.on(vm, "look at the disks".to_owned(), |_, vm, _| observe(vm))
            .await
    }

    /// The number of its run.
    pub(in crate::host) async fn run(&self, vm: &VmId) -> Result<Option<u32>> {
        self.on(vm, "look which run it is".to_owned(), |_, vm, _| {
            Ok(vm.domain.id())
        })
        .await
    }
}

impl Libvirt {
    /// A stored definition as a VM that is off.
    pub(in crate::host) fn stored(definition: &str) -> Result<Machine> {
        let seen = xml::seen(definition).map_err(|cause| {
            HostError::new(Fault::Conflict, "read the stored definition", cause)
        })?;
        let layer = |link: &Link| Layer {
            path: link.path.clone(),
            format: link.format.clone(),
            ..Layer::default()
        };
        let disks = seen.disks.iter().map(|disk| Disk {
            source: disk.source.clone(),
            inactive: disk.source.clone(),
            layers: disk.chain.iter().map(layer).collect(),
            ..bare(disk)
        });
        Ok(Machine {
            id: VmId::new(&seen.id),
            name: seen.name.clone(),
            power: Power::Off,
            persistent: true,
            managed_save: false,
            snapshots: Vec::new(),
            agent: seen.agent,
            note: seen.note.clone(),
            tags: seen.tags.clone(),
            disks: disks.collect(),
            firmware: seen.firmware.clone(),
        })
    }
}

/// Reads one XML of a domain.
pub(super) fn read(vm: &Vm, flags: sys::virDomainXMLFlags, tried: &str) -> Result<Seen> {
    let xml = vm
        .domain
        .xml_desc(flags)
        .map_err(|error| faults::error(tried, &error))?;
    xml::seen(&xml).map_err(|cause| HostError::new(Fault::Unsupported, tried, cause))
}

/// QEMU may end while it is asked. What libvirt answers then is about that, and once it has noticed
/// the VM is one that is off.
fn observe(vm: &Vm) -> Result<Machine> {
    let began = Instant::now();
    let mut pause = Duration::from_millis(20);
    loop {
        match observe_once(vm) {
            Err(error) if error.fault == Fault::Io && began.elapsed() < NOTICES => {
                thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_secs(1));
            }
            answer => return answer,
        }
    }
}

fn observe_once(vm: &Vm) -> Result<Machine> {
    let tried = format!("look at {}", vm.name);
    let fail = |error: virt::error::Error| faults::error(&tried, &error);
    let persistent = vm.domain.is_persistent().map_err(fail)?;
    let (power, now, stored) = consistent(vm, persistent, &tried)?;
    let snapshots = vm.domain.list_all_snapshots(0).map_err(fail)?;
    let snapshots = snapshots.iter().map(DomainSnapshot::name);
    let metadata = stored.as_ref().unwrap_or(&now);
    Ok(Machine {
        id: VmId::new(&now.id),
        name: now.name.clone(),
        power,
        persistent,
        managed_save: persistent && vm.domain.has_managed_save(0).map_err(fail)?,
        snapshots: snapshots
            .collect::<std::result::Result<_, _>>()
            .map_err(fail)?,
        agent: now.agent,
        note: metadata.note.clone(),
        tags: metadata.tags.clone(),
        disks: disks(vm, &now, stored.as_ref())?,
        firmware: firmware(&now.firmware),
    })
}

/// What the VM is doing, its definition now and the persistent one. These are three calls, and the
/// VM may change between any two: a difference that a second look does not confirm is none.
fn consistent(vm: &Vm, persistent: bool, tried: &str) -> Result<(Power, Seen, Option<Seen>)> {
    for _ in 0..LOOKS {
        let now = read(vm, 0, tried)?;
        let state = ffi::state(&vm.domain).map_err(|error| faults::error(tried, &error))?;
        let power = power(&state, now.live);
        let stored = persistent.then(|| read(vm, sys::VIR_DOMAIN_XML_INACTIVE, tried));
        let stored = stored.transpose()?;
        let agree = power.is_on() == now.live
            && stored
                .as_ref()
                .is_none_or(|stored| same_sources(&now, stored));
        if agree || read(vm, 0, tried)? == now {
            return Ok((power, now, stored));
        }
    }
    let cause = "it changes while it is looked at";
    Err(HostError::new(Fault::Busy, tried, cause))
}

fn power(state: &ffi::State, live: bool) -> Power {
    let other = |text: &str| Power::Other(text.to_owned());
    match state.state {
        sys::VIR_DOMAIN_SHUTOFF => Power::Off,
        sys::VIR_DOMAIN_CRASHED if !live => Power::Off,
        sys::VIR_DOMAIN_RUNNING | sys::VIR_DOMAIN_BLOCKED => Power::Running,
        sys::VIR_DOMAIN_PAUSED => Power::Paused {
            io_error: state.reason == sys::VIR_DOMAIN_PAUSED_IOERROR,
        },
        sys::VIR_DOMAIN_SHUTDOWN => other("shutting down"),
        sys::VIR_DOMAIN_CRASHED => other("crashed"),
        sys::VIR_DOMAIN_PMSUSPENDED => other("suspended by the guest"),
        state => Power::Other(format!("state {state}")),
    }
}

fn same_sources(now: &Seen, stored: &Seen) -> bool {
    let sources = |seen: &Seen| -> Vec<_> {
        seen.disks
            .iter()
            .map(|disk| (disk.target.clone(), disk.source.clone()))
            .collect()
    };
    sources(now) == sources(stored)
}

/// Those that the VM has now, then those that only its next start will have.
fn disks(vm: &Vm, now: &Seen, stored: Option<&Seen>) -> Result<Vec<Disk>> {
    let stored_disks = || stored.into_iter().flat_map(|seen| &seen.disks);
    let mut jobs = Jobs {
        vm,
        unanswered: false,
    };
    let mut disks = Vec::new();
    for disk in &now.disks {
        let inactive = stored_disks().find(|stored| stored.target == disk.target);
        disks.push(Disk {
            source: source(disk.source.as_ref()),
            inactive: source(inactive.and_then(|stored| stored.source.as_ref())),
            live: if now.live { chain(disk) } else { Vec::new() },
            job: if now.live { jobs.of(disk)? } else { None },
            ..bare(disk)
        });
    }
    for disk in stored_disks() {
        if !disks.iter().any(|known| known.target == disk.target) {
            disks.push(Disk {
                inactive: source(disk.source.as_ref()),
                ..bare(disk)
            });
        }
    }
    Ok(disks)
}

fn chain(disk: &SeenDisk) -> Vec<Utf8PathBuf> {
    disk.chain
        .iter()
        .map(|link| files::real(&link.path))
        .collect()
}

fn bare(disk: &SeenDisk) -> Disk {
    Disk {
        target: disk.target.clone(),
        device: disk.device,
        source: None,
        inactive: None,
        readonly: disk.readonly,
        shareable: disk.shareable,
        in_use: false,
        live: Vec::new(),
        job: None,
        layers: Vec::new(),
        off_chain: Vec::new(),
        unreadable: Vec::new(),
    }
}

fn source(source: Option<&Source>) -> Option<Source> {
    Some(match source? {
        Source::File { path, format } => Source::File {
            path: files::real(path),
            format: format.clone(),
        },
        other @ Source::Other(_) => other.clone(),
    })
}

fn firmware(firmware: &Firmware) -> Firmware {
    let real = |path: &Option<_>| path.as_ref().map(|path: &Utf8PathBuf| files::real(path));
    Firmware {
        nvram: real(&firmware.nvram),
        kernel: real(&firmware.kernel),
        initrd: real(&firmware.initrd),
        tpm: real(&firmware.tpm),
    }
}

/// Asks for block jobs, and no more after libvirt kept a question waiting because something else
/// works on the VM: that counts as a job of its own.
struct Jobs<'a> {
    vm: &'a Vm,
    unanswered: bool,
}

impl Jobs<'_> {
    fn of(&mut self, disk: &SeenDisk) -> Result<Option<Job>> {
        if !matches!(disk.device, Device::Disk | Device::Lun) || disk.source.is_none() {
            return Ok(None);
        }
        if !self.unanswered {
            match jobs::job(self.vm, &disk.target, disk.ready) {
                Err(error) if error.fault == Fault::Busy => self.unanswered = true,
                answer => return answer,
            }
        }
        Ok(Some(Job {
            kind: JobKind::Other,
            done: Bytes(0),
            total: Bytes(0),
            ready: false,
        }))
    }
}
