//! Networks and pools that a VM needs to be started elsewhere.

use virt::connect::Connect;
use virt::error::Error;
use virt::error::ErrorNumber;
use virt::sys;

use crate::host::HostError;
use crate::host::Neighbour;
use crate::host::Result;
use crate::host::libvirt::Libvirt;
use crate::host::libvirt::definitions::persistent;
use crate::host::libvirt::faults;
use crate::host::libvirt::xml;
use crate::model::fault::Fault;
use crate::model::id::VmId;

impl Libvirt {
    /// Those that a definition names, as far as this libvirt has them.
    pub(in crate::host) async fn neighbours(&self, vm: &VmId) -> Result<Vec<Neighbour>> {
        let what = "read the networks and pools".to_owned();
        self.on(vm, what, |connect, vm, tried| {
            let named = xml::neighbours(&persistent(vm, tried)?)
                .map_err(|cause| HostError::new(Fault::Conflict, tried, cause))?;
            let mut found = Vec::new();
            for (kind, name) in named {
                let definition = match kind {
                    xml::NETWORK => network(connect, &name),
                    _ => pool(connect, &name),
                };
                match definition {
                    Ok(definition) => found.push(Neighbour {
                        kind,
                        name,
                        definition,
                    }),
                    Err(error) if is_absent(&error) => {}
                    Err(error) => return Err(faults::error(tried, &error)),
                }
            }
            Ok(found)
        })
        .await
    }
}

impl Libvirt {
    /// Those that a stored definition names and that are not here.
    pub(in crate::host) async fn missing(&self, definition: &str) -> Result<Vec<String>> {
        let tried = "look for networks and pools".to_owned();
        let named = xml::neighbours(definition)
            .map_err(|cause| HostError::new(Fault::Conflict, &tried, cause))?;
        self.call(tried, move |connect, tried| {
            let mut missing = Vec::new();
            for (kind, name) in named {
                let found = match kind {
                    xml::NETWORK => network(connect, &name),
                    _ => pool(connect, &name),
                };
                match found {
                    Ok(_) => {}
                    Err(error) if is_absent(&error) => missing.push(format!("{kind} {name}")),
                    Err(error) => return Err(faults::error(tried, &error)),
                }
            }
            Ok(missing)
        })
        .await
    }
}

fn network(connect: &Connect, name: &str) -> std::result::Result<String, Error> {
    connect
        .lookup_network_by_name(name)?
        .xml_desc(sys::VIR_NETWORK_XML_INACTIVE)
}

fn pool(connect: &Connect, name: &str) -> std::result::Result<String, Error> {
    connect
        .lookup_storage_pool_by_name(name)?
        .xml_desc(sys::VIR_STORAGE_XML_INACTIVE)
}

/// It is not here, or the part of libvirt that would know it is not installed.
fn is_absent(error: &Error) -> bool {
    let code = error.code();
    code.is(ErrorNumber::NoNetwork)
        || code.is(ErrorNumber::NoStoragePool)
        || code.is(ErrorNumber::NoSupport)
}
