//! A disk of a definition.

use camino::Utf8PathBuf;
use roxmltree::Node;

use crate::host::libvirt::xml::child;
use crate::model::id::Target;
use crate::model::machine::Device;
use crate::model::machine::Format;
use crate::model::machine::Source;

/// A disk as one XML shows it, paths as they stand there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::host::libvirt) struct SeenDisk {
    pub(in crate::host::libvirt) target: Target,
    pub(in crate::host::libvirt) device: Device,
    pub(in crate::host::libvirt) source: Option<Source>,
    pub(in crate::host::libvirt) readonly: bool,
    pub(in crate::host::libvirt) shareable: bool,
    /// The files that QEMU has open, top first, as far down as they are files or block devices.
    pub(in crate::host::libvirt) chain: Vec<Link>,
    /// libvirt says that a job may be pivoted.
    pub(in crate::host::libvirt) ready: bool,
}

/// One file of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::host::libvirt) struct Link {
    pub(in crate::host::libvirt) path: Utf8PathBuf,
    /// Raw where nothing is said, as libvirt takes it.
    pub(in crate::host::libvirt) format: Format,
    /// The number libvirt knows it by while the VM runs.
    pub(in crate::host::libvirt) index: Option<u32>,
}

pub(super) fn disk(target: &str, disk: Node<'_, '_>) -> SeenDisk {
    let device = match disk.attribute("device") {
        Some("cdrom") => Device::Cdrom,
        Some("floppy") => Device::Floppy,
        Some("lun") => Device::Lun,
        _ => Device::Disk,
    };
    let has = |name| child(disk, name).is_some();
    let mirror = child(disk, "mirror");
    SeenDisk {
        target: Target::new(target),
        device,
        source: source(disk),
        readonly: has("readonly") || device == Device::Cdrom,
        shareable: has("shareable"),
        chain: chain(disk),
        ready: mirror.is_some_and(|mirror| mirror.attribute("ready") == Some("yes")),
    }
}

fn source(disk: Node<'_, '_>) -> Option<Source> {
    let source = child(disk, "source")?;
    let part = |name| source.attribute(name);
    let other = |text: String| Some(Source::Other(text));
    match disk.attribute("type").unwrap_or("file") {
        "file" => {
            let path = part("file")?;
            // What is in the file is not what the guest sees.
            for (element, what) in [
                ("encryption", "encrypted file"),
                ("slices", "part of file"),
                ("dataStore", "file with its data elsewhere"),
            ] {
                if child(source, element).or(child(disk, element)).is_some() {
                    return other(format!("{what} {path}"));
                }
            }
            let format = child(disk, "driver").and_then(|driver| driver.attribute("type"));
            Some(Source::File {
                path: path.into(),
                format: Format::named(format.unwrap_or("raw")),
            })
        }
        "block" => other(format!("block device {}", part("dev")?)),
        "volume" => other(format!("volume {}/{}", part("pool")?, part("volume")?)),
        "network" => {
            let name = part("name")
                .map(|name| format!(" {name}"))
                .unwrap_or_default();
            other(format!(
                "network {}{name}",
                part("protocol").unwrap_or("disk")
            ))
        }
        "dir" => other(format!("directory {}", part("dir")?)),
        kind => other(kind.to_owned()),
    }
}

/// Follows `<backingStore>`; the innermost is empty.
fn chain(disk: Node<'_, '_>) -> Vec<Link> {
    let mut chain = Vec::new();
    let mut level = Some(disk);
    while let Some(node) = level {
        let Some(source) = child(node, "source") else {
            break;
        };
        let Some(path) = source.attribute("file").or(source.attribute("dev")) else {
            break;
        };
        // The top's number stands at its source, that of a file below at the element around it.
        let index = source.attribute("index").or(node.attribute("index"));
        let said = child(node, "driver").or(child(node, "format"));
        let said = said.and_then(|said| said.attribute("type"));
        chain.push(Link {
            path: path.into(),
            format: Format::named(said.unwrap_or("raw")),
            index: index.and_then(|index| index.parse().ok()),
        });
        level = child(node, "backingStore");
    }
    chain
}
