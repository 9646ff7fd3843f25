//! Lets disks of a definition name other files.

use roxmltree::Node;

use crate::host::Head;
use crate::host::Image;
use crate::host::libvirt::xml::Result;
use crate::host::libvirt::xml::child;
use crate::host::libvirt::xml::children;
use crate::host::libvirt::xml::disks;
use crate::host::libvirt::xml::edit::Edits;
use crate::host::libvirt::xml::parse;

/// The definition with other files for some disks.
pub(in crate::host::libvirt) fn point(xml: &str, heads: &[Head]) -> Result<String> {
    let tree = parse(xml)?;
    let mut edits = Edits::new(xml);
    for head in heads {
        let (_, disk) = disks(tree.root_element())
            .find(|(target, _)| *target == head.target.as_str())
            .ok_or_else(|| format!("it has no disk {}", head.target))?;
        aim(&mut edits, disk, &head.image).map_err(|why| format!("{} {why}", head.target))?;
    }
    Ok(edits.done())
}

/// Gives one disk another file and its format. What the definition says of files below goes: libvirt
/// would believe it instead of the headers, and even an empty element hides the guest's data.
pub(super) fn aim(edits: &mut Edits<'_>, disk: Node<'_, '_>, image: &Image) -> Result<()> {
    let source = child(disk, "source").filter(|source| source.has_attribute("file"));
    let source = source.ok_or("is not a file")?;
    edits.set_attribute(source, "file", image.path.as_str());
    let format = image.format.as_str();
    match child(disk, "driver") {
        Some(driver) => edits.set_attribute(driver, "type", format),
        None => edits.insert_before(source, &format!("<driver name='qemu' type='{format}'/>")),
    }
    forget_chain(edits, disk);
    Ok(())
}

/// Takes away what a disk says of the files below and of jobs.
pub(super) fn forget_chain(edits: &mut Edits<'_>, disk: Node<'_, '_>) {
    for element in children(disk, "backingStore").chain(children(disk, "mirror")) {
        edits.remove(element);
    }
}
