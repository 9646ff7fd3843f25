//! Against definitions that libvirt 9.0 gave of real VMs.

use similar::ChangeTag;
use similar::TextDiff;

use super::*;
use crate::host::Head;
use crate::host::Image;
use crate::host::NewOverlay;
use crate::host::Renewal;
use crate::model::id::BackupId;
use crate::model::id::Target;
use crate::model::id::VmId;
use crate::model::machine::Agent;
use crate::model::machine::Device;
use crate::model::machine::Format;
use crate::model::machine::Note;
use crate::model::machine::Source;
use crate::model::op::Manner;
use crate::model::snapshot::Snapshots;

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/fixtures/xml/",
            $name,
            ".xml"
        ))
    };
}

const OFF: &str = fixture!("off");
const RUNNING: &str = fixture!("running");
const CHAIN: &str = fixture!("chain");
const CHAIN_INACTIVE: &str = fixture!("chain-inactive");
const MIRROR: &str = fixture!("mirror");
const STORAGE: &str = fixture!("storage");

fn head(target: &str, path: &str, format: Format) -> Head {
    let image = Image {
        path: path.into(),
        format,
    };
    Head::new(Target::new(target), image)
}

/// The lines that differ, without their indentation.
fn changes(before: &str, after: &str) -> String {
    let diff = TextDiff::from_lines(before, after);
    let lines = diff.iter_all_changes().filter_map(|change| {
        let sign = match change.tag() {
            ChangeTag::Equal => return None,
            ChangeTag::Delete => '-',
            ChangeTag::Insert => '+',
        };
        Some(format!("{sign} {}\n", change.value().trim()))
    });
    lines.collect()
}

#[test]
fn a_vm_that_is_off_and_the_same_running() {
    let (off, on) = (seen(OFF).expect("read"), seen(RUNNING).expect("read"));
    assert!(!off.live && on.live);
    assert_eq!(off.name, "db-01");
    assert_eq!(off.id, on.id);
    assert_eq!(off.agent, Agent::Silent);
    let note = Note {
        serial: 7,
        current: Some(BackupId::new("20261123-020000-3fa9c1d2")),
        snapshots: Snapshots::default(),
        ..Note::default()
    };
    assert_eq!(on.note, Some(note));
    assert_eq!(on.tags["owner"], "R&D");
    let nvram = on.firmware.nvram.expect("it has one");
    assert_eq!(nvram, "/var/lib/libvirt/images/nvram/db-01_VARS.fd");
    let summary: Vec<_> = on
        .disks
        .iter()
        .map(|disk| {
            (
                disk.target.as_str(),
                disk.device,
                disk.readonly,
                disk.shareable,
            )
        })
        .collect();
    assert_eq!(
        summary,
        [
            ("vda", Device::Disk, false, false),
            ("vdb", Device::Disk, false, false),
            ("vdc", Device::Disk, true, false),
            ("vdd", Device::Disk, false, true),
            ("sda", Device::Cdrom, true, false),
            ("sdb", Device::Cdrom, true, false),
        ]
    );
    assert_eq!(on.disks[5].source, None);
    for (off, on) in off.disks.iter().zip(&on.disks) {
        assert_eq!(off.source, on.source);
        assert_eq!(on.chain.len(), usize::from(on.source.is_some()));
    }
}

#[test]
fn a_chain_is_read_to_its_end() {
    let disks = seen(CHAIN).expect("read").disks;
    let links: Vec<_> = disks[1]
        .chain
        .iter()
        .map(|link| (link.path.file_name().expect("a file"), link.index))
        .collect();
    assert_eq!(
        links,
        [
            ("log.o2", Some(10)),
            ("log.o1", Some(8)),
            ("log.raw", Some(5))
        ]
    );
    let Some(Source::File { format, .. }) = &disks[1].source else {
        panic!("a file")
    };
    assert_eq!(*format, Format::Qcow2);
    assert!(!disks[0].ready);
}

#[test]
fn a_commit_that_waits_is_seen() {
    let disks = seen(MIRROR).expect("read").disks;
    assert_eq!((disks[0].ready, disks[1].ready), (true, false));
    assert_eq!(disks[0].chain.len(), 3, "the job's base is no further file");
    let pivoting = MIRROR.replace("ready='yes'", "ready='pivot'");
    assert!(!seen(&pivoting).expect("read").disks[0].ready);
}

#[test]
fn what_cannot_be_captured_is_named() {
    let seen = seen(STORAGE).expect("read");
    let sources: Vec<_> = seen
        .disks
        .iter()
        .map(|disk| match &disk.source {
            Some(Source::Other(what)) => format!("{} {what}", disk.target),
            Some(Source::File { path, format }) => format!("{} {format} {path}", disk.target),
            None => format!("{} -", disk.target),
        })
        .collect();
    insta::assert_snapshot!(sources.join("\n"), @r#"
    vda block device /dev/vg0/data
    vdb network rbd pool/image
    vdc volume default/mixed.qcow2
    vdd encrypted file /var/lib/libvirt/images/luks.qcow2
    vde part of file /var/lib/libvirt/images/two.img
    vdf vmdk /var/lib/libvirt/images/it's "here" & <there>.vmdk
    sda block device /dev/sdb
    fda raw /var/lib/libvirt/images/floppy.img
    "#);
    assert_eq!(seen.agent, Agent::None);
    assert_eq!(
        seen.firmware.kernel.expect("direct boot"),
        "/boot/guest/vmlinuz"
    );
}

#[test]
fn pointing_changes_source_format_and_chain_alone() {
    let heads = [
        head("vda", "/d/<a>.qcow2", Format::Qcow2),
        head("vdb", "/d/log.raw", Format::Raw),
    ];
    let pointed = point(CHAIN_INACTIVE, &heads).expect("pointed");
    insta::assert_snapshot!(changes(CHAIN_INACTIVE, &pointed), @r#"
    - <source file='/var/lib/libvirt/images/db-01.o2'/>
    - <backingStore type='file'>
    - <format type='qcow2'/>
    - <source file='/var/lib/libvirt/images/db-01.o1'/>
    - <backingStore type='file'>
    - <format type='qcow2'/>
    - <source file='/var/lib/libvirt/images/db-01.qcow2'/>
    - </backingStore>
    - </backingStore>
    + <source file='/d/&lt;a&gt;.qcow2'/>
    - <driver name='qemu' type='qcow2' cache='none'/>
    - <source file='/var/lib/libvirt/images/log.o2'/>
    - <backingStore type='file'>
    - <format type='qcow2'/>
    - <source file='/var/lib/libvirt/images/log.o1'/>
    - <backingStore type='file'>
    - <format type='raw'/>
    - <source file='/var/lib/libvirt/images/log.raw'/>
    - </backingStore>
    - </backingStore>
    + <driver name='qemu' type='raw' cache='none'/>
    + <source file='/d/log.raw'/>
    "#);
    let disks = seen(&pointed).expect("read").disks;
    assert_eq!(
        disks[0].source.as_ref().and_then(Source::file),
        Some("/d/<a>.qcow2".into())
    );
    assert_eq!(disks[1].chain.len(), 1);
}

#[test]
fn pointing_refuses_what_is_not_there() {
    let absent = point(OFF, &[head("vdz", "/d/z", Format::Raw)]);
    assert_eq!(absent, Err("it has no disk vdz".to_owned()));
    let block = point(STORAGE, &[head("vda", "/d/a", Format::Raw)]);
    assert_eq!(block, Err("vda is not a file".to_owned()));
}

#[test]
fn pointing_forgets_what_a_pull_left_and_no_chain() {
    let pulled = |xml: &str| {
        xml.replace(
            "<target dev='vda'",
            "<backingStore/>\n      <target dev='vda'",
        )
    };
    let log = head("vdb", "/var/lib/libvirt/images/log.raw", Format::Raw);
    let pointed = point(&pulled(OFF), std::slice::from_ref(&log)).expect("pointed");
    let lines = |xml: &str| xml.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(lines(&pointed), lines(OFF));
    let pointed = point(CHAIN_INACTIVE, &[log]).expect("pointed");
    assert_eq!(seen(&pointed).expect("read").disks[0].chain.len(), 3);
}

#[test]
fn pointing_to_the_same_changes_nothing() {
    let same = head("vdb", "/var/lib/libvirt/images/log.raw", Format::Raw);
    assert_eq!(point(OFF, &[same]).as_deref(), Ok(OFF));
}

#[test]
fn a_driver_is_added_where_there_is_none() {
    let bare = OFF.replace("<driver name='qemu' type='qcow2'/>\n      ", "");
    let head = head("vda", "/d/a", Format::Qcow2);
    let pointed = point(&bare, &[head]).expect("pointed");
    insta::assert_snapshot!(changes(&bare, &pointed), @r#"
    - <source file='/var/lib/libvirt/images/db-01.qcow2'/>
    + <driver name='qemu' type='qcow2'/><source file='/d/a'/>
    "#);
}

fn renewal(nvram: Option<&str>) -> Renewal {
    Renewal {
        id: VmId::new("11111111-2222-4333-8444-555555555555"),
        name: "db & co".to_owned(),
        heads: vec![head("vda", "/new/vda.qcow2", Format::Qcow2)],
        nvram: nvram.map(Into::into),
        manner: Manner::default(),
    }
}

#[test]
fn renewing_a_running_vms_definition() {
    let renewed = renew(MIRROR, &renewal(Some("/new/VARS.fd"))).expect("renewed");
    insta::assert_snapshot!(changes(MIRROR, &renewed), @r#"
    - <domain type='qemu' id='17'>
    - <name>db-01</name>
    - <uuid>094f6201-2f5b-49d1-9eca-fd7117326178</uuid>
    - <genid>4f1c7b7e-9f55-4b5b-9a9e-0d0d5a3c5e11</genid>
    + <domain type='qemu'>
    + <name>db &amp; co</name>
    + <uuid>11111111-2222-4333-8444-555555555555</uuid>
    + <genid></genid>
    - <knib:vm xmlns:knib="urn:knib:vm:1" serial="7" current="20261123-020000-3fa9c1d2"/>
    - <nvram template='/var/lib/libvirt/images/VARS.fd'>/var/lib/libvirt/images/nvram/db-01_VARS.fd</nvram>
    + <nvram template='/var/lib/libvirt/images/VARS.fd'>/new/VARS.fd</nvram>
    - <source file='/var/lib/libvirt/images/db-01.o2' index='9'/>
    - <backingStore type='file' index='7'>
    - <format type='qcow2'/>
    - <source file='/var/lib/libvirt/images/db-01.o1'/>
    - <backingStore type='file' index='6'>
    - <format type='qcow2'/>
    - <source file='/var/lib/libvirt/images/db-01.qcow2'/>
    - <backingStore/>
    - </backingStore>
    - </backingStore>
    - <mirror type='file' job='active-commit' ready='yes'>
    - <format type='qcow2'/>
    - <source file='/var/lib/libvirt/images/db-01.o1' index='7'/>
    - </mirror>
    + <source file='/new/vda.qcow2' index='9'/>
    - <driver name='qemu' type='qcow2' cache='none'/>
    - <source file='/var/lib/libvirt/images/log.o2' index='10'/>
    - <backingStore type='file' index='8'>
    - <format type='qcow2'/>
    - <source file='/var/lib/libvirt/images/log.o1'/>
    - <backingStore type='file' index='5'>
    - <format type='raw'/>
    - <source file='/var/lib/libvirt/images/log.raw'/>
    - <backingStore/>
    - </backingStore>
    - </backingStore>
    - <target dev='vdb' bus='virtio'/>
    - <alias name='virtio-disk1'/>
    - <address type='pci' domain='0x0000' bus='0x05' slot='0x00' function='0x0'/>
    - </disk>
    - <disk type='file' device='disk'>
    - <backingStore/>
    - <disk type='file' device='disk'>
    - <driver name='qemu' type='raw' cache='none'/>
    - <source file='/var/lib/libvirt/images/shared.raw' index='3'/>
    - <backingStore/>
    - <target dev='vdd' bus='virtio'/>
    - <shareable/>
    - <alias name='virtio-disk3'/>
    - <address type='pci' domain='0x0000' bus='0x07' slot='0x00' function='0x0'/>
    - </disk>
    - <backingStore/>
    - <mac address='52:54:00:aa:bb:01'/>
    - <serial type='file'>
    - <source path='/var/lib/libvirt/images/console.log'/>
    + <serial type='pty'>
    - <console type='file'>
    - <source path='/var/lib/libvirt/images/console.log'/>
    + <console type='pty'>
    - <source mode='bind' path='/var/lib/libvirt/qemu/channel/target/domain-17-db-01/org.qemu.guest_agent.0'/>
    - <graphics type='vnc' port='5998' autoport='no' listen='127.0.0.1'>
    + <graphics type='vnc' port='-1' autoport='yes' listen='127.0.0.1'>
    - <seclabel type='dynamic' model='dac' relabel='yes'>
    - <label>+64055:+64055</label>
    - <imagelabel>+64055:+64055</imagelabel>
    - </seclabel>
    "#);
    let seen = seen(&renewed).expect("read");
    assert_eq!(
        (seen.name.as_str(), seen.live, seen.note),
        ("db & co", false, None)
    );
    assert_eq!(seen.firmware.nvram.expect("named"), "/new/VARS.fd");
}

#[test]
fn renewing_a_persistent_definition() {
    let renewed = renew(OFF, &renewal(None)).expect("renewed");
    insta::assert_snapshot!(changes(OFF, &renewed), @r#"
    - <name>db-01</name>
    - <uuid>094f6201-2f5b-49d1-9eca-fd7117326178</uuid>
    - <genid>4f1c7b7e-9f55-4b5b-9a9e-0d0d5a3c5e11</genid>
    + <name>db &amp; co</name>
    + <uuid>11111111-2222-4333-8444-555555555555</uuid>
    + <genid></genid>
    - <knib:vm xmlns:knib="urn:knib:vm:1" serial="7" current="20261123-020000-3fa9c1d2"/>
    - <nvram template='/var/lib/libvirt/images/VARS.fd'>/var/lib/libvirt/images/nvram/db-01_VARS.fd</nvram>
    + <nvram template='/var/lib/libvirt/images/VARS.fd'></nvram>
    - <source file='/var/lib/libvirt/images/db-01.qcow2'/>
    + <source file='/new/vda.qcow2'/>
    - </disk>
    - <disk type='file' device='disk'>
    - <driver name='qemu' type='raw' cache='none'/>
    - <source file='/var/lib/libvirt/images/log.raw'/>
    - <target dev='vdb' bus='virtio'/>
    - <address type='pci' domain='0x0000' bus='0x05' slot='0x00' function='0x0'/>
    - <disk type='file' device='disk'>
    - <driver name='qemu' type='raw' cache='none'/>
    - <source file='/var/lib/libvirt/images/shared.raw'/>
    - <target dev='vdd' bus='virtio'/>
    - <shareable/>
    - <address type='pci' domain='0x0000' bus='0x07' slot='0x00' function='0x0'/>
    - </disk>
    - <mac address='52:54:00:aa:bb:01'/>
    - <serial type='file'>
    - <source path='/var/lib/libvirt/images/console.log'/>
    + <serial type='pty'>
    - <console type='file'>
    - <source path='/var/lib/libvirt/images/console.log'/>
    + <console type='pty'>
    - <graphics type='vnc' port='5998' autoport='no' listen='127.0.0.1' passwd='secret'>
    + <graphics type='vnc' port='-1' autoport='yes' listen='127.0.0.1' passwd='secret'>
    "#);
    assert_eq!(seen(&renewed).expect("read").firmware.nvram, None);
}

#[test]
fn renewing_refuses_a_disk_that_is_not_there() {
    let mut renewal = renewal(None);
    renewal.heads.push(head("vdz", "/new/z", Format::Raw));
    assert_eq!(renew(OFF, &renewal), Err("it has no disk vdz".to_owned()));
}

#[test]
fn a_label_that_somebody_chose_stays() {
    let labels = "<seclabel type='dynamic' model='selinux'><label>a:c1,c2</label><baselabel>a</baselabel></seclabel>\
                  <seclabel type='dynamic' model='dac' relabel='no'><label>+1:+1</label></seclabel>\
                  <seclabel type='none' model='apparmor'/>";
    let xml = OFF.replace("</domain>", &format!("{labels}</domain>"));
    let renewed = renew(&xml, &renewal(None)).expect("renewed");
    let kept = "<seclabel type='dynamic' model='selinux'><baselabel>a</baselabel></seclabel>\
                <seclabel type='dynamic' model='dac' relabel='no'></seclabel>\
                <seclabel type='none' model='apparmor'/>";
    assert!(renewed.contains(kept), "{renewed}");
}

#[test]
fn a_smbios_uuid_is_the_new_vms() {
    let info = "<sysinfo type='smbios'><system><entry name='uuid'>x</entry></system></sysinfo>";
    let xml = OFF.replace("<os>", &format!("{info}<os>"));
    let renewed = renew(&xml, &renewal(None)).expect("renewed");
    assert_eq!(
        renewed
            .matches("11111111-2222-4333-8444-555555555555")
            .count(),
        2
    );
}

#[test]
fn an_order_for_a_snapshot_names_every_disk() {
    let path = "/d/it's <a> & \"b\"\n.ov";
    let overlays = [NewOverlay {
        target: Target::new("vda"),
        path: path.into(),
    }];
    let xml = snapshot(&overlays, &[Target::new("sda")]);
    let tree = parse(&xml).expect("well-formed");
    let source = tree
        .descendants()
        .find(|node| node.has_tag_name("source"))
        .expect("there");
    assert_eq!(source.attribute("file"), Some(path));
    let left_out = tree
        .descendants()
        .find(|node| node.attribute("snapshot") == Some("no"));
    assert_eq!(
        left_out.and_then(|disk| disk.attribute("name")),
        Some("sda")
    );
}

#[test]
fn a_note_is_read_as_it_was_written() {
    let mut snapshots = Snapshots::default();
    let created = "2026-11-23T02:00:00.000000001Z".parse().expect("a time");
    for (name, file) in [("a < b & 'c'", "/images/db \"1\".raw"), ("next", "/x")] {
        let image = Image::new(file, Format::Raw);
        snapshots.add(name, created, [(Target::new("vda"), image)].into());
    }
    let first = snapshots.all.values_mut().next().expect("two");
    first.removed = true;
    snapshots.bases = [(Target::new("vdb"), "/images/base".into())].into();
    let note = Note {
        serial: 8,
        current: None,
        snapshots,
        ..Note::default()
    };
    let element = note_element(&note);
    let inside = element.replace("<vm", "<knib:vm xmlns:knib='urn:knib:vm:1'");
    let inside = inside.replace("</vm>", "</knib:vm>");
    let xml = OFF.replace("<metadata>", "<metadata><!-- by hand -->");
    let old = xml
        .lines()
        .find(|line| line.contains("knib:vm "))
        .expect("a note");
    assert_eq!(
        seen(&xml.replace(old, &inside)).expect("read").note,
        Some(note)
    );
    let broken = xml.replace(r#"serial="7""#, r#"serial="many""#);
    assert_eq!(seen(&broken).expect("read").note, None);
}

#[test]
fn nonsense_is_refused() {
    assert!(seen("<domain>").is_err());
    assert_eq!(
        seen("<domain/>").map(drop),
        Err("libvirt's XML has no uuid".to_owned())
    );
    assert!(host_id("<capabilities/>").is_err());
}

#[test]
fn a_note_goes_with_what_held_it_alone() {
    let definition = |metadata: &str| format!("<domain>\n  <name>a</name>{metadata}\n</domain>");
    let note = "<knib:vm xmlns:knib='urn:knib:vm:1' serial='3'/>";
    let other = "<o:x xmlns:o='urn:o'/>";
    let without = |metadata: &str| without(&definition(metadata), NOTE).expect("it is XML");
    assert_eq!(without(""), None);
    assert_eq!(without(&format!("\n  <metadata>{other}</metadata>")), None);
    let alone = format!("\n  <metadata>\n    {note}\n  </metadata>");
    assert_eq!(without(&alone), Some(definition("")));
    let both = format!("\n  <metadata>\n    {note}\n    {other}\n  </metadata>");
    let rest = format!("\n  <metadata>\n    {other}\n  </metadata>");
    assert_eq!(without(&both), Some(definition(&rest)));
}
