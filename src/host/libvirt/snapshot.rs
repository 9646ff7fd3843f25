//! Makes overlays, and looks after the freeze around it.

use std::ffi::c_int;
use std::time::Duration;

use virt::error::Error;
use virt::error::ErrorNumber;
use virt::sys;

use crate::host::HostError;
use crate::host::NewOverlay;
use crate::host::Result;
use crate::host::libvirt::Libvirt;
use crate::host::libvirt::Vm;
use crate::host::libvirt::faults;
use crate::host::libvirt::ffi;
use crate::host::libvirt::machines;
use crate::host::libvirt::xml;
use crate::model::fault::Fault;
use crate::model::id::Target;
use crate::model::id::VmId;
use crate::model::machine::Device;

/// How long an agent may take to thaw. libvirt itself would wait for ever.
const THAW: Duration = Duration::from_secs(60);
/// How long it may take to say whether anything is frozen, in seconds.
const ASK: c_int = 5;

impl Libvirt {
    /// One atomic disk-only snapshot without metadata.
    pub(in crate::host) async fn snapshot(
        &self,
        vm: &VmId,
        overlays: &[NewOverlay],
        others: &[Target],
        freeze: Option<Duration>,
    ) -> Result<()> {
        let targets: Vec<_> = overlays
            .iter()
            .map(|overlay| overlay.target.as_str())
            .collect();
        let what = format!("snapshot {}", targets.join(", "));
        let (overlays, others) = (overlays.to_owned(), others.to_owned());
        self.on(vm, what, move |_, vm, tried| {
            let others = spared(vm, &overlays, others, tried)?;
            let order = xml::snapshot(&overlays, &others);
            let flags = sys::VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY
                | sys::VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC
                | sys::VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA;
            let take = |flags| vm.domain.create_snapshot_xml(&order, flags).map(drop);
            match freeze {
                // Of a VM that is off libvirt passes over the flag.
                Some(limit) => patiently(vm, limit, || {
                    take(flags | sys::VIR_DOMAIN_SNAPSHOT_CREATE_QUIESCE)
                })
                .map_err(|error| unheard(tried, &error)),
                None => take(flags).map_err(|error| faults::error(tried, &error)),
            }
        })
        .await
    }

    /// Whether the agent says that file systems are frozen.
    pub(in crate::host) async fn is_frozen(&self, vm: &VmId) -> Result<bool> {
        self.on(
            vm,
            "ask for frozen file systems".to_owned(),
            |_, vm, tried| {
                let order = r#"{"execute":"guest-fsfreeze-status"}"#;
                let answer = vm.domain.qemu_agent_command(order, ASK, 0);
                let answer = answer.map_err(|error| unheard(tried, &error))?;
                let parsed: Option<serde_json::Value> = serde_json::from_str(&answer).ok();
                match parsed.as_ref().and_then(|answer| answer["return"].as_str()) {
                    Some("frozen") => Ok(true),
                    Some("thawed") => Ok(false),
                    _ => Err(HostError::new(
                        Fault::Agent,
                        tried,
                        format!("it answered {answer}"),
                    )),
                }
            },
        )
        .await
    }

    /// Thaws them.
    pub(in crate::host) async fn thaw(&self, vm: &VmId) -> Result<()> {
        self.on(vm, "thaw the file systems".to_owned(), |_, vm, tried| {
            let thawed = patiently(vm, THAW, || ffi::fs_thaw(&vm.domain));
            thawed.map_err(|error| unheard(tried, &error))
        })
        .await
    }
}

/// The disks that are to stay as they are: those that were named, and every drive.
fn spared(
    vm: &Vm,
    overlays: &[NewOverlay],
    mut others: Vec<Target>,
    tried: &str,
) -> Result<Vec<Target>> {
    let seen = machines::read(vm, 0, tried)?;
    // For a VM that is off libvirt doubles the comma in the name of the file it makes, though not
    // in the definition.
    let misspelled = overlays
        .iter()
        .find(|overlay| overlay.path.as_str().contains(','));
    if let Some(NewOverlay { path, .. }) = misspelled.filter(|_| !seen.live) {
        let cause = format!("libvirt cannot make {path} for a VM that is off");
        return Err(HostError::new(Fault::Unsupported, tried, cause)
            .hinted("start the VM, or move its disk to a path without a comma"));
    }
    for disk in seen.disks {
        let overlaid = overlays.iter().any(|overlay| overlay.target == disk.target);
        if overlaid || others.contains(&disk.target) {
            continue;
        }
        // libvirt would give a hard disk that nobody names an overlay of its own choice.
        if matches!(disk.device, Device::Disk | Device::Lun) {
            let cause = format!("{} was not there when it was planned", disk.target);
            return Err(HostError::new(Fault::Conflict, tried, cause));
        }
        others.push(disk.target);
    }
    Ok(others)
}

/// Runs a call that waits for the agent, with a limit to that. The limit is the domain's, whoever
/// calls, and cannot be asked for, so libvirt's own is put back afterwards.
fn patiently<T>(
    vm: &Vm,
    limit: Duration,
    call: impl FnOnce() -> std::result::Result<T, Error>,
) -> std::result::Result<T, Error> {
    let seconds = c_int::try_from(limit.as_secs().max(1)).unwrap_or(c_int::MAX);
    match ffi::agent_set_response_timeout(&vm.domain, seconds) {
        // Nobody to wait for in a VM that is off.
        Err(error) if error.code().is(ErrorNumber::OperationInvalid) => return call(),
        set => set?,
    }
    let done = call();
    let back = sys::VIR_DOMAIN_AGENT_RESPONSE_TIMEOUT_BLOCK;
    if let Err(error) = ffi::agent_set_response_timeout(&vm.domain, back) {
        tracing::warn!(vm = %vm.name, %error, "the agent's time limit stays as it is");
    }
    done
}

/// An error of a call that needs the agent. libvirt asks no agent while a VM is paused.
pub(super) fn unheard(tried: &str, error: &Error) -> HostError {
    let mut failed = faults::error(tried, error);
    if error.code().is(ErrorNumber::OperationInvalid) && error.message().contains("not running") {
        failed.fault = Fault::Agent;
    }
    failed
}
