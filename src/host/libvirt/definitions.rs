//! Reads, changes, makes and takes away definitions.

use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use virt::connect::Connect;
use virt::error::ErrorNumber;
use virt::sys;

use crate::host::Definition;
use crate::host::Exchange;
use crate::host::Head;
use crate::host::HostError;
use crate::host::Renewal;
use crate::host::Result;
use crate::host::libvirt::Libvirt;
use crate::host::libvirt::Vm;
use crate::host::libvirt::faults;
use crate::host::libvirt::xml;
use crate::model::fault::Fault;
use crate::model::id::VmId;

impl Libvirt {
    /// A definition, byte for byte, passwords included.
    pub(in crate::host) async fn definition(&self, vm: &VmId, which: Definition) -> Result<String> {
        self.on(
            vm,
            "read the definition".to_owned(),
            move |_, vm, tried| match which {
                Definition::Persistent => persistent(vm, tried),
                Definition::Live => {
                    let xml = vm.domain.xml_desc(sys::VIR_DOMAIN_XML_SECURE);
                    xml.map_err(|error| faults::error(tried, &error))
                }
            },
        )
        .await
    }

    /// Lets the persistent definition name other files.
    pub(in crate::host) async fn point(&self, vm: &VmId, heads: &[Head]) -> Result<()> {
        let heads = heads.to_owned();
        self.on(
            vm,
            "change the disks".to_owned(),
            move |connect, vm, tried| {
                let _alone = alone();
                let pointed = xml::point(&persistent(vm, tried)?, &heads);
                let pointed =
                    pointed.map_err(|cause| HostError::new(Fault::Conflict, tried, cause))?;
                define(connect, &pointed, tried)
            },
        )
        .await
    }

    /// The persistent definition as it would be with other files.
    pub(in crate::host) async fn described(&self, vm: &VmId, heads: &[Head]) -> Result<String> {
        let heads = heads.to_owned();
        self.on(vm, "describe the disks".to_owned(), move |_, vm, tried| {
            let described = xml::point(&persistent(vm, tried)?, &heads);
            described.map_err(|cause| HostError::new(Fault::Conflict, tried, cause))
        })
        .await
    }

    /// Gives the persistent definition other disks.
    pub(in crate::host) async fn swap(&self, vm: &VmId, exchange: &Exchange) -> Result<()> {
        let exchange = exchange.clone();
        self.on(
            vm,
            "change the disks".to_owned(),
            move |connect, vm, tried| {
                let _alone = alone();
                let swapped = xml::swap(&persistent(vm, tried)?, &exchange);
                let swapped =
                    swapped.map_err(|cause| HostError::new(Fault::Conflict, tried, cause))?;
                define(connect, &swapped, tried)
            },
        )
        .await
    }

    /// Defines a VM that is not there.
    pub(in crate::host) async fn define(&self, definition: &str, renewal: &Renewal) -> Result<()> {
        let tried = format!("define {}", renewal.name);
        let renewed = xml::renew(definition, renewal)
            .map_err(|cause| HostError::new(Fault::Conflict, &tried, cause))?;
        let id = renewal.id.clone();
        self.call(tried, move |connect, tried| {
            // libvirt would change that VM instead.
            match connect.lookup_domain_by_uuid_string(id.as_str()) {
                Ok(_) => {
                    let cause = format!("there is a VM {id} already");
                    Err(HostError::new(Fault::Conflict, tried, cause))
                }
                Err(error) if error.code().is(ErrorNumber::NoDomain) => {
                    define(connect, &renewed, tried)
                }
                Err(error) => Err(faults::error(tried, &error)),
            }
        })
        .await
    }

    /// Takes the definition of a VM that is off away, and its nvram file.
    pub(in crate::host) async fn undefine(&self, vm: &VmId) -> Result<()> {
        self.on(vm, "take away the definition".to_owned(), |_, vm, tried| {
            let fail = |error| faults::error(tried, &error);
            if vm.domain.is_active().map_err(fail)? {
                return Err(HostError::new(Fault::Conflict, tried, "it is on"));
            }
            vm.domain
                .undefine_flags(sys::VIR_DOMAIN_UNDEFINE_NVRAM)
                .map_err(fail)
        })
        .await
    }
}

/// Held from reading a definition to defining it again: disks are merged side by side, and the second
/// of two who had read the same text would take back what the first changed.
pub(super) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn persistent(vm: &Vm, tried: &str) -> Result<String> {
    let fail = |error| faults::error(tried, &error);
    if !vm.domain.is_persistent().map_err(fail)? {
        let cause = "it is transient, so there is no definition that outlives its run";
        return Err(HostError::new(Fault::Conflict, tried, cause));
    }
    let flags = sys::VIR_DOMAIN_XML_SECURE | sys::VIR_DOMAIN_XML_INACTIVE;
    vm.domain.xml_desc(flags).map_err(fail)
}

pub(super) fn define(connect: &Connect, xml: &str, tried: &str) -> Result<()> {
    let defined = connect.define_domain_xml(xml).map(drop);
    defined.map_err(|error| faults::error(tried, &error))
}
