//! What knib and its users write into a domain's metadata: the note and the tags.

use std::collections::BTreeMap;

use roxmltree::Node;

use crate::host::libvirt::xml::Result;
use crate::host::libvirt::xml::child;
use crate::host::libvirt::xml::edit::Edits;
use crate::host::libvirt::xml::escaped;
use crate::host::libvirt::xml::parse;
use crate::model::id::BackupId;
use crate::model::machine::Note;

/// The name space of the note.
pub(in crate::host::libvirt) const NOTE: &str = "urn:knib:vm:1";
/// The name space of the tags.
pub(in crate::host::libvirt) const TAGS: &str = "urn:knib:tags:1";

/// The note as an element without a name space; libvirt adds that.
pub(in crate::host::libvirt) fn note_element(note: &Note) -> String {
    let current = note.current.as_ref().map(|id| escaped(id.as_str()));
    let current = current
        .map(|id| format!(" current='{id}'"))
        .unwrap_or_default();
    format!("<vm serial='{}'{current}/>", note.serial)
}

/// The tags as an element without a name space; none without tags.
pub(in crate::host::libvirt) fn tags_element(tags: &BTreeMap<String, String>) -> Option<String> {
    let all: String = tags
        .iter()
        .map(|(k, v)| format!("<tag k='{}' v='{}'/>", escaped(k), escaped(v)))
        .collect();
    (!tags.is_empty()).then(|| format!("<tags>{all}</tags>"))
}

/// The note of a domain. One that makes no sense is none: whoever relies on it finds the claim gone.
pub(super) fn note(domain: Node<'_, '_>) -> Option<Note> {
    let element = element(domain, NOTE)?;
    let serial = element.attribute("serial")?.parse().ok()?;
    let current = element.attribute("current").map(BackupId::new);
    Some(Note { serial, current })
}

/// The element of the note.
pub(super) fn note_node<'a, 'input>(domain: Node<'a, 'input>) -> Option<Node<'a, 'input>> {
    element(domain, NOTE)
}

/// The definition without an element of the metadata, and without the one that held it alone; none
/// where there is none.
pub(in crate::host::libvirt) fn without(xml: &str, uri: &str) -> Result<Option<String>> {
    let tree = parse(xml)?;
    let domain = tree.root_element();
    let Some(found) = element(domain, uri) else {
        return Ok(None);
    };
    let mut edits = Edits::new(xml);
    let holder = child(domain, "metadata").filter(|metadata| {
        let mut elements = metadata.children().filter(Node::is_element);
        elements.all(|element| element == found)
    });
    edits.remove(holder.unwrap_or(found));
    Ok(Some(edits.done()))
}

/// The tags of a domain.
pub(super) fn tags(domain: Node<'_, '_>) -> BTreeMap<String, String> {
    let tags = element(domain, TAGS)
        .into_iter()
        .flat_map(|tags| tags.children());
    tags.filter_map(|tag| {
        Some((
            tag.attribute("k")?.to_owned(),
            tag.attribute("v")?.to_owned(),
        ))
    })
    .collect()
}

fn element<'a, 'input>(domain: Node<'a, 'input>, uri: &str) -> Option<Node<'a, 'input>> {
    let metadata = child(domain, "metadata")?;
    metadata
        .children()
        .find(|child| child.tag_name().namespace() == Some(uri))
}
