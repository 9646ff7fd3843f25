//! Against a definition with everything that must not go on, or must not be shared.

use super::*;
use crate::host::Head;
use crate::model::id::Target;
use crate::model::id::VmId;
use crate::model::machine::Format;
use crate::model::step::Image;

const FULL: &str = r"<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>db-01</name>
  <uuid>094f6201-2f5b-49d1-9eca-fd7117326178</uuid>
  <maxMemory slots='16' unit='GiB'>64</maxMemory>
  <memory unit='GiB'>16</memory>
  <currentMemory unit='GiB'>16</currentMemory>
  <memoryBacking><hugepages/></memoryBacking>
  <vcpu placement='static' cpuset='0-7' current='4'>8</vcpu>
  <cputune><vcpupin vcpu='0' cpuset='3'/></cputune>
  <numatune><memory mode='strict' nodeset='1'/></numatune>
  <os>
    <type arch='x86_64' machine='pc-q35-7.2'>hvm</type>
    <boot dev='hd'/>
  </os>
  <cpu mode='host-passthrough'><topology sockets='1' cores='8' threads='1'/><numa><cell id='0' cpus='0-7' memory='16' unit='GiB'/></numa></cpu>
  <on_poweroff>restart</on_poweroff>
  <on_reboot>destroy</on_reboot>
  <on_crash>coredump-destroy</on_crash>
  <devices>
    <interface type='network'><source network='lan'/><boot order='2'/></interface>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/images/db.qcow2'/><target dev='vda'/><boot order='1'/></disk>
    <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/images/scratch.raw'/><target dev='vdb'/></disk>
    <disk type='file' device='cdrom'><source file='/images/cd.iso'/><target dev='sda'/><readonly/></disk>
    <disk type='block' device='lun'><source dev='/dev/sdb'/><target dev='sdc'/></disk>
    <interface type='bridge'><source bridge='br0'/></interface>
    <hostdev mode='subsystem' type='pci'><source><address bus='3'/></source></hostdev>
    <filesystem type='mount'><source dir='/srv'/><target dir='srv'/></filesystem>
    <tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>
    <channel type='unix'><source mode='bind' path='/run/custom.sock'/><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <channel type='unix'><source mode='bind' path='/run/other.sock'/><target type='virtio' name='org.example'/></channel>
    <channel type='spicevmc'><target type='virtio' name='com.redhat.spice.0'/></channel>
    <serial type='unix'><source mode='bind' path='/run/serial.sock'/></serial>
    <console type='spiceport'><source channel='org.example'/></console>
    <graphics type='spice' port='5901'><listen type='socket' socket='/run/spice.sock'/></graphics>
    <sound model='ich9'/>
    <audio id='1' type='spice'/>
    <redirdev bus='usb' type='spicevmc'/>
    <video><model type='qxl'/></video>
    <rng model='virtio'><backend model='egd' type='unix'><source mode='connect' path='/run/egd.sock'/></backend></rng>
    <input type='tablet' bus='usb'/>
    <input type='evdev'><source dev='/dev/input/event1'/></input>
    <watchdog model='itco' action='reset'/>
    <panic model='isa'/>
    <vsock model='virtio'><cid auto='no' address='3'/></vsock>
    <shmem name='shared'/>
    <memballoon model='virtio'/>
  </devices>
  <launchSecurity type='sev'/>
  <qemu:commandline><qemu:arg value='-netdev'/></qemu:commandline>
</domain>
";

fn wanted() -> Throwaway {
    let image = Image::new("/images/own.qcow2", Format::Qcow2);
    let backing = vec![Image::new("/nas/b/vda.qcow2", Format::Qcow2)];
    Throwaway {
        id: VmId::new("11111111-2222-8333-8444-555555555555"),
        name: "knib-validate-db-01".to_owned(),
        heads: vec![Head {
            backing,
            ..Head::new(Target::new("vda"), image)
        }],
        nvram: None,
        kernel: None,
        initrd: None,
        memory: Some(Bytes(4 << 30)),
        vcpus: Some(2),
    }
}

#[test]
fn nothing_of_it_reaches_anything() {
    let made = throwaway(FULL, &wanted()).expect("made");
    let tree = parse(&made.xml).expect("XML");
    let names = |node: Node<'_, '_>| -> Vec<String> {
        let elements = node.children().filter(Node::is_element);
        elements
            .map(|one| one.tag_name().name().to_owned())
            .collect()
    };
    let domain = tree.root_element();
    assert_eq!(
        names(domain).join(" "),
        "name uuid memory vcpu os cpu on_poweroff on_reboot on_crash devices"
    );
    let devices = child(domain, "devices").expect("devices");
    assert_eq!(
        names(devices).join(" "),
        "emulator video disk channel serial input memballoon"
    );
    for part in [
        "<name>knib-validate-db-01</name>",
        "<uuid>11111111-2222-8333-8444-555555555555</uuid>",
        "<memory unit='b'>4294967296</memory>",
        "<vcpu>2</vcpu>",
        "<cpu mode='host-passthrough'></cpu>",
        "<on_poweroff>destroy</on_poweroff>",
        "<on_reboot>restart</on_reboot>",
        "<on_crash>destroy</on_crash>",
        "<source file='/images/own.qcow2'/>",
        "<source file='/nas/b/vda.qcow2'><seclabel model='dac' relabel='no'/>",
        "<video><model type='vga'/></video>",
        "<serial type='pty'>",
        "<input type='tablet' bus='usb'/>",
    ] {
        assert!(made.xml.contains(part), "{part} is not in {}", made.xml);
    }
    assert_eq!(made.memory, Bytes(4 << 30));
    assert_eq!(
        made.lacks,
        [
            "disk vdb, which is not in the backup",
            "disk sdc, which is not in the backup",
            "encrypted memory",
            "what its definition tells QEMU by itself",
            "host device",
            "shared folder",
            "TPM",
            "shared memory",
        ]
    );
    for word in [
        "sock", "br0", "lan", "/dev/", "scratch", "cd.iso", "huge", "094f6201",
    ] {
        assert!(!made.xml.contains(word), "{word} is in it");
    }
}

#[test]
fn a_small_one_keeps_what_it_has() {
    let small = FULL.replace("<memory unit='GiB'>16<", "<memory unit='MiB'>512<");
    let small = small.replace(" current='4'>8<", ">1<");
    let made = throwaway(&small, &wanted()).expect("made");
    assert!(made.xml.contains("<memory unit='MiB'>512</memory>"));
    assert!(made.xml.contains("<vcpu>1</vcpu>"));
    assert_eq!(made.memory, Bytes(512 << 20));
    let free = Throwaway {
        memory: None,
        vcpus: None,
        ..wanted()
    };
    let made = throwaway(FULL, &free).expect("made");
    assert!(made.xml.contains("<memory unit='GiB'>16</memory>"));
    assert!(made.xml.contains("<vcpu>8</vcpu>"));
}

#[test]
fn what_can_never_boot_is_told() {
    let refused = |xml: &str, words: &str| {
        let error = throwaway(xml, &wanted()).expect_err(words);
        assert!(error.contains(words), "{error}");
    };
    let boot = "<boot dev='hd'/>";
    let secure = "<loader secure='yes' type='pflash'>/CODE.fd</loader><nvram>/VARS.fd</nvram>";
    refused(&FULL.replace(boot, secure), "secure boot");
    let feature = "<firmware><feature enabled='yes' name='secure-boot'/></firmware>";
    refused(&FULL.replace(boot, feature), "secure boot");
    refused(
        &FULL.replace("<boot order='1'/>", ""),
        "no disk of the backup",
    );
    let unordered = FULL
        .replace("<boot order='1'/>", "")
        .replace("<boot order='2'/>", "");
    refused(
        &unordered.replace(boot, "<boot dev='network'/>"),
        "no disk of the backup",
    );
    refused(
        &FULL.replace(boot, "<kernel>/boot/vmlinuz</kernel>"),
        "a kernel of its host's",
    );
    // UEFI without its variables may boot, or not for that reason.
    let uefi = FULL.replace(
        boot,
        "<loader type='pflash'>/CODE.fd</loader><nvram>/VARS.fd</nvram>",
    );
    let made = throwaway(&uefi, &wanted()).expect("made");
    assert!(!made.xml.contains("/VARS.fd"));
    assert!(made.lacks[2].contains("UEFI variables"), "{:?}", made.lacks);
}

#[test]
fn what_it_boots_is_its_own_copy() {
    let direct = FULL.replace(
        "<boot dev='hd'/>",
        "<kernel>/boot/vmlinuz</kernel><initrd>/boot/initrd</initrd><cmdline>quiet</cmdline>",
    );
    let own = Throwaway {
        kernel: Some("/images/own.kernel".into()),
        ..wanted()
    };
    let made = throwaway(&direct, &own).expect("made");
    assert!(made.xml.contains("<kernel>/images/own.kernel</kernel>"));
    assert!(!made.xml.contains("/boot/") && made.xml.contains("<cmdline>quiet</cmdline>"));
}
