//! Gives a definition other disks.

use crate::host::Exchange;
use crate::host::Head;
use crate::host::libvirt::xml::Result;
use crate::host::libvirt::xml::child;
use crate::host::libvirt::xml::children;
use crate::host::libvirt::xml::disks;
use crate::host::libvirt::xml::edit::Edits;
use crate::host::libvirt::xml::parse;
use crate::host::libvirt::xml::point;

/// A definition with other files for some disks, more disks, and without others.
pub(in crate::host::libvirt) fn swap(xml: &str, exchange: &Exchange) -> Result<String> {
    let pointed = point::point(xml, &exchange.heads)?;
    let tree = parse(&pointed)?;
    let domain = tree.root_element();
    let devices = child(domain, "devices").ok_or("it has no devices")?;
    let first = devices.first_element_child().ok_or("it has no devices")?;
    let mut edits = Edits::new(&pointed);
    for head in &exchange.added {
        let target = head.target.as_str();
        if disks(domain).any(|(known, _)| known == target) {
            return Err(format!("it has a disk {target} already"));
        }
        let element = element(&exchange.definition, target, head)?;
        edits.insert_before(first, &format!("{element}\n    "));
    }
    for (target, disk) in disks(domain) {
        if exchange.removed.iter().any(|gone| gone.as_str() == target) {
            edits.remove(disk);
        }
    }
    Ok(edits.done())
}

/// The disk `from` of a stored definition as an element of its own: with another file and target, and
/// without a place on a bus or in a boot order that something else may have.
pub(in crate::host::libvirt) fn element(stored: &str, from: &str, head: &Head) -> Result<String> {
    let tree = parse(stored)?;
    let (_, disk) = disks(tree.root_element())
        .find(|(target, _)| *target == from)
        .ok_or_else(|| format!("the stored definition has no disk {from}"))?;
    let text = &stored[disk.range()];
    let tree = parse(text)?;
    let disk = tree.root_element();
    let mut edits = Edits::new(text);
    point::lay(&mut edits, disk, head).map_err(|why| format!("{from} {why}"))?;
    if let Some(target) = child(disk, "target") {
        edits.set_attribute(target, "dev", head.target.as_str());
    }
    for name in ["address", "alias", "boot"] {
        children(disk, name).for_each(|element| edits.remove(element));
    }
    Ok(edits.done())
}
