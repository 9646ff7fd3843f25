//! Writes the order for a snapshot.

use std::fmt::Write;

use crate::host::NewOverlay;
use crate::host::libvirt::xml::escaped;
use crate::model::id::Target;

/// Every overlay by its full path, every other disk left out by name: libvirt would make an overlay
/// of its own choice for a hard disk that is not named.
pub(in crate::host::libvirt) fn snapshot(overlays: &[NewOverlay], others: &[Target]) -> String {
    let mut xml = "<domainsnapshot><disks>".to_owned();
    for NewOverlay { target, path } in overlays {
        let (target, path) = (escaped(target.as_str()), escaped(path.as_str()));
        let _ = write!(
            xml,
            "<disk name='{target}' snapshot='external' type='file'>\
             <driver type='qcow2'/><source file='{path}'/></disk>"
        );
    }
    for target in others {
        let _ = write!(
            xml,
            "<disk name='{}' snapshot='no'/>",
            escaped(target.as_str())
        );
    }
    xml.push_str("</disks></domainsnapshot>");
    xml
}
