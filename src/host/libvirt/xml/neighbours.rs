//! What a definition names that libvirt defines elsewhere.

use std::collections::BTreeSet;

use crate::host::libvirt::xml::Result;
use crate::host::libvirt::xml::child;
use crate::host::libvirt::xml::children;
use crate::host::libvirt::xml::parse;

/// A network of libvirt's.
pub(in crate::host::libvirt) const NETWORK: &str = "network";
/// A storage pool of libvirt's.
pub(in crate::host::libvirt) const POOL: &str = "pool";

/// Networks of its interfaces and pools of its disks, by kind and name, each once.
pub(in crate::host::libvirt) fn neighbours(
    definition: &str,
) -> Result<BTreeSet<(&'static str, String)>> {
    let tree = parse(definition)?;
    let mut named = BTreeSet::new();
    for (element, kind) in [("interface", NETWORK), ("disk", POOL)] {
        let devices = child(tree.root_element(), "devices").into_iter();
        for device in devices.flat_map(|devices| children(devices, element)) {
            let name = child(device, "source").and_then(|source| source.attribute(kind));
            named.extend(name.map(|name| (kind, name.to_owned())));
        }
    }
    Ok(named)
}
