//! Files and directories.

use std::cell::RefCell;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use knib::host::Host;
use knib::host::Local;
use knib::host::ReadFrom;
use knib::host::Stop;
use knib::host::StopLevel;
use knib::host::Task;
use knib::model::bytes::Bytes;
use knib::model::digest::Digest;
use knib::model::fault::Fault;
use tokio::sync::watch;

use crate::host::lab::*;

fn mode(path: &camino::Utf8Path) -> u32 {
    std::fs::metadata(path).expect("there").permissions().mode() & 0o7777
}

#[tokio::test]
async fn small_files_are_written_whole() {
    let (host, lab) = (host().await, Lab::new());
    let path = lab.path("storage/backup.json");
    host.write(&path, b"one").await.expect("written");
    let before = std::fs::metadata(&path).expect("there").ino();
    host.write(&path, b"two").await.expect("written");
    assert_eq!(host.read(&path).await.expect("read"), b"two");
    assert_ne!(
        std::fs::metadata(&path).expect("there").ino(),
        before,
        "another file, renamed"
    );
    assert_eq!(mode(&path), 0o600);
    assert_eq!(
        host.list(&lab.path("storage")).await.expect("listed").len(),
        1,
        "nothing beside it"
    );
    let error = host
        .write(&lab.path("nowhere/x"), b"")
        .await
        .expect_err("no directory");
    assert_eq!(error.fault, Fault::Gone);
    assert_eq!(error.tried, format!("write {}", lab.path("nowhere/x")));
    assert_eq!(
        host.read(&lab.path("nothing"))
            .await
            .expect_err("no file")
            .fault,
        Fault::Gone
    );
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_as_it_was() {
    let (host, lab) = (host().await, Lab::new());
    let small = lab.mount("small", 64 * KIB);
    let path = small.join("backup.json");
    host.write(&path, b"one").await.expect("written");
    let error = host
        .write(&path, &vec![7; 1 << 20])
        .await
        .expect_err("no room");
    assert_eq!(error.fault, Fault::NoSpace);
    assert_eq!(host.read(&path).await.expect("read"), b"one");
    assert_eq!(host.list(&small).await.expect("listed").len(), 1);
    run("mount", &["-o", "remount,ro", small.as_str()]);
    assert_eq!(
        host.write(&path, b"two")
            .await
            .expect_err("read-only")
            .fault,
        Fault::Denied
    );
    assert_eq!(
        host.remove(&path).await.expect_err("read-only").fault,
        Fault::Denied
    );
}

#[tokio::test]
async fn directories() {
    let (host, lab) = (host().await, Lab::new());
    let dir = lab.path("b1");
    for _ in 0..2 {
        host.make_dir(&dir).await.expect("made");
    }
    assert_eq!(mode(&dir), 0o750);
    let error = host
        .make_dir(&lab.path("no/where"))
        .await
        .expect_err("no parent");
    assert_eq!(error.fault, Fault::Gone);
    host.write(&dir.join("b"), b"1234").await.expect("written");
    assert_eq!(
        host.make_dir(&dir.join("b"))
            .await
            .expect_err("a file")
            .fault,
        Fault::Conflict
    );
    host.make_dir(&dir.join("a")).await.expect("made");
    std::os::unix::fs::symlink(&dir, dir.join("c")).expect("linked");
    let entries = host.list(&dir).await.expect("listed");
    let entries: Vec<_> = entries
        .iter()
        .map(|entry| (entry.name.as_str(), entry.is_dir))
        .collect();
    assert_eq!(entries, [("a", true), ("b", false), ("c", false)]);
    assert_eq!(
        host.list(&lab.path("none")).await.expect_err("none").fault,
        Fault::Gone
    );
    assert_eq!(
        host.list(&dir.join("b")).await.expect_err("a file").fault,
        Fault::Conflict
    );
    for path in [&dir, &dir.join("b")] {
        host.sync(path).await.expect("synced");
    }
    assert_eq!(
        host.sync(&lab.path("none")).await.expect_err("none").fault,
        Fault::Gone
    );
}

/// The storage's group, given once with its bit, is the group of all that is made in it.
#[tokio::test]
async fn a_storages_group_reads_its_backups() {
    let (host, lab) = (host().await, Lab::new());
    run("chgrp", &["libvirt-qemu", lab.dir().as_str()]);
    run("chmod", &["2750", lab.dir().as_str()]);
    let dir = lab.path("b1");
    host.make_dir(&dir).await.expect("made");
    let from = lab.image("from", "qcow2", MIB);
    let to = qcow2(&dir.join("vda.qcow2"));
    let convert = knib::host::Convert {
        layers: vec![from],
        backing: None,
        to: to.path.clone(),
        format: to.format.clone(),
        compression: None,
        idle: false,
    };
    host.convert(&convert, &Quiet::new().task())
        .await
        .expect("copied");
    host.write(&dir.join("domain.xml"), b"passwd")
        .await
        .expect("written");
    let reads = |path: &camino::Utf8Path| {
        let user = [
            "--reuid=libvirt-qemu",
            "--regid=libvirt-qemu",
            "--clear-groups",
        ];
        attempt(
            "setpriv",
            &[&user[..], &["head", "-c1", path.as_str()]].concat(),
        )
        .is_ok()
    };
    assert!(reads(&to.path));
    assert!(!reads(&dir.join("domain.xml")));
}

#[tokio::test]
async fn a_rename_replaces_nothing() {
    let (host, lab) = (host().await, Lab::new());
    let path = |name: &str| lab.path(name);
    for name in ["a", "b"] {
        host.write(&path(name), name.as_bytes())
            .await
            .expect("written");
        host.make_dir(&path(&format!("dir-{name}")))
            .await
            .expect("made");
    }
    host.write(&path("dir-a/x"), b"x").await.expect("written");
    for (from, to) in [
        ("a", "b"),
        ("dir-a", "dir-b"),
        ("dir-b", "dir-a"),
        ("a", "dir-a"),
        ("dir-a", "a"),
    ] {
        let error = host
            .rename(&path(from), &path(to))
            .await
            .expect_err("something is there");
        assert_eq!(error.fault, Fault::Conflict, "{from} {to}");
    }
    assert_eq!(host.read(&path("b")).await.expect("read"), b"b");
    host.rename(&path("a"), &path("dir-b/a, \n'c'"))
        .await
        .expect("renamed");
    host.rename(&path("dir-a"), &path("dir-b/a"))
        .await
        .expect("renamed");
    assert_eq!(host.read(&path("dir-b/a/x")).await.expect("read"), b"x");
    let error = host
        .rename(&path("a"), &path("c"))
        .await
        .expect_err("it is gone");
    assert_eq!(error.fault, Fault::Gone);
    let small = lab.mount("small", 64 * KIB);
    let error = host
        .rename(&path("b"), &small.join("b"))
        .await
        .expect_err("elsewhere");
    assert_eq!(error.fault, Fault::Unsupported, "{error}");
}

#[tokio::test]
async fn a_removal_follows_no_link() {
    let (host, lab) = (host().await, Lab::new());
    let path = |name: &str| lab.path(name);
    host.make_dir(&path("kept")).await.expect("made");
    host.write(&path("kept/x"), b"x").await.expect("written");
    host.make_dir(&path("gone")).await.expect("made");
    host.write(&path("gone/y"), b"y").await.expect("written");
    for link in ["gone/link", "link"] {
        std::os::unix::fs::symlink(path("kept"), path(link)).expect("linked");
    }
    for name in ["gone", "link", "gone", "gone/y"] {
        host.remove(&path(name)).await.expect("removed");
        assert!(!path(name).exists());
    }
    assert_eq!(host.read(&path("kept/x")).await.expect("read"), b"x");
}

#[tokio::test]
async fn a_file_system_is_measured() {
    let (host, lab) = (host().await, Lab::new());
    let small = lab.mount("small", MIB);
    let space = host.space(&small).await.expect("measured");
    assert_eq!((space.kind.as_str(), space.total), ("tmpfs", Bytes(MIB)));
    std::fs::write(small.join("x"), vec![1; 512 << 10]).expect("written");
    let less = host.space(&small).await.expect("measured");
    assert_eq!(less.free, Bytes(space.free.0 - 512 * KIB));
    let here = host.space(&lab.dir()).await.expect("measured");
    assert_ne!(here.device, space.device);
    let kind = run("findmnt", &["-n", "-o", "FSTYPE", "-T", lab.dir().as_str()]);
    assert_eq!(here.kind, kind.trim());
    assert_eq!(
        host.space(&lab.path("none")).await.expect_err("none").fault,
        Fault::Gone
    );
}

#[tokio::test]
async fn a_digest_is_of_all_bytes() {
    let (host, lab, quiet) = (host().await, Lab::new(), Quiet::new());
    for length in [0_usize, 1, 1 << 20, (1 << 20) + 1, 5_000_001] {
        let bytes: Vec<u8> = (0..length)
            .map(|at| u8::try_from(at % 251).expect("small"))
            .collect();
        std::fs::write(lab.path("x"), &bytes).expect("written");
        let (digest, size) = host
            .digest(&lab.path("x"), ReadFrom::Memory, &quiet.task())
            .await
            .expect("read");
        assert_eq!((digest, size), (Digest::of(&bytes), Bytes(length as u64)));
    }
    let missing = host
        .digest(&lab.path("none"), ReadFrom::Memory, &quiet.task())
        .await;
    assert_eq!(missing.expect_err("none").fault, Fault::Gone);
    run("mkfifo", &[&lab.at("pipe")]);
    for name in ["pipe", ""] {
        let error = host
            .digest(&lab.path(name), ReadFrom::Memory, &quiet.task())
            .await
            .expect_err("no file");
        assert_eq!(error.fault, Fault::Conflict, "{error}");
    }
}

/// A file of many bytes that takes no room.
fn endless(lab: &Lab) -> camino::Utf8PathBuf {
    let file = std::fs::File::create(lab.path("endless")).expect("made");
    file.set_len(1 << 40).expect("sized");
    lab.path("endless")
}

#[tokio::test]
async fn a_digest_reports_and_stops() {
    let (host, lab) = (host().await, Lab::new());
    let (sender, receiver) = watch::channel(StopLevel::No);
    let told = RefCell::new(Vec::new());
    let report = |done, total| {
        told.borrow_mut().push((done, total));
        if told.borrow().len() == 2 {
            sender.send_replace(StopLevel::Now);
        }
    };
    let task = Task {
        report: &report,
        stop: &Stop::new(receiver),
        limit: None,
    };
    let error = host
        .digest(&endless(&lab), ReadFrom::Memory, &task)
        .await
        .expect_err("stopped");
    assert_eq!(error.fault, Fault::Stopped);
    let told = told.into_inner();
    assert!(
        told.is_sorted() && told[0].0 > Bytes(0) && told[0].1 == Bytes(1 << 40),
        "{told:?}"
    );

    let quiet = Quiet::new();
    let task = Task {
        limit: Some(Duration::from_millis(20)),
        ..quiet.task()
    };
    let error = host
        .digest(&endless(&lab), ReadFrom::Memory, &task)
        .await
        .expect_err("too long");
    assert_eq!(error.fault, Fault::Timeout);
}

#[tokio::test]
async fn a_digest_from_the_storage_keeps_to_a_rate() {
    let (host, lab, quiet) = (host().await, Lab::new(), Quiet::new());
    let bytes = vec![7; 3 << 20];
    std::fs::write(lab.path("x"), &bytes).expect("written");
    let begun = std::time::Instant::now();
    let from = ReadFrom::Storage {
        rate: Some(Bytes(10 << 20)),
    };
    let (digest, size) = host
        .digest(&lab.path("x"), from, &quiet.task())
        .await
        .expect("read");
    assert_eq!((digest, size), (Digest::of(&bytes), Bytes(3 << 20)));
    // What is read in one piece is not held back.
    let least = Duration::from_millis(200);
    assert!(begun.elapsed() >= least, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_host_can_be_shared() {
    let host: Local = host().await;
    let other = host.clone();
    let (one, two) = tokio::join!(host.identity(), other.identity());
    assert_eq!(one.expect("told"), two.expect("told"));
}
