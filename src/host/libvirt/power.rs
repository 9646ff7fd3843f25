//! Starts and stops VMs.

use crate::host::Result;
use crate::host::libvirt::Libvirt;
use crate::host::libvirt::faults;
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

    /// Asks the guest to shut down.
    pub(in crate::host) async fn shutdown(&self, vm: &VmId) -> Result<()> {
        self.on(
            vm,
            "ask the guest to shut down".to_owned(),
            |_, vm, tried| {
                let asked = vm.domain.shutdown().map(drop);
                asked.map_err(|error| faults::error(tried, &error))
            },
        )
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
