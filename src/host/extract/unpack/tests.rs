//! A guest that means harm, without the guest: what is written, and that nothing is anywhere else.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;

use super::*;

fn item(path: &str, what: What) -> Item {
    let parts = path.split('/').map(|part| part.as_bytes().to_vec());
    Item {
        path: parts.collect(),
        what,
        mode: 0o640,
        owner: (7, 8),
        modified: (1_000_000_000, 5),
        attributes: Vec::new(),
    }
}

fn file(path: &str) -> Item {
    item(path, What::File { size: 4 })
}

fn link(path: &str, to: impl AsRef<Path>) -> Item {
    let to = to.as_ref().as_os_str().as_bytes().to_vec();
    item(path, What::Symlink(to))
}

/// An outer directory with a file in it, and the target beside that.
fn ground() -> (TempDir, PathBuf) {
    let outer = tempfile::tempdir().expect("a temporary directory");
    fs::write(outer.path().join("outside"), "safe").expect("it is the test's own");
    let target = outer.path().join("target");
    (outer, target)
}

/// Everything below, by name.
fn below(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .expect("it is a directory")
        .map(|entry| {
            entry
                .expect("it can be read")
                .file_name()
                .display()
                .to_string()
        })
        .collect();
    names.sort();
    names
}

fn take(unpacker: &mut Unpacker, item: &Item) -> Result<()> {
    unpacker.take(item, &mut &b"evil"[..])
}

#[test]
fn no_path_leads_out_of_the_target() {
    for path in ["../outside", "a/../../outside", "/etc/evil", "..", "a//b"] {
        let (outer, target) = ground();
        let mut unpacker = Unpacker::into(&target, false).expect("it is new");
        take(&mut unpacker, &item("a", What::Directory)).expect("a directory");
        take(&mut unpacker, &file(path)).expect_err(path);
        drop(unpacker);
        assert_eq!(below(outer.path()), ["outside"], "{path}");
    }
}

#[test]
fn nothing_is_written_through_a_link() {
    let (outer, target) = ground();
    let outside = outer.path().join("outside");
    for (first, second) in [
        (link("up", ".."), file("up/outside")),
        (link("up", outer.path()), file("up/new")),
        (link("up", outer.path()), item("up/new", What::Directory)),
        (link("up", outer.path()), link("up/new", "/etc")),
        (link("file", &outside), file("file")),
        (link("loop", "loop"), file("loop/x")),
        (file("x"), file("x/y")),
    ] {
        let mut unpacker = Unpacker::into(&target, false).expect("it is new");
        take(&mut unpacker, &first).expect("a link can be made");
        take(&mut unpacker, &second).expect_err("it leads elsewhere");
        drop(unpacker);
        assert_eq!(below(outer.path()), ["outside"]);
    }
    assert_eq!(fs::read(outside).expect("it is there"), b"safe");
}

#[test]
fn a_hard_link_never_names_a_file_outside() {
    let (outer, target) = ground();
    let parts = |path: &str| {
        path.split('/')
            .map(|part| part.as_bytes().to_vec())
            .collect()
    };
    let mut unpacker = Unpacker::into(&target, false).expect("it is new");
    take(&mut unpacker, &link("up", outer.path())).expect("a link");
    take(
        &mut unpacker,
        &item("hard", What::Hardlink(parts("up/outside"))),
    )
    .expect_err("a link");
    drop(unpacker);
    let mut unpacker = Unpacker::into(&target, false).expect("it is new");
    take(&mut unpacker, &link("soft", outer.path().join("outside"))).expect("a link");
    take(&mut unpacker, &item("hard", What::Hardlink(parts("soft")))).expect("of the link itself");
    take(
        &mut unpacker,
        &item("gone", What::Hardlink(parts("nothing"))),
    )
    .expect("it is left out");
    let taken = unpacker.finish().expect("it can be placed");
    assert_eq!(taken.left_out[0].what, "link to what was left out");
    assert_eq!(below(&target), ["hard", "soft"]);
    assert!(target.join("hard").is_symlink());
    let outside = fs::metadata(outer.path().join("outside")).expect("it is there");
    assert_eq!(outside.nlink(), 1);
}

#[test]
fn modes_times_and_attributes_are_kept_and_setuid_is_not() {
    let (_outer, target) = ground();
    let mut unpacker = Unpacker::into(&target, false).expect("it is new");
    let mut dir = item("d", What::Directory);
    dir.mode = 0o2500;
    let mut setuid = file("d/setuid");
    setuid.mode = 0o6755;
    setuid.attributes = vec![
        ("user.one".to_owned(), b"a\nb\0".to_vec()),
        ("security.capability".to_owned(), b"x".to_vec()),
    ];
    for one in [&dir, &setuid, &item("d/null", What::Special)] {
        take(&mut unpacker, one).expect("it can be written");
    }
    let mut sparse = vec![0; 3 * PIECE + 5];
    sparse[PIECE] = 1;
    let hole = item(
        "hole",
        What::File {
            size: sparse.len() as u64,
        },
    );
    unpacker
        .take(&hole, &mut &sparse[..])
        .expect("it can be written");
    let taken = unpacker.finish().expect("it can be placed");
    let left_out: Vec<_> = taken.left_out.iter().map(|one| one.what).collect();
    assert_eq!(left_out, ["setuid or setgid", "special file"]);
    let about = |name: &str| fs::metadata(target.join(name)).expect("it is there");
    assert_eq!(about("d").permissions().mode(), 0o40500);
    assert_eq!(about("d").mtime(), 1_000_000_000);
    assert_eq!(about("d/setuid").permissions().mode(), 0o100_755);
    assert_eq!(
        (about("d/setuid").mtime(), about("d/setuid").mtime_nsec()),
        (1_000_000_000, 5)
    );
    let file = File::open(target.join("d/setuid")).expect("it is there");
    let mut value = [0; 16];
    let length = rustix::fs::fgetxattr(&file, "user.one", &mut value);
    // Not every temporary directory takes attributes; one that does has this and no other.
    if let Ok(length) = length {
        assert_eq!(&value[..length], b"a\nb\0");
    }
    assert!(rustix::fs::fgetxattr(&file, "security.capability", &mut value).is_err());
    assert_eq!(fs::read(target.join("hole")).expect("it is there"), sparse);
    assert_eq!(below(&target), ["d", "hole"]);
}

#[test]
fn a_target_with_anything_in_it_is_left_alone_unless_told() {
    let (_outer, target) = ground();
    fs::create_dir_all(target.join("d")).expect("it is the test's own");
    for name in ["d/mine", "d/same", "other"] {
        fs::write(target.join(name), "mine").expect("it is the test's own");
    }
    let refused = Unpacker::into(&target, false)
        .err()
        .expect("it is not empty");
    assert_eq!(refused.fault, Fault::Conflict);
    let mut unpacker = Unpacker::into(&target, true).expect("told");
    for one in [item("d", What::Directory), file("d/same"), file("d/new")] {
        take(&mut unpacker, &one).expect("it can be written");
    }
    unpacker.finish().expect("it can be placed");
    assert_eq!(below(&target), ["d", "other"]);
    let content = |name: &str| fs::read(target.join(name)).expect("it is there");
    let found = ["d/mine", "d/same", "d/new", "other"].map(content);
    assert_eq!(found, [b"mine", b"evil", b"evil", b"mine"]);
}

#[test]
fn a_directory_never_goes_through_what_stands_in_its_place() {
    let (outer, target) = ground();
    fs::create_dir(&target).expect("it is the test's own");
    std::os::unix::fs::symlink(outer.path(), target.join("d")).expect("a link");
    let mut unpacker = Unpacker::into(&target, true).expect("told");
    for one in [file("a"), item("d", What::Directory), file("d/outside")] {
        take(&mut unpacker, &one).expect("it can be written");
    }
    let refused = unpacker.finish().expect_err("a link is no directory");
    assert_eq!(refused.fault, Fault::Conflict);
    assert_eq!(below(&target), ["d"]);
    assert_eq!(
        fs::read(outer.path().join("outside")).expect("it is there"),
        b"safe"
    );
}

#[test]
fn a_tree_without_end_is_left_out() {
    let (_outer, target) = ground();
    let mut unpacker = Unpacker::into(&target, false).expect("it is new");
    let mut path = "d".to_owned();
    for _ in 0..DEEPEST + 2 {
        take(&mut unpacker, &item(&path, What::Directory)).expect("it is made or left out");
        path += "/d";
    }
    let taken = unpacker.finish().expect("it can be placed");
    assert_eq!(taken.directories, DEEPEST as u64);
    assert_eq!(taken.left_out[0].what, "too deep");
}
