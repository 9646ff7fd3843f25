//! Starts and stops VMs, and gives them disks while they run.

use virt::sys;

use crate::host::Head;
use crate::host::HostError;
use crate::host::Result;
use crate::host::libvirt::Libvirt;
use crate::host::libvirt::faults;
use crate::host::libvirt::xml;
use crate::model::fault::Fault;
use crate::model::id::Target;
use crate::model::id::VmId;

impl Libvirt {
    /// Starts a VM.
    pub(in crate::host) async fn start(&self, vm: &VmId) -> Result<()> {
        self.on(vm, "start it".to_owned(), |_, vm, tried| {
            let started = vm.domain.create().map(drop);
            started.map_err(|error| faults::error(tried, &error))
        })
        .await
    }

    /// Gives a VM, on or off, one disk more.
    pub(in crate::host) async fn attach(
        &self,
        vm: &VmId,
        definition: &str,
        from: &Target,
        head: &Head,
    ) -> Result<()> {
        let tried = format!("attach {} as {}", head.image.path, head.target);
        let element = xml::element(definition, from.as_str(), head)
            .map_err(|cause| HostError::new(Fault::Conflict, &tried, cause))?;
        self.on(vm, tried, move |_, vm, tried| {
            let fail = |error| faults::error(tried, &error);
            let mut flags = sys::VIR_DOMAIN_AFFECT_CONFIG;
            if vm.domain.is_active().map_err(fail)? {
                flags |= sys::VIR_DOMAIN_AFFECT_LIVE;
            }
            vm.domain
                .attach_device_flags(&element, flags)
                .map(drop)
                .map_err(fail)
        })
        .await
    }

    /// Asks the guest to shut down.
    pub(in crate::host) async fn shutdown(&self, vm: &VmId) -> Result<()> {
        self.on(vm, "ask for a shutdown".to_owned(), |_, vm, tried| {
            let asked = vm.domain.shutdown().map(drop);
            asked.map_err(|error| faults::error(tried, &error))
        })
        .await
    }

    /// Pulls the plug.
    pub(in crate::host) async fn destroy(&self, vm: &VmId) -> Result<()> {
        self.on(vm, "pull the plug".to_owned(), |_, vm, tried| {
            let destroyed = vm.domain.destroy();
            destroyed.map_err(|error| faults::error(tried, &error))
        })
        .await
    }
}
