//! What knib and its users write into a domain's metadata: the note and the tags.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use roxmltree::Node;

use crate::host::libvirt::xml::Result;
use crate::host::libvirt::xml::child;
use crate::host::libvirt::xml::children;
use crate::host::libvirt::xml::edit::Edits;
use crate::host::libvirt::xml::escaped;
use crate::host::libvirt::xml::parse;
use crate::model::id::BackupId;
use crate::model::id::Target;
use crate::model::machine::Format;
use crate::model::machine::Note;
use crate::model::snapshot::Snapshot;
use crate::model::snapshot::Snapshots;
use crate::model::step::Image;

/// The name space of the note.
pub(in crate::host::libvirt) const NOTE: &str = "urn:knib:vm:1";
/// The name space of the tags.
pub(in crate::host::libvirt) const TAGS: &str = "urn:knib:tags:1";

/// The note as an element without a name space; libvirt adds that.
pub(in crate::host::libvirt) fn note_element(note: &Note) -> String {
    let current = attribute("current", note.current.as_ref().map(BackupId::as_str));
    let snapshots = snapshots_element(&note.snapshots);
    let replaced = replaced_element(&note.replaced);
    format!(
        "<vm serial='{}'{current}>{snapshots}{replaced}</vm>",
        note.serial
    )
}

fn replaced_element(replaced: &BTreeMap<BackupId, Vec<Utf8PathBuf>>) -> String {
    let mut text = String::new();
    for (restore, files) in replaced {
        let by = attribute("by", Some(restore.as_str()));
        text += &format!("<replaced{by}>");
        for path in files {
            let path = attribute("path", Some(path.as_str()));
            text += &format!("<file{path}/>");
        }
        text += "</replaced>";
    }
    text
}

fn snapshots_element(snapshots: &Snapshots) -> String {
    if snapshots.is_empty() {
        return String::new();
    }
    let at = attribute("at", snapshots.at.as_deref());
    let mut text = format!("<snapshots{at}>");
    for (name, one) in &snapshots.all {
        let name = attribute("name", Some(name));
        let parent = attribute("parent", one.parent.as_deref());
        let removed = attribute("removed", one.removed.then_some("yes"));
        text += &format!(
            "<snapshot{name}{parent}{removed} created='{}'>",
            one.created
        );
        for (target, Image { path, format }) in &one.disks {
            let target = attribute("target", Some(target.as_str()));
            let format = attribute("format", Some(format.as_str()));
            let file = attribute("file", Some(path.as_str()));
            text += &format!("<disk{target}{format}{file}/>");
        }
        text += "</snapshot>";
    }
    for (target, path) in &snapshots.bases {
        let target = attribute("target", Some(target.as_str()));
        let file = attribute("file", Some(path.as_str()));
        text += &format!("<base{target}{file}/>");
    }
    text + "</snapshots>"
}

/// Nothing for what is not there.
fn attribute(name: &str, value: Option<&str>) -> String {
    value
        .map(|value| format!(" {name}='{}'", escaped(value)))
        .unwrap_or_default()
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
    Some(Note {
        serial: element.attribute("serial")?.parse().ok()?,
        current: element.attribute("current").map(BackupId::new),
        snapshots: match child(element, "snapshots") {
            Some(snapshots) => read_snapshots(snapshots)?,
            None => Snapshots::default(),
        },
        replaced: children(element, "replaced")
            .map(|one| {
                let files = children(one, "file").map(|file| Some(file.attribute("path")?.into()));
                Some((
                    BackupId::new(one.attribute("by")?),
                    files.collect::<Option<_>>()?,
                ))
            })
            .collect::<Option<_>>()?,
    })
}

fn read_snapshots(element: Node<'_, '_>) -> Option<Snapshots> {
    let mut read = Snapshots {
        at: element.attribute("at").map(str::to_owned),
        ..Snapshots::default()
    };
    for one in children(element, "snapshot") {
        let mut disks = BTreeMap::new();
        for disk in children(one, "disk") {
            let format = Format::named(disk.attribute("format")?);
            let image = Image::new(disk.attribute("file")?, format);
            disks.insert(Target::new(disk.attribute("target")?), image);
        }
        let snapshot = Snapshot {
            created: one.attribute("created")?.parse().ok()?,
            parent: one.attribute("parent").map(str::to_owned),
            removed: one.attribute("removed").is_some(),
            disks,
        };
        let name = one.attribute("name")?.to_owned();
        read.all.insert(name, snapshot);
    }
    for base in children(element, "base") {
        let target = Target::new(base.attribute("target")?);
        read.bases.insert(target, base.attribute("file")?.into());
    }
    Some(read)
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
