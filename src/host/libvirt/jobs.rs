//! Block jobs of running VMs.

use std::ffi::CString;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use virt::error::Error;
use virt::sys;

use crate::host::HostError;
use crate::host::Result;
use crate::host::files;
use crate::host::libvirt::Libvirt;
use crate::host::libvirt::Vm;
use crate::host::libvirt::faults;
use crate::host::libvirt::ffi;
use crate::host::libvirt::machines;
use crate::host::libvirt::xml::SeenDisk;
use crate::model::bytes::Bytes;
use crate::model::fault::Fault;
use crate::model::id::Target;
use crate::model::id::VmId;
use crate::model::machine::Job;
use crate::model::machine::JobKind;

impl Libvirt {
    /// Starts to commit `top` into `base`; no file is deleted.
    pub(in crate::host) async fn commit(
        &self,
        vm: &VmId,
        target: &Target,
        top: &Utf8Path,
        base: &Utf8Path,
    ) -> Result<()> {
        let (top, base, target) = (top.to_owned(), base.to_owned(), target.clone());
        let what = format!("commit {top} into {base} for {target}");
        self.on(vm, what, move |_, vm, tried| {
            let disk = live_disk(vm, &target, tried)?;
            let (top, base) = (place(&disk, &top, tried)?, place(&disk, &base, tried)?);
            if top >= base {
                let cause = "the second is not below the first";
                return Err(HostError::new(Fault::Conflict, tried, cause));
            }
            // Without this flag libvirt refuses the layer that the guest writes to.
            let flags = if top == 0 {
                sys::VIR_DOMAIN_BLOCK_COMMIT_ACTIVE
            } else {
                0
            };
            let start = || {
                let (top, base) = (name(&disk, top)?, name(&disk, base)?);
                ffi::block_commit(&vm.domain, &text(&target)?, &base, &top, pace(), flags)
            };
            start().map_err(|error| faults::error(tried, &error))
        })
        .await
    }

    /// Starts to bring everything below a disk's top into the top.
    pub(in crate::host) async fn pull(&self, vm: &VmId, target: &Target) -> Result<()> {
        let target = target.clone();
        self.on(vm, format!("consolidate {target}"), move |_, vm, tried| {
            text(&target)
                .and_then(|target| ffi::block_pull(&vm.domain, &target, pace()))
                .map_err(|error| faults::error(tried, &error))
        })
        .await
    }

    /// Has QEMU write what it still keeps of a disk's top. libvirt has no word for that, so the monitor is asked: the
    /// guest is not paused for it, and may be.
    pub(in crate::host) async fn flush(&self, vm: &VmId, target: &Target) -> Result<()> {
        let target = target.clone();
        self.on(vm, format!("write out {target}"), move |_, vm, tried| {
            let disk = live_disk(vm, &target, tried)?;
            let index = disk.chain.first().and_then(|top| top.index);
            let index = index.ok_or_else(|| {
                let cause = "libvirt does not tell what QEMU calls it";
                HostError::new(Fault::Unsupported, tried, cause)
            })?;
            let order = format!("qemu-io libvirt-{index}-format flush");
            let hmp = sys::VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP;
            let said = vm.domain.qemu_monitor_command(&order, hmp);
            let said = said.map_err(|error| faults::error(tried, &error))?;
            match said.trim() {
                "" => Ok(()),
                cause => Err(HostError::new(Fault::Io, tried, cause)),
            }
        })
        .await
    }

    /// The block job of a disk. None as well of a VM that is off, or has no such disk.
    pub(in crate::host) async fn job(&self, vm: &VmId, target: &Target) -> Result<Option<Job>> {
        let target = target.clone();
        self.on(
            vm,
            format!("ask for the block job on {target}"),
            move |_, vm, tried| {
                let seen = machines::read(vm, 0, tried)?;
                let disk = seen.disks.iter().find(|disk| disk.target == target);
                match disk.filter(|_| seen.live) {
                    Some(disk) => job(vm, &target, disk.ready),
                    None => Ok(None),
                }
            },
        )
        .await
    }

    /// Ends a job, with `pivot` onto the base, else where it stands.
    pub(in crate::host) async fn end_job(
        &self,
        vm: &VmId,
        target: &Target,
        pivot: bool,
    ) -> Result<()> {
        let target = target.clone();
        let verb = if pivot { "pivot" } else { "stop" };
        self.on(
            vm,
            format!("{verb} the block job on {target}"),
            move |_, vm, tried| {
                let flags = if pivot {
                    sys::VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT
                } else {
                    sys::VIR_DOMAIN_BLOCK_JOB_ABORT_ASYNC
                };
                text(&target)
                    .and_then(|target| ffi::block_job_abort(&vm.domain, &target, flags))
                    .map_err(|error| faults::error(tried, &error))
            },
        )
        .await
    }
}

/// The block job of a disk of a VM that was on a moment ago. `ready` is what the definition said
/// before: the figures alone do not tell.
pub(super) fn job(vm: &Vm, target: &Target, ready: bool) -> Result<Option<Job>> {
    let asked = text(target).and_then(|target| ffi::block_job_info(&vm.domain, &target));
    let info = match asked.map_err(|error| {
        faults::error(
            format!("ask for the block job on {target} of {}", vm.name),
            &error,
        )
    }) {
        // Stopped meanwhile, or the disk is gone.
        Err(error) if error.fault == Fault::Conflict => None,
        info => info?,
    };
    Ok(info.map(|info| Job {
        kind: kind(info.type_.cast_unsigned()),
        done: Bytes(info.cur),
        total: Bytes(info.end),
        ready,
    }))
}

/// Bytes a second that a job may bring; 0: as many as it can. Tests want time to interrupt it.
fn pace() -> std::ffi::c_ulong {
    if cfg!(feature = "test-hooks") {
        let given = std::env::var("KNIB_JOB_RATE").ok();
        given.and_then(|given| given.parse().ok()).unwrap_or(0)
    } else {
        0
    }
}

fn kind(number: sys::virDomainBlockJobType) -> JobKind {
    match number {
        sys::VIR_DOMAIN_BLOCK_JOB_TYPE_COMMIT => JobKind::Commit,
        sys::VIR_DOMAIN_BLOCK_JOB_TYPE_ACTIVE_COMMIT => JobKind::ActiveCommit,
        sys::VIR_DOMAIN_BLOCK_JOB_TYPE_PULL => JobKind::Pull,
        sys::VIR_DOMAIN_BLOCK_JOB_TYPE_COPY => JobKind::Copy,
        sys::VIR_DOMAIN_BLOCK_JOB_TYPE_BACKUP => JobKind::Backup,
        _ => JobKind::Other,
    }
}

fn live_disk(vm: &Vm, target: &Target, tried: &str) -> Result<SeenDisk> {
    let unfit = |cause: String| HostError::new(Fault::Conflict, tried, cause);
    let seen = machines::read(vm, 0, tried)?;
    if !seen.live {
        return Err(unfit(format!("{} is off", vm.name)));
    }
    let disk = seen.disks.into_iter().find(|disk| disk.target == *target);
    disk.ok_or_else(|| unfit(format!("{} has no disk {target}", vm.name)))
}

/// Where a file is in the chain, counted from the top.
fn place(disk: &SeenDisk, path: &Utf8Path, tried: &str) -> Result<usize> {
    let path = files::real(path);
    let chain: Vec<Utf8PathBuf> = disk
        .chain
        .iter()
        .map(|link| files::real(&link.path))
        .collect();
    chain.iter().position(|link| *link == path).ok_or_else(|| {
        let chain: Vec<_> = chain.iter().map(|link| link.as_str()).collect();
        let cause = format!(
            "{path} is not in the chain of {}: {}",
            disk.target,
            chain.join(", ")
        );
        HostError::new(Fault::Conflict, tried, cause)
    })
}

/// How libvirt is told of a file: by its number, since it compares paths as they are spelled.
fn name(disk: &SeenDisk, place: usize) -> std::result::Result<CString, Error> {
    let link = &disk.chain[place];
    match link.index {
        Some(index) => ffi::text(&format!("{}[{index}]", disk.target)),
        None => ffi::text(link.path.as_str()),
    }
}

fn text(target: &Target) -> std::result::Result<CString, Error> {
    ffi::text(target.as_str())
}
