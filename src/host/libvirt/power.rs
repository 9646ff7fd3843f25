//! Starts VMs.

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
}
