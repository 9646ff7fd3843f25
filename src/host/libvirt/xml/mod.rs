//! libvirt's XML: text in, values or text out. Nothing here asks libvirt or looks at a file.
//!
//! A definition is read as a tree and changed as a text: what no rule names stays as it was, byte
//! for byte.

mod disk;
mod domain;
mod edit;
mod neighbours;
mod note;
mod point;
mod renew;
mod snapshot;
mod swap;
#[cfg(test)]
mod tests;
mod throwaway;

use roxmltree::Document;
use roxmltree::Node;

pub(super) use crate::host::libvirt::xml::disk::Link;
pub(super) use crate::host::libvirt::xml::disk::SeenDisk;
pub(super) use crate::host::libvirt::xml::domain::Seen;
pub(super) use crate::host::libvirt::xml::domain::seen;
pub(super) use crate::host::libvirt::xml::neighbours::NETWORK;
pub(super) use crate::host::libvirt::xml::neighbours::neighbours;
pub(super) use crate::host::libvirt::xml::note::NOTE;
pub(super) use crate::host::libvirt::xml::note::TAGS;
pub(super) use crate::host::libvirt::xml::note::note_element;
pub(super) use crate::host::libvirt::xml::note::tags_element;
pub(super) use crate::host::libvirt::xml::note::without;
pub(super) use crate::host::libvirt::xml::point::point;
pub(super) use crate::host::libvirt::xml::renew::renew;
pub(super) use crate::host::libvirt::xml::snapshot::snapshot;
pub(super) use crate::host::libvirt::xml::swap::element;
pub(super) use crate::host::libvirt::xml::swap::swap;
pub(super) use crate::host::libvirt::xml::throwaway::throwaway;

/// What made a text unfit, a fragment.
pub(super) type Result<T> = std::result::Result<T, String>;

/// The host uuid in libvirt's capabilities.
pub(super) fn host_id(capabilities: &str) -> Result<String> {
    let tree = parse(capabilities)?;
    let host = child(tree.root_element(), "host");
    host.and_then(|host| text(host, "uuid"))
        .map(str::to_owned)
        .ok_or_else(|| "libvirt does not tell the host's uuid".to_owned())
}

/// The names of the security models in libvirt's capabilities.
pub(super) fn confined_by(capabilities: &str) -> Result<Vec<String>> {
    let tree = parse(capabilities)?;
    let host = child(tree.root_element(), "host");
    let models = host.into_iter().flat_map(|host| children(host, "secmodel"));
    let names = models.filter_map(|model| text(model, "model"));
    Ok(names.map(str::to_owned).collect())
}

/// The user and the group that QEMU runs as, in libvirt's capabilities: `+64055:+109`.
pub(super) fn qemu_user(capabilities: &str) -> Result<Option<(u32, u32)>> {
    let tree = parse(capabilities)?;
    let host = child(tree.root_element(), "host");
    let models = host.into_iter().flat_map(|host| children(host, "secmodel"));
    let mut labels = models
        .filter(|model| text(*model, "model") == Some("dac"))
        .flat_map(|model| children(model, "baselabel"));
    let of_qemu = |label: &Node<'_, '_>| matches!(label.attribute("type"), Some("qemu" | "kvm"));
    let Some(label) = labels.find(of_qemu).and_then(|label| label.text()) else {
        return Ok(None);
    };
    let mut numbers = label.trim().split(':');
    let mut number = || numbers.next()?.strip_prefix('+')?.parse().ok();
    match (number(), number()) {
        (Some(user), Some(group)) => Ok(Some((user, group))),
        _ => Err(format!("libvirt's label for QEMU makes no sense: {label}")),
    }
}

fn parse(xml: &str) -> Result<Document<'_>> {
    Document::parse(xml).map_err(|error| format!("libvirt's XML makes no sense: {error}"))
}

/// The child elements of a name.
fn children<'a, 'input>(
    node: Node<'a, 'input>,
    name: &'static str,
) -> impl Iterator<Item = Node<'a, 'input>> {
    node.children()
        .filter(move |child| child.has_tag_name(name))
}

/// The first child element of a name.
fn child<'a, 'input>(node: Node<'a, 'input>, name: &'static str) -> Option<Node<'a, 'input>> {
    children(node, name).next()
}

/// The text of the first child element of a name, where it has some.
fn text<'a>(node: Node<'a, '_>, name: &'static str) -> Option<&'a str> {
    let text = child(node, name)?.text()?.trim();
    (!text.is_empty()).then_some(text)
}

/// The disks of a domain, with their targets.
fn disks<'a, 'input>(
    domain: Node<'a, 'input>,
) -> impl Iterator<Item = (&'a str, Node<'a, 'input>)> {
    let devices = child(domain, "devices");
    devices
        .into_iter()
        .flat_map(|devices| children(devices, "disk"))
        .filter_map(|disk| Some((child(disk, "target")?.attribute("dev")?, disk)))
}

/// A value as an attribute or a text spells it.
fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\'' => out.push_str("&apos;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            '\r' => out.push_str("&#13;"),
            '\t' => out.push_str("&#9;"),
            c => out.push(c),
        }
    }
    out
}
