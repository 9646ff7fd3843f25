//! A definition as a whole.

use std::collections::BTreeMap;

use camino::Utf8Path;
use camino::Utf8PathBuf;
use roxmltree::Node;

use crate::host::libvirt::xml::Result;
use crate::host::libvirt::xml::SeenDisk;
use crate::host::libvirt::xml::child;
use crate::host::libvirt::xml::children;
use crate::host::libvirt::xml::disk;
use crate::host::libvirt::xml::disks;
use crate::host::libvirt::xml::note;
use crate::host::libvirt::xml::parse;
use crate::host::libvirt::xml::text;
use crate::model::machine::Agent;
use crate::model::machine::Firmware;
use crate::model::machine::Note;

/// The channel's name that guest agents listen on.
const AGENT: &str = "org.qemu.guest_agent.0";

/// The directory of libvirt's that holds one for each TPM.
const SWTPM: &str = "/var/lib/libvirt/swtpm";

/// What one XML of a domain says, paths as they stand there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::host::libvirt) struct Seen {
    pub(in crate::host::libvirt) id: String,
    pub(in crate::host::libvirt) name: String,
    /// It is the XML of a domain that is on.
    pub(in crate::host::libvirt) live: bool,
    pub(in crate::host::libvirt) agent: Agent,
    pub(in crate::host::libvirt) note: Option<Note>,
    pub(in crate::host::libvirt) tags: BTreeMap<String, String>,
    pub(in crate::host::libvirt) firmware: Firmware,
    pub(in crate::host::libvirt) disks: Vec<SeenDisk>,
}

/// Reads a definition.
pub(in crate::host::libvirt) fn seen(xml: &str) -> Result<Seen> {
    let tree = parse(xml)?;
    let domain = tree.root_element();
    let must = |name| text(domain, name).ok_or_else(|| format!("libvirt's XML has no {name}"));
    Ok(Seen {
        id: must("uuid")?.to_ascii_lowercase(),
        name: must("name")?.to_owned(),
        live: domain.has_attribute("id"),
        agent: agent(domain),
        note: note::note(domain),
        tags: note::tags(domain),
        firmware: firmware(domain),
        disks: disks(domain)
            .map(|(target, node)| disk::disk(target, node))
            .collect(),
    })
}

fn agent(domain: Node<'_, '_>) -> Agent {
    let channel = child(domain, "devices")
        .into_iter()
        .flat_map(|devices| children(devices, "channel"))
        .filter_map(|channel| child(channel, "target"))
        .find(|target| target.attribute("name") == Some(AGENT));
    match channel.map(|target| target.attribute("state")) {
        None => Agent::None,
        Some(Some("connected")) => Agent::Connected,
        Some(_) => Agent::Silent,
    }
}

fn firmware(domain: Node<'_, '_>) -> Firmware {
    let Some(os) = child(domain, "os") else {
        return Firmware::default();
    };
    let path = |name| text(os, name).map(Utf8PathBuf::from);
    let source = child(os, "nvram").and_then(|nvram| child(nvram, "source"));
    let source = source.and_then(|source| source.attribute("file"));
    Firmware {
        nvram: source.map(Utf8PathBuf::from).or_else(|| path("nvram")),
        kernel: path("kernel"),
        initrd: path("initrd"),
        tpm: tpm(domain),
    }
}

/// Where swtpm keeps the state of an emulated TPM, which libvirt only tells when it is not the usual
/// place of the system's daemon.
fn tpm(domain: Node<'_, '_>) -> Option<Utf8PathBuf> {
    let devices = child(domain, "devices").into_iter();
    let backends = devices
        .flat_map(|devices| children(devices, "tpm"))
        .filter_map(|tpm| child(tpm, "backend"));
    let mut emulated = backends.filter(|backend| backend.attribute("type") == Some("emulator"));
    let source = child(emulated.next()?, "source").and_then(|source| source.attribute("path"));
    let usual = || Some(Utf8Path::new(SWTPM).join(text(domain, "uuid")?));
    source.map(Utf8PathBuf::from).or_else(usual)
}
