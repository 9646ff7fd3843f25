//! A guest of one sector that writes to two disks as long as it runs, and says outside what it has written; and what
//! its disks can hold at any one instant.
//!
//! It counts. Each number goes to the second sector of the first disk, then to a place of its own on the first disk, then
//! to the same place on the second one, and then to the serial line. A number has its place until 8192 are through. When
//! it boots it goes on with the number that it finds. So an instant of both disks is a cut through its writes or it is
//! not, and which number it was at is in the disks themselves.

use std::fs;
use std::path::Path;

use crate::support::Vm;

pub(super) const SECTOR: usize = 512;
/// So many numbers have a place.
const PLACES: u32 = 8192;
/// The first place, in sectors.
const FIRST: u32 = 64;
/// From a number's place to the next one's, in sectors: it shares no divisor with the places.
const STRIDE: u32 = 1031;
/// How large each disk is, in bytes.
pub(super) const SIZE: u64 = (FIRST + PLACES) as u64 * SECTOR as u64;

const CODE: &[u8] = &[
    // boot:
    0x31, 0xc0, // xor ax, ax
    0x8e, 0xd8, // mov ds, ax
    0x8e, 0xd0, // mov ss, ax
    0xbc, 0x00, 0x7c, // mov sp, 0x7c00
    0xfb, // sti
    0xfc, // cld
    0xbe, 0x80, 0x7c, // mov si, the packet
    0xb4, 0x42, // mov ah, read
    0xb2, 0x80, // mov dl, the first disk
    0xcd, 0x13, // int disk
    0x72, 0xea, // jc boot
    0xeb, 0x14, // jmp places: what may be half written
    // next:
    0xf4, // hlt: until the next tick, 18 a second
    0x66, 0xff, 0x06, 0x00, 0x80, // inc dword [0x8000]
    0x66, 0xc7, 0x06, 0x88, 0x7c, 1, 0, 0, 0, // mov dword [the packet's sector], 1
    0xb2, 0x80, // mov dl, the first disk
    0xe8, 0x34, 0x00, // call write
    // places:
    0x66, 0x69, 0x06, 0x00, 0x80, 0x07, 0x04, 0x00, 0x00, // imul eax, [0x8000], 1031
    0x66, 0x25, 0xff, 0x1f, 0x00, 0x00, // and eax, 8191
    0x66, 0x83, 0xc0, 0x40, // add eax, 64
    0x66, 0xa3, 0x88, 0x7c, // mov [the packet's sector], eax
    0xb2, 0x80, // mov dl, the first disk
    0xe8, 0x18, 0x00, // call write
    0xb2, 0x81, // mov dl, the second disk
    0xe8, 0x13, 0x00, // call write
    0x66, 0xa1, 0x00, 0x80, // mov eax, [0x8000]
    0xb9, 0x04, 0x00, // mov cx, 4
    0xba, 0xf8, 0x03, // mov dx, the serial line
    // tell:
    0xee, // out dx, al
    0x66, 0xc1, 0xe8, 0x08, // shr eax, 8
    0xe2, 0xf9, // loop tell
    0xeb, 0xb8, // jmp next
    // write:
    0xb8, 0x00, 0x43, // mov ax, write
    0xcd, 0x13, // int disk
    0x72, 0xf9, // jc write
    0xc3, // ret
];

/// A packet for the disk: one sector, to or from 0x8000, the second one of the disk.
const PACKET: [u8; 16] = [16, 0, 1, 0, 0, 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
const PACKET_AT: usize = 0x80;

/// The sector that the guest boots from.
pub(super) fn boot_sector() -> [u8; SECTOR] {
    let mut sector = [0; SECTOR];
    sector[..CODE.len()].copy_from_slice(CODE);
    sector[PACKET_AT..PACKET_AT + PACKET.len()].copy_from_slice(&PACKET);
    sector[SECTOR - 2..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

/// The last number that the guest said was written since its last start, 0 before the first one.
pub(super) fn told(console: &Path) -> u32 {
    let said = fs::read(console).unwrap_or_default();
    said.chunks_exact(4).next_back().map_or(0, number)
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes[..4].try_into().expect("four bytes"))
}

fn put(disk: &mut [u8], sector: u32, number: u32) {
    let at = sector as usize * SECTOR;
    disk[at..at + 4].copy_from_slice(&number.to_le_bytes());
}

fn place(number: u32) -> u32 {
    FIRST + number.wrapping_mul(STRIDE) % PLACES
}

/// The number that the guest was at when its disks held these bytes, or why that was never so.
pub(super) fn instant(disks: &[Vec<u8>; 2]) -> Result<u32, String> {
    let size = usize::try_from(SIZE).expect("it is small");
    let sizes = disks.each_ref().map(Vec::len);
    if sizes != [size; 2] {
        return Err(format!("of {sizes:?} bytes, and not {size}"));
    }
    let at = number(&disks[0][SECTOR..]);
    let mut must = [vec![0; size], vec![0; size]];
    must[0][..SECTOR].copy_from_slice(&boot_sector());
    put(&mut must[0], 1, at);
    for disk in &mut must {
        (at.saturating_sub(PLACES)..at).for_each(|before| put(disk, place(before), before));
    }
    // The last one is in no place yet, on the first disk, or on both.
    for more in 0..=2 {
        if *disks == must {
            return Ok(at);
        }
        if let Some(disk) = must.get_mut(more) {
            put(disk, place(at), at);
        }
    }
    let wrong = disks.iter().zip(&must).enumerate().flat_map(|(n, disk)| {
        let sectors = disk.0.chunks(SECTOR).zip(disk.1.chunks(SECTOR));
        let wrong = sectors.enumerate().filter(|(_, (is, must))| is != must);
        wrong.map(move |(sector, (is, must))| {
            format!(
                "disk {n}, sector {sector}: {} and not {}",
                number(is),
                number(must)
            )
        })
    });
    let wrong: Vec<_> = wrong.collect();
    let some = wrong.iter().take(20).cloned().collect::<Vec<_>>();
    Err(format!(
        "at {at}, {} sectors are wrong:\n{}",
        wrong.len(),
        some.join("\n")
    ))
}

/// The definition with both disks seen by the firmware, and each write of the guest on the disk when it is over.
pub(super) fn definition(vm: &Vm) -> String {
    let mut xml = vm.xml(crate::support::vm::Xml::Inactive);
    xml = xml.replace("<boot dev='hd'/>", "");
    xml = xml.replace("discard='unmap'", "discard='unmap' cache='writethrough'");
    for (target, order) in [("vda", 1), ("vdb", 2)] {
        let disk = format!("<target dev='{target}' bus='virtio'/>");
        xml = xml.replace(&disk, &format!("{disk}<boot order='{order}'/>"));
    }
    xml
}

#[test]
fn a_cut_is_told_from_what_is_none() {
    let size = usize::try_from(SIZE).expect("it is small");
    let mut disks = [vec![0; size], vec![0; size]];
    disks[0][..SECTOR].copy_from_slice(&boot_sector());
    for at in 0..PLACES + 10 {
        put(&mut disks[0], 1, at);
        put(&mut disks[0], place(at), at);
        put(&mut disks[1], place(at), at);
    }
    let last = PLACES + 9;
    assert_eq!(instant(&disks), Ok(last));

    let mut torn = disks.clone();
    put(&mut torn[1], place(last), last - PLACES);
    assert_eq!(instant(&torn), Ok(last));
    put(&mut torn[0], place(last), last - PLACES);
    assert_eq!(instant(&torn), Ok(last));
    // The second disk is ahead of the first one.
    put(&mut torn[1], place(last), last);
    assert!(instant(&torn).is_err());
    // One write before the last one is missing.
    put(&mut disks[0], place(last - 1), last - 1 - PLACES);
    assert!(instant(&disks).is_err());
}
