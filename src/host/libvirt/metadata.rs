//! What knib and its users keep in a definition's metadata: the note and the tags.

use std::collections::BTreeMap;

use virt::connect::Connect;
use virt::error::Error;
use virt::error::ErrorNumber;
use virt::sys;

use crate::host::HostError;
use crate::host::Result;
use crate::host::libvirt::Libvirt;
use crate::host::libvirt::Vm;
use crate::host::libvirt::definitions::alone;
use crate::host::libvirt::definitions::define;
use crate::host::libvirt::definitions::persistent;
use crate::host::libvirt::faults;
use crate::host::libvirt::xml;
use crate::model::fault::Fault;
use crate::model::id::VmId;
use crate::model::machine::Note;

/// The prefix that libvirt gives knib's elements.
const PREFIX: &str = "knib";

impl Libvirt {
    /// Writes the note, or takes it away.
    pub(in crate::host) async fn note(&self, vm: &VmId, note: Option<&Note>) -> Result<()> {
        let what = "write knib's note in the definition";
        self.keep(vm, what, note.map(xml::note_element), xml::NOTE)
            .await
    }

    /// Writes the tags, all of them.
    pub(in crate::host) async fn tag(
        &self,
        vm: &VmId,
        tags: &BTreeMap<String, String>,
    ) -> Result<()> {
        let what = "write tags in the definition";
        self.keep(vm, what, xml::tags_element(tags), xml::TAGS)
            .await
    }

    /// One element, in the definitions that there are; none: it goes.
    async fn keep(
        &self,
        vm: &VmId,
        what: &str,
        element: Option<String>,
        uri: &'static str,
    ) -> Result<()> {
        let what = what.to_owned();
        let Some(element) = element else {
            let forget =
                move |connect: &Connect, vm: &Vm, tried: &str| forget(connect, vm, tried, uri);
            return self.on(vm, what, forget).await;
        };
        self.on(vm, what, move |_, vm, tried| {
            let fail = |error| faults::error(tried, &error);
            let mut flags = 0;
            if vm.domain.is_persistent().map_err(fail)? {
                flags |= sys::VIR_DOMAIN_AFFECT_CONFIG;
            }
            if vm.domain.is_active().map_err(fail)? {
                flags |= sys::VIR_DOMAIN_AFFECT_LIVE;
            }
            set(vm, Some(&element), uri, flags).map_err(fail)
        })
        .await
    }
}

/// The live definition first: what the persistent one says is how it is known that both are done.
fn forget(connect: &Connect, vm: &Vm, tried: &str, uri: &str) -> Result<()> {
    let fail = |error| faults::error(tried, &error);
    if vm.domain.is_active().map_err(fail)? {
        match set(vm, None, uri, sys::VIR_DOMAIN_AFFECT_LIVE) {
            Err(error) if error.code().is(ErrorNumber::NoDomainMetadata) => {}
            written => written.map_err(fail)?,
        }
    }
    if !vm.domain.is_persistent().map_err(fail)? {
        return Ok(());
    }
    let _alone = alone();
    // libvirt would leave an empty element where it was.
    let without = xml::without(&persistent(vm, tried)?, uri);
    match without.map_err(|cause| HostError::new(Fault::Conflict, tried, cause))? {
        Some(xml) => define(connect, &xml, tried),
        None => Ok(()),
    }
}

fn set(vm: &Vm, element: Option<&str>, uri: &str, flags: u32) -> std::result::Result<(), Error> {
    let kind = sys::VIR_DOMAIN_METADATA_ELEMENT.cast_signed();
    vm.domain
        .set_metadata(kind, element, Some(PREFIX), Some(uri), flags)
}
