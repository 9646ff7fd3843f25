//! Lets disks of a definition name other files.

use roxmltree::Node;

use crate::host::Head;
use crate::host::Image;
use crate::host::libvirt::xml::Result;
use crate::host::libvirt::xml::child;
use crate::host::libvirt::xml::children;
use crate::host::libvirt::xml::disks;
use crate::host::libvirt::xml::edit::Edits;
use crate::host::libvirt::xml::escaped;
use crate::host::libvirt::xml::parse;
use crate::sabotage;
use crate::sabotage::Sabotage;

/// The definition with other files for some disks. What a job left at the others goes as well.
pub(in crate::host::libvirt) fn point(xml: &str, heads: &[Head]) -> Result<String> {
    let tree = parse(xml)?;
    let mut edits = Edits::new(xml);
    for head in heads {
        let (_, disk) = disks(tree.root_element())
            .find(|(target, _)| *target == head.target.as_str())
            .ok_or_else(|| format!("it has no disk {}", head.target))?;
        lay(&mut edits, disk, head).map_err(|why| format!("{} {why}", head.target))?;
    }
    let others = disks(tree.root_element())
        .filter(|(target, _)| heads.iter().all(|head| head.target.as_str() != *target));
    for (_, disk) in others {
        forget_end(&mut edits, disk);
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
    if !sabotage::is(Sabotage::BackingStoreKept) {
        forget_chain(edits, disk);
    }
    Ok(())
}

/// Gives one disk another file, and names the files below it, where they are to be named.
pub(super) fn lay(edits: &mut Edits<'_>, disk: Node<'_, '_>, head: &Head) -> Result<()> {
    aim(edits, disk, &head.image)?;
    if let (Some(source), false) = (child(disk, "source"), head.backing.is_empty()) {
        edits.insert_before(source, &chain(&head.backing));
    }
    Ok(())
}

/// A chain of files whose owners libvirt leaves alone. It would give each to the user that QEMU runs as,
/// and not give it back.
fn chain(files: &[Image]) -> String {
    let last = "<backingStore/>".to_owned();
    files.iter().rev().fold(last, |below, file| {
        let (format, path) = (file.format.as_str(), escaped(file.path.as_str()));
        format!(
            "<backingStore type='file'><format type='{format}'/><source file='{path}'>\
             <seclabel model='dac' relabel='no'/></source>{below}</backingStore>"
        )
    })
}

/// Takes away that a disk says there is nothing below: a pull leaves it, and it would be believed when the disk gets
/// another file.
fn forget_end(edits: &mut Edits<'_>, disk: Node<'_, '_>) {
    let ends = children(disk, "backingStore").filter(|below| child(*below, "source").is_none());
    ends.for_each(|end| edits.remove(end));
}

/// Takes away what a disk says of the files below and of jobs.
pub(super) fn forget_chain(edits: &mut Edits<'_>, disk: Node<'_, '_>) {
    for element in children(disk, "backingStore").chain(children(disk, "mirror")) {
        edits.remove(element);
    }
}
