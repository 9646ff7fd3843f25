//! Archives as a guest, or a broken appliance, may have made them.

use super::*;
use crate::host::extract::Archive;

/// Remembers what it was given.
#[derive(Default)]
struct Seen(Vec<(Item, Vec<u8>)>);

impl Sink for Seen {
    fn take(&mut self, item: &Item, content: &mut dyn Read) -> Result<()> {
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes).expect("it is in memory");
        self.0.push((item.clone(), bytes));
        Ok(())
    }
}

fn read(archive: &[u8]) -> Result<Vec<(Item, Vec<u8>)>> {
    let mut seen = Seen::default();
    items(&mut &archive[..], "read", &[b"top".to_vec()], &mut seen)?;
    Ok(seen.0)
}

fn header(path: &[u8], kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_ustar();
    header.as_old_mut().name[..path.len()].copy_from_slice(path);
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o4755);
    header.set_uid(1);
    header.set_gid(2);
    header.set_mtime(3);
    header.set_cksum();
    header
}

fn entry(path: &[u8], kind: EntryType, content: &[u8]) -> Vec<u8> {
    let mut bytes = header(path, kind, content.len() as u64).as_bytes().to_vec();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn ended(mut archive: Vec<u8>) -> Vec<u8> {
    archive.extend_from_slice(&[0; 1024]);
    archive
}

fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let length = (rest..rest + 20).find(|all| all.to_string().len() + rest == *all);
    let length = length.expect("some length counts itself");
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

#[test]
fn what_one_archive_holds_another_holds_too() {
    let long = vec![b'n'; 250];
    let names: [&[u8]; 3] = [b"a\nb\xff 10 path=x", &long, b"plain"];
    let mut archive = Archive::new(Vec::new());
    let mut written = Vec::new();
    for (n, name) in (0..).zip(names) {
        let item = Item {
            path: vec![b"d".to_vec(), name.to_vec()],
            what: What::File { size: 3 },
            mode: 0o4711,
            owner: (1, 2),
            modified: (1_700_000_000 + n, 250_000_000 * n),
            attributes: vec![("user.x".to_owned(), b"1\n2\0".to_vec())],
        };
        archive
            .take(&item, &mut &b"abc"[..])
            .expect("it is in memory");
        written.push(item);
    }
    let link = Item {
        path: vec![b"link".to_vec()],
        what: What::Symlink(long.clone()),
        ..written[2].clone()
    };
    archive
        .take(&link, &mut io::empty())
        .expect("it is in memory");
    written.push(link);
    let bytes = archive.bytes();
    let mut seen = Seen::default();
    items(&mut &bytes[..], "read", &[], &mut seen).expect("it is whole");
    let items: Vec<_> = seen.0.iter().map(|(item, _)| item.clone()).collect();
    assert_eq!(items, written);
    assert_eq!(seen.0[1].1, b"abc");
}

#[test]
fn paths_that_lead_outside_are_refused() {
    for path in [&b"../x"[..], b"./a/../../x", b"/etc/passwd", b".."] {
        let refused = read(&ended(entry(path, EntryType::Regular, b"evil"))).expect_err("outside");
        assert!(refused.cause.contains("leads outside"), "{refused}");
        // The same by the name that comes before.
        let mut archive = entry(b"x", EntryType::XHeader, &record("path", path));
        archive.extend(entry(b"harmless", EntryType::Regular, b"evil"));
        read(&ended(archive)).expect_err("outside");
        let mut archive = entry(b"x", EntryType::GNULongName, path);
        archive.extend(entry(b"harmless", EntryType::Regular, b"evil"));
        read(&ended(archive)).expect_err("outside");
    }
    let mut linked = entry(
        b"x",
        EntryType::XHeader,
        &record("linkpath", b"../../etc/shadow"),
    );
    linked.extend(entry(b"hard", EntryType::Link, b""));
    read(&ended(linked)).expect_err("outside");
}

#[test]
fn names_and_attributes_may_hold_line_breaks() {
    let value = b"1\n23 path=../../evil\n";
    let more = [
        record("path", b"./a\nb"),
        record("SCHILY.xattr.user.x", value),
    ]
    .concat();
    let mut archive = entry(b"x", EntryType::XHeader, &more);
    archive.extend(entry(b"other", EntryType::Regular, b"content"));
    archive.extend(entry(b"./dev", EntryType::Char, b""));
    let found = read(&ended(archive)).expect("it is whole");
    assert_eq!(found[0].0.path, [b"top".to_vec(), b"a\nb".to_vec()]);
    assert_eq!(
        found[0].0.attributes,
        [("user.x".to_owned(), value.to_vec())]
    );
    assert_eq!(found[0].1, b"content");
    assert_eq!(
        (found[1].0.what.clone(), found[1].0.attributes.len()),
        (What::Special, 0)
    );
}

#[test]
fn lies_about_lengths_fill_no_memory_and_are_found() {
    let huge = header(b"x", EntryType::XHeader, 1 << 60)
        .as_bytes()
        .to_vec();
    let refused = read(&huge).expect_err("it is too long");
    assert!(refused.cause.contains("too long"), "{refused}");
    let mut short = header(b"x", EntryType::Regular, 4096).as_bytes().to_vec();
    short.extend_from_slice(&[7; 1000]);
    assert!(
        read(&short)
            .expect_err("it is cut off")
            .cause
            .contains("ends in the middle")
    );
    let mut damaged = ended(entry(b"x", EntryType::Regular, b""));
    damaged[0] ^= 1;
    read(&damaged).expect_err("the sum is wrong");
    for text in [
        &b"9999 path=x\n"[..],
        b"0 path=x\n",
        b"x",
        b"3 \n",
        b"5 ab\n",
        b"12 size=-1\n",
    ] {
        let archive = ended(entry(b"x", EntryType::XHeader, text));
        read(&archive).expect_err("no such record");
    }
    read(&[0; 100]).expect_err("there is no end");
}

#[test]
fn instants_before_1970_are_understood() {
    assert_eq!(instant("5"), Some((5, 0)));
    assert_eq!(instant("5.25"), Some((5, 250_000_000)));
    assert_eq!(instant("-1.5"), Some((-2, 500_000_000)));
    assert_eq!(instant("x"), None);
}
