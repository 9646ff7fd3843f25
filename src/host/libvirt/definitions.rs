//! Reads, changes, makes and takes away definitions.

use std::collections::BTreeMap;

use virt::connect::Connect;
use virt::error::ErrorNumber;
use virt::sys;

use crate::host::Definition;
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
use crate::model::machine::Note;

/// The prefix that libvirt gives knib's elements.
const PREFIX: &str = "knib";

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

    /// Writes the note, or takes it away.
    pub(in crate::host) async fn note(&self, vm: &VmId, note: Option<&Note>) -> Result<()> {
        let element = note.map(xml::note_element);
        let what = "write knib's note in the definition";
        self.metadata(vm, what, element, xml::NOTE).await
    }

    /// Writes the tags, all of them.
    pub(in crate::host) async fn tag(
        &self,
        vm: &VmId,
        tags: &BTreeMap<String, String>,
    ) -> Result<()> {
        let element = xml::tags_element(tags);
        let what = "write tags in the definition";
        self.metadata(vm, what, element, xml::TAGS).await
    }

    /// An element of the metadata, in both definitions; without one, what is there goes.
    async fn metadata(
        &self,
        vm: &VmId,
        what: &str,
        element: Option<String>,
        uri: &'static str,
    ) -> Result<()> {
        self.on(vm, what.to_owned(), move |_, vm, tried| {
            let fail = |error| faults::error(tried, &error);
            let mut flags = 0;
            if vm.domain.is_persistent().map_err(fail)? {
                flags |= sys::VIR_DOMAIN_AFFECT_CONFIG;
            }
            if vm.domain.is_active().map_err(fail)? {
                flags |= sys::VIR_DOMAIN_AFFECT_LIVE;
            }
            let kind = sys::VIR_DOMAIN_METADATA_ELEMENT.cast_signed();
            let text = element.as_deref();
            let written = vm
                .domain
                .set_metadata(kind, text, Some(PREFIX), Some(uri), flags);
            match written {
                Err(error)
                    if element.is_none() && error.code().is(ErrorNumber::NoDomainMetadata) =>
                {
                    Ok(())
                }
                written => written.map_err(fail),
            }
        })
        .await
    }

    /// Lets the persistent definition name other files.
    pub(in crate::host) async fn point(&self, vm: &VmId, heads: &[Head]) -> Result<()> {
        let heads = heads.to_owned();
        self.on(
            vm,
            "change the disks".to_owned(),
            move |connect, vm, tried| {
                let pointed = xml::point(&persistent(vm, tried)?, &heads);
                let pointed =
                    pointed.map_err(|cause| HostError::new(Fault::Conflict, tried, cause))?;
                define(connect, &pointed, tried)
            },
        )
        .await
    }

    /// Defines a new VM.
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

pub(super) fn persistent(vm: &Vm, tried: &str) -> Result<String> {
    let fail = |error| faults::error(tried, &error);
    if !vm.domain.is_persistent().map_err(fail)? {
        let cause = "it is transient, so there is no definition that outlives its run";
        return Err(HostError::new(Fault::Conflict, tried, cause));
    }
    let flags = sys::VIR_DOMAIN_XML_SECURE | sys::VIR_DOMAIN_XML_INACTIVE;
    vm.domain.xml_desc(flags).map_err(fail)
}

fn define(connect: &Connect, xml: &str, tried: &str) -> Result<()> {
    let defined = connect.define_domain_xml(xml).map(drop);
    defined.map_err(|error| faults::error(tried, &error))
}
