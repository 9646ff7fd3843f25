//! Makes the definition of a throwaway VM out of a stored one: it boots what its own disks hold, and
//! reaches nothing else of this host or of any network.

use roxmltree::Node;

use crate::host::Renewal;
use crate::host::Throwaway;
use crate::host::libvirt::xml::Result;
use crate::host::libvirt::xml::child;
use crate::host::libvirt::xml::children;
use crate::host::libvirt::xml::disk;
use crate::host::libvirt::xml::disks;
use crate::host::libvirt::xml::edit::Edits;
use crate::host::libvirt::xml::parse;
use crate::host::libvirt::xml::renew::renew;
use crate::model::bytes::Bytes;
use crate::model::machine::Device;
use crate::model::op::Manner;

/// Devices that lead outside, or that only one VM at a time can have, and that a guest boots without.
const USELESS: &[&str] = &[
    "interface",
    "graphics",
    "audio",
    "sound",
    "redirdev",
    "redirfilter",
    "smartcard",
    "vsock",
    "hub",
    "lease",
    "memory",
    "watchdog",
    "panic",
    "crypto",
    "pstore",
];
/// The same, whose lack may keep a guest from booting, with what people call them.
const MISSED: &[(&str, &str)] = &[
    ("hostdev", "host device"),
    ("filesystem", "shared folder"),
    ("tpm", "TPM"),
    ("shmem", "shared memory"),
    ("nvram", "NVRAM device"),
];
/// What a domain says of the host's memory and processors.
const TUNING: &[&str] = &[
    "currentMemory",
    "maxMemory",
    "memoryBacking",
    "memtune",
    "blkiotune",
    "cputune",
    "numatune",
    "vcpus",
    "resource",
    "throttlegroups",
];
/// The guest agent's channel.
const AGENT: &str = "org.qemu.guest_agent.0";

/// A definition that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::host::libvirt) struct Made {
    pub(in crate::host::libvirt) xml: String,
    /// What its guest may miss.
    pub(in crate::host::libvirt) lacks: Vec<String>,
    /// What it has of it.
    pub(in crate::host::libvirt) memory: Bytes,
}

/// The definition of a throwaway VM. `xml` is a live or a persistent one.
pub(in crate::host::libvirt) fn throwaway(xml: &str, wanted: &Throwaway) -> Result<Made> {
    let mut lacks = bootable(xml, wanted)?;
    let renewal = Renewal {
        id: wanted.id.clone(),
        name: wanted.name.clone(),
        heads: wanted.heads.clone(),
        nvram: wanted.nvram.clone(),
        manner: Manner::Anew {
            keep_mac: false,
            network: None,
        },
    };
    let renewed = renew(xml, &renewal)?;
    let tree = parse(&renewed)?;
    let domain = tree.root_element();
    let mut edits = Edits::new(&renewed);
    kernel(&mut edits, domain, wanted);
    let memory = tune(&mut edits, domain, wanted)?;
    life(&mut edits, domain);
    for node in domain.children().filter(Node::is_element) {
        match node.tag_name().name() {
            "commandline" | "override" if node.tag_name().namespace().is_some() => {
                lacks.push("what its definition tells QEMU by itself".to_owned());
                edits.remove(node);
            }
            "launchSecurity" => {
                lacks.push("encrypted memory".to_owned());
                edits.remove(node);
            }
            _ => {}
        }
    }
    let devices = child(domain, "devices").ok_or("it has no devices")?;
    for device in devices.children().filter(Node::is_element) {
        lacks.extend(strip(&mut edits, device, wanted));
    }
    screen(&mut edits, domain, devices, wanted);
    lacks.dedup();
    Ok(Made {
        xml: edits.done(),
        lacks,
        memory,
    })
}

/// What its disks and its firmware lack; an error where that can never boot.
fn bootable(xml: &str, wanted: &Throwaway) -> Result<Vec<String>> {
    let tree = parse(xml)?;
    let domain = tree.root_element();
    let os = child(domain, "os").ok_or("its definition does not say what it boots")?;
    let mut lacks = Vec::new();
    for (target, node) in disks(domain) {
        let seen = disk::disk(target, node);
        if matches!(seen.device, Device::Disk | Device::Lun)
            && !has(wanted, target)
            && !seen.readonly
        {
            lacks.push(format!("disk {target}, which is not in the backup"));
        }
    }
    let is_direct = child(os, "kernel").is_some();
    if is_direct && wanted.kernel.is_none() {
        return Err("it boots a kernel of its host's, which is not in the backup".to_owned());
    }
    let mut ordered = disks(domain).filter(|(_, disk)| child(*disk, "boot").is_some());
    let devices = child(domain, "devices");
    let mut all = devices.into_iter().flat_map(|devices| devices.children());
    let is_ordered = all.any(|device| child(device, "boot").is_some());
    let listed: Vec<_> = children(os, "boot")
        .filter_map(|boot| boot.attribute("dev"))
        .collect();
    let from_disk = if is_ordered {
        ordered.any(|(target, _)| has(wanted, target))
    } else {
        listed.is_empty() || listed.contains(&"hd")
    };
    if !is_direct && (wanted.heads.is_empty() || !from_disk) {
        return Err("no disk of the backup is one that it boots from".to_owned());
    }
    if wanted.nvram.is_none() {
        let secure = |node: Node<'_, '_>| node.attribute("secure") == Some("yes");
        let feature = |node: Node<'_, '_>| {
            let mut features = children(node, "feature");
            features.any(|one| {
                one.attribute("name") == Some("secure-boot")
                    && one.attribute("enabled") == Some("yes")
            })
        };
        if child(os, "loader").is_some_and(secure) || child(os, "firmware").is_some_and(feature) {
            return Err(
                "it starts with secure boot, and its UEFI variables are not in the backup"
                    .to_owned(),
            );
        }
        if child(os, "nvram").is_some() {
            lacks.push("its UEFI variables, which are not in the backup".to_owned());
        }
    }
    Ok(lacks)
}

fn has(wanted: &Throwaway, target: &str) -> bool {
    let mut heads = wanted.heads.iter();
    heads.any(|head| head.target.as_str() == target)
}

/// Copies of its own, for libvirt changes the owner of what it boots.
fn kernel(edits: &mut Edits<'_>, domain: Node<'_, '_>, wanted: &Throwaway) {
    let Some(os) = child(domain, "os") else {
        return;
    };
    for (name, path) in [("kernel", &wanted.kernel), ("initrd", &wanted.initrd)] {
        match (child(os, name), path) {
            (Some(element), Some(path)) => edits.set_text(element, path.as_str()),
            (Some(element), None) => edits.remove(element),
            (None, _) => {}
        }
    }
}

/// Memory and processors within bounds, and nothing that ties them to this host's. Returns the memory.
fn tune(edits: &mut Edits<'_>, domain: Node<'_, '_>, wanted: &Throwaway) -> Result<Bytes> {
    for name in TUNING {
        children(domain, name).for_each(|element| edits.remove(element));
    }
    if let Some(vcpu) = child(domain, "vcpu") {
        let has = vcpu.text().and_then(|text| text.trim().parse::<u32>().ok());
        let most = wanted.vcpus.unwrap_or(u32::MAX);
        edits.set_text(vcpu, &has.unwrap_or(1).min(most).to_string());
        for name in ["placement", "cpuset", "current"] {
            edits.remove_attribute(vcpu, name);
        }
    }
    let cpu = child(domain, "cpu").into_iter();
    for element in cpu.flat_map(|cpu| children(cpu, "topology").chain(children(cpu, "numa"))) {
        edits.remove(element);
    }
    let memory =
        child(domain, "memory").ok_or("its definition does not say how much memory it has")?;
    let has = amount(memory).ok_or("the memory in its definition makes no sense")?;
    let most = wanted.memory.unwrap_or(Bytes(u64::MAX));
    if has > most {
        edits.set_attribute(memory, "unit", "b");
        edits.set_text(memory, &most.0.to_string());
    }
    Ok(has.min(most))
}

/// As libvirt reads it: powers of 1000 and of 1024, KiB where nothing is said.
fn amount(memory: Node<'_, '_>) -> Option<Bytes> {
    let number: u64 = memory.text()?.trim().parse().ok()?;
    let scale: u64 = match memory.attribute("unit").unwrap_or("KiB") {
        "b" | "bytes" => 1,
        "KB" => 1_000,
        "k" | "KiB" => 1 << 10,
        "MB" => 1_000_000,
        "M" | "MiB" => 1 << 20,
        "GB" => 1_000_000_000,
        "G" | "GiB" => 1 << 30,
        "TB" => 1_000_000_000_000,
        "T" | "TiB" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(scale).map(Bytes)
}

/// One that shuts down is gone; one that restarts goes on.
fn life(edits: &mut Edits<'_>, domain: Node<'_, '_>) {
    for (name, action) in [
        ("on_poweroff", "destroy"),
        ("on_reboot", "restart"),
        ("on_crash", "destroy"),
    ] {
        if let Some(element) = child(domain, name) {
            edits.set_text(element, action);
        }
    }
}

/// Takes a device away, or what leads outside of it. What its guest may miss.
fn strip(edits: &mut Edits<'_>, device: Node<'_, '_>, wanted: &Throwaway) -> Option<String> {
    let name = device.tag_name().name();
    let kind = device.attribute("type");
    if let Some((_, what)) = MISSED.iter().find(|(missed, _)| *missed == name) {
        edits.remove(device);
        return Some((*what).to_owned());
    }
    let goes = match name {
        "disk" => {
            let target = child(device, "target").and_then(|target| target.attribute("dev"));
            !target.is_some_and(|target| has(wanted, target))
        }
        "channel" => {
            let target = child(device, "target").and_then(|target| target.attribute("name"));
            !(kind == Some("unix") && target == Some(AGENT))
        }
        "input" => matches!(kind, Some("passthrough" | "evdev")),
        "rng" => !child(device, "backend").is_some_and(|from| {
            from.attribute("model") == Some("builtin")
                || (from.attribute("model") == Some("random")
                    && from.text().is_none_or(|path| path.trim() == "/dev/urandom"))
        }),
        // Those with another end have become plain ones before.
        "serial" | "parallel" | "console" => !matches!(kind, Some("pty" | "null")),
        name => USELESS.contains(&name),
    };
    if goes {
        edits.remove(device);
    }
    None
}

/// One screen that any guest can write to, and that a picture can be taken of.
fn screen(edits: &mut Edits<'_>, domain: Node<'_, '_>, devices: Node<'_, '_>, wanted: &Throwaway) {
    let arch = child(domain, "os").and_then(|os| child(os, "type"));
    let arch = arch
        .and_then(|kind| kind.attribute("arch"))
        .unwrap_or("x86_64");
    let plain = if matches!(arch, "x86_64" | "i686") {
        "vga"
    } else {
        "virtio"
    };
    let mut shown = false;
    for video in children(devices, "video") {
        let model = child(video, "model");
        let kind = model.and_then(|model| model.attribute("type"));
        // Whatever draws with the host's graphics, or for a viewer of its own, is drawn for nobody.
        let is_plain = matches!(kind, Some("vga" | "virtio" | "cirrus" | "bochs" | "ramfb"));
        if shown || !is_plain {
            edits.remove(video);
            continue;
        }
        shown = true;
        let accelerated = model
            .into_iter()
            .flat_map(|model| children(model, "acceleration"));
        accelerated.for_each(|element| edits.remove(element));
        if let Some(model) = model {
            edits.remove_attribute(model, "blob");
        }
        children(video, "driver").for_each(|element| edits.remove(element));
    }
    // Beside a device that stays.
    let head = |(target, _): &(&str, Node<'_, '_>)| has(wanted, target);
    if let (false, Some((_, disk))) = (shown, disks(domain).find(head)) {
        edits.insert_before(disk, &format!("<video><model type='{plain}'/></video>"));
    }
}

#[cfg(test)]
mod tests;
