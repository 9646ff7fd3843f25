//! Makes the definition of a new VM out of a stored one: with its own identity and disks, and
//! without whatever only one VM at a time can have, so that both can run side by side.

use roxmltree::Node;

use crate::host::Renewal;
use crate::host::libvirt::xml::Result;
use crate::host::libvirt::xml::child;
use crate::host::libvirt::xml::children;
use crate::host::libvirt::xml::disk;
use crate::host::libvirt::xml::disks;
use crate::host::libvirt::xml::edit::Edits;
use crate::host::libvirt::xml::escaped;
use crate::host::libvirt::xml::note;
use crate::host::libvirt::xml::parse;
use crate::host::libvirt::xml::point;
use crate::model::machine::Device;
use crate::model::op::Manner;

/// The definition of the new VM, or of one that comes again as it was. `xml` is a live or a persistent one.
pub(in crate::host::libvirt) fn renew(xml: &str, renewal: &Renewal) -> Result<String> {
    let tree = parse(xml)?;
    let domain = tree.root_element();
    let mut edits = Edits::new(xml);
    identity(&mut edits, domain, renewal);
    firmware(&mut edits, domain, renewal);
    for head in &renewal.heads {
        let known = disks(domain).any(|(target, _)| target == head.target.as_str());
        if !known {
            return Err(format!("it has no disk {}", head.target));
        }
    }
    for (target, node) in disks(domain) {
        let head = renewal
            .heads
            .iter()
            .find(|head| head.target.as_str() == target);
        let seen = disk::disk(target, node);
        match head {
            Some(head) => {
                point::lay(&mut edits, node, head).map_err(|why| format!("{target} {why}"))?;
            }
            None if matches!(seen.device, Device::Disk | Device::Lun) && !seen.readonly => {
                edits.remove(node);
            }
            None => point::forget_chain(&mut edits, node),
        }
    }
    if let Manner::Anew { keep_mac, network } = &renewal.manner {
        let devices = child(domain, "devices").into_iter();
        for device in devices.flat_map(|devices| devices.children()) {
            if device.has_tag_name("interface") {
                connect(&mut edits, device, *keep_mac, network.as_deref());
            } else {
                unshare(&mut edits, device);
            }
        }
    }
    Ok(edits.done())
}

fn identity(edits: &mut Edits<'_>, domain: Node<'_, '_>, renewal: &Renewal) {
    edits.remove_attribute(domain, "id");
    for (name, value) in [
        ("name", renewal.name.as_str()),
        ("uuid", renewal.id.as_str()),
    ] {
        if let Some(element) = child(domain, name) {
            edits.set_text(element, value);
        }
    }
    // Without a text libvirt makes one up: neither a clone nor what goes back in time has its
    // original's.
    if let Some(genid) = child(domain, "genid") {
        edits.set_text(genid, "");
    }
    // libvirt refuses a uuid here that is not the domain's.
    let entries = children(domain, "sysinfo")
        .flat_map(|info| children(info, "system"))
        .flat_map(|system| children(system, "entry"));
    for entry in entries.filter(|entry| entry.attribute("name") == Some("uuid")) {
        edits.set_text(entry, renewal.id.as_str());
    }
    if let Some(note) = note::note_node(domain) {
        edits.remove(note);
    }
    // What libvirt chose for the run that the definition was taken from; what a person chose stays.
    for label in children(domain, "seclabel") {
        let chosen =
            child(label, "baselabel").is_some() || label.attribute("relabel") == Some("no");
        match label.attribute("type") {
            Some("dynamic") if chosen => {
                for element in children(label, "label").chain(children(label, "imagelabel")) {
                    edits.remove(element);
                }
            }
            Some("dynamic") => edits.remove(label),
            _ => {}
        }
    }
}

/// Its own UEFI variables, or none: libvirt makes new ones from the template.
fn firmware(edits: &mut Edits<'_>, domain: Node<'_, '_>, renewal: &Renewal) {
    let Some(nvram) = child(domain, "os").and_then(|os| child(os, "nvram")) else {
        return;
    };
    match (&renewal.nvram, child(nvram, "source")) {
        (Some(path), Some(source)) => edits.set_attribute(source, "file", path.as_str()),
        (Some(path), None) => edits.set_text(nvram, path.as_str()),
        (None, _) if nvram.has_attribute("template") => {
            for content in nvram.children() {
                edits.remove(content);
            }
        }
        (None, _) => edits.remove(nvram),
    }
}

/// Gives a network card its own address and the name that libvirt chooses, and another network.
fn connect(edits: &mut Edits<'_>, card: Node<'_, '_>, keep_mac: bool, network: Option<&str>) {
    for element in children(card, "mac")
        .filter(|_| !keep_mac)
        .chain(children(card, "target"))
    {
        edits.remove(element);
    }
    let Some(network) = network else { return };
    edits.set_attribute(card, "type", "network");
    // What belonged to the connection it had.
    for name in ["source", "virtualport", "portgroup", "vlan", "backend"] {
        children(card, name).for_each(|element| edits.remove(element));
    }
    if let Some(first) = card.first_element_child() {
        let name = escaped(network);
        edits.insert_before(first, &format!("<source network='{name}'/>"));
    }
}

/// Takes away what a device has to itself: addresses, ports, sockets, log files.
fn unshare(edits: &mut Edits<'_>, device: Node<'_, '_>) {
    let kind = device.attribute("type");
    match device.tag_name().name() {
        "graphics" if device.has_attribute("port") || device.has_attribute("autoport") => {
            edits.set_attribute(device, "autoport", "yes");
            for port in ["port", "tlsPort", "websocket"] {
                if device.has_attribute(port) {
                    edits.set_attribute(device, port, "-1");
                }
            }
        }
        "channel" if kind == Some("unix") => {
            children(device, "source").for_each(|source| edits.remove(source));
        }
        "serial" | "parallel" | "console" => {
            if matches!(kind, Some("file" | "unix" | "pipe" | "tcp" | "udp" | "dev")) {
                edits.set_attribute(device, "type", "pty");
            }
            for name in ["source", "protocol", "log"] {
                children(device, name).for_each(|element| edits.remove(element));
            }
        }
        _ => {}
    }
}
