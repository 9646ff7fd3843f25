//! Copies, compared with what a guest had seen at that instant.

use std::cell::RefCell;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use knib::host::Convert;
use knib::host::Host;
use knib::host::Stop;
use knib::host::StopLevel;
use knib::host::Task;
use knib::model::fault::Fault;
use knib::model::machine::Format;
use knib::model::op::Compression;
use knib::model::policy::CompressionLibrary;
use knib::model::step::Image;
use tokio::sync::watch;

use crate::host::lab::*;

const ODD: &str = "-it's, \"a\": $x\n#1 %s\\";

fn full(from: &Image, to: &Image) -> Convert {
    Convert {
        layers: vec![from.clone()],
        backing: None,
        to: to.path.clone(),
        format: to.format.clone(),
        compression: None,
        idle: false,
    }
}

fn backing(image: &Image) -> String {
    let json = qemu_img(&[
        "info",
        "-U",
        "--output=json",
        "-f",
        "qcow2",
        image.path.as_str(),
    ]);
    let info: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    format!(
        "{} {}",
        info["backing-filename"], info["backing-filename-format"]
    )
}

/// What happens to a disk between two backups, layer by layer, told to an image and to the truth.
#[derive(Clone, Copy)]
enum Happens {
    Write(u8, u64, u64),
    Zero(u64, u64),
    Discard(u64, u64),
    Resize(u64),
}

use Happens::*;

fn happen(image: &Image, truth: &Truth, size: &mut u64, events: &[Happens]) {
    for event in events {
        match *event {
            Write(pattern, at, length) => {
                qemu_io(image, &[&format!("write -P {pattern} {at} {length}")]);
                truth.write(pattern, at, length);
            }
            Zero(at, length) => {
                qemu_io(image, &[&format!("write -z {at} {length}")]);
                truth.write(0, at, length);
            }
            // What a guest reads after it may be either; qcow2 with a backing file gives zeroes.
            Discard(at, length) => {
                qemu_io(image, &[&format!("write -z -u {at} {length}")]);
                truth.write(0, at, length);
            }
            Resize(to) => {
                let path = image.path.as_str();
                qemu_img(&[
                    "resize",
                    "-q",
                    "--shrink",
                    "-f",
                    "qcow2",
                    path,
                    &to.to_string(),
                ]);
                truth.resize(to);
                *size = to;
            }
        }
    }
}

/// Each row: the layers since the parent, lowest first.
const HISTORIES: &[&[&[Happens]]] = &[
    &[&[]],
    &[&[
        Write(5, MIB, 64 * KIB),
        Zero(0, 64 * KIB),
        Discard(2 * MIB, 128 * KIB),
    ]],
    &[&[Resize(6 * MIB), Write(6, 5 * MIB, MIB)]],
    &[&[Resize(2 * MIB), Write(6, MIB, 4 * KIB)]],
    &[&[Resize(2 * MIB), Resize(5 * MIB)]],
    &[&[Write(5, 0, 64 * KIB)], &[]],
    &[
        &[Write(5, 0, MIB)],
        &[Zero(0, 512 * KIB)],
        &[Write(7, 4 * KIB, 8 * KIB)],
    ],
    &[
        &[Discard(0, MIB)],
        &[Write(8, 256 * KIB, 4 * KIB)],
        &[Discard(256 * KIB, 4 * KIB), Zero(3 * MIB, MIB)],
    ],
    &[
        &[Resize(2 * MIB)],
        &[Resize(5 * MIB)],
        &[Write(9, 3 * MIB, 64 * KIB)],
    ],
    &[
        &[Resize(6 * MIB), Write(1, 5 * MIB, MIB)],
        &[Resize(3 * MIB)],
        &[Resize(7 * MIB)],
    ],
    &[
        &[Resize(5 * MIB)],
        &[Resize(3 * MIB + 4 * KIB)],
        &[Write(3, 0, KIB * 4)],
    ],
];

/// A parent on the storage, the layers made since then, and what the disk holds now.
struct Past {
    lab: Lab,
    layers: Vec<Image>,
    truth: Truth,
}

impl Past {
    async fn new(history: &[&[Happens]], base_format: &str) -> Self {
        let lab = Lab::new();
        let truth = Truth::new(&lab, 4 * MIB);
        let base = lab.image("base", base_format, 4 * MIB);
        qemu_io(&base, &["write -P 1 0 4M"]);
        truth.write(1, 0, 4 * MIB);
        for dir in ["storage/b1", "storage/b2"] {
            std::fs::create_dir(lab.path(dir)).expect("made");
        }
        let parent = qcow2(&lab.path("storage/b1/vda.qcow2"));
        let quiet = Quiet::new();
        host()
            .await
            .convert(&full(&base, &parent), &quiet.task())
            .await
            .expect("copied");
        truth.is(&parent);
        let (mut layers, mut size) = (vec![base], 4 * MIB);
        for (n, events) in history.iter().enumerate() {
            // Made the way QEMU makes one: as large as what is below.
            let layer = lab.overlay(&format!("{ODD}{n}"), &layers[0]);
            happen(&layer, &truth, &mut size, events);
            layers.insert(0, layer);
        }
        layers.pop();
        Self { lab, layers, truth }
    }

    fn increment(&self) -> Convert {
        Convert {
            layers: self.layers.clone(),
            backing: Some("../b1/vda.qcow2".into()),
            to: self.lab.path("storage/b2/vda.qcow2"),
            format: Format::Qcow2,
            compression: None,
            idle: false,
        }
    }
}

#[tokio::test]
async fn an_increment_is_what_was_there_then() {
    let (host, quiet) = (host().await, Quiet::new());
    for (n, history) in HISTORIES.iter().enumerate() {
        for base in ["qcow2", "raw"] {
            let past = Past::new(history, base).await;
            let increment = past.increment();
            host.convert(&increment, &quiet.task())
                .await
                .unwrap_or_else(|error| panic!("history {n} over {base}: {error}"));
            let made = qcow2(&increment.to);
            past.truth.is(&made);
            assert_eq!(backing(&made), "\"../b1/vda.qcow2\" \"qcow2\"");
            qemu_img(&["check", "-q", "-f", "qcow2", made.path.as_str()]);
            let left: Vec<_> = std::fs::read_dir(past.lab.path("storage/b2"))
                .expect("listed")
                .collect();
            assert_eq!(left.len(), 1, "nothing beside it: {left:?}");
            // The parent and the layers are as before, and the source is still the same disk.
            past.truth.is(&past.layers[0]);
            // The storage is whole by itself, wherever it is.
            run(
                "cp",
                &["-r", &past.lab.at("storage"), &past.lab.at("moved")],
            );
            std::fs::remove_dir_all(past.lab.path("storage")).expect("removed");
            std::fs::remove_file(past.lab.path("base")).expect("removed");
            past.truth.is(&qcow2(&past.lab.path("moved/b2/vda.qcow2")));
        }
    }
}

/// By a job or while it is copied, one layer or several, with each library.
#[tokio::test]
async fn a_compressed_copy_shows_the_same_and_another_one_is_told_from_it() {
    let (host, quiet) = (host().await, Quiet::new());
    for (n, history) in HISTORIES.iter().enumerate() {
        let past = Past::new(history, "qcow2").await;
        let (library, idle) = if n % 2 == 0 {
            (CompressionLibrary::Zstd, false)
        } else {
            (CompressionLibrary::Zlib, true)
        };
        let plain = past.increment();
        host.convert(&plain, &quiet.task()).await.expect("copied");
        let compression = Compression {
            library,
            coroutines: 3,
            rate: None,
        };
        let to = plain.to.with_file_name("vda.qcow2.comp");
        let from_layers = Convert {
            compression: Some(compression),
            to: to.clone(),
            ..past.increment()
        };
        let of_a_backup = Convert {
            layers: vec![qcow2(&plain.to)],
            idle,
            ..from_layers.clone()
        };
        for convert in [from_layers, of_a_backup] {
            host.convert(&convert, &quiet.task()).await.expect("copied");
            let (one, other) = (qcow2(&plain.to), qcow2(&to));
            past.truth.is(&other);
            assert_eq!(backing(&other), "\"../b1/vda.qcow2\" \"qcow2\"");
            qemu_img(&["check", "-q", "-f", "qcow2", to.as_str()]);
            let compared = host.compare(&one, &other, &quiet.task()).await;
            assert!(compared.expect("compared"), "history {n}");
            let left = std::fs::read_dir(past.lab.path("storage/b2")).expect("listed");
            assert_eq!(left.count(), 2, "nothing beside them");
        }
        qemu_io(&qcow2(&to), &["write -P 99 4k 1"]);
        let (one, other) = (qcow2(&plain.to), qcow2(&to));
        let compared = host.compare(&one, &other, &quiet.task()).await;
        assert!(!compared.expect("compared"), "history {n}");
    }
}

#[tokio::test]
async fn a_full_copy_is_flat() {
    let (host, quiet) = (host().await, Quiet::new());
    for history in HISTORIES {
        let past = Past::new(history, "raw").await;
        for format in ["qcow2", "raw"] {
            let name = past.lab.path(&format!("{ODD}.{format}"));
            let copy = Image {
                path: name,
                format: Format::named(format),
            };
            host.convert(&full(&past.layers[0], &copy), &quiet.task())
                .await
                .expect("copied");
            assert_eq!(host.layers(&copy).await.expect("read").len(), 1);
            past.truth.is(&copy);
            let mode = std::fs::metadata(&copy.path).expect("there").mode();
            assert_eq!(
                mode & 0o777,
                0o640,
                "QEMU's group may read it, strangers may not"
            );
        }
    }
}

/// The frozen layers of a VM that runs can be copied, the one it writes cannot: not alone, not as
/// one of several, and not as what a full is made of.
#[tokio::test]
async fn a_running_vm_gives_its_frozen_layers_alone() {
    let (host, quiet) = (host().await, Quiet::new());
    let history = HISTORIES[6];
    let past = Past::new(history, "qcow2").await;
    let head = past.lab.overlay("head", &past.layers[0]);
    let vm = past.lab.vm(&[("vda", &head)]);
    vm.start();
    vm.write("vda", 77, 0, MIB);
    let mut increment = past.increment();
    host.convert(&increment, &quiet.task())
        .await
        .expect("copied");
    past.truth.is(&qcow2(&increment.to));
    increment.layers.truncate(1);
    let copy = qcow2(&past.lab.path("full"));
    host.convert(&full(&past.layers[0], &copy), &quiet.task())
        .await
        .expect("copied");
    past.truth.is(&copy);

    let several = [vec![head.clone()], past.layers.clone()].concat();
    for layers in [vec![head.clone()], several] {
        let convert = Convert {
            layers,
            ..past.increment()
        };
        let error = host
            .convert(&convert, &quiet.task())
            .await
            .expect_err("the VM writes it");
        assert_eq!(error.fault, Fault::Busy, "{error}");
    }
    let error = host
        .convert(&full(&head, &copy), &quiet.task())
        .await
        .expect_err("written");
    assert_eq!(error.fault, Fault::Busy, "{error}");
}

#[tokio::test]
async fn layers_that_are_no_chain_are_refused() {
    let (host, quiet) = (host().await, Quiet::new());
    let past = Past::new(HISTORIES[6], "qcow2").await;
    let mut increment = past.increment();
    // One in the middle was forgotten: the copy would miss what it holds.
    increment.layers.remove(1);
    let error = host
        .convert(&increment, &quiet.task())
        .await
        .expect_err("a layer is missing");
    assert_eq!(error.fault, Fault::Conflict);
    increment.layers.clear();
    let error = host
        .convert(&increment, &quiet.task())
        .await
        .expect_err("nothing to copy");
    assert_eq!(error.fault, Fault::Conflict);
}

#[tokio::test]
async fn a_missing_parent_is_an_error() {
    let (host, quiet) = (host().await, Quiet::new());
    for n in [1, 6] {
        let past = Past::new(HISTORIES[n], "qcow2").await;
        std::fs::remove_file(past.lab.path("storage/b1/vda.qcow2")).expect("removed");
        let error = host
            .convert(&past.increment(), &quiet.task())
            .await
            .expect_err("no parent");
        assert_eq!(error.fault, Fault::Gone, "{error}");
        assert!(error.cause.contains("b1/vda.qcow2"), "{error}");
    }
}

#[tokio::test]
async fn a_link_in_the_way_is_not_followed() {
    let (host, quiet) = (host().await, Quiet::new());
    let lab = Lab::new();
    let from = lab.image("from", "qcow2", MIB);
    std::fs::write(lab.path("precious"), "x").expect("written");
    std::os::unix::fs::symlink(lab.path("precious"), lab.path("soft")).expect("linked");
    std::fs::hard_link(lab.path("precious"), lab.path("hard")).expect("linked");
    for name in ["soft", "hard"] {
        let to = qcow2(&lab.path(name));
        host.convert(&full(&from, &to), &quiet.task())
            .await
            .expect("copied");
        host.convert(&full(&from, &to), &quiet.task())
            .await
            .expect("copied again");
    }
    assert_eq!(std::fs::read(lab.path("precious")).expect("there"), b"x");
}

/// A copy of which takes a while.
fn large(lab: &Lab) -> Image {
    let image = lab.image("large", "qcow2", 256 * MIB);
    qemu_io(&image, &["write -P 1 0 256M"]);
    image
}

#[tokio::test]
async fn progress_is_told() {
    let lab = Lab::new();
    let from = large(&lab);
    let (_sender, receiver) = watch::channel(StopLevel::No);
    let told = RefCell::new(Vec::new());
    let report = |done, total| told.borrow_mut().push((done, total));
    let task = Task {
        report: &report,
        stop: &Stop::new(receiver),
        limit: None,
    };
    let to = qcow2(&lab.path("to"));
    host()
        .await
        .convert(&full(&from, &to), &task)
        .await
        .expect("copied");
    let told = told.into_inner();
    let total = told[0].1;
    assert!(total.0 >= 256 * MIB, "{total}");
    assert!(told.len() > 3 && told.is_sorted(), "{told:?}");
    assert_eq!(told.last(), Some(&(total, total)));
}

fn copies_of(path: &str) -> usize {
    let listed = attempt(
        "pgrep",
        &["-fc", "--", &format!("qemu-img convert .*{path}")],
    );
    listed.map_or(0, |count| count.trim().parse().expect("a number"))
}

#[tokio::test]
async fn a_copy_ends_when_it_is_asked_to() {
    let lab = Lab::new();
    let from = large(&lab);
    let (sender, receiver) = watch::channel(StopLevel::No);
    let report = |done: knib::model::bytes::Bytes, _| {
        if done.0 > 0 {
            sender.send_replace(StopLevel::Now);
        }
    };
    let task = Task {
        report: &report,
        stop: &Stop::new(receiver),
        limit: None,
    };
    let to = qcow2(&lab.path("to"));
    let error = host()
        .await
        .convert(&full(&from, &to), &task)
        .await
        .expect_err("stopped");
    assert_eq!(error.fault, Fault::Stopped);
    assert_eq!(copies_of(to.path.as_str()), 0);
    host()
        .await
        .idle(&from)
        .await
        .expect("nobody has it any more");
}

#[tokio::test]
async fn a_copy_ends_when_its_time_is_up() {
    let lab = Lab::new();
    let from = large(&lab);
    let quiet = Quiet::new();
    let task = Task {
        limit: Some(Duration::from_millis(50)),
        ..quiet.task()
    };
    let to = qcow2(&lab.path("to"));
    let error = host()
        .await
        .convert(&full(&from, &to), &task)
        .await
        .expect_err("too long");
    assert_eq!(error.fault, Fault::Timeout);
    assert_eq!(copies_of(to.path.as_str()), 0);
}

#[tokio::test]
async fn a_full_file_system_is_told() {
    let (host, quiet) = (host().await, Quiet::new());
    let lab = Lab::new();
    let small = lab.mount("small", 2 * MIB);
    let past = Past::new(&[&[Write(5, 0, 4 * MIB)], &[Write(6, 0, 4 * MIB)]], "qcow2").await;
    std::fs::create_dir(small.join("b1")).expect("made");
    std::fs::create_dir(small.join("b2")).expect("made");
    // A parent of no size of its own.
    qemu_img(&[
        "create",
        "-q",
        "-f",
        "qcow2",
        small.join("b1/vda.qcow2").as_str(),
        "4M",
    ]);
    let to = small.join("b2/vda.qcow2");
    let several = Convert {
        to: to.clone(),
        ..past.increment()
    };
    let one = Convert {
        layers: past.layers[..1].to_vec(),
        ..several.clone()
    };
    for convert in [one, several, full(&past.layers[0], &qcow2(&to))] {
        let error = host
            .convert(&convert, &quiet.task())
            .await
            .expect_err("it is full");
        assert_eq!(error.fault, Fault::NoSpace, "{error}");
    }
}
